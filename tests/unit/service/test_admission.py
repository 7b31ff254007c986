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
    """Notes who enters and goes on; a POST takes its turn after `may_go_on`, and sends its name in two pieces."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.at_work: list[str] = []
        self.most_at_work = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ["QUERY_STRING"]
        if REFUSED in environ:
            return [b"refused"]
        if environ["REQUEST_METHOD"] == "GET":
            return [b"well"]
        self.entered.release()
        assert self.may_go_on.wait(PATIENCE)
        if name == "/broken":
            environ[TURN].take()
            raise ValueError(name)
        return self._pieces(name, environ)

    def _pieces(self, name: str, environ: WSGIEnvironment) -> Iterator[bytes]:
        for _ in range(2):
            environ[TURN].take()
            environ[TURN].take()  # which it has already
            self.at_work.append(name)
            self.most_at_work = max(self.most_at_work, len(self.at_work))
            time.sleep(0.001)  # another one would have the time to be here
            self.at_work.remove(name)
            yield name.encode()


def start(
    admission: Admission, name: str, *, method: str = "POST", path: str = "/translate", size: str = "10"
) -> Iterable[bytes]:
    def start_response(*_: Any) -> Any: ...

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": name, "CONTENT_LENGTH": size}
    return admission(environ, start_response)


def ask(admission: Admission, name: str, **others: str) -> bytes:
    return b"".join(start(admission, name, **others))


def test_no_more_are_let_in_than_there_are_places_until_one_is_answered() -> None:
    application = Application()
    admission = Admission(application, 2)
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(ask, admission, name) for name in ("/a", "/b")]
        for _ in first:
            assert application.entered.acquire(timeout=PATIENCE)
        assert admission.full
        assert ask(admission, "/c") == b"refused"
        assert ask(admission, "health", method="GET") == b"well"
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
    slow = iter(start(admission, "/slow"))
    assert next(slow) == b"/slow"  # and its client takes its time
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask, admission, "/quick").result(PATIENCE) == b"/quick/quick"
    assert list(slow) == [b"/slow"]


@pytest.mark.parametrize("others", [{"path": "/admin/reload"}, {"size": "4097"}, {"size": ""}, {"size": "²"}])
def test_others_than_small_translations_neither_wait_for_turns_nor_keep_them(others: dict[str, str]) -> None:
    application = Application()
    application.may_go_on.set()
    admission = Admission(application, 3)
    turns = threading.Lock()
    admission._turns = turns
    with ThreadPoolExecutor(1) as pool:
        with turns:
            assert pool.submit(ask, admission, "/a", **others).result(PATIENCE) == b"/a/a"
            waiting = pool.submit(ask, admission, "/b")
            assert application.entered.acquire(timeout=PATIENCE)
            assert application.entered.acquire(timeout=PATIENCE)
            assert not waiting.done()
        assert waiting.result(PATIENCE) == b"/b/b"
