"""Bad input, and a service that cannot: always a problem in JSON, with the status that fits."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from service.state import service_of

PATIENCE = 30.0
GOOD = {"q": "a", "source": "en", "target": "fr"}


def assert_problem(response: TestResponse, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    problem = response.json
    assert problem is not None
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"] == problem["error"] != ""
    assert problem["instance"].startswith("/")
    assert problem["requestId"] == response.headers["X-Request-ID"]
    error: str = problem["error"]
    return error


@pytest.mark.parametrize(
    "body",
    [
        "",
        "   ",
        "{",
        "nonsense",
        "[]",
        "5",
        "null",
        '"text"',
        "[" * 100_000,
        '{"q":' * 50_000,
        '{"q": NaN, "source": "en", "target": "fr"}',
        '{"q": "a", "source": "en", "target": "fr", "beam_size": Infinity}',
        b"\xff\xfe\xfd",
        b'{"q": "\xff", "source": "en", "target": "fr"}',
        b"\x00",
    ],
)
def test_malformed_json(client: FlaskClient, body: str | bytes) -> None:
    for path in ("/translate", "/detect"):
        assert_problem(client.post(path, data=body, content_type="application/json"), 400)


@pytest.mark.parametrize(
    "body",
    [
        '{"q": "a", "source": "en", "target": "fr", "beam_size": 1e400}',
        '{"q": "a", "source": "en", "target": "fr", "length_penalty": 1e400}',
        '{"q": "a", "source": "en", "target": "fr", "alternatives": ' + "9" * 400 + "}",
        '{"q": "a", "source": "en", "target": "fr", "alternatives": ' + "9" * 9_000 + "}",
    ],
)
def test_numbers_beyond_all_bounds(client: FlaskClient, body: str) -> None:
    assert_problem(client.post("/translate", data=body, content_type="application/json"), 400)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("q", None, "q is missing"),
        ("q", "", "q is empty"),
        ("q", [], "q is empty"),
        ("q", 5, "q must be a string or a list of strings"),
        ("q", True, "q must be"),
        ("q", {"a": 1}, "q must be"),
        ("q", ["a", 5], "q must be"),
        ("q", ["a", None], "q must be"),
        ("q", [["a"]], "q must be"),
        ("q", "\ud800", "surrogate"),
        ("q", ["a", "b\udfff"], "surrogate"),
        ("q", "a\0b", "NUL"),
        ("q", "x" * 5_001, "at most 5,000"),
        ("q", ["x"] * 101, "at most 100"),
        ("q", ["x" * 5_000] * 11, "at most 50,000"),
        ("source", None, "source is missing"),
        ("source", "", "source is empty"),
        ("source", 5, "source"),
        ("source", ["en"], "source"),
        ("source", "\ud800", "source"),
        ("source", "\0", "source"),
        ("source", "de", "German (de) is not available"),
        ("source", "x" * 36, "source"),
        ("source", "-", "source"),
        ("target", None, "target is missing"),
        ("target", "auto", "target"),
        ("target", "de", "German (de) is not available"),
        ("format", "xml", "'text' or 'html'"),
        ("format", 5, "format"),
        ("alternatives", -1, "alternatives"),
        ("alternatives", 11, "alternatives may be at most 10"),
        ("alternatives", True, "alternatives"),
        ("alternatives", "3", "alternatives"),
        ("alternatives", 1.5, "alternatives"),
        ("alternatives", [], "alternatives"),
        ("beam_size", 0, "beam_size"),
        ("beam_size", 13, "beam_size may be at most 12"),
        ("length_penalty", -0.1, "length_penalty"),
        ("length_penalty", 5.1, "length_penalty"),
        ("length_penalty", True, "length_penalty"),
        ("max_length", 0, "max_length"),
        ("max_length", 501, "max_length may be at most 500"),
        ("scores", 1, "scores"),
        ("sentences", "yes", "sentences"),
    ],
)
def test_bad_fields(client: FlaskClient, translator: Any, field: str, value: Any, words: str) -> None:
    # json.dumps escapes lone surrogates, as a client in another language would.
    response = client.post("/translate", data=json.dumps({**GOOD, field: value}), content_type="application/json")
    assert words in assert_problem(response, 400)
    assert translator.calls == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"q": "a"},
        {"source": "en", "target": "fr"},
        {**GOOD, "q": ""},
        {**GOOD, "alternatives": "many"},
        {**GOOD, "alternatives": "9" * 5_000},
        {**GOOD, "length_penalty": "nan"},
        {**GOOD, "length_penalty": "1e400"},
        {**GOOD, "scores": "perhaps"},
        {**GOOD, "q": "a\0"},
    ],
)
def test_bad_forms(client: FlaskClient, fields: dict[str, str]) -> None:
    assert_problem(client.post("/translate", data=fields), 400)
    assert_problem(client.post("/translate", data=fields, content_type="multipart/form-data"), 400)
    assert_problem(client.post("/translate", query_string=fields), 400)


def test_the_only_pair_is_named(client: FlaskClient) -> None:
    response = client.post("/translate", json={"q": "a", "source": "fr", "target": "en"})
    assert assert_problem(response, 400) == (
        "French (fr) into English (en) is not available; this server translates English (en) into French (fr)."
    )


def test_a_guessed_source_does_not_excuse_an_unknown_target(client: FlaskClient) -> None:
    response = client.post("/translate", json={"q": "Where is the station?", "source": "auto", "target": "de"})
    assert assert_problem(response, 400).startswith("target: German (de) is not available")


def test_html_in_too_many_pieces(make_client: Any, translator: Any) -> None:
    client = make_client(queue_texts=3, texts_per_request=3)
    ask = {**GOOD, "format": "html"}
    assert client.post("/translate", json={**ask, "q": "<p>a<p>b<p>c"}).status_code == 200
    assert "4 separate pieces" in assert_problem(client.post("/translate", json={**ask, "q": "a<p>d<p>b<p>c"}), 400)
    assert len(translator.calls) == 1


def test_spans_in_html_are_refused(client: FlaskClient) -> None:
    assert_problem(client.post("/translate", json={**GOOD, "format": "html", "sentences": True}), 400)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "nonsense", "", "image/png"])
def test_content_types_not_understood(client: FlaskClient, content_type: str) -> None:
    assert_problem(client.post("/translate", data=json.dumps(GOOD), content_type=content_type), 415)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"],
)
def test_a_body_over_the_limit(make_client: Any, content_type: str) -> None:
    client = make_client(body_bytes=2_000)
    response = client.post("/translate", data=b"q=" + b"x" * 2_000, content_type=content_type)
    assert "2,000 bytes" in assert_problem(response, 413)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
@pytest.mark.parametrize(("size", "status"), [(1_999, {200, 400, 415}), (2_000, {413}), (9_999, {413})])
def test_a_chunked_body_over_the_limit_is_not_cut_short(
    make_client: Any, content_type: str, size: int, status: set[int]
) -> None:
    form = b"source=en&target=fr&q="
    response = make_client(body_bytes=2_000).post(
        "/translate",
        input_stream=BytesIO(form + b"x" * (size - len(form))),
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        content_type=content_type,
    )
    assert response.status_code in status
    if response.status_code == 200:
        assert response.json == {"translatedText": "X" * (size - len(form))}


def test_unknown_paths_and_methods(client: FlaskClient) -> None:
    for path in ("/nowhere", "/static/nothing.css", "/static/../__init__.py", "/translate/"):
        assert_problem(client.get(path), 404)
    response = client.get("/translate")
    assert_problem(response, 405)
    assert "POST" in response.headers["Allow"]
    assert_problem(client.delete("/languages"), 405)


def test_suggestions_are_off(client: FlaskClient) -> None:
    assert_problem(client.post("/suggest", data={"q": "a", "s": "b"}), 403)


def test_a_request_id_is_taken_or_made(client: FlaskClient) -> None:
    assert client.get("/health", headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"
    for given_id in ("", "two words", "x" * 129, "é"):
        made = client.get("/health", headers={"X-Request-ID": given_id}).headers["X-Request-ID"]
        assert len(made) == 32
        assert made != client.get("/health").headers["X-Request-ID"]


def test_a_translator_that_fails(client: FlaskClient) -> None:
    with structlog.testing.capture_logs() as logs:
        assert_problem(client.post("/translate", json={**GOOD, "q": "fail for once"}), 500)
    assert "secret" not in str(logs)
    assert "fail for once" not in str(logs)
    assert any(entry.get("exception_type") == "ValueError" for entry in logs)
    assert client.post("/translate", json=GOOD).status_code == 200


def test_an_error_that_nobody_foresaw(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def surprise(*_: object, **__: object) -> None:
        raise KeyError("the user's text")

    monkeypatch.setattr("service.routes.translate.Translating", surprise)
    with structlog.testing.capture_logs() as logs:
        error = assert_problem(client.post("/translate", json=GOOD), 500)
    assert "user" not in error + str(logs)
    assert any(entry.get("exception_type") == "KeyError" for entry in logs)


def test_logs_hold_no_text(client: FlaskClient) -> None:
    with structlog.testing.capture_logs() as logs:
        client.post("/translate", query_string={**GOOD, "q": "my dear diary", "api_key": "key-1"})
    assert logs[-1]["status"] == 200
    assert (logs[-1]["texts"], logs[-1]["characters"]) == (1, 13)
    assert "diary" not in str(logs)
    assert "key-1" not in str(logs)


class Held:
    """A client whose translator holds one request back."""

    def __init__(self, make_client: Any, translator: Any, **limits: Any) -> None:
        translator.may_go_on.clear()
        self.translator = translator
        self.client: FlaskClient = make_client(**limits)
        self.pool = ThreadPoolExecutor()
        self.first = self.post("first")
        assert translator.entered.acquire(timeout=PATIENCE)

    def post(self, text: str | list[str]) -> Any:
        return self.pool.submit(
            lambda: self.client.application.test_client().post("/translate", json={**GOOD, "q": text})
        )

    def release(self) -> None:
        self.translator.may_go_on.set()
        assert self.first.result(PATIENCE).json == {"translatedText": "FIRST"}
        self.pool.shutdown()


def test_a_full_queue(make_client: Any, translator: Any) -> None:
    held = Held(make_client, translator, queue_texts=3, texts_per_request=3)
    waiting = held.post(["1", "2", "3"])
    batcher = service_of(held.client.application).models.current.default.batcher
    end = time.monotonic() + PATIENCE
    while batcher.load < 1:
        assert time.monotonic() < end
        time.sleep(0.002)
    response = held.client.post("/translate", json=GOOD)
    assert_problem(response, 503)
    assert int(response.headers["Retry-After"]) > 0
    assert_problem(held.client.get("/ready"), 503)
    assert held.client.get("/health").json == {"status": "ok"}
    held.release()
    assert waiting.result(PATIENCE).json == {"translatedText": ["1", "2", "3"]}


def test_too_many_requests_at_once(make_client: Any, translator: Any) -> None:
    held = Held(make_client, translator, concurrent_requests=1)
    for path in ("/translate", "/detect", "/nowhere"):
        response = held.client.post(path, json=GOOD)
        assert_problem(response, 503)
        assert "Retry-After" in response.headers
    assert held.client.get("/health").json == {"status": "ok"}
    held.release()
    for _ in range(3):
        assert held.client.post("/translate", json=GOOD).status_code == 200


def test_past_the_deadline(make_client: Any, translator: Any) -> None:
    translator.may_go_on.clear()
    client = make_client(deadline_seconds=0.05)
    assert_problem(client.post("/translate", json=GOOD), 504)


def test_draining(make_client: Any, translator: Any) -> None:
    held = Held(make_client, translator)
    service = service_of(held.client.application)
    service.warmed_up = True
    assert held.client.get("/ready").status_code == 200
    service.models.drain()
    for response in (held.client.get("/ready"), held.client.post("/translate", json=GOOD)):
        assert_problem(response, 503)
        assert "Retry-After" in response.headers
    assert held.client.get("/health").status_code == 200
    held.release()


def test_a_dead_decoder_is_not_healthy(client: FlaskClient) -> None:
    service_of(client.application).models.stop(PATIENCE)
    assert_problem(client.get("/health"), 503)
    assert_problem(client.get("/ready"), 503)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
FIELDS = [
    "q",
    "source",
    "target",
    "format",
    "alternatives",
    "beam_size",
    "length_penalty",
    "max_length",
    "scores",
    "sentences",
]
PLAUSIBLE = st.sampled_from(
    ["en", "fr", "auto", "html", "text", "<b>a</b>", "\ud800", "\0", "", 0, 1, 5, True, ["a", "b"], 1e308]
)


def assert_sane(response: TestResponse) -> None:
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        assert_problem(response, 400)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES | PLAUSIBLE))
def test_no_json_gives_a_server_error(client: FlaskClient, fields: dict[str, Any]) -> None:
    assert_sane(client.post("/translate", data=json.dumps(GOOD | fields), content_type="application/json"))
    assert_sane(client.post("/detect", data=json.dumps(fields), content_type="application/json"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.binary(max_size=60),
    st.sampled_from(["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]),
)
def test_no_bytes_give_a_server_error(client: FlaskClient, body: bytes, content_type: str) -> None:
    assert_sane(client.post("/translate", data=body, content_type=content_type))
    assert_sane(client.post("/translate", data=b"source=en&target=fr&q=" + body, content_type=content_type))
    assert_sane(
        client.post("/translate", environ_overrides={"QUERY_STRING": "source=en&target=fr&q=" + body.decode("latin-1")})
    )
