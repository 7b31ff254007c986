"""What the operating system knows of our processes, and what it gets back."""

from __future__ import annotations

import ctypes
import os
import sys

import psutil


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM; 0 where it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def return_freed_memory() -> None:
    """Have glibc give back to the system what has been freed; blocks of up to 32 MiB it would else keep for itself."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)


def sibling_pids() -> list[int]:
    """The other children of this process's parent: of a worker, the other workers."""
    # Not psutil's `children`: it compares the times at which processes began by a clock that may be corrected between
    # the two readings, so that a worker seems to be older than its parent.
    found = {process.pid: process.info["ppid"] for process in psutil.process_iter(["ppid"])}
    return [pid for pid, parent in found.items() if parent == os.getppid() and pid != os.getpid()]
