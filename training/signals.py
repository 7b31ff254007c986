"""Ctrl-C and SIGTERM as a wish to stop in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Whether this process has been asked to stop."""

    made: bool = False


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Note Ctrl-C and SIGTERM instead of ending at once; a second Ctrl-C ends at once."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.made = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
