"""What is refused at the door: whole, plain requests for a translation, and only while the queue is full."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from service.jobs import Amount, Backlog, Job, QueueFullError
from service.problems import problem_document
from service.shedding import Door, PlainRequest, plain_request
from service.state import QUEUE_FULL, service_of

HEAD = b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
WHOLE = HEAD + b"\r\nbody"


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (WHOLE, PlainRequest(len(WHOLE), "", "")),
        (WHOLE + b"POST /translate HT", PlainRequest(len(WHOLE), "", "")),
        (
            HEAD + b"x-request-id:  one \r\nTraceParent: 00-1\r\n\r\nbody",
            PlainRequest(len(WHOLE) + 40, "one", "00-1"),
        ),
        (HEAD + b"Connection: Keep-Alive\r\n\r\nbody", PlainRequest(len(WHOLE) + 24, "", "")),
    ],
)
def test_plain_requests(received: bytes, expected: PlainRequest) -> None:
    assert plain_request(received) == expected


@pytest.mark.parametrize(
    "received",
    [
        b"",
        WHOLE[:-1],
        HEAD,
        WHOLE.replace(b"POST", b"GET"),
        WHOLE.replace(b"/translate", b"/translate?q=1"),
        WHOLE.replace(b"/translate", b"/translate_file"),
        WHOLE.replace(b"/translate", b"/v2/translate"),
        WHOLE.replace(b"1.1", b"1.0"),
        WHOLE.replace(b"Content-Length", b"Content-Width"),
        WHOLE.replace(b": 4", b": -4"),
        WHOLE.replace(b": 4", b": four"),
        *(
            HEAD + line + b"\r\n\r\nbody"
            for line in (
                b"Content-Length: 4",
                b"Transfer-Encoding: chunked",
                b"Expect: 100-continue",
                b"Origin: https://example.org",
                b"Connection: close",
                b" folded",
                b"without a colon",
                b"under_score: 1",
                b"A: b\nTransfer-Encoding: chunked",
                b"A: b\rContent-Length: 50",
                b"A: b\n\nGET / HTTP/1.1",
                b"A: \0",
                b"A : b",
                b"\r\n".join([b"A%d: b" % number for number in range(100)]),
            )
        ),
        WHOLE.replace(b": 4", b": \x0b4"),
        WHOLE.replace(b": 4", b": 4\x0c"),
    ],
)
def test_others_go_the_long_way(received: bytes) -> None:
    assert plain_request(received) is None


@given(st.lists(st.sampled_from([HEAD, WHOLE, b"\r\n", b"a: b", b"Content-Length: 9", b"\0"]) | st.binary(max_size=9)))
def test_no_more_is_taken_than_has_come(pieces: list[bytes]) -> None:
    received = b"".join(pieces)
    request = plain_request(received)
    assert request is None or request.size <= len(received)


@pytest.mark.parametrize("request_id", ["mine", '"', "\\", '","error":"', "the", "~" * 128, "{}%b%s"])
def test_a_refusal_is_the_same_problem_as_behind_the_door(client: FlaskClient, request_id: str) -> None:
    door = Door(service_of(client.application))
    received = HEAD + f"X-Request-ID: {request_id}\r\n\r\nbody".encode()
    refusal = door.refusal(received, QUEUE_FULL, keep_alive=True)
    assert refusal is not None
    size, answer = refusal
    assert size == len(received)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == problem_document(503, QUEUE_FULL[0], instance="/translate", request_id=request_id)
    assert f"\r\nX-Request-ID: {request_id}\r\n".encode() in head
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head


def test_a_full_queue_is_overloaded_until_it_is_a_tenth_emptier() -> None:
    backlog = Backlog(Amount(10, 1_000, 100, 1_000))
    jobs = [Job(0.0, Amount(texts=1, characters=9)) for _ in range(10)]
    for job in jobs:
        backlog.take_in(job)
        assert not backlog.overloaded
    with pytest.raises(QueueFullError):
        backlog.take_in(Job(0.0, Amount(texts=1)))
    assert backlog.overloaded
    backlog.release(jobs[0], jobs[0].waits)
    assert not backlog.overloaded
    backlog.take_in(jobs[0])
    assert not backlog.overloaded, "it holds as much as before, and refuses nobody"


def test_one_request_that_is_too_large_for_what_is_left_closes_no_door() -> None:
    backlog = Backlog(Amount(10, 1_000, 100, 1_000))
    backlog.take_in(Job(0.0, Amount(texts=5)))
    with pytest.raises(QueueFullError):
        backlog.take_in(Job(0.0, Amount(texts=6)))
    assert not backlog.overloaded
