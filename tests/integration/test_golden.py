"""What must stay as it is: a model directory of this format keeps loading, and the same seed gives the same losses."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from training.distributed import World
from training.preparation import prepare
from training.progress import read_log
from training.recipe import load_recipe
from training.trainer import train
from translator import Translator

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
SMOKE_CORPUS = Path(__file__).parents[1] / "fixtures" / "smoke"


def test_an_old_model_directory_still_loads_and_says_the_same() -> None:
    """Format version 1, int8, trained by the smoke recipe. A change of format must go on reading it."""
    sources, expected = (
        (GOLDEN / name).read_text(encoding="utf-8").split("\n")[:-1] for name in ("source.txt", "target.txt")
    )
    assert len(sources) == 10
    translator = Translator.load(GOLDEN / "model")
    assert [translation.text for translation in translator.translate(sources)] == expected


def test_the_same_seed_gives_the_same_loss_curve(tmp_path: Path) -> None:
    """Perplexity on dev in the first epoch. A change that means to leave the mathematics alone leaves these alone."""
    recipe = load_recipe(
        "smoke",
        [
            f"corpus.path={SMOKE_CORPUS}",
            "optimisation.epochs=1",
            "evaluation.every_epochs=0.25",
            f"output.directory={tmp_path / 'run'}",
        ],
    )
    console = Console(quiet=True)
    prepared = prepare(recipe, tmp_path / "prepared", console=console)
    train(recipe, prepared, resume=False, world=World.alone(), console=console)
    entries = read_log(tmp_path / "run" / "log.jsonl")
    curve = {entry["update"]: entry["perplexity"] for entry in entries if entry["event"] == "validation"}
    assert curve == pytest.approx({10: 29.0032, 20: 20.5765, 30: 17.0236, 39: 15.9801}, rel=5e-3)
    assert entries[-2]["perplexity"] == pytest.approx(34.459, rel=5e-3)
