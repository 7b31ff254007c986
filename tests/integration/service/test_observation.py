"""Metrics of several workers, JSON logs and OpenTelemetry, with real processes."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import child_of, is_running, until
from tests.integration.service.test_start import Run, assert_refused

GOOD = {"q": "Where is the station?", "source": "en", "target": "fr"}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def samples(server: Server, name: str) -> dict[str, float]:
    """The values of a metric, by their labels' values."""
    families = text_string_to_metric_families(requests.get(server.url + "/metrics").text)
    return {
        ",".join(one.labels.values()): one.value for family in families for one in family.samples if one.name == name
    }


def test_several_workers_are_added_up(start_server: Callable[..., Server]) -> None:
    server = start_server(TRANSLATE_WORKERS="2")
    until(lambda: samples(server, "translate_ready_workers") == {"": 2.0})
    warm_up = samples(server, "translate_texts_total")["en-fr"]
    for _ in range(10):  # each on a connection of its own, to whichever worker is first
        assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert samples(server, "translate_requests_total")["/translate,200"] == 10
    assert samples(server, "translate_texts_total") == {"en-fr": warm_up + 10}
    assert samples(server, "translate_batch_rows_limit") == {"en-fr": 1024.0}
    info = samples(server, "translate_model_info")
    assert list(info.values()) == [1.0]
    memory = samples(server, "translate_resident_memory_bytes")
    assert memory["worker"] > 50_000_000
    assert memory["decoder"] > 100_000_000

    lost = child_of(server.process.pid)
    os.kill(lost, signal.SIGKILL)
    # The dead worker's numbers go before its successor comes: in between there are those of the other one alone.
    until(lambda: not is_running(lost) and samples(server, "translate_ready_workers") == {"": 1.0})
    until(lambda: samples(server, "translate_ready_workers") == {"": 2.0})
    assert samples(server, "translate_batch_rows_limit") == {"en-fr": 1024.0}, "without those of the dead worker"
    assert samples(server, "translate_requests_total")["/translate,200"] == 10, "what it had counted stays"
    assert server.end() == 0


def test_the_decoder_s_work_is_counted(start_server: Callable[..., Server]) -> None:
    server = start_server()
    before = {name: samples(server, name)["en-fr"] for name in WORK}
    answer = requests.post(
        server.url + "/translate", json={**GOOD, "q": [f"Word {letter}." for letter in "abcdefghijklmnopqrst"]}
    )
    assert answer.status_code == 200
    gained = {name: samples(server, name)["en-fr"] - before[name] for name in WORK}
    assert gained["translate_sentences_total"] == 20
    assert gained["translate_decode_steps_total"] > 0
    assert gained["translate_decode_rows_total"] > 2 * gained["translate_decode_steps_total"], "batches"
    assert gained["translate_source_tokens_total"] >= 40
    until(lambda: samples(server, "translate_batch_rows") == {"en-fr": 0.0})


WORK = (
    "translate_sentences_total",
    "translate_decode_steps_total",
    "translate_decode_rows_total",
    "translate_source_tokens_total",
)


def test_logs_are_json_with_the_trace(start_server: Callable[..., Server]) -> None:
    server = start_server()
    requests.post(
        server.url + "/translate",
        json={**GOOD, "q": "secret diary"},
        headers={"X-Request-ID": "mine-8", "traceparent": f"00-{TRACE}-{PARENT}-01"},
    )
    assert server.end() == 0
    lines = [json.loads(line) for line in server.errors.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "mine-8"]
    assert line["trace_id"] == TRACE
    assert (line["route"], line["status"], line["texts"]) == ("/translate", 200, 1)
    assert "diary" not in server.errors


@pytest.fixture
def collector() -> Iterator[HTTPServer]:
    """Takes OpenTelemetry's spans; `collector.bodies` are those that came."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    bodies: list[tuple[str, bytes]] = []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.bodies = bodies  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_are_sent_where_the_environment_says(start_server: Callable[..., Server], collector: HTTPServer) -> None:
    trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    server = start_server(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}", OTEL_BSP_SCHEDULE_DELAY="100"
    )
    answer = requests.post(
        server.url + "/translate",
        params={**GOOD, "q": "secret diary"},
        headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
    )
    until(lambda: bool(collector.bodies))  # type: ignore[attr-defined]
    path, body = collector.bodies[0]  # type: ignore[attr-defined]
    assert path == "/v1/traces"
    (spans,) = trace_service.ExportTraceServiceRequest.FromString(body).resource_spans
    (span,) = spans.scope_spans[0].spans
    assert span.name == "POST /translate"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert b"diary" not in body
    assert server.end() == 0


def test_spans_that_cannot_be_sent_do_no_harm(start_server: Callable[..., Server], free_port: int) -> None:
    server = start_server(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port}",
        OTEL_BSP_SCHEDULE_DELAY="10",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    )
    for _ in range(5):
        assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert server.end() == 0


def test_no_place_for_the_numbers(run: Run, tmp_path: Path, tiny_model_directory: Path) -> None:
    full = tmp_path / "full"
    full.mkdir(mode=0o500)
    if os.access(full, os.W_OK):
        pytest.skip("this user may write everywhere")
    result = run("--model", str(tiny_model_directory), TMPDIR=str(full))
    assert_refused(result, "no temporary directory", "set TMPDIR")
