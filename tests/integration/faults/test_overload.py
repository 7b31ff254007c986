"""More than can be answered: what is refused, how, and what becomes of what was taken in."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.integration.faults.support import (
    GOOD,
    SLOW,
    answer_of,
    assert_problem,
    is_open,
    read_answer,
    request_bytes,
    send,
    slow_request,
)
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.integration.service.test_models import decoders
from tests.integration.service.test_observation import samples

OVERLOADS = {
    "queue_full": {"TRANSLATE_TEXTS_PER_REQUEST": "40", "TRANSLATE_QUEUE_TEXTS": "40"},
    "too_many_requests": {"TRANSLATE_CONCURRENT_REQUESTS": "1"},
}
OF_GUNICORN = {"server", "date", "connection"}
EACH_TIME_ANOTHER = {"x-request-id", "traceparent", "content-length"}


def headers_of(head: str) -> dict[str, str]:
    pairs = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    values = {name: "" if name in EACH_TIME_ANOTHER else value for name, value in pairs.items()}
    return {name: value for name, value in values.items() if name not in OF_GUNICORN}


@pytest.mark.parametrize("reason", OVERLOADS)
def test_while_it_is_overloaded_requests_are_refused_at_the_door(
    start_server: Callable[..., Server], reason: str
) -> None:
    server = start_server(**SLOW, **OVERLOADS[reason])
    (decoder,) = decoders(server)
    os.kill(decoder, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as pool:
        taken_in = [pool.submit(requests.post, server.url + "/translate", json=slow_request(0, texts=40))]
        until(lambda: samples(server, "translate_queue_sentences")["en-fr"] > 36)
        # In one piece: where the body comes after the head, a request may go the long way.
        big = answer_of(send(server.port, request_bytes(slow_request(1, texts=40))))
        assert_problem(big, 503)

        connection = send(server.port, request_bytes(GOOD, "X-Request-ID: mine"))
        answer = read_answer(connection)
        says = assert_problem(answer, 503)
        assert (answer[2]["requestId"], answer[2]["instance"]) == ("mine", "/translate")
        connection.sendall(2 * request_bytes(GOOD))
        until(lambda: samples(server, "translate_rejections_total")[reason] >= 4)
        assert requests.get(server.url + "/health").status_code == 200

        long_way = answer_of(send(server.port, request_bytes(slow_request(2, texts=40), "Origin: http://x")))
        _, long_head, long_document = long_way
        assert assert_problem(long_way, 503) == says
        assert headers_of(answer[1]) == headers_of(long_head)
        assert answer[2].keys() == long_document.keys()
        connection.close()
        os.kill(decoder, signal.SIGCONT)

        assert [one.result().status_code for one in taken_in] == [200]
    # The request that has its answer may not have left yet, and then takes the only place.
    statuses = [requests.post(server.url + "/translate", json=GOOD).status_code]
    until(
        lambda: statuses[-1] == 200 or statuses.append(requests.post(server.url + "/translate", json=GOOD).status_code)
    )
    assert set(statuses) <= {200, 503}
    assert server.end() == 0
    # Where the queue is full, the first one is refused by it, and so closes the door.
    at_the_door = 3 if reason == "queue_full" else 4
    lines = [json.loads(line) for line in server.errors.splitlines() if '"requests refused"' in line]
    assert sum(line["count"] for line in lines) in range(at_the_door, at_the_door + len(statuses))
    assert {line["reason"] for line in lines} == {reason}
    assert "Traceback" not in server.errors
    assert not re.search("station|child", server.errors), "no text of anybody"


def test_clients_that_are_refused_and_stay_keep_nobody_out(start_server: Callable[..., Server]) -> None:
    """A worker has 800 connections: what the threads need of them is never taken by those that only wait."""
    server = start_server(**SLOW, **OVERLOADS["queue_full"])
    (decoder,) = decoders(server)
    os.kill(decoder, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as connections:
        taken_in = pool.submit(requests.post, server.url + "/translate", json=slow_request(0, texts=40))
        until(lambda: samples(server, "translate_queue_sentences")["en-fr"] > 36)
        assert requests.post(server.url + "/translate", json=slow_request(1, texts=40)).status_code == 503
        connections.callback(os.kill, decoder, signal.SIGCONT)
        kept = 0
        for _ in range(17):
            # Some at once: one after the other they would take longer than the first of them are kept.
            clients = [connections.enter_context(send(server.port, request_bytes(GOOD))) for _ in range(50)]
            for connection in clients:
                answer = read_answer(connection)
                assert_problem(answer, 503)
                if is_kept := "connection: keep-alive" in answer[1]:
                    assert is_open(connection)
                else:
                    assert read_answer(connection) == (0, "", None)
                kept += is_kept
        assert 400 < kept < 750
        assert requests.get(server.url + "/health", timeout=5).status_code == 200
        os.kill(decoder, signal.SIGCONT)
        assert taken_in.result().status_code == 200
    assert server.end() == 0
