"""Training by several processes: torchrun starts them, gloo joins them, and the model is that of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from training.checkpoint import read_checkpoint
from translator.directory import load_model

ROOT = Path(__file__).parents[2]
# Each process with one thread: threads that wait for each other on taken cores take minutes.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def _torchrun(processes: int, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
        *options,
        *("-m", "training"),
    ]


def _train(folder: Path, prepared: Path, *options: str) -> list[str]:
    return [
        *("train", "smoke", "--prepared", str(prepared), "--set", f"output.directory={folder}"),
        *("--set", "evaluation.bleu_sentences=10", "--set", "evaluation.every_epochs=0.5"),
        *("--set", "optimisation.epochs=1", "--set", "model.dropout=0.0"),
        *options,
    ]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def alone(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a process that trains alone."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    result = _run([sys.executable, "-m", "training", *_train(folder, prepared)])
    assert result.returncode == 0, result.stderr
    return folder


def _first_checkpoint(process: subprocess.Popen[str], folder: Path) -> Path:
    """Wait until there is one, or until the process has ended."""
    checkpoint = folder / "state" / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return checkpoint


def _kill_all(process: subprocess.Popen[str]) -> None:
    """Kill torchrun and its workers, which have sessions of their own, before one of them takes another step."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.suspend()
    for member in family:
        member.kill()


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def _assert_like(folder: Path, alone: Path) -> None:
    """The same losses, and the same weights but for the order of sums."""
    entries = zip(_log(folder), _log(alone), strict=True)
    for ours, theirs in entries:
        assert (ours["event"], ours["update"]) == (theirs["event"], theirs["update"])
        figure = "loss" if ours["event"] == "train" else "perplexity"
        assert ours[figure] == pytest.approx(theirs[figure], rel=1e-5)
    states = [read_checkpoint(run / "state" / "checkpoint.pt") for run in (folder, alone)]
    assert states[0]["position"]["target_tokens"] == states[1]["position"]["target_tokens"]
    for name, tensor in states[0]["model"].items():
        torch.testing.assert_close(tensor, states[1]["model"][name], rtol=1e-3, atol=1e-4, msg=name)


def test_two_processes_train_the_model_of_one(prepared: Path, alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    result = _run([*_torchrun(2), *_train(folder, prepared)])
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(folder / "model")]
    _assert_like(folder, alone)
    assert load_model(folder / "model").card.training == load_model(alone / "model").card.training.model_copy(
        update={"minutes": load_model(folder / "model").card.training.minutes}
    )


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 3)])
def test_another_number_of_processes_goes_on(
    prepared: Path, alone: Path, tmp_path: Path, first: int, second: int
) -> None:
    """Killed in the middle, resumed with more or fewer."""
    folder = tmp_path / "run"
    often = ("--set", "output.checkpoint_minutes=0")
    process = subprocess.Popen(
        [*_torchrun(first), *_train(folder, prepared, *often)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    checkpoint = _first_checkpoint(process, folder)
    _kill_all(process)
    _, errors = process.communicate(timeout=60)
    assert checkpoint.exists(), errors
    assert 0 < read_checkpoint(checkpoint)["position"]["update"] < 39
    result = _run([*_torchrun(second), *_train(folder, prepared, "--resume")])
    assert result.returncode == 0, result.stderr
    assert "Resuming after update" in result.stderr
    _assert_like(folder, alone)


def test_torchrun_starts_again_when_a_worker_is_killed(prepared: Path, alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elastic"
    process = subprocess.Popen(
        [*_torchrun(2, "--max-restarts=2"), *_train(folder, prepared, "--set", "output.checkpoint_minutes=0")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    _first_checkpoint(process, folder)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    output, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    assert "Resuming after update" in errors
    assert output.split()[-1] == str(folder / "model")
    _assert_like(folder, alone)


def test_an_error_of_the_first_process_is_one_clear_line(prepared: Path, alone: Path) -> None:
    result = _run([*_torchrun(2), *_train(alone, prepared)])
    assert result.returncode != 0
    assert "holds a run already" in result.stderr
