"""The terminal that the service was started at, whose end is the service's end, too."""

from __future__ import annotations

import os
import signal


class Terminal:
    """To be made before anybody handles SIGHUP."""

    def __init__(self) -> None:
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as under nohup
        self._is_ours = not ignored and _is_there()

    @property
    def has_closed(self) -> bool:
        """Whether it has gone. The kernel says so by SIGHUP, which else is a request to load the models anew."""
        return self._is_ours and not _is_there()


def _is_there() -> bool:
    """Whether this process's session has a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
