"""Clients that send a byte now and then: more of them than there are threads, and nobody else waits for them."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.integration.faults.support import (
    GOOD,
    answer_of,
    assert_problem,
    head,
    is_open,
    read_answer,
    request_bytes,
    send,
)
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.integration.service.test_observation import samples

FEW_THREADS = {"TRANSLATE_CONCURRENT_REQUESTS": "4"}  # and eight in reserve
CLIENTS = 60
PAUSE_SECONDS = 0.05


class Dribble:
    """Sends one byte after the other on many connections, until it is told to stop."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        """The first byte goes out at once, on each."""
        self.connections = [send(port, request[:1]) for request in requests]
        self._requests = requests
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        for place in itertools.count(1):
            for connection, request in zip(self.connections, self._requests, strict=True):
                try:
                    connection.send(request[place : place + 1])
                except OSError:
                    continue
            if self._stopped.wait(PAUSE_SECONDS):
                return

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def dribble() -> Iterator[Callable[..., Dribble]]:
    running: list[Dribble] = []

    def start(port: int, requests: list[bytes]) -> Dribble:
        running.append(Dribble(port, requests))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def endless_head() -> bytes:
    return b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(2_000))


def endless_body() -> bytes:
    return head("application/json", 60_000) + b" " * 50_000


@pytest.mark.parametrize("request_of", [endless_head, endless_body])
def test_slow_senders_keep_nobody_waiting(
    start_server: Callable[..., Server], dribble: Callable[..., Dribble], request_of: Callable[[], bytes]
) -> None:
    server = start_server(**FEW_THREADS)
    content = request_of()
    dribbling = dribble(server.port, [content] * CLIENTS)
    # The heads of those with a body are there at once.
    if request_of is endless_body:
        for connection in dribbling.connections:
            connection.sendall(content[1 : content.index(b"\r\n\r\n") + 4])
    time.sleep(4 * PAUSE_SECONDS)
    for _ in range(5):
        assert requests.get(server.url + "/health").status_code == 200
        assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert all(is_open(connection) for connection in dribbling.connections), "nobody had to be cut off for it"
    assert samples(server, "translate_requests_in_progress") == {"": 1.0}
    assert server.end() == 0
    assert "Traceback" not in server.errors


def test_slow_but_honest_clients_are_answered(start_server: Callable[..., Server]) -> None:
    server = start_server()
    whole = request_bytes({**GOOD, "q": "é" * 50})
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=60.0) for _ in range(20)]
    for place in range(len(whole)):
        for connection in connections:
            connection.send(whole[place : place + 1])
    # And a second request on the same connections, half of which came together with the first one's end.
    assert {answer_of(connection)[0] for connection in connections[10:]} == {200}
    for connection in connections[:10]:
        assert read_answer(connection)[0] == 200
        connection.sendall(whole + whole[:90])
        assert read_answer(connection)[0] == 200
        connection.sendall(whole[90:])
        assert answer_of(connection)[0] == 200
    assert server.end() == 0


@pytest.mark.parametrize("size", [60_000, 70_000, 300_000])
def test_bodies_of_any_size_arrive_in_pieces(sturdy: Server, size: int) -> None:
    body = json.dumps(GOOD).encode().ljust(size)
    connection = send(sturdy.port, head("application/json", len(body)))
    for start in range(0, len(body), 9_999):
        connection.sendall(body[start : start + 9_999])
    assert answer_of(connection)[0] == 200


def test_a_head_without_end_is_refused(sturdy: Server) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 60) for number in range(90))
    connection = send(sturdy.port, b"GET /health HTTP/1.1\r\nHost: x\r\n" + lines)
    for _ in range(12):
        connection.sendall(lines)
    assert "headers are too large" in assert_problem(answer_of(connection), 431)


def test_half_a_request_and_then_the_end(sturdy: Server) -> None:
    whole = request_bytes(GOOD)
    for length in (1, 40, len(whole) - 5):
        connection = send(sturdy.port, whole[:length])
        connection.shutdown(socket.SHUT_WR)
        assert answer_of(connection)[0] in (0, 400, 408)
    assert requests.get(sturdy.url + "/health").status_code == 200


@pytest.mark.slow
def test_slow_senders_are_cut_off_in_the_end(
    start_server: Callable[..., Server], dribble: Callable[..., Dribble]
) -> None:
    server = start_server(TRANSLATE_DEADLINE_SECONDS="2", TRANSLATE_TRANSFER_SECONDS="1", **FEW_THREADS)
    content = endless_body()
    dribbling = dribble(server.port, [endless_head()] * CLIENTS + [content] * CLIENTS)
    for connection in dribbling.connections[CLIENTS:]:
        connection.sendall(content[1 : content.index(b"\r\n\r\n") + 4])
    until(lambda: not any(is_open(connection) for connection in dribbling.connections))
    assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert server.end() == 0
    assert "Traceback" not in server.errors
