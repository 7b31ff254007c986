"""Low precision only where the machine computes in it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from training import updating as updating_module
from training.distributed import World
from training.hardware import choose_device, has_fast_bfloat16
from training.preparation import prepare
from training.recipe import load_recipe
from training.trainer import train
from translator.directory import load_model

SMOKE_CORPUS = Path(__file__).parents[1] / "fixtures" / "smoke"


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_falls_back_to_float32_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    if fast and not has_fast_bfloat16(choose_device()):
        pytest.skip("this machine has no fast bfloat16")
    monkeypatch.setattr(updating_module, "has_fast_bfloat16", lambda device: fast)
    recipe = load_recipe(
        "smoke",
        [
            f"corpus.path={SMOKE_CORPUS}",
            "optimisation.precision=bfloat16",
            "optimisation.epochs=0.1",
            "evaluation.bleu_sentences=4",
            f"output.directory={tmp_path / 'run'}",
        ],
    )
    output = io.StringIO()
    quiet = Console(quiet=True)
    model = train(
        recipe,
        prepare(recipe, tmp_path / "prepared", console=quiet),
        resume=False,
        world=World.alone(),
        console=Console(file=output, width=200),
    )
    assert ("float32 instead" in output.getvalue()) != fast
    weights = load_model(model).model.state_dict().values()
    assert all(torch.isfinite(weight).all() for weight in weights)
