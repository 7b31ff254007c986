"""What a person sees of a run while it goes on, and what is kept of it: a live table, a JSON-lines log, a figure."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from training.tensorboard import TensorBoardLog

_SECONDS_BETWEEN_PLAIN_LINES = 30.0
_UNKNOWN = "–"


class Progress:
    """A bar and a table of figures on a terminal; a line now and then where the output is a file."""

    def __init__(self, console: Console, updates: int, done: int, *, best_bleu: float | None = None) -> None:
        """`best_bleu` is the best BLEU on dev that a run which is resumed has reached."""
        self._console = console
        self._updates = updates
        self._best_bleu = best_bleu
        self._last_bleu: float | None = None
        self._figures: dict[str, Any] = {}
        self._last_plain_line: float | None = None
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("training", total=updates, completed=done)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def advance(self) -> None:
        self._bar.advance(self._task)

    def show(self, entry: dict[str, Any]) -> None:
        """Show the figures of a log line, be it of training or of a validation."""
        if entry["event"] == "validation":
            self._last_bleu = entry["bleu"]
            self._best_bleu = max(entry["bleu"], self._best_bleu if self._best_bleu is not None else entry["bleu"])
            return
        self._figures = entry
        if not self._console.is_terminal and self._is_time_for_a_line(entry["update"]):
            figures = "  ".join(
                f"{name} {value}" for name, value in self._described().items() if not value.startswith(_UNKNOWN)
            )
            self._console.print(
                f"update {entry['update']:,} of {self._updates:,}  {figures}  left {self._time_left()}",
                highlight=False,
                soft_wrap=True,
            )

    @contextmanager
    def paused(self, description: str) -> Iterator[None]:
        """Say what is going on while no update is made."""
        self._bar.update(self._task, description=description)
        try:
            yield
        finally:
            self._bar.update(self._task, description="training")

    def _is_time_for_a_line(self, update: int) -> bool:
        now = time.monotonic()
        last = self._last_plain_line
        if last is not None and now - last < _SECONDS_BETWEEN_PLAIN_LINES and update < self._updates:
            return False
        self._last_plain_line = now
        return True

    def _time_left(self) -> str:
        return str(TimeRemainingColumn().render(self._bar.tasks[0]))

    def _described(self) -> dict[str, str]:
        """The figures as a person reads them; those that the log line lacks are dashes."""

        def described(name: str, form: str, scale: float = 1.0) -> str:
            value = self._figures.get(name)
            return _UNKNOWN if value is None else format(value * scale, form)

        bleu = _UNKNOWN
        if self._last_bleu is not None:
            bleu = f"{self._last_bleu:.2f} (best {self._best_bleu:.2f})"
        elif self._best_bleu is not None:
            bleu = f"{_UNKNOWN} (best {self._best_bleu:.2f})"
        memory = described("memory_bytes", ".2f", 2**-30)
        return {
            "loss": described("loss", ".3f"),
            "perplexity": described("perplexity", ",.1f"),
            "dev BLEU": bleu,
            "target tokens/s": described("target_tokens_per_second", ",.0f"),
            "tokens/s": described("tokens_per_second", ",.0f"),
            "words/s": described("words_per_second", ",.0f"),
            "of peak FLOP/s": described("flop_utilisation", ".1%"),
            "memory": memory if memory == _UNKNOWN else f"{memory} GiB",
            "epoch": described("epoch", ".2f"),
            "learning rate": described("learning_rate", ".3g"),
            "gradient norm": described("gradient_norm", ".3g"),
        }

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 1))
        for _ in range(3):
            table.add_column(style="dim")
            table.add_column(justify="right", min_width=12)
        cells = [cell for pair in self._described().items() for cell in pair]
        for start in range(0, len(cells), 6):
            table.add_row(*cells[start : start + 6])
        return Group(table, self._bar.get_renderable())


class RunLog:
    """`log.jsonl`: one JSON object a line, flushed as it is written; for TensorBoard, too, where that is wanted."""

    def __init__(self, path: Path | None, resumed_update: int, *, tensorboard: Path | None = None) -> None:
        """Opens for appending; None keeps nothing. Lines after `resumed_update`, written by a run that was killed
        later, are dropped.

        `tensorboard` is a folder for TensorBoard. Raises InputError where that is not installed.
        """
        self._board = TensorBoardLog(tensorboard, resumed_update) if tensorboard is not None else None
        kept = read_log(path) if path and resumed_update else []
        lines = [_line(entry) for entry in kept if entry["update"] <= resumed_update]
        if path is not None:
            written = path.with_suffix(".partial")  # a full disk leaves the old log
            try:
                written.write_text("".join(lines), encoding="utf-8")
                written.replace(path)
            except OSError:
                written.unlink(missing_ok=True)
                raise
        self._file = (path or Path(os.devnull)).open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, event: str, **figures: Any) -> dict[str, Any]:
        entry = {"event": event, **figures}
        self._file.write(_line(entry))
        self._file.flush()
        if self._board is not None:
            self._board.write(entry)
        return entry


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def draw_curves(log: Path, figure: Path) -> None:
    """Perplexity, dev BLEU, learning rate and gradient norm over the epochs, as a PNG."""
    # Imported here because it takes longer than the first update.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    entries = read_log(log)

    def curve(event: str, name: str) -> tuple[list[float], list[float]]:
        points = [(entry["epoch"], entry[name]) for entry in entries if entry["event"] == event]
        return [epoch for epoch, _ in points], [value for _, value in points]

    drawing, ((perplexity, bleu), (rate, norm)) = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
    perplexity.plot(*curve("train", "perplexity"), label="training", alpha=0.6)
    perplexity.plot(*curve("validation", "perplexity"), "o-", label="dev")
    perplexity.set(ylabel="perplexity", yscale="log")
    perplexity.legend()
    bleu.plot(*curve("validation", "bleu"), "o-", color="tab:green")
    bleu.set(ylabel="BLEU on dev")
    rate.plot(*curve("train", "learning_rate"), color="tab:purple")
    rate.set(ylabel="learning rate")
    norm.plot(*curve("train", "gradient_norm"), color="tab:red", alpha=0.8)
    norm.set(ylabel="gradient norm before clipping", yscale="log")
    for axes in (perplexity, bleu, rate, norm):
        axes.set(xlabel="epoch")
        axes.grid(alpha=0.3)
    drawing.savefig(figure, dpi=120)
    pyplot.close(drawing)
