"""What the operating system knows of our processes."""

from __future__ import annotations

import os

import psutil


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM; 0 where it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def sibling_pids() -> list[int]:
    """The other children of this process's parent: of a worker, the other workers."""
    return [child.pid for child in psutil.Process(os.getppid()).children() if child.pid != os.getpid()]
