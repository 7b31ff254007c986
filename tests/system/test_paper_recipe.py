"""The paper's recipe, with nothing changed but where the sentences come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from training.distributed import World
from training.preparation import prepare
from training.recipe import load_recipe
from training.trainer import train
from translator.directory import load_model

SMOKE = Path(__file__).parent.parent / "fixtures" / "smoke"


@pytest.mark.slow
@pytest.mark.timeout(900)  # seconds on a machine with nothing else to do
def test_the_paper_s_recipe_runs_on_a_tiny_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Source sentences of one length make one batch, so that 7.5 epochs of this network take seconds.
    sentences = [(SMOKE / f"train.{code}").read_text(encoding="utf-8").splitlines() for code in ("en", "fr")]
    pairs = [pair for pair in zip(*sentences, strict=True) if len(pair[0].split()) == 7]
    (tmp_path / "corpus").mkdir()
    for name, part in (("train", pairs[:24]), ("dev", pairs[24:26]), ("test", pairs[26:28])):
        for side, code in enumerate(("en", "fr")):
            text = "".join(f"{pair[side]}\n" for pair in part)
            (tmp_path / "corpus" / f"{name}.{code}").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    console = Console(quiet=True)
    recipe = load_recipe("sutskever2014-wmt14-en-fr", ["corpus.kind=moses", "corpus.path=corpus"])
    prepared = prepare(recipe, tmp_path / "prepared", console=console)
    assert any("the corpus supports a vocabulary of" in notice for notice in prepared.record.notices)
    model = load_model(train(recipe, prepared, resume=False, world=World.alone(), console=console))
    assert (model.config.num_layers, model.config.hidden_size, model.config.embedding_size) == (4, 1000, 1000)
    assert model.card.training is not None
    assert model.card.training.epochs <= 7.5
    recurrent = sum(
        weight.numel()
        for name, weight in model.model.named_parameters()
        if "stack" in name and not name.rpartition(".")[2].startswith("bias")
    )
    assert recurrent == 64_000_000  # "64M are pure recurrent connections" (section 3.4)
