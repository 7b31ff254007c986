"""Low precision only where the machine computes in it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
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

SHAPES = """
import sys, torch
from training.hardware import keep_memory_steady
if sys.argv[1:]:
    keep_memory_steady()
weight = torch.ones(256, 256, dtype=torch.bfloat16)
for rows in [*range(33, 113), 33]:
    print("rows", rows, flush=True)
    torch.nn.functional.linear(torch.ones(rows, 256, dtype=torch.bfloat16), weight)
"""


@pytest.mark.parametrize("steady", [True, False])
def test_kernels_of_shapes_that_have_not_come_for_long_are_let_go(steady: bool) -> None:
    if not has_fast_bfloat16(torch.device("cpu")):
        pytest.skip("this machine has no fast bfloat16")
    arguments = [sys.executable, "-c", SHAPES, *(["steady"] if steady else [])]
    environment = os.environ | {"ONEDNN_VERBOSE": "profile_create"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)  # which a test that trains in this process leaves behind
    said = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout
    again = said[said.rindex("rows 33\n") :]
    assert ("create:cache_miss" in again) == steady, again


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
