"""How many requests are let in at once, counted until the last byte of the answer is sent, and who goes on first.

A translation holds one of the worker's threads from its first byte to its last. There are more threads than
requests are let in, so that one is always free to say that the service is full, or that it is well.

A step of the decoder ends the wait of many of them at once. CPython would wake each thread that waits for the
interpreter again and again (every `sys.getswitchinterval()`), and who comes to ask for the service's health would wait
behind them all. So they go on by turns, one at a time, and wait for theirs where waiting costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REFUSED = "service.refused"
"""Key of the WSGI environment that is set where a request must be answered with status 503 at once."""

TURN = "service.turn"
"""Key of the WSGI environment for the `Turn` of a request that is let in."""

_WITH_TURNS = frozenset(["/translate", "/v2/translate"])
_MOST_BYTES = 4096


class Turn:
    """What a request thread takes when it has waited, and gives back when it waits or sends. For that thread alone.

    Small translations alone take turns: the others must not wait for a document, or for models to load.
    """

    def __init__(self, lock: threading.Lock, environ: WSGIEnvironment) -> None:
        length = environ.get("CONTENT_LENGTH") or ""
        small = length.isascii() and length.isdigit() and int(length) <= _MOST_BYTES
        self._lock = lock if small and environ.get("PATH_INFO") in _WITH_TURNS else None
        self._taken = False

    def take(self) -> None:
        if self._lock is not None and not self._taken:
            self._lock.acquire()
            self._taken = True

    def give(self) -> None:
        if self._lock is not None and self._taken:
            self._taken = False
            self._lock.release()


class Admission:
    """WSGI middleware that counts requests with a body to work on (POST) and marks those over the limit as refused."""

    def __init__(self, application: WSGIApplication, limit: int) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._free = limit
        self._turns = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether a request that came now would be refused."""
        return self._free <= 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("REQUEST_METHOD") != "POST":
            return self._application(environ, start_response)
        if not self._enter():
            environ[REFUSED] = True
            return self._application(environ, start_response)
        return self._admitted(environ, start_response)

    def _enter(self) -> bool:
        with self._lock:
            entered = self._free > 0
            self._free -= entered
        return entered

    def _admitted(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        # The server sends each piece before it asks for the next: at the end of this generator all is sent.
        turn = environ[TURN] = Turn(self._turns, environ)
        try:
            answer = self._application(environ, start_response)
            try:
                for piece in answer:
                    turn.give()
                    yield piece
            finally:
                if hasattr(answer, "close"):
                    answer.close()
        finally:
            turn.give()
            with self._lock:
                self._free += 1
