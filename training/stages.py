"""What a person sees of a preparation while it goes on, and how long each of its stages took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text


class _Pairs(ProgressColumn):
    """Pairs done, of how many where that is known, and pairs a second."""

    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text("")
        total = f" of {task.total:,.0f}" if task.total is not None else ""
        speed = f", {task.speed:,.0f} pairs/s" if task.speed else ""
        return Text(f"{task.completed:,.0f}{total} pairs{speed}")


class Stages:
    """A bar for each stage on a terminal, and nothing where the output is a file.

    Attributes:
        seconds: that each stage took, by its name.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, description: str, *, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Times a stage and shows it. What it gives is to be called with the pairs done since the last call."""
        begun = time.perf_counter()
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _Pairs(),
            TimeElapsedColumn(),
            *([TextColumn("left"), TimeRemainingColumn()] if total else []),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        with bar:
            task = bar.add_task(description, total=total)
            yield lambda pairs: bar.advance(task, pairs)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
