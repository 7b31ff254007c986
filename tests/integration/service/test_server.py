"""gunicorn, the decoder and the tiny model, over a real socket."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from translator import Translator

PATIENCE = 120.0
AMPLE_TIME = {"TRANSLATE_DEADLINE_SECONDS": "600"}
GOOD = {"q": "Where is the station?", "source": "en", "target": "fr"}


def test_it_says_what_it_serves_and_the_command_it_shows_works(server: Any, expected: Callable[[str], str]) -> None:
    assert "tiny-en-fr: English → French, BLEU not measured" in server.output
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    command = next(line for line in server.output.splitlines() if line.startswith("  curl "))
    answer = subprocess.run(command + " --silent", shell=True, capture_output=True, check=True, timeout=PATIENCE)
    assert json.loads(answer.stdout)["translatedText"] == expected("Where is the station?")


def test_many_at_once_get_the_answers_of_one_alone(server: Any, expected: Callable[[str], str]) -> None:
    texts = [f"The station of {letter * 3} is near the old bridge." for letter in "abcdefghijklmnopqrstuvwx"]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda text: requests.post(server.url + "/translate", json={**GOOD, "q": text}), texts))
    assert [answer.json()["translatedText"] for answer in answers] == [expected(text) for text in texts]


def test_information(server: Any) -> None:
    assert requests.get(server.url + "/health").json() == {"status": "ok"}
    assert requests.get(server.url + "/ready").json() == {"status": "ready"}
    assert requests.get(server.url + "/model").json()["name"] == "tiny-en-fr"
    assert "tiny-en-fr" in requests.get(server.url + "/").text
    assert requests.get(server.url + "/static/page.css").status_code == 200
    assert requests.get(server.url + "/frontend/settings").json()["charLimit"] == 5_000


def test_the_engine_can_be_chosen(start_server: Callable[..., Any], tiny_model_directory: Path) -> None:
    server = start_server(TRANSLATE_ENGINE="reference")
    translator = Translator.load(tiny_model_directory, engine="reference")
    assert requests.get(server.url + "/model").json()["engine"].startswith("reference, float32, cpu")
    answer = requests.post(server.url + "/translate", json=GOOD)
    assert answer.json()["translatedText"] == translator.translate(GOOD["q"]).text


def raw(port: int, request: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; the status and the JSON of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < _content_length(answer):
            received = connection.recv(65_536)
            if not received:
                break
            answer += received
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)


def _content_length(answer: bytes) -> int:
    found = re.search(rb"(?i)content-length: (\d+)", answer)
    return int(found[1]) if found else 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"POST /translate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: strange\r\n\r\n", 501),
        (b"POST /translate?q=\xff\xfe&source=en&target=fr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400),
        (
            b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n",
            413,
        ),
        (
            b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        (b"GET /nowhere\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
def test_what_is_hardly_http_is_answered_in_json(server: Any, request_bytes: bytes, status: int) -> None:
    answered, problem = raw(server.port, request_bytes)
    assert (answered, problem["status"]) == (status, status)
    assert problem["error"] == problem["detail"]
    assert requests.get(server.url + "/health").status_code == 200


@pytest.mark.parametrize(("asked", "answered"), [("1.0", "1.0"), ("1.1", "1.1"), ("1.2", "1.1"), ("1.9", "1.1")])
def test_no_answer_is_of_a_later_version_than_is_spoken(server: Any, asked: str, answered: str) -> None:
    """RFC 9110, 6.2."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"GET /health HTTP/{asked}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.makefile("rb").readline() == f"HTTP/{answered} 200 OK\r\n".encode()


def test_chunked_bodies_are_limited_too(server: Any) -> None:
    small = requests.post(
        server.url + "/translate", data=iter([json.dumps(GOOD).encode()]), headers={"Content-Type": "application/json"}
    )
    assert small.status_code == 200
    large = requests.post(
        server.url + "/translate", data=iter([b"x" * 100_000] * 11), headers={"Content-Type": "application/json"}
    )
    assert large.status_code == 413
    assert large.json()["error"]


