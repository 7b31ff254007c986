"""Other networks than the paper's, through the whole training job."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from training.distributed import World
from training.preparation import prepare
from training.prepared import Prepared
from training.progress import read_log
from training.recipe import load_recipe
from training.trainer import train
from translator import Translator

SMOKE_CORPUS = Path(__file__).parents[1] / "fixtures" / "smoke"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    path = tmp_path_factory.mktemp("prepared") / "smoke"
    return prepare(load_recipe("smoke", [f"corpus.path={SMOKE_CORPUS}"]), path, console=Console(quiet=True))


@pytest.mark.parametrize(
    "model",
    [
        ["cell=rnn", "feed_context=false"],
        ["cell=simplified-gru", "embedding_size=128", "num_layers=2"],
        ["cell=gru", "tie_target_embedding=false", "num_layers=2", "attention=dot"],
        ["cell=cudnn-gru", "attention=general", "input_feeding=true", "dropout=0.1"],
        ["cell=lstm", "attention=additive", "bidirectional=true", "dropout=0.1"],
    ],
    ids=["rnn", "simplified-gru", "gru", "cudnn-gru", "bidirectional"],
)
def test_a_network_learns_and_its_directory_translates(model: list[str], prepared: Prepared, tmp_path: Path) -> None:
    settings = [
        *("optimisation.epochs=1", "evaluation.every_epochs=0.5", "evaluation.bleu_sentences=10"),
        *(f"model.{option}" for option in model),
        f"output.directory={tmp_path / 'run'}",
    ]
    directory = train(
        load_recipe("smoke", settings), prepared, resume=False, world=World.alone(), console=Console(quiet=True)
    )
    first, last = (e["perplexity"] for e in read_log(tmp_path / "run" / "log.jsonl") if e["event"] == "validation")
    assert last < first < prepared.target_vocabulary.size
    translator = Translator.load(directory)
    assert translator.model_config.cell == model[0].partition("=")[2]
    assert translator.translate(prepared.dev_source[0]).text
