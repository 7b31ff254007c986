"""Whether a measurement had the machine to itself: a figure that others have disturbed is worth nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

DISTURBED = 0.15
"""Cores that others may use on average; with two threads that wait for each other, more than this shows."""
_STATISTICS = Path("/proc/stat")
# Of the columns after "cpu": user, nice, system, interrupts, and what the hypervisor gave to others.
_BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)


class Others:
    """How much of the processors was used by others than this process and its children that have ended."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._used = _used_by_others()

    def cores(self) -> float:
        """Cores that they have used since this was made, on average; 0 where the system does not tell."""
        seconds = time.perf_counter() - self._started
        return max(0.0, _used_by_others() - self._used) / seconds if seconds else 0.0


def _used_by_others() -> float:
    """Seconds since the machine was started, less those of this process."""
    if not _STATISTICS.is_file():
        return 0.0
    columns = _STATISTICS.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    busy = sum(int(columns[number]) for number in _BUSY_COLUMNS) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    return busy - own.user - own.system - own.children_user - own.children_system


def describe(cores: float) -> str:
    """For the line of a measurement."""
    return f"others used {cores:.2f} cores" + (": DISTURBED" if cores > DISTURBED else "")
