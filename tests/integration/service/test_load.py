"""Clients that leave, queues that are full: what is asked of the service then, over real sockets."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.integration.service.test_observation import samples

GOOD = {"q": "Where is the station?", "source": "en", "target": "fr"}
SLOW = {"TRANSLATE_ENGINE": "reference", "TRANSLATE_BATCH_ROWS": "1", "TRANSLATE_DEADLINE_SECONDS": "600"}


def long_request(sentences: int) -> dict[str, object]:
    """A hundred texts of so many sentences each, which a slow service is busy with for seconds."""
    texts = [" ".join(f"The child number {n} {k} is playing." for k in range(sentences)) for n in range(100)]
    return {**GOOD, "q": texts, "beam_size": 12}


def send(port: int, document: dict[str, object]) -> socket.socket:
    body = json.dumps(document).encode()
    head = (
        f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_a_client_that_leaves_takes_its_sentences_along(start_server: Callable[..., Server], how: str) -> None:
    server = start_server(**SLOW)
    connection = send(server.port, long_request(10))
    until(lambda: samples(server, "translate_queue_texts")["en-fr"] > 50)
    if how == "resets":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    until(lambda: samples(server, "translate_queue_texts") == {"en-fr": 0.0})
    until(lambda: samples(server, "translate_rejections_total") == {"client_gone": 1.0})
    assert samples(server, "translate_sentences_total")["en-fr"] < 500
    assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert server.end() == 0
    assert "Traceback" not in server.errors


def test_a_full_queue_answers_at_once_and_says_so(start_server: Callable[..., Server]) -> None:
    server = start_server(TRANSLATE_QUEUE_SENTENCES="400", **SLOW)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(requests.post, server.url + "/translate", json=long_request(4))
        until(lambda: samples(server, "translate_queue_load_ratio")["en-fr"] > 0.9)
        refused = requests.post(server.url + "/translate", json=long_request(4))
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert requests.get(server.url + "/ready").status_code == 503
        assert requests.get(server.url + "/health").json() == {"status": "ok"}
        assert samples(server, "translate_rejections_total")["queue_full"] == 1
        assert long.result().status_code == 200
    assert server.end() == 0


def test_it_says_that_several_workers_do_not_count_together(start_server: Callable[..., Server]) -> None:
    server = start_server(TRANSLATE_WORKERS="2", TRANSLATE_RATE_LIMIT="5/minute")
    assert "every worker counts requests for itself" in server.errors
    assert server.end() == 0
