"""Refusing at the door: while the service is overloaded, a request for a translation is answered with 503 when it
has come, by the poller and without a thread.

A thread, the HTTP parser and Flask cost a millisecond of a core, which the decoder lacks; with many times more requests
than can be answered that is a good part of its time. Only plain requests are refused here. Those whose answer depends
on more (a page of another origin, a chunked body) go the long way to the same answer. It says nothing of keys, of rates
and of HTTPS (`Strict-Transport-Security`): none of them is looked at.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus

import structlog

from service.observation import SECURITY_HEADERS, count, request_id_of
from service.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, problem_document
from service.state import Service

log = structlog.get_logger(__name__)

_ROUTE = "/translate"
_BEGINNING = f"POST {_ROUTE} HTTP/1.1".encode()
_HEAD_END = b"\r\n\r\n"
# Stricter than the HTTP parser behind: what the two could read differently goes to that one.
_HEADERS = re.compile(rb"(?:\r\n[A-Za-z0-9-]+:[\t\x20-\x7e\x80-\xff]*){1,100}")
_HEADER = re.compile(rb"\r\n([^:]+):([^\r]*)")
_NOT_PLAIN = frozenset([b"origin", b"expect", b"transfer-encoding", b"content-encoding", b"upgrade", b"http2-settings"])
_LENGTH = re.compile(rb"\d{1,9}")
_STATUS_AND_HEADERS = "".join(
    [
        f"HTTP/1.1 {HTTPStatus.SERVICE_UNAVAILABLE:d} {HTTPStatus.SERVICE_UNAVAILABLE.phrase}\r\n"
        f"Content-Type: {MEDIA_TYPE}\r\nRetry-After: {RETRY_AFTER_SECONDS}\r\n"
        "Cache-Control: no-store\r\n",
        *(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items()),
    ]
)


@cache
def _problem_around_the_id(detail: str) -> tuple[bytes, bytes]:
    """What stands before and after the request's id, as JSON, in the answer's body."""
    place = "the id"
    document = problem_document(HTTPStatus.SERVICE_UNAVAILABLE, detail, instance=_ROUTE, request_id=place)
    before, _, after = document.rpartition(json.dumps(place).encode())
    return before, after


@dataclass(frozen=True)
class PlainRequest:
    """A whole request for a translation, of `size` bytes with its body, whose sender keeps the connection open."""

    size: int
    request_id: str
    traceparent: str


def plain_request(received: bytes) -> PlainRequest | None:
    """The plain request that `received` begins with, if that is what it is."""
    if not received.startswith(_BEGINNING):
        return None
    head, end, body = received.partition(_HEAD_END)
    if not end or not _HEADERS.fullmatch(head, len(_BEGINNING)):
        return None
    found = _HEADER.findall(head)
    headers = {name.lower(): value.strip(b" \t") for name, value in found}
    length = headers.get(b"content-length", b"")
    if not (
        len(headers) == len(found)  # none is there twice
        and headers.keys().isdisjoint(_NOT_PLAIN)
        and headers.get(b"connection", b"keep-alive").lower() == b"keep-alive"
        and _LENGTH.fullmatch(length)
        and int(length) <= len(body)
    ):
        return None
    request_id, traceparent = (headers.get(name, b"").decode("latin-1") for name in (b"x-request-id", b"traceparent"))
    return PlainRequest(len(head) + len(_HEAD_END) + int(length), request_id, traceparent)


class Door:
    """Answers for the service while it is overloaded. For the poller's thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._refused: Counter[str] = Counter()

    def refusal(self, received: bytes, overload: tuple[str, str], *, keep_alive: bool) -> tuple[int, bytes] | None:
        """How many of the bytes make up a request that is refused for this `Service.overload`, and its answer, which
        says whether the connection is kept; None where it goes the long way.
        """
        service = self._service
        request = plain_request(received)
        if request is None or request.size > service.settings.body_bytes:
            return None
        begun = time.monotonic()
        detail, reason = overload
        self._refused[reason] += 1
        status = HTTPStatus.SERVICE_UNAVAILABLE
        request_id = request_id_of(request.request_id)
        trace, span = service.tracing.begin(request.traceparent)
        before, after = _problem_around_the_id(detail)
        body = b"%b%b%b" % (before, json.dumps(request_id).encode(), after)
        head = (
            f"{_STATUS_AND_HEADERS}Content-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n"
            f"X-Request-ID: {request_id}\r\ntraceparent: {trace.traceparent}\r\n\r\n"
        )
        count(service, "POST", _ROUTE, int(status), time.monotonic() - begun, reason, span)
        return request.size, head.encode("latin-1") + body

    def report(self) -> None:
        """A line in the log for all that were refused since the last one: a line each would cost more than they do."""
        for reason, number in self._refused.items():
            log.warning("requests refused", reason=reason, status=int(HTTPStatus.SERVICE_UNAVAILABLE), count=number)
        self._refused.clear()