def open_request(port: int, missing: int) -> tuple[socket.socket, bytes]:
    """A connection on which all of a good request but its last `missing` bytes is sent; and these bytes."""
    body = json.dumps(GOOD).encode()
    head = (
        f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(head.encode() + body[:-missing])
    return connection, body[-missing:]


def open_chunks(port: int) -> tuple[socket.socket, bytes]:
    """The same of a body whose length nobody knows before its end: a thread reads it, as it comes."""
    body = json.dumps(GOOD).encode()
    head = "POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(head.encode() + b"%x\r\n%s\r\n" % (len(body), body))
    return connection, b"0\r\n\r\n"


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "this never came true"
        time.sleep(0.01)


def test_full_or_idle_connections_never_keep_health_waiting(start_server: Callable[..., Any]) -> None:
    server = start_server(TRANSLATE_CONCURRENT_REQUESTS="2")
    slow = [open_chunks(server.port) for _ in range(2)]
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]

    until(lambda: requests.post(server.url + "/translate", json=GOOD).status_code == 503)
    refused = requests.post(server.url + "/translate", json=GOOD)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert requests.get(server.url + "/health", timeout=PATIENCE).json() == {"status": "ok"}

    for connection, rest in slow:
        connection.sendall(rest)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        connection.close()
    until(lambda: requests.post(server.url + "/translate", json=GOOD).status_code == 200)
    for connection in idle:
        connection.close()


def test_a_body_that_never_ends_is_cut_off(start_server: Callable[..., Any]) -> None:
    server = start_server(
        TRANSLATE_CONCURRENT_REQUESTS="1", TRANSLATE_DEADLINE_SECONDS="1", TRANSLATE_TRANSFER_SECONDS="1"
    )
    slow, _ = open_request(server.port, missing=5)
    chunks, _ = open_chunks(server.port)
    assert slow.recv(65_536).startswith(b"HTTP/1.1 408 ")
    assert chunks.recv(65_536) == b""
    for connection in (slow, chunks):
        connection.close()
    until(lambda: requests.post(server.url + "/translate", json=GOOD).status_code == 200)


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_accepted_work_is_answered_before_the_end(start_server: Callable[..., Any], how: str) -> None:
    server = start_server(TRANSLATE_QUEUE_TEXTS="100", TRANSLATE_BATCH_ROWS="1", **AMPLE_TIME)
    sentence = "The children number {} are playing in the garden near the old bridge."
    texts = [" ".join(sentence.format(f"{number} {part}") for part in "abcd") for number in range(100)]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.post, server.url + "/translate", json={**GOOD, "q": texts, "beam_size": 12})
        until(lambda: requests.get(server.url + "/ready").status_code == 503)
        assert not answer.done()
        if how == "Ctrl-C":
            server.interrupt()
        else:
            server.process.send_signal(signal.SIGTERM)
        response = answer.result(PATIENCE)
    assert response.status_code == 200
    assert len(response.json()["translatedText"]) == 100
    assert server.wait() == 0, server.errors
    assert "Traceback" not in server.errors


def test_what_comes_while_it_drains_is_refused(start_server: Callable[..., Any]) -> None:
    server = start_server()
    late, rest = open_request(server.port, missing=5)
    until(lambda: requests.get(server.url + "/health").status_code == 200)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: _is_closed(server.port))
    late.sendall(rest)
    answer = late.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in answer.lower()
    late.close()
    assert server.wait() == 0, server.errors


def _is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionError:
        return True
    return False


def test_logs_hold_the_request_id_but_no_text(start_server: Callable[..., Any]) -> None:
    server = start_server()
    requests.post(server.url + "/translate", params={**GOOD, "q": "secret diary"}, headers={"X-Request-ID": "mine-7"})
    requests.get(server.url + "/secret%20diary" + "x" * 9_000)
    assert server.end(signal.SIGINT) == 0
    lines = [json.loads(line) for line in server.errors.splitlines()]
    assert any(line.get("request_id") == "mine-7" and line.get("route") == "/translate" for line in lines)
    assert "diary" not in server.errors
