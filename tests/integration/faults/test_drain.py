"""SIGTERM while many requests are under way."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from tests.integration.faults.support import (
    GOOD,
    answer_of,
    assert_problem,
    head,
    is_open,
    request_bytes,
    send,
    slow_request,
)
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.integration.service.test_observation import samples
from tests.integration.service.test_server import _is_closed

COUNT = 200
DRAINED = {
    "TRANSLATE_CONCURRENT_REQUESTS": str(COUNT + 20),
    "TRANSLATE_QUEUE_TEXTS": "2000",
    "TRANSLATE_BATCH_ROWS": "12",
    "TRANSLATE_ENGINE": "reference",
    "TRANSLATE_DEADLINE_SECONDS": "600",
}


@pytest.mark.slow
def test_of_200_requests_in_flight_none_is_lost(start_server: Callable[..., Server]) -> None:
    server = start_server(**DRAINED)
    connections = [send(server.port, request_bytes(slow_request(number, texts=3))) for number in range(COUNT)]
    until(lambda: samples(server, "translate_requests_in_progress")[""] > COUNT - 20)
    answered = sum(not is_open(connection) for connection in connections)
    server.process.send_signal(signal.SIGTERM)
    assert answered < COUNT / 2, "else there is nothing to lose"
    for connection in connections:
        connection.setblocking(True)
        connection.settimeout(120.0)
    answers = [answer_of(connection) for connection in connections]
    assert [status for status, _, _ in answers] == [200] * COUNT
    assert all(len(document["translatedText"]) == 3 for _, _, document in answers)
    assert server.wait() == 0
    assert "Traceback" not in server.errors


def test_what_is_half_sent_at_the_end_is_refused_or_cut_off(start_server: Callable[..., Server]) -> None:
    server = start_server()
    body = json.dumps(GOOD).encode()
    whole = head("application/json", len(body)) + body
    late = [send(server.port, whole[:-5]) for _ in range(5)]
    never = send(server.port, whole[:-5])
    until(lambda: samples(server, "translate_requests_in_progress") == {"": 1.0})
    server.process.send_signal(signal.SIGTERM)
    until(lambda: _is_closed(server.port))
    for connection in late:
        connection.sendall(whole[-5:])
    for connection in late:
        assert "shutting down" in assert_problem(answer_of(connection), 503)
    assert_problem(answer_of(never), 408)
    assert server.wait() == 0
    assert "Traceback" not in server.errors
