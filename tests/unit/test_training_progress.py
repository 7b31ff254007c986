"""What a person sees of a run, what is kept of it, and what TensorBoard gets."""

from __future__ import annotations

import errno
import io
import math
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
from rich.console import Console

from training.errors import InputError
from training.progress import Progress, RunLog, draw_curves, read_log

FIGURES = {
    "loss": 2.5,
    "perplexity": 12.18,
    "learning_rate": 0.00125,
    "gradient_norm": 1.75,
    "target_tokens_per_second": 3300.0,
    "tokens_per_second": 6900.0,
    "words_per_second": 5100.0,
    "flop_utilisation": 0.512,
    "memory_bytes": 3.0 * 2**30,
    "epoch": 1.5,
}


def train_entry(update: int, **figures: Any) -> dict[str, Any]:
    return {"event": "train", "update": update, **FIGURES, **figures}


def validation_entry(update: int, bleu: float, **figures: Any) -> dict[str, Any]:
    return {"event": "validation", "update": update, "epoch": update / 100, "bleu": bleu, "perplexity": 9.0, **figures}


def test_a_terminal_gets_a_table_of_all_figures() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, color_system=None)
    with Progress(console, 1000, 0) as progress:
        progress.show(validation_entry(100, 12.5))
        progress.show(validation_entry(200, 11.25))
        progress.show(train_entry(250))
    shown = output.getvalue()
    for figure in ("2.500", "12.2", "11.25 (best 12.50)", "3,300", "6,900", "5,100", "51.2%", "3.00 GiB", "0.00125"):
        assert figure in shown
    assert "1.75" in shown


def test_figures_that_are_missing_are_dashes() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, color_system=None)
    with Progress(console, 1000, 500, best_bleu=20.5) as progress:
        progress.show({"event": "train", "update": 550, "loss": 2.0})
    assert "– (best 20.50)" in output.getvalue()
    assert "500/1000" in output.getvalue()


def test_a_file_gets_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    output = io.StringIO()
    with Progress(Console(file=output, width=60), 1000, 0) as progress:
        for update in range(50, 1001, 50):
            now += 10.0
            progress.show(train_entry(update))
    lines = output.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"update {update:,} of 1,000" for update in (50, 200, 350, 500, 650, 800, 950, 1000)
    ]
    assert "\x1b" not in output.getvalue()
    assert all("loss 2.500  perplexity 12.2  target tokens/s 3,300" in line for line in lines)
    assert "BLEU" not in lines[0]


def test_the_log_drops_what_a_killed_run_wrote_after_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog(path, 0) as log:
        for update in (50, 100, 150):
            log.write("train", update=update)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"event": "train", "upd')
    with RunLog(path, 100) as log:
        log.write("train", update=150, loss=1.0)
    assert [(entry["update"], entry.get("loss")) for entry in read_log(path)] == [(50, None), (100, None), (150, 1.0)]


def test_a_log_that_cannot_be_written_anew_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog(path, 0) as log:
        log.write("train", update=50)
    before = path.read_bytes()

    def full(file: Path, *_: object, **__: object) -> int:
        file.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        RunLog(path, 50)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_curves_are_drawn_of_all_four_figures(tmp_path: Path) -> None:
    with RunLog(tmp_path / "log.jsonl", 0) as log:
        for update in range(50, 500, 50):
            entry = train_entry(update, epoch=update / 100)
            log.write(**entry)
        log.write(**validation_entry(250, 3.5))
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")
    image = matplotlib.image.imread(tmp_path / "curves.png")
    height, width, _ = image.shape
    for row in (slice(0, height // 2), slice(height // 2, height)):
        for column in (slice(0, width // 2), slice(width // 2, width)):
            panel = image[row, column, :3]
            is_coloured = panel.max(axis=2) - panel.min(axis=2) > 0.3
            assert is_coloured.any()


def test_curves_of_an_empty_log_can_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").touch()
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = accumulators.EventAccumulator(str(directory))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_gets_every_number_and_forgets_what_is_made_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with RunLog(tmp_path / "log.jsonl", 0, tensorboard=tmp_path / "tensorboard") as log:
        for update in (50, 100, 150):
            log.write(**train_entry(update, loss=update / 100))
        log.write(**validation_entry(100, 12.5, best=True, examples=[], signature="nrefs:1"))
    time.sleep(1.1)  # the names of TensorBoard's files have the second in them
    with RunLog(tmp_path / "log.jsonl", 100, tensorboard=tmp_path / "tensorboard") as log:
        log.write(**train_entry(150, loss=9.0))
    found = scalars(tmp_path / "tensorboard")
    assert found["train/loss"] == [(50, 0.5), (100, 1.0), (150, 9.0)]
    assert found["validation/bleu"] == [(100, 12.5)]
    assert {f"train/{name}" for name in FIGURES if name != "epoch"} <= set(found)
    assert "validation/best" not in found


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"pip install '\.\[plots\]'"):
        RunLog(tmp_path / "log.jsonl", 0, tensorboard=tmp_path / "tensorboard")


def test_a_log_of_a_diverged_run_can_be_read(tmp_path: Path) -> None:
    with RunLog(tmp_path / "log.jsonl", 0) as log:
        log.write("train", update=50, loss=math.nan)
    assert math.isnan(read_log(tmp_path / "log.jsonl")[0]["loss"])
