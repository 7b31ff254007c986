"""How often a client may ask, and what its own deadline does."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from service.keys import create_key
from tests.support import unused_port
from tests.unit.service.test_errors import GOOD, assert_problem

PATIENCE = 30.0


def statuses(client: FlaskClient, times: int, **options: Any) -> list[int]:
    return [client.post("/translate", json=GOOD, **options).status_code for _ in range(times)]


def address(text: str) -> dict[str, Any]:
    return {"environ_overrides": {"REMOTE_ADDR": text}}


def test_there_is_no_limit_by_default(client: FlaskClient) -> None:
    assert statuses(client, 50) == [200] * 50
    assert "RateLimit-Limit" not in client.post("/translate", json=GOOD).headers


def test_over_its_rate_a_client_is_told_when_to_come_again(make_client: Any, translator: Any) -> None:
    client = make_client(rate_limit="3/hour")
    first = client.post("/translate", json=GOOD)
    assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("3", "2")
    assert 0 < int(first.headers["RateLimit-Reset"]) <= 3_601
    assert "Retry-After" not in first.headers
    assert statuses(client, 2) == [200, 200]
    for path in ("/translate", "/detect", "/suggest"):
        refused = client.post(path, json=GOOD)
        assert "Too many requests" in assert_problem(refused, 429)
        assert 0 < int(refused.headers["Retry-After"]) <= 3_601
        assert refused.headers["RateLimit-Remaining"] == "0"
    assert len(translator.calls) == 3
    for path in ("/health", "/ready", "/languages", "/", "/metrics"):
        assert client.get(path).status_code != 429
    assert 'translate_rejections_total{reason="rate"} 3.0' in client.get("/metrics").text


def test_several_limits_hold_together(make_client: Any) -> None:
    client = make_client(rate_limit="4/hour;2/minute")
    assert statuses(client, 3) == [200, 200, 429]


def test_each_address_has_its_own(make_client: Any) -> None:
    client = make_client(rate_limit="1/hour")
    assert statuses(client, 2, **address("192.0.2.1")) == [200, 429]
    assert statuses(client, 2, **address("192.0.2.2")) == [200, 429]
    assert statuses(client, 1, **address("2001:db8::1")) == [200]
    assert statuses(client, 1, **address("2001:db8::ffff")) == [429], "of the same network"
    assert statuses(client, 1, **address("2001:db8:0:1::1")) == [200]
    assert statuses(client, 2, **address("")) == [200, 429]


def test_forwarded_addresses_count_behind_a_proxy_of_ours_alone(make_client: Any) -> None:
    client = make_client(rate_limit="1/hour", trusted_proxies="10.0.0.1")

    def ask(remote: str, forwarded: str) -> int:
        headers = {"X-Forwarded-For": forwarded}
        status: int = client.post("/translate", json=GOOD, headers=headers, **address(remote)).status_code
        return status

    assert [ask("10.0.0.1", "192.0.2.1"), ask("10.0.0.1", "6.6.6.6, 192.0.2.1")] == [200, 429]
    assert ask("10.0.0.1", "192.0.2.2") == 200
    assert [ask("192.0.2.9", "1.1.1.1"), ask("192.0.2.9", "2.2.2.2")] == [200, 429]


def test_a_key_may_have_a_rate_of_its_own(make_client: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    special, usual = (
        create_key(keys, "special", ("translate",), "3/hour"),
        create_key(keys, "usual", ("translate",), ""),
    )
    client = make_client(api_keys=str(keys), rate_limit="1/hour")

    def ask(key: str, remote: str) -> int:
        status: int = client.post("/translate", json={**GOOD, "api_key": key}, **address(remote)).status_code
        return status

    assert [ask(special, f"192.0.2.{last}") for last in range(4)] == [200, 200, 200, 429]
    assert [ask(usual, "192.0.2.1"), ask(usual, "192.0.2.2")] == [200, 429]


@pytest.fixture
def redis_port() -> Iterator[tuple[int, Callable[[], None], Callable[[], None]]]:
    """A Redis server's port, and what stops and starts it."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    port = unused_port()
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with redis.Redis(port=port) as connection:
                    assert connection.ping()
                    return
            except redis.exceptions.ConnectionError:
                assert time.monotonic() < end
                time.sleep(0.02)

    def stop() -> None:
        server = running.pop()
        server.kill()
        server.wait(PATIENCE)

    start()
    yield port, start, stop
    if running:
        stop()


def test_several_workers_count_together_in_redis(make_client: Any, redis_port: Any) -> None:
    port, _, _ = redis_port
    limits = {"rate_limit": "3/hour", "rate_limit_storage": f"redis://127.0.0.1:{port}"}
    one, other = make_client(**limits), make_client(**limits)
    assert statuses(one, 2) + statuses(other, 2) + statuses(one, 1) == [200, 200, 200, 429, 429]


def test_without_redis_each_worker_counts_for_itself_until_it_is_there_again(make_client: Any, redis_port: Any) -> None:
    port, start, stop = redis_port
    client = make_client(rate_limit="3/hour", rate_limit_storage=f"redis://127.0.0.1:{port}")
    assert statuses(client, 2) == [200, 200]
    stop()
    assert statuses(client, 4) == [200, 200, 200, 429]
    start()
    end = time.monotonic() + PATIENCE
    while statuses(client, 1) == [429]:  # until it looks whether Redis is there again, which has forgotten all
        assert time.monotonic() < end
        time.sleep(0.1)
    with redis.Redis(port=port) as connection:
        assert list(connection.scan_iter())


def test_a_redis_that_never_was_there_does_no_harm(make_client: Any, free_port: int) -> None:
    client = make_client(rate_limit="2/hour", rate_limit_storage=f"redis://127.0.0.1:{free_port}")
    assert statuses(client, 3) == [200, 200, 429]
    assert client.get("/health").status_code == 200


def test_a_client_may_name_a_shorter_deadline(make_client: Any, translator: Any) -> None:
    client = make_client()
    assert statuses(client, 1, headers={"X-Request-Timeout": "29.5"}) == [200]
    translator.may_go_on.clear()
    response = client.post("/translate", json=GOOD, headers={"X-Request-Timeout": "0.05"})
    assert_problem(response, 504)


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "1e3", "5 s", "9" * 400])
def test_a_deadline_that_is_no_time(client: FlaskClient, value: str) -> None:
    response = client.post("/translate", json=GOOD, headers={"X-Request-Timeout": value})
    assert "X-Request-Timeout" in assert_problem(response, 400)


def test_a_longer_one_does_not_count(make_client: Any, translator: Any) -> None:
    translator.may_go_on.clear()
    client = make_client(deadline_seconds=0.05)
    assert_problem(client.post("/translate", json=GOOD, headers={"X-Request-Timeout": "600"}), 504)


def test_too_much_work_is_refused(make_client: Any) -> None:
    client = make_client(work_per_request=10)
    assert statuses(client, 1) == [200]
    response = client.post("/translate", json={**GOOD, "q": "a\nb\nc"})
    assert "at most 10 are allowed" in assert_problem(response, 400)
    assert 'translate_rejections_total{reason="too_much_work"} 1.0' in client.get("/metrics").text
