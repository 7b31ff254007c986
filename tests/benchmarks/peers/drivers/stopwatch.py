"""Counts the updates of a training from within, whatever toolkit trains; needs nothing but Python.

The toolkits' drivers import it from beside them, in environments where this project is not installed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

_FEWEST_UPDATES = 5


class Stopwatch:
    """Ends the process when it has seen enough, and leaves a report.

    `update` is called at the start of every update. What is counted lies between two such calls, so that loading,
    backward pass, optimiser and all else that belongs to an update is in it.
    """

    def __init__(self, report: Path, *, warm_up_seconds: float, seconds: float) -> None:
        self._report = report
        self._warm_up_seconds = warm_up_seconds
        self._seconds = seconds
        self._first: float | None = None
        self._began: float | None = None
        self._updates = 0
        self._target_tokens = 0

    def update(self, target_tokens: Callable[[], int]) -> None:
        """An update begins; `target_tokens` counts what it has to predict."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        if self._began is None:
            if now - self._first < self._warm_up_seconds:
                return
            self._began = now
        elif now - self._began >= self._seconds and self._updates >= _FEWEST_UPDATES:
            content = {
                "updates": self._updates,
                "target_tokens": self._target_tokens,
                "seconds": now - self._began,
            }
            self._report.write_text(json.dumps(content), encoding="utf-8")
            # Nothing of this training is wanted but the report.
            os._exit(0)
        self._updates += 1
        self._target_tokens += target_tokens()
