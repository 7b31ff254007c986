"""Who may do what: keys and scopes, other origins, proxies, the headers that protect pages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient

from service.keys import KeyFileError, KeyRing, create_key, read_keys
from service.proxies import TrustedProxies, parse_networks
from tests.unit.service.test_errors import GOOD, assert_problem


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def keys(key_file: Path) -> dict[str, str]:
    return {
        "translate": create_key(key_file, "anna", ("translate",), ""),
        "metrics": create_key(key_file, "prometheus", ("metrics",), ""),
        "all": create_key(key_file, "boss", ("translate", "metrics", "admin"), ""),
    }


@pytest.fixture
def locked(make_client: Any, key_file: Path, keys: dict[str, str]) -> FlaskClient:
    """A client of a service that wants keys."""
    assert keys
    client: FlaskClient = make_client(api_keys=str(key_file))
    return client


def test_the_file_keeps_hashes_and_no_key(key_file: Path, keys: dict[str, str]) -> None:
    text = key_file.read_text()
    assert not any(secret in text for secret in keys.values())
    assert hashlib.sha256(keys["all"].encode()).hexdigest() in text
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert len({*keys.values()}) == 3
    assert all(len(secret) == 43 for secret in keys.values())


def test_a_key_ring_finds_keys_and_nothing_else(key_file: Path, keys: dict[str, str]) -> None:
    ring = KeyRing(key_file)
    found = ring.find(keys["metrics"])
    assert found is not None
    assert (found.name, found.scopes) == ("prometheus", ("metrics",))
    for wrong in ("", keys["all"][:-1], keys["all"] + "x", found.sha256, "é\ud800"):
        assert ring.find(wrong) is None
    assert KeyRing(None).find(keys["all"]) is None


def test_every_hash_is_compared_in_constant_time(
    key_file: Path, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    monkeypatch.setattr("service.keys.hmac.compare_digest", lambda kept, _: compared.append(kept) or False)
    KeyRing(key_file).find(keys["translate"])
    assert compared == [key.sha256 for key in read_keys(key_file)]


def test_a_changed_file_counts_at_once_and_a_broken_one_does_not(key_file: Path, keys: dict[str, str]) -> None:
    ring = KeyRing(key_file)
    late = create_key(key_file, "late", ("translate",), "")
    assert ring.find(late)
    document = json.loads(key_file.read_text())
    document["keys"] = [key for key in document["keys"] if key["name"] != "late"]
    key_file.write_text(json.dumps(document))
    assert ring.find(late) is None
    key_file.write_text("{")
    assert ring.find(keys["all"])
    key_file.unlink()
    assert ring.find(keys["all"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ('{"keys": [{"name": "a", "sha256": "secret"}]}', "keys.0.sha256"),
        ('{"keys": [{"name": "a", "sha256": "%s", "scopes": ["everything"]}]}', "keys.0.scopes"),
        ('{"keys": [{"name": "a", "sha256": "%s", "rate_limit": "often"}]}', "no rate limit such as"),
        ('{"keys": [{"name": "a", "sha256": "%s"}, {"name": "a", "sha256": "%s"}]}', "two keys named a"),
    ],
)
def test_bad_files_are_refused_in_words(key_file: Path, content: str, message: str) -> None:
    key_file.write_text(content.replace("%s", "0" * 64))
    with pytest.raises(KeyFileError, match=message) as refused:
        KeyRing(key_file)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
    before = key_file.read_text()
    with pytest.raises(KeyFileError):
        create_key(key_file, "b", ("translate",), "")
    assert key_file.read_text() == before


def test_a_file_that_is_not_there(key_file: Path) -> None:
    with pytest.raises(KeyFileError, match="create-key"):
        KeyRing(key_file)


@pytest.mark.parametrize("path", ["/translate", "/detect"])
def test_keys_are_taken_wherever_clients_put_them(locked: FlaskClient, keys: dict[str, str], path: str) -> None:
    key = keys["translate"]
    with_key = {**GOOD, "api_key": key}
    for answer in (
        locked.post(path, json=with_key),
        locked.post(path, data=with_key),
        locked.post(path, data=with_key, content_type="multipart/form-data"),
        locked.post(path, query_string=with_key),
        locked.post(path, json=GOOD, headers={"Authorization": f"Bearer {key}"}),
        locked.post(path, json=GOOD, headers={"Authorization": f"DeepL-Auth-Key {key}"}),
        locked.post(path, json={**GOOD, "api_key": "wrong"}, headers={"Authorization": f"bearer  {key} "}),
    ):
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("field", [None, "", 5, ["x"], {"a": 1}])
def test_without_a_key(locked: FlaskClient, translator: Any, field: Any) -> None:
    assert "API key is needed" in assert_problem(locked.post("/translate", json={**GOOD, "api_key": field}), 400)
    assert translator.calls == []


@pytest.mark.parametrize("body", ["{", "[]", "5", "[" * 100_000, b"\xff", ""])
def test_without_a_key_nothing_else_matters(locked: FlaskClient, body: str | bytes) -> None:
    assert_problem(locked.post("/translate", data=body, content_type="application/json"), 400)
    assert_problem(locked.post("/translate", data=body, content_type="application/x-www-form-urlencoded"), 400)


def test_a_key_that_nobody_made(locked: FlaskClient) -> None:
    for headers in ({"Authorization": "Bearer x"}, {"Authorization": "DeepL-Auth-Key " + "x" * 43}):
        assert "not known" in assert_problem(locked.post("/translate", json=GOOD, headers=headers), 403)


def test_scopes(locked: FlaskClient, keys: dict[str, str]) -> None:
    def status(path: str, key: str) -> int:
        method = locked.get if path == "/metrics" else locked.post
        return method(path, headers={"Authorization": f"Bearer {keys[key]}"}, json=GOOD).status_code

    assert [status("/translate", key) for key in ("translate", "metrics", "all")] == [200, 403, 200]
    assert [status("/metrics", key) for key in ("translate", "metrics", "all")] == [403, 200, 200]
    assert [status("/admin/x", key) for key in ("translate", "metrics", "all")] == [403, 403, 404]
    assert locked.get("/metrics").status_code == 400


def test_what_needs_no_key(locked: FlaskClient) -> None:
    for path in ("/", "/health", "/languages", "/frontend/settings", "/model"):
        assert locked.get(path).status_code == 200
    settings = locked.get("/frontend/settings").json
    assert settings is not None
    assert (settings["apiKeys"], settings["keyRequired"]) == (True, True)


def test_without_keys_administration_is_closed_and_any_key_is_let_pass(client: FlaskClient) -> None:
    assert "TRANSLATE_API_KEYS" in assert_problem(client.post("/admin/reload"), 403)
    assert client.post("/translate", json={**GOOD, "api_key": "any"}).status_code == 200
    assert client.get("/metrics").status_code == 200


def test_keys_stand_in_no_log_metric_or_answer(locked: FlaskClient, keys: dict[str, str]) -> None:
    with structlog.testing.capture_logs() as logs:
        answers = [
            locked.post("/translate", query_string={**GOOD, "api_key": keys["translate"]}),
            locked.post("/nowhere", query_string={"api_key": keys["translate"]}),
            locked.post("/translate", json={"api_key": keys["translate"]}),
            locked.post("/translate", json={**GOOD, "api_key": keys["metrics"]}),
            locked.get("/", query_string={"api_key": keys["translate"]}),
            locked.get("/metrics", headers={"Authorization": f"Bearer {keys['all']}"}),
        ]
    assert [answer.status_code for answer in answers] == [200, 404, 400, 403, 200, 200]
    written = str(logs) + "".join(answer.text + str(answer.headers) for answer in answers)
    for key in keys.values():
        assert key not in written
        assert hashlib.sha256(key.encode()).hexdigest() not in written


def test_rejections_for_lack_of_a_key_are_counted(locked: FlaskClient, keys: dict[str, str]) -> None:
    locked.post("/translate", json=GOOD)
    locked.post("/translate", json={**GOOD, "api_key": "x"})
    locked.post("/translate", json={**GOOD, "api_key": keys["metrics"]})
    text = locked.get("/metrics", headers={"Authorization": f"Bearer {keys['all']}"}).text
    for reason in ("key_missing", "key_unknown", "scope"):
        assert f'translate_rejections_total{{reason="{reason}"}} 1.0' in text


def test_other_origins_are_let_in_by_setting_alone(make_client: Any) -> None:
    origin = {"Origin": "https://example.org"}
    asking = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}

    closed = make_client()
    assert "Access-Control-Allow-Origin" not in closed.post("/translate", json=GOOD, headers=origin).headers
    assert "Access-Control-Allow-Origin" not in closed.options("/translate", headers=asking).headers

    some = make_client(cors_origins="https://example.org, https://example.net:8443")
    for answer in (
        some.post("/translate", json=GOOD, headers=origin),
        some.post("/translate", json={}, headers=origin),
        some.options("/translate", headers=asking),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
        assert "Access-Control-Allow-Credentials" not in answer.headers
    assert some.options("/translate", headers=asking).headers["Access-Control-Allow-Headers"] == "content-type"
    other = some.post("/translate", json=GOOD, headers={"Origin": "https://example.org.evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers

    everybody = make_client(cors_origins="*")
    assert everybody.post("/translate", json=GOOD, headers=origin).headers["Access-Control-Allow-Origin"] == "*"


def test_every_answer_protects_its_reader(client: FlaskClient) -> None:
    for answer in (client.get("/"), client.get("/health"), client.get("/nowhere"), client.post("/translate", json={})):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Strict-Transport-Security" not in answer.headers
    assert client.post("/translate", json=GOOD).headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" in client.get("/health", base_url="https://localhost").headers


def seen(environ: dict[str, str], trusted: str = "10.0.0.0/8, 192.0.2.7, ::1") -> tuple[str, str]:
    """The client's address and the scheme, as the application sees them."""
    found: list[tuple[str, str]] = []

    def application(environ: Any, _: Any) -> list[bytes]:
        found.append((environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]))
        return []

    proxies = TrustedProxies(application, parse_networks(trusted))
    proxies({"wsgi.url_scheme": "http", **environ}, lambda *_: lambda _: None)  # type: ignore[arg-type,return-value]
    return found[0]


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "6.6.6.6, 198.51.100.1, 192.0.2.7, 10.2.2.2", "198.51.100.1"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("10.1.1.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("10.1.1.1", "198.51.100.1:5000", "198.51.100.1"),
        ("::ffff:10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "6.6.6.6, nonsense", "10.1.1.1"),
        ("10.1.1.1", "10.3.3.3", "10.3.3.3"),
        ("198.51.100.9", "6.6.6.6", "198.51.100.9"),
        ("192.0.2.8", "6.6.6.6", "192.0.2.8"),
    ],
)
def test_forwarded_addresses_are_believed_from_our_proxies_alone(remote: str, forwarded: str, client: str) -> None:
    assert seen({"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded})[0] == client


def test_so_is_the_scheme() -> None:
    forwarded = {"HTTP_X_FORWARDED_PROTO": "https"}
    assert seen({"REMOTE_ADDR": "10.1.1.1", **forwarded})[1] == "https"
    assert seen({"REMOTE_ADDR": "198.51.100.9", **forwarded})[1] == "http"
    assert seen({"REMOTE_ADDR": "10.1.1.1", "HTTP_X_FORWARDED_PROTO": "javascript"})[1] == "http"


def test_a_file_that_a_group_may_read_stays_so(key_file: Path) -> None:
    create_key(key_file, "a", ("translate",), "")
    key_file.chmod(0o640)
    create_key(key_file, "b", ("translate",), "")
    assert key_file.stat().st_mode & 0o777 == 0o640
    assert list(key_file.parent.iterdir()) == [key_file]
