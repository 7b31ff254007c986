"""SIGKILL under load: of a worker, of the decoder, of the master. What was in the dead process is lost, and no more."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import psutil
import pytest
import requests

from tests.integration.faults.support import GOOD, SLOW, answer_of, assert_problem, request_bytes, send, slow_request
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import decoder_process, is_running, kill, until
from tests.integration.service.test_observation import samples

TEXTS = 8


def in_flight(server: Server, count: int) -> list[socket.socket]:
    """So many requests, none of which is answered; their sentences are decoded in turn, so that all end late."""
    connections = [
        send(server.port, request_bytes(slow_request(number, texts=TEXTS, beam_size=5))) for number in range(count)
    ]
    until(lambda: samples(server, "translate_requests_in_progress")[""] > count)  # it asks, too
    return connections


def workers(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def test_a_killed_decoder_fails_only_the_request_that_it_had(start_server: Callable[..., Server]) -> None:
    server = start_server(**SLOW)
    connections = in_flight(server, 12)
    kill(decoder_process(server))
    answers = [answer_of(connection) for connection in connections]
    assert sorted(status for status, _, _ in answers) == [200] * 11 + [503], "one sentence is decoded at a time"
    (failed,) = [answer for answer in answers if answer[0] == 503]
    assert "try again" in assert_problem(failed, 503)
    assert samples(server, "translate_rejections_total") == {"decoder": 1.0}
    assert samples(server, "translate_decoder_restarts_total") == {"en-fr": 1.0}
    assert requests.get(server.url + "/ready").status_code == 200
    assert server.end() == 0
    assert "Traceback" not in server.errors


@pytest.mark.slow
def test_a_stream_whose_decoder_is_killed_ends_in_an_event(start_server: Callable[..., Server]) -> None:
    server = start_server(**SLOW)
    answer = requests.post(
        server.url + "/translate", json=slow_request(0, texts=40), headers={"Accept": "text/event-stream"}, stream=True
    )
    lines = answer.iter_lines(decode_unicode=True)
    assert next(lines) == "event: sentence"
    kill(decoder_process(server))
    rest = list(lines)
    assert rest[rest.index("event: error") + 1].startswith("data: ")
    assert '"status": 503' in rest[rest.index("event: error") + 1]
    assert "event: done" not in rest
    assert server.end() == 0


@pytest.mark.slow
def test_a_killed_worker_takes_its_own_requests_along_and_is_replaced(start_server: Callable[..., Server]) -> None:
    server = start_server(TRANSLATE_WORKERS="2", **SLOW)
    until(lambda: samples(server, "translate_ready_workers") == {"": 2.0})
    connections = in_flight(server, 24)
    ours = {connection.getsockname()[1] for connection in connections}

    def handled(worker: psutil.Process) -> int:
        return sum(bool(one.raddr) and one.raddr.port in ours for one in worker.net_connections("tcp"))

    victim = max(workers(server), key=handled)
    lost = handled(victim)
    assert lost
    victim.send_signal(signal.SIGKILL)
    assert requests.post(server.url + "/translate", json=GOOD).status_code == 200, "there is another one"
    statuses = [answer_of(connection)[0] for connection in connections]
    assert sorted(statuses) == [0] * lost + [200] * (len(connections) - lost)
    until(lambda: len(workers(server)) == 2 and samples(server, "translate_ready_workers") == {"": 2.0})
    assert victim.pid not in [worker.pid for worker in workers(server)]
    assert server.end() == 0


@pytest.mark.slow
def test_while_its_only_worker_starts_again_clients_wait(start_server: Callable[..., Server]) -> None:
    server = start_server()
    (worker,) = workers(server)
    worker.send_signal(signal.SIGKILL)
    for _ in range(3):
        assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert server.end() == 0


def test_without_its_master_a_worker_answers_what_it_has_and_ends(start_server: Callable[..., Server]) -> None:
    server = start_server(**SLOW)
    (worker,) = workers(server)
    decoder = decoder_process(server)
    (connection,) = in_flight(server, 1)
    os.kill(server.process.pid, signal.SIGKILL)
    assert answer_of(connection)[0] == 200
    until(lambda: not is_running(worker.pid) and not is_running(decoder))
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", server.port))
