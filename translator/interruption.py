"""Ctrl-C while processes are started. A terminal sends it to all of them, and one that is still importing would answer
with a traceback.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Ctrl-C comes at the end of the block; to a process that is started in it, and to what that one starts, when they
    call `let_interrupt_through`.
    """
    if threading.current_thread() is not threading.main_thread():  # which is the one that Ctrl-C comes to
        yield
        return
    came: list[int] = []
    # Processes inherit what is blocked. That alone would not do here: the system gives a signal to any thread, and
    # Python tells the main one.
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, handler)
        if came and callable(handler):
            handler(signal.SIGINT, None)


def let_interrupt_through() -> None:
    """For a process that is ready for Ctrl-C."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
