"""What a person sees of a run while it goes on, and what is kept of it: a live line, a JSON-lines log, a figure."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_UPDATES_BETWEEN_PLAIN_LINES = 500


class Progress:
    """A bar with loss, speed and time left on a terminal; a line now and then where the output is a file."""

    def __init__(self, console: Console, updates: int, done: int) -> None:
        self._console = console
        self._updates = updates
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=updates, completed=done, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self) -> None:
        self._bar.advance(self._task)

    def show(self, figures: dict[str, Any]) -> None:
        """Show the figures of a log line."""
        text = (
            f"loss {figures['loss']:.3f}  perplexity {figures['perplexity']:.1f}  "
            f"{figures['tokens_per_second']:,.0f} tokens/s  lr {figures['learning_rate']:.2g}"
        )
        self._bar.update(self._task, figures=text)
        if not self._console.is_terminal and figures["update"] % _UPDATES_BETWEEN_PLAIN_LINES == 0:
            self._console.print(f"update {figures['update']:,} of {self._updates:,}  {text}", highlight=False)

    @contextmanager
    def paused(self, description: str) -> Iterator[None]:
        """Say what is going on while no update is made."""
        self._bar.update(self._task, description=description)
        try:
            yield
        finally:
            self._bar.update(self._task, description="training")


class RunLog:
    """`log.jsonl`: one JSON object a line, flushed as it is written."""

    def __init__(self, path: Path | None, resumed_update: int) -> None:
        """Opens for appending; None keeps nothing. Lines after `resumed_update`, written by a run that was killed
        later, are dropped.
        """
        kept = (
            [entry for entry in read_log(path) if entry["update"] <= resumed_update] if path and resumed_update else []
        )
        self._file = (path or Path(os.devnull)).open("w", encoding="utf-8")
        for entry in kept:
            self._put(entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, event: str, **figures: Any) -> dict[str, Any]:
        entry = {"event": event, **figures}
        self._put(entry)
        return entry

    def _put(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()


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
    """Training loss, dev perplexity and dev BLEU over the epochs, as a PNG."""
    # Imported here because it takes longer than the first update.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    entries = read_log(log)
    training = [entry for entry in entries if entry["event"] == "train"]
    validation = [entry for entry in entries if entry["event"] == "validation"]
    drawing, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(
        [entry["epoch"] for entry in training], [entry["perplexity"] for entry in training], label="training", alpha=0.6
    )
    left.plot(
        [entry["epoch"] for entry in validation], [entry["perplexity"] for entry in validation], "o-", label="dev"
    )
    left.set(xlabel="epoch", ylabel="perplexity", yscale="log")
    left.legend()
    right.plot(
        [entry["epoch"] for entry in validation], [entry["bleu"] for entry in validation], "o-", color="tab:green"
    )
    right.set(xlabel="epoch", ylabel="BLEU on dev")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    drawing.savefig(figure, dpi=120)
    pyplot.close(drawing)
