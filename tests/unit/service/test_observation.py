"""What is noted of requests: metrics, trace context, and no text anywhere."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics
from service.tracing import TraceContext, Tracing

GOOD = {"q": "a", "source": "en", "target": "fr"}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def sample(client: FlaskClient, name: str, /, **labels: str) -> float | None:
    """The value of one line of /metrics."""
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for one in family.samples:
            if one.name == name and one.labels == labels:
                return float(one.value)
    return None


def test_requests_are_counted_by_route_and_status(client: FlaskClient) -> None:
    for _ in range(3):
        client.post("/translate", json=GOOD)
    client.post("/translate", json={})
    client.get("/secret/path")
    assert sample(client, "translate_requests_total", route="/translate", status="200") == 3
    assert sample(client, "translate_requests_total", route="/translate", status="400") == 1
    assert sample(client, "translate_requests_total", route="unknown", status="404") == 1
    assert sample(client, "translate_request_duration_seconds_count", route="/translate") == 4
    assert sample(client, "translate_rejections_total", reason="invalid") == 1
    assert sample(client, "translate_requests_in_progress") == 1, "the one that asks"


def test_what_is_decoded_is_counted(client: FlaskClient) -> None:
    assert client.post("/translate", json={**GOOD, "q": ["two\nsentences", "three", " "]}).status_code == 200
    # Each sentence is one token of the test's engine, and takes two steps with one hypothesis.
    for name, value in (
        ("texts", 3),
        ("characters", 19),
        ("sentences", 3),
        ("source_tokens", 3),
        ("target_tokens", 3),
        ("decode_steps", 2),
        ("decode_rows", 6),
        ("decoder_restarts", 0),
    ):
        assert sample(client, f"translate_{name}_total", pair="en-fr") == value, name
    assert sample(client, "translate_queue_wait_seconds_count", pair="en-fr") == 1
    assert sample(client, "translate_batch_rows_limit", pair="en-fr") == 512
    assert sample(client, "translate_batch_rows", pair="en-fr") == 0


def test_the_state_of_things_is_told(client: FlaskClient) -> None:
    info = {"pair": "en-fr", "name": "capitals", "engine": "capitals, by hand", "sha256": ""}
    assert sample(client, "translate_model_info", **info) == 1
    assert sample(client, "translate_ready_workers") == 0
    for process in ("worker", "decoder"):
        assert (sample(client, "translate_resident_memory_bytes", process=process) or 0) > 10_000_000
    assert sample(client, "translate_queue_load_ratio", pair="en-fr") == 0


def test_metrics_hold_no_text_key_or_address(client: FlaskClient) -> None:
    client.post("/translate", json={**GOOD, "q": "my dear diary", "api_key": "key-of-mine"})
    client.post("/translate", query_string={**GOOD, "q": "my dear diary", "api_key": "key-of-mine"})
    client.get("/diary?api_key=key-of-mine")
    text = client.get("/metrics").text
    assert not re.search(r"diary|key-of-mine|127\.0\.0\.1", text)


def test_open_metrics_where_they_are_asked_for(client: FlaskClient) -> None:
    assert client.get("/metrics").content_type.startswith("text/plain")
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.content_type.startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_every_metric_is_documented_and_no_other() -> None:
    text, _ = Metrics().render("")
    defined = set(re.findall(r"^# TYPE (\w+) ", text.decode(), flags=re.MULTILINE))
    defined = {name for name in defined if not name.endswith("_created")}
    document = (Path(__file__).parents[3] / "deploy" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(translate_\w+)`", document, flags=re.MULTILINE)) == defined


@pytest.mark.parametrize(
    ("header", "continues"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f" 00-{TRACE}-{PARENT}-00 ", True),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", True),
        (f"00-{TRACE}-{PARENT}-01-more", False),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_trace_context(header: str, continues: bool) -> None:
    context = TraceContext.of(header)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", context.traceparent)
    assert (context.trace_id == TRACE) is continues
    assert context.span_id != PARENT
    assert (context.flags == "01") is (continues and "-01" in header)
    assert TraceContext.of(header).span_id != context.span_id


def test_the_trace_stands_in_the_answer_and_in_the_log(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[dict[str, Any]] = []
    bound = structlog.contextvars.bind_contextvars
    monkeypatch.setattr(structlog.contextvars, "bind_contextvars", lambda **ids: (logged.append(ids), bound(**ids))[1])
    response = client.post("/translate", json=GOOD, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    version, trace, span, flags = response.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert logged == [{"request_id": response.headers["X-Request-ID"], "trace_id": TRACE, "span_id": span}]


def test_spans_without_opentelemetry_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    for name in [name for name in sys.modules if name.startswith("opentelemetry")] or ["opentelemetry"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ValueError, match=r"OpenTelemetry is not installed: pip install"):
        Tracing()


def test_numbers_are_read_again_while_a_worker_makes_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    unfinished = tmp_path / "counter_77.db"
    unfinished.touch()
    threading.Timer(0.05, unfinished.unlink).start()
    Metrics().render("")
    assert not unfinished.exists()
