"""Bytes that are hardly HTTP, to a running service: it answers with a status that fits, or closes, and lives on.

`make test` sends 100 cases of each property, `make test-all` 1,000.
"""

from __future__ import annotations

import json
import re
import socket

import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.faults.support import GOOD, PATIENCE
from tests.integration.service.conftest import Server

STATUSES = {200, 400, 404, 405, 408, 413, 414, 415, 417, 431, 501, 503}
fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def check(server: Server, content: bytes, *, last: bool = True) -> list[int]:
    """Send it and, where it is the last, that no more comes; the statuses of the answers."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(content)
            if last:
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65_536):
                received += more
        except ConnectionError:  # it may close before it has read all
            pass
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]
    statuses = [status for status in statuses if status != 100]
    assert set(statuses) <= STATUSES, received
    assert bool(statuses) == bool(received), received
    return statuses


BODY = json.dumps(GOOD).encode()
WHOLE = b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
    BODY
)
CHUNKED = (
    b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
)
PIECES = [
    *(
        b"POST /translate HTTP/1.1\r\n",
        b"GET /health HTTP/1.0\r\n",
        b"GET /",
        b" HTTP/9.9\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
    ),
    *(
        b"Host: x\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 9e9\r\n",
        b"Content-Length: ",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"Connection: "),
    *(
        b"Upgrade: h2c\r\n",
        b"X: " + b"y" * 9_000 + b"\r\n",
        b" folded\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\0",
        b"\xff",
    ),
    *(b"5\r\nhello\r\n", b"fffffffff\r\n", b"0\r\n\r\n", BODY, b"Content-Type: application/json\r\n"),
]


@fuzz
@given(st.binary(max_size=400))
def test_random_bytes(sturdy: Server, content: bytes) -> None:
    check(sturdy, content)


@fuzz
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12).map(b"".join))
def test_pieces_of_requests_in_any_order(sturdy: Server, content: bytes) -> None:
    check(sturdy, content)


@fuzz
@given(whole=st.sampled_from([WHOLE + BODY, CHUNKED]), place=st.integers(0, 1_000), bits=st.integers(1, 255))
def test_a_request_with_a_wrong_byte(sturdy: Server, whole: bytes, place: int, bits: int) -> None:
    content = bytearray(whole)
    content[place % len(whole)] ^= bits
    check(sturdy, bytes(content))


@fuzz
@given(st.lists(st.sampled_from([WHOLE + BODY, CHUNKED, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"]), max_size=3))
def test_several_requests_at_once_are_answered_one_by_one(sturdy: Server, several: list[bytes]) -> None:
    last = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert check(sturdy, b"".join(several) + last, last=False) == [200] * (len(several) + 1)


def test_it_lives(sturdy: Server) -> None:
    assert requests.get(sturdy.url + "/ready").status_code == 200
    assert requests.post(sturdy.url + "/translate", json=GOOD).status_code == 200
