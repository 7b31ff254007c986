"""How much of a request is waited for before a thread reads it."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.arrival import MOST_WAITED_BYTES, Arrival, HeadTooLargeError, Stage, awaited, peek, take, wake_at

LIMIT = 1_000_000
HEAD = b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"", Arrival(Stage.BEGINNING, 1)),
        (b"G", Arrival(Stage.HEAD, 2)),
        (HEAD[:-1], Arrival(Stage.HEAD, len(HEAD))),
        (HEAD, Arrival(Stage.BODY, len(HEAD) + 10)),
        (HEAD + b"123456789", Arrival(Stage.BODY, len(HEAD) + 10)),
        (HEAD + b"1234567890", None),
        (HEAD + b"1234567890GET / HT", None),
        (b"GET /health HTTP/1.1\r\n\r\n", None),
        (b"nonsense\r\n\r\n", None),
        (b"x" * 9_000, None),
        (b"GET / HTTP/1.1\r\ncontent-length : 5\r\n\r\n", Arrival(Stage.BODY, 43)),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nContent-Length: five\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nX-Content-Length: 5\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nContent-Length: 1000001\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nContent-Length: 999999\r\n\r\n", Arrival(Stage.BODY, MOST_WAITED_BYTES)),
    ],
)
def test_what_is_waited_for(received: bytes, expected: Arrival | None) -> None:
    assert awaited(received, LIMIT) == expected


def test_a_head_without_end() -> None:
    line = b"X: y\r\n"
    lines = line * (MOST_WAITED_BYTES // len(line))
    assert awaited(lines, LIMIT) == Arrival(Stage.HEAD, len(lines) + 1)
    with pytest.raises(HeadTooLargeError):
        awaited(lines + line, LIMIT)


@given(st.binary(max_size=300) | st.builds(lambda one, two: one + HEAD + two, st.binary(max_size=9), st.binary()))
def test_more_is_always_more_than_there_is(received: bytes) -> None:
    """Else it would be waited for what is there, for ever."""
    wanted = awaited(received, LIMIT)
    assert wanted is None or len(received) < wanted.bytes <= MOST_WAITED_BYTES


def test_looking_takes_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        served, _ = listener.accept()
        with served:
            assert peek(served) == b""
            client.sendall(b"four")
            wake_at(served, 4)  # a blocking read waits for as much, too
            assert served.recv(1, socket.MSG_PEEK) == b"f"
            assert peek(served) == peek(served) == b"four"
            take(served)
            assert peek(served) == b""
        assert peek(served) == b"", "closed"
