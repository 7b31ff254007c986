"""A service at a terminal: it ends with it, and SIGHUP from others stays a request to load the models anew."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
import requests

from tests.integration.service.conftest import PATIENCE, REPOSITORY, _clean_environment
from tests.integration.service.test_models import until


class AtTerminal:
    """The leader of a session at a terminal of its own, as a shell's `exec` makes it."""

    def __init__(self, model: Path, *, ignores_hangups: bool) -> None:
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignores_hangups else signal.SIG_DFL)
            os.chdir(REPOSITORY)
            arguments = [sys.executable, "-m", "service", "--port", "0", "--model", str(model)]
            os.execve(sys.executable, arguments, _clean_environment())
        self.shown = ""
        self._closing = Event()
        self._reader = Thread(target=self._read)
        self._reader.start()
        until(lambda: "curl" in self.shown)
        found = re.search(r"http://127\.0\.0\.1:\d+", self.shown)
        assert found
        self.health = f"{found[0]}/health"

    def _read(self) -> None:
        while not self._closing.is_set():
            if select.select([self._terminal], [], [], 0.05)[0]:
                try:
                    self.shown += os.read(self._terminal, 4096).decode()
                except OSError:  # it has ended
                    return

    def close(self) -> None:
        """It hangs up only when nobody reads it any more."""
        self._closing.set()
        self._reader.join(PATIENCE)
        if self._terminal >= 0:
            os.close(self._terminal)
        self._terminal = -1

    def status(self) -> int:
        """The exit status, waited for."""
        ended: list[int] = []
        waiter = Thread(target=lambda: ended.append(os.waitpid(self.pid, 0)[1]), daemon=True)
        waiter.start()
        waiter.join(PATIENCE)
        assert ended, "it has not ended"
        return os.waitstatus_to_exitcode(ended[0])


Start = Callable[..., AtTerminal]


@pytest.fixture
def start(tiny_model_directory: Path) -> Iterator[Start]:
    started = []

    def start_it(*, ignores_hangups: bool = False) -> AtTerminal:
        started.append(AtTerminal(tiny_model_directory, ignores_hangups=ignores_hangups))
        return started[-1]

    yield start_it
    for each in started:
        each.close()
        try:
            os.killpg(each.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_it_ends_with_its_terminal(start: Start) -> None:
    service = start()
    assert requests.get(service.health).ok
    service.close()
    assert service.status() == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(service.health)


def test_a_hangup_from_somebody_else_loads_the_models_anew(start: Start) -> None:
    service = start()
    os.kill(service.pid, signal.SIGHUP)
    until(lambda: "models exchanged" in service.shown)
    assert requests.get(service.health).ok


def test_told_to_ignore_hangups_it_outlives_its_terminal(start: Start) -> None:
    service = start(ignores_hangups=True)
    service.close()
    os.kill(service.pid, signal.SIGHUP)
    for _ in range(20):  # by then it would have ended
        time.sleep(0.1)
        assert requests.get(service.health).ok
    os.kill(service.pid, signal.SIGTERM)
    assert service.status() == 0
