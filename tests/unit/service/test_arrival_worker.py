"""Whom the worker looks at at once: while the service is overloaded, and while its threads wait for their clients."""

from __future__ import annotations

import os
import select
import selectors
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from threading import Semaphore, Thread
from typing import Any

import pytest
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.sock import create_sockets

from service import arrival_worker
from service.admission import Admission
from service.arrival_worker import ArrivalWorker
from service.state import service_of
from tests.unit.service.capitals import PATIENCE

REST_SECONDS = 2.0
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b'{"q": "one", "source": "en", "target": "fr"}'
TRANSLATE = b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


class Running:
    """A worker in a thread of this process, around the application of `client`."""

    def __init__(self, client: Any) -> None:
        class Application(BaseApplication):  # type: ignore[misc]  # gunicorn is not typed
            def load_config(self) -> None:
                self.cfg.set("bind", "127.0.0.1:0")
                self.cfg.set("threads", 2)

            def load(self) -> Any:
                return client.application

        self.service = service_of(client.application)
        application = Application()
        log = Logger(application.cfg)
        listeners = create_sockets(application.cfg, log)
        self.port = listeners[0].getsockname()[1]
        self._worker = ArrivalWorker(0, os.getppid(), listeners, application, 30, application.cfg, log)
        self._worker.wsgi = client.application
        self._worker.tpool = self._worker.get_thread_pool()
        self._worker.poller = selectors.DefaultSelector()
        self._worker.method_queue.init()
        self._thread = Thread(target=self._worker.run)
        self._thread.start()

    def overload(self) -> None:
        """As when no request can be let in beside those that are worked on."""
        self.service.admission = Admission(self.service, 0)  # type: ignore[arg-type]  # nothing is sent through it

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def end(self) -> None:
        self._worker.handle_exit(None, None)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._worker.tmp.close()


@pytest.fixture
def worker(client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(arrival_worker, "_GATHERING_SECONDS", REST_SECONDS)
    running = Running(client)
    yield running
    running.end()


def status(connection: socket.socket, request: bytes = b"") -> int:
    connection.sendall(request)
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def waits(connection: socket.socket) -> bool:
    """Whether nothing has come for a moment that is much shorter than a rest."""
    return not select.select([connection], [], [], REST_SECONDS / 10)[0]


def has_an_answer(connection: socket.socket) -> bool:
    """Whether something comes before a rest could have ended."""
    return bool(select.select([connection], [], [], REST_SECONDS / 2)[0])


@pytest.fixture
def refused_and_answered(worker: Running) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two clients of a worker that is overloaded: the one has just been refused, the other has had an answer before."""
    with worker.connect() as refused, worker.connect() as answered:
        assert status(answered, HEALTH) == 200
        worker.overload()
        assert status(refused, TRANSLATE) == 503
        yield refused, answered


def test_who_was_refused_and_who_is_new_wait_for_the_end_of_the_rest(
    worker: Running, refused_and_answered: tuple[socket.socket, socket.socket]
) -> None:
    refused, _ = refused_and_answered
    refused.sendall(TRANSLATE)
    with worker.connect() as new:
        new.sendall(TRANSLATE)
        assert waits(refused)
        assert waits(new)
        assert status(refused) == 503
        assert status(new) == 503


def test_who_has_had_an_answer_does_not_wait(refused_and_answered: tuple[socket.socket, socket.socket]) -> None:
    refused, answered = refused_and_answered
    refused.sendall(TRANSLATE)
    for _ in range(3):
        assert status(answered, HEALTH) == 200
    assert waits(refused)
    assert status(refused) == 503


def test_the_rest_ends_with_the_overload(
    worker: Running, refused_and_answered: tuple[socket.socket, socket.socket]
) -> None:
    refused, answered = refused_and_answered
    refused.sendall(HEALTH)
    assert waits(refused)
    worker.service.admission = None
    assert status(answered, HEALTH) == 200
    assert has_an_answer(refused)
    assert status(refused) == 200


def test_a_thread_that_waits_for_its_client_s_next_request_gives_way_to_who_waits_for_a_thread(
    worker: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_worker, "_LINGERING_SECONDS", REST_SECONDS)
    may_go_on = ArrivalWorker._may_go_on
    lingering = Semaphore(0)

    def seen(worker: ArrivalWorker, conn: Any) -> bool:
        if may := may_go_on(worker, conn):
            lingering.release()
        return may

    monkeypatch.setattr(ArrivalWorker, "_may_go_on", seen)
    with worker.connect() as one, worker.connect() as other, worker.connect() as new:
        for connection in (one, other):  # there are two threads
            assert status(connection, HEALTH) == 200
            assert lingering.acquire(timeout=PATIENCE)  # or the first would already give way to the second
        new.sendall(HEALTH)
        assert waits(new)
        one.sendall(HEALTH)
        assert has_an_answer(new)
        assert [status(new), status(one)] == [200, 200]


def test_a_request_that_comes_at_once_and_one_that_comes_later_are_both_answered(
    worker: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_worker, "_LINGERING_SECONDS", 0.1)
    with worker.connect() as connection:
        for pause in (0.0, 0.0, 0.3, 0.0):
            time.sleep(pause)
            assert status(connection, HEALTH) == 200
        connection.sendall(HEALTH[:20])  # half of one, for which no thread waits
        time.sleep(0.3)
        connection.sendall(HEALTH[20:] + HEALTH)
        answers = b""
        while answers.count(b'{"status":"ok"}') < 2 and (more := connection.recv(65_536)):
            answers += more
        assert answers.count(b"HTTP/1.1 200 ") == 2
