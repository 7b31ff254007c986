"""What the tests of faults have in common: requests as bytes, answers as status and problem."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from typing import Any

PATIENCE = 120.0
GOOD = {"q": "Where is the station?", "source": "en", "target": "fr"}
# One sentence at a time, without the fast engine: so slow that a test can do something meanwhile.
SLOW = {"TRANSLATE_ENGINE": "reference", "TRANSLATE_BATCH_ROWS": "1", "TRANSLATE_DEADLINE_SECONDS": "600"}


def slow_request(number: int, *, texts: int, beam_size: int = 12) -> dict[str, object]:
    """Different texts of one sentence each, which nobody else asks for."""
    return {**GOOD, "q": [f"The child number {number} {k} is playing." for k in range(texts)], "beam_size": beam_size}


def request_bytes(document: object, *headers: str) -> bytes:
    body = json.dumps(document).encode()
    return head("application/json", len(body), *headers) + body


def head(content_type: str, length: int, *headers: str, path: str = "/translate") -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        *headers,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def send(port: int, request: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(request)
    return connection


def answer_of(connection: socket.socket) -> tuple[int, str, Any]:
    """Read one answer and close."""
    with connection:
        return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, str, Any]:
    """The next answer's status, its head in small letters, its body as JSON. Status 0: there is none."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while not _is_whole(received):
            more = connection.recv(65_536)
            if not more:
                break
            received += more
    if not received:
        return 0, "", None
    top, _, body = received.partition(b"\r\n\r\n")
    return int(top.split()[1]), top.decode("latin-1").lower(), json.loads(body) if body else None


def _is_whole(received: bytes) -> bool:
    top, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", top.lower())
    return bool(end) and length is not None and len(body) >= int(length[1])


def assert_problem(answer: tuple[int, str, Any], status: int) -> str:
    """It is a problem with this status; what it says."""
    answered, top, problem = answer
    assert answered == status, problem
    assert "content-type: application/problem+json" in top
    assert problem["status"] == status
    assert problem["error"] == problem["detail"] != ""
    if status == 503:
        assert "retry-after: " in top
    return str(problem["detail"])


def is_open(connection: socket.socket) -> bool:
    """Whether the server has neither closed nor answered."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
