"""The training job as a real process: it learns, is killed, goes on, and leaves a model that is always whole."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from training.checkpoint import read_checkpoint, write_checkpoint
from training.distributed import World
from training.errors import InputError
from training.prepared import load_prepared
from training.recipe import load_recipe
from training.trainer import Trainer
from training.updating import Outcome
from translator.directory import load_model

ROOT = Path(__file__).parents[2]


def _command(directory: Path, prepared: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "training", "train", "smoke", "--prepared", str(prepared)),
        *("--set", f"output.directory={directory}", "--set", "evaluation.bleu_sentences=10"),
        *("--set", "optimisation.epochs=3", "--set", "evaluation.every_epochs=0.2", "--set", "model.dropout=0.2"),
        *("--set", "optimisation.deterministic=true"),  # which a GPU needs to end with the same bits
        *options,
    ]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)


REAL_TEXT = ROOT.parent / "shared" / "corpora" / "tatoeba-en-fr"


@pytest.fixture(scope="module")
def uninterrupted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a training that nothing disturbed."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    result = _run(_command(directory, prepared))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(directory / "model")
    return directory


def _log(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def _validations(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All that was measured on dev, without the time it took."""
    return [
        {key: value for key, value in entry.items() if key != "seconds"}
        for entry in entries
        if entry["event"] == "validation"
    ]


def test_a_run_leaves_a_model_a_log_and_a_figure(uninterrupted: Path) -> None:
    loaded = load_model(uninterrupted / "model")
    assert loaded.card.name == "smoke"
    assert loaded.card.training is not None
    assert loaded.card.training.updates > 0
    assert loaded.card.score("BLEU") is not None
    entries = _log(uninterrupted)
    losses = [entry["loss"] for entry in entries if entry["event"] == "train"]
    assert losses[-1] < 0.8 * losses[0]
    assert any(entry["event"] == "validation" and entry["best"] for entry in entries)
    assert (uninterrupted / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not (REAL_TEXT / "dev.en").is_file(), reason="needs the corpus tatoeba-en-fr")
