"""How much of a request has come, looked at without taking it from its socket.

A thread that reads a request waits for its sender. With as many senders of one byte a second as there are threads,
nobody else would be answered. So a request gets a thread when it is there; until then the kernel keeps what has come,
and wakes the worker when there is as much as was asked for (`SO_RCVLOWAT`).
"""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import dataclass
from enum import IntEnum

MOST_WAITED_BYTES = 65_536
"""No head of a request may be longer. Of a longer body the beginning is waited for; the rest a thread reads."""

_LONGEST_LINE = 8_190
_MOST_TAKEN = 16
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*(\d{1,15})[ \t]*\r\n", re.IGNORECASE)
# The client sends no body before it has an answer; or how long it is stands in the body.
_NOT_SENT_AT_ONCE = re.compile(rb"\r\n(?:expect|transfer-encoding)[ \t]*:", re.IGNORECASE)


class Stage(IntEnum):
    """What is waited for."""

    BEGINNING = 0
    HEAD = 1
    BODY = 2


class HeadTooLargeError(Exception):
    """There is no end of the request's head in sight."""


class TooSlowError(Exception):
    """The request has begun, and has not come in time."""


@dataclass(frozen=True)
class Arrival:
    """A request on its way: with `bytes` of it there will be more to say."""

    stage: Stage
    bytes: int


def awaited(received: bytes, most_body_bytes: int) -> Arrival | None:
    """What is still to be waited for of a request whose beginning is `received`; None where a thread can go on.

    A body that is announced as longer than `most_body_bytes` is not waited for: it is refused. Raises
    `HeadTooLargeError`.
    """
    head, end, _ = received.partition(_HEAD_END)
    if not end:
        if b"\r\n" not in received and len(received) > _LONGEST_LINE:
            return None  # refused, too
        if len(received) >= MOST_WAITED_BYTES:
            raise HeadTooLargeError
        return Arrival(Stage.HEAD if received else Stage.BEGINNING, len(received) + 1)
    head += b"\r\n"
    length = _LENGTH.search(head)
    if length is None or _NOT_SENT_AT_ONCE.search(head) or int(length[1]) > most_body_bytes:
        return None
    size = min(len(head) + len(b"\r\n") + int(length[1]), MOST_WAITED_BYTES)
    return Arrival(Stage.BODY, size) if len(received) < size else None


def peek(connection: socket.socket) -> bytes:
    """What has come, as far as it is looked at; empty at the end of the connection, too."""
    try:
        return connection.recv(MOST_WAITED_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:  # nothing there, or the connection is lost, which its reader will see
        return b""


def take(connection: socket.socket) -> None:
    """Take what has come off the socket: closed with it, an answer before it might not arrive."""
    with contextlib.suppress(OSError):
        for _ in range(_MOST_TAKEN):  # its sender may be faster than we are
            connection.recv(MOST_WAITED_BYTES, socket.MSG_DONTWAIT)


def wake_at(connection: socket.socket, count: int) -> None:
    """Let the connection count as readable when there are so many bytes, or no more can come."""
    with contextlib.suppress(OSError):  # it is lost
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, max(1, count))
