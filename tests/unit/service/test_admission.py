"""Who is let in, and who of those goes on first."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from service.admission import REFUSED, TURN, Admission
from tests.unit.service.capitals import PATIENCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Application:
    """Notes who enters and goes on; a POST takes its turn after `may_go_on`, and sends its path in two pieces."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.at_work: list[str] = []
        self.most_at_work = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if REFUSED in environ:
            return [b"refused"]
        if environ["REQUEST_METHOD"] == "GET":
            return [b"well"]
        self.entered.release()
        assert self.may_go_on.wait(PATIENCE)
        if path == "/broken":
            environ[TURN].take()
            raise ValueError(path)
        return self._pieces(path, environ)

    def _pieces(self, path: str, environ: WSGIEnvironment) -> Iterator[bytes]:
        for _ in range(2):
            environ[TURN].take()
            environ[TURN].take()  # which it has already
            self.at_work.append(path)
            self.most_at_work = max(self.most_at_work, len(self.at_work))
            time.sleep(0.001)  # another one would have the time to be here
            self.at_work.remove(path)
            yield path.encode()


def ask(admission: Admission, path: str, method: str = "POST") -> bytes:
    def start_response(*_: Any) -> Any: ...

    return b"".join(admission({"REQUEST_METHOD": method, "PATH_INFO": path}, start_response))


def test_no_more_are_let_in_than_there_are_places_until_one_is_answered() -> None:
    application = Application()
    admission = Admission(application, 2)
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(ask, admission, path) for path in ("/a", "/b")]
        for _ in first:
            assert application.entered.acquire(timeout=PATIENCE)
        assert admission.full
        assert ask(admission, "/c") == b"refused"
        assert ask(admission, "/health", "GET") == b"well"
        application.may_go_on.set()
        assert sorted(one.result(PATIENCE) for one in first) == [b"/a/a", b"/b/b"]
    assert not admission.full
    assert ask(admission, "/c") == b"/c/c"


def test_they_go_on_one_at_a_time_and_nobody_keeps_the_turn() -> None:
    application = Application()
    admission = Admission(application, 50)
    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(ask, admission, "/broken" if number % 5 == 0 else f"/{number}") for number in range(50)]
        for _ in answers:
            assert application.entered.acquire(timeout=PATIENCE)
        application.may_go_on.set()
        for number, answer in enumerate(answers):
            if number % 5 == 0:
                with pytest.raises(ValueError, match="broken"):
                    answer.result(PATIENCE)
            else:
                assert answer.result(PATIENCE) == 2 * f"/{number}".encode()
    assert application.most_at_work == 1
    assert not admission.full
    assert ask(admission, "/c") == b"/c/c"


def test_a_thread_that_sends_has_given_its_turn_back() -> None:
    application = Application()
    application.may_go_on.set()
    admission = Admission(application, 2)
    slow = iter(admission({"REQUEST_METHOD": "POST", "PATH_INFO": "/slow"}, lambda *_: lambda _: None))
    assert next(slow) == b"/slow"  # and its client takes its time
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask, admission, "/quick").result(PATIENCE) == b"/quick/quick"
    assert list(slow) == [b"/slow"]