def test_the_smoke_recipe_learns_from_real_text(tmp_path: Path) -> None:
    """Two thousand everyday sentences to train on, of which the recipe holds some out."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for language in ("en", "fr"):
        shutil.copyfile(REAL_TEXT / f"dev.{language}", corpus / f"train.{language}")
    directory = tmp_path / "run"
    settings = {
        "corpus.path": corpus,
        "corpus.held_out_pairs": 50,
        "output.directory": directory,
        "optimisation.epochs": 3,
        "evaluation.every_epochs": 1,
    }
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    prepared = tmp_path / "prepared"
    command = [sys.executable, "-m", "training"]
    assert _run([*command, "prepare", "smoke", "--output", str(prepared), *options]).returncode == 0
    result = _run([*command, "train", "smoke", "--prepared", str(prepared), *options])
    assert result.returncode == 0, result.stderr
    perplexities = [entry["perplexity"] for entry in _log(directory) if entry["event"] == "validation"]
    assert perplexities[0] > perplexities[1] > perplexities[2]


def test_killed_and_resumed_it_ends_with_the_same_bits(uninterrupted: Path, prepared: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments; the last weights, the log and the model equal those of the undisturbed run."""
    directory = tmp_path / "killed"
    moments = random.Random(7)
    (directory / ".model-half-written").mkdir(parents=True)
    resume: list[str] = []
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(
            _command(directory, prepared, *resume),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        checkpoint = directory / "state" / "checkpoint.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                break
            time.sleep(0.01)
        if process.poll() is None and kills < 4:
            time.sleep(moments.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, errors = process.communicate(timeout=250)
        resume = ["--resume"]
        if (directory / "model").exists():
            load_model(directory / "model")
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert {path.name for path in directory.iterdir()} == {"model", "state", "log.jsonl", "curves.png"}
    assert kills == 4
    assert process.returncode == 0
    whole, killed = (read_checkpoint(run / "state" / "checkpoint.pt") for run in (uninterrupted, directory))
    assert whole["position"]["update"] == killed["position"]["update"]
    for name, tensor in whole["model"].items():
        assert torch.equal(tensor, killed["model"][name]), name
    assert torch.equal(whole["random"][0]["torch"], killed["random"][0]["torch"])
    logs = [_log(run) for run in (uninterrupted, directory)]
    assert [(entry["event"], entry["update"]) for entry in logs[0]] == [
        (entry["event"], entry["update"]) for entry in logs[1]
    ]
    assert _validations(logs[0]) == _validations(logs[1])
    one, two = (load_model(run / "model").model.state_dict() for run in (uninterrupted, directory))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_a_state_to_go_on_from(prepared: Path, tmp_path: Path, number: signal.Signals) -> None:
    directory = tmp_path / "stopped"
    process = subprocess.Popen(
        _command(directory, prepared, "--set", "optimisation.epochs=500", "--set", "evaluation.every_epochs=400"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 100
    while (
        not ((directory / "log.jsonl").exists() and (directory / "log.jsonl").stat().st_size)
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert read_checkpoint(directory / "state" / "checkpoint.pt")["position"]["update"] > 0


def _fails(command: list[str]) -> str:
    result = _run(command)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def test_a_second_run_does_not_overwrite_the_first(uninterrupted: Path, prepared: Path) -> None:
    assert "--resume" in _fails(_command(uninterrupted, prepared))


def test_what_cannot_be_resumed_says_why(uninterrupted: Path, prepared: Path, tmp_path: Path) -> None:
    assert "no checkpoint to resume from" in _fails(_command(tmp_path / "none", prepared, "--resume"))
    other_shape = _command(uninterrupted, prepared, "--resume", "--set", "model.num_layers=2")
    assert "another shape" in _fails(other_shape)
    damaged = tmp_path / "damaged"
    (damaged / "state").mkdir(parents=True)
    (damaged / "state" / "checkpoint.pt").write_bytes((uninterrupted / "state" / "checkpoint.pt").read_bytes()[:-1000])
    assert "damaged" in _fails(_command(damaged, prepared, "--resume"))


def test_early_stopping_keeps_the_best(prepared: Path, tmp_path: Path) -> None:
    """With a rate of next to nothing the BLEU never rises, so two measurements after the first are enough."""
    directory = tmp_path / "early"
    options = ("--set", "optimisation.learning_rate=1e-12", "--set", "evaluation.patience=2")
    result = _run(_command(directory, prepared, *options))
    assert result.returncode == 0, result.stderr
    assert "stopping early" in result.stderr
    validations = [entry for entry in _log(directory) if entry["event"] == "validation"]
    assert [entry["best"] for entry in validations] == [True, False, False]


def test_a_place_that_cannot_be_written_is_a_clear_error(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file/run: cannot be written" in _fails(_command(tmp_path / "file" / "run", prepared))


def test_a_model_directory_of_something_else_is_left_alone(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert "holds something else" in _fails(_command(tmp_path, prepared))
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_while_a_checkpoint_is_written_leaves_the_old_one(uninterrupted: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    shutil.copyfile(uninterrupted / "state" / "checkpoint.pt", checkpoint)
    before = checkpoint.read_bytes()
    checkpoint.with_suffix(".partial").symlink_to("/dev/full")
    with pytest.raises(InputError, match="could not be written"):
        write_checkpoint(checkpoint, read_checkpoint(checkpoint))
    assert checkpoint.read_bytes() == before


def test_a_second_trainer_on_the_same_folder_is_refused(prepared: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    first = subprocess.Popen(
        _command(directory, prepared, "--set", "optimisation.epochs=500"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (directory / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        message = _fails(_command(directory, prepared))
        assert "another process is training here" in message or "holds a run already" in message
        resumed = _fails(_command(directory, prepared, *(["--resume"] if "holds" in message else [])))
        assert "another process is training here" in resumed
        assert first.poll() is None
    finally:
        first.kill()
        first.wait(timeout=60)


def _trainer(prepared: Path, directory: Path, *overrides: str) -> Trainer:
    options = ("evaluation.bleu_sentences=4", "evaluation.every_epochs=0.5", "optimisation.epochs=1", *overrides)
    recipe = load_recipe("smoke", [f"output.directory={directory}", *options])
    return Trainer(recipe, load_prepared(prepared), world=World.alone(), console=Console(quiet=True))


def _spoil(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, *, at: int, times: int) -> None:
    """Make the gradient of update `at` infinite, the first `times` that the trainer comes to it."""
    update = trainer.updater.update
    left = [times]

    def spoilt(*arguments: Any, **keywords: Any) -> Outcome:
        if trainer.position.update == at and left[0]:
            left[0] -= 1
            with torch.no_grad():
                trainer.model.decoder.output.bias.fill_(torch.inf)
        return update(*arguments, **keywords)

    monkeypatch.setattr(trainer.updater, "update", spoilt)


def test_a_divergence_stops_the_run_and_leaves_the_last_good_state(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(prepared, tmp_path / "run")
    _spoil(trainer, monkeypatch, at=30, times=1)
    with pytest.raises(InputError, match=r"(?s)loss is nan after update 39 .*good after update 20"):
        trainer.run()
    state = read_checkpoint(tmp_path / "run" / "state" / "checkpoint.pt")
    assert state["position"]["update"] == 20
    assert all(torch.isfinite(weight).all() for weight in state["model"].values())


def test_a_divergence_is_rolled_back_with_half_the_rate(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = _trainer(prepared, tmp_path / "undisturbed")
    undisturbed.run()
    trainer = _trainer(prepared, tmp_path / "run", "optimisation.on_divergence=roll-back")
    _spoil(trainer, monkeypatch, at=30, times=2)
    trainer.run()
    state = read_checkpoint(tmp_path / "run" / "state" / "checkpoint.pt")
    assert (state["position"]["update"], state["position"]["roll_backs"]) == (39, 2)
    assert trainer.updater.learning_rate == pytest.approx(undisturbed.updater.learning_rate / 4)
    entries = _log(tmp_path / "run")
    assert [(entry["event"], entry["update"]) for entry in entries] == [
        ("validation", 20),
        ("train", 39),
        ("validation", 39),
    ]
    assert all(np.isfinite(entry["perplexity"]) for entry in entries)


def test_what_goes_on_diverging_is_given_up(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(prepared, tmp_path / "run", "optimisation.on_divergence=roll-back")
    _spoil(trainer, monkeypatch, at=30, times=9)
    with pytest.raises(InputError, match="half the learning rate"):
        trainer.run()


def test_the_moving_average_is_what_is_saved(prepared: Path, tmp_path: Path) -> None:
    """Against the average computed from the weights after each update, without the first updates being special."""
    decay = 0.9
    trainer = _trainer(prepared, tmp_path / "run", f"optimisation.weight_average={decay}")
    expected: dict[str, torch.Tensor] = {}
    for place, loaded in trainer.loader.ahead(trainer._places()):
        trainer.update(place.indices, loaded)
        for name, weight in trainer.model.state_dict().items():
            before = expected.get(name, weight.clone())
            expected[name] = decay * before + (1 - decay) * weight
    for name, average in trainer.updater.measured_model.state_dict().items():
        torch.testing.assert_close(average, expected[name])
    assert not torch.equal(expected["decoder.output.bias"], trainer.model.decoder.output.bias)
