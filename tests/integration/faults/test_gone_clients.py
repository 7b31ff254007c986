"""Clients that go away in the middle of a stream or of a file: what they had asked for leaves the batch."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import requests

from tests.integration.faults.support import GOOD, SLOW, head, request_bytes, send, slow_request
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.integration.service.test_observation import samples

SENTENCES = 80


def stream() -> bytes:
    return request_bytes(slow_request(0, texts=SENTENCES), "Accept: text/event-stream")


def as_deepl() -> bytes:
    body = json.dumps({"text": slow_request(1, texts=40)["q"], "target_lang": "FR", "source_lang": "EN"}).encode()
    return head("application/json", len(body), path="/v2/translate") + body


def file() -> bytes:
    lines = "\n".join(f"The child number {number} is playing." for number in range(2 * SENTENCES))
    parts = (("source", "", "en"), ("target", "", "fr"), ("file", '; filename="a.txt"', lines))
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{content}\r\n'
        for name, more, content in parts
    )
    body += "--b--\r\n"
    return head("multipart/form-data; boundary=b", len(body), path="/translate_file") + body.encode()


@pytest.mark.parametrize("request_of", [stream, as_deepl, file])
def test_what_nobody_waits_for_leaves_the_batch(
    start_server: Callable[..., Server], request_of: Callable[[], bytes]
) -> None:
    server = start_server(**SLOW)
    begun = samples(server, "translate_sentences_total")["en-fr"]
    connection = send(server.port, request_of())
    until(lambda: samples(server, "translate_sentences_total")["en-fr"] > begun + 2)
    assert samples(server, "translate_queue_sentences")["en-fr"] > 10
    connection.close()
    until(lambda: samples(server, "translate_queue_sentences") == {"en-fr": 0.0})
    until(lambda: samples(server, "translate_requests_in_progress") == {"": 1.0})
    until(lambda: samples(server, "translate_batch_rows") == {"en-fr": 0.0})
    assert samples(server, "translate_sentences_total")["en-fr"] < begun + (40 if request_of is as_deepl else SENTENCES)
    assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert server.end() == 0
    assert "Traceback" not in server.errors
