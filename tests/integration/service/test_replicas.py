"""Two services, as behind one address, that count a client's requests together in a Redis."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import requests

from tests.integration.service.conftest import PATIENCE, Server
from tests.support import unused_port

GOOD = {"q": "Where is the station?", "source": "en", "target": "fr"}


@pytest.fixture
def redis_address() -> Iterator[str]:
    """Of a Redis that is there for one test."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server (Debian's package of that name)")
    port = unused_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with redis.Redis(port=port) as connection:
                connection.ping()
            break
        except redis.exceptions.ConnectionError:
            assert time.monotonic() < end
            time.sleep(0.02)
    yield f"redis://127.0.0.1:{port}"
    process.kill()
    process.wait(PATIENCE)


def test_a_client_that_asks_both_at_once_has_one_limit(start_server: Callable[..., Server], redis_address: str) -> None:
    limit = {"TRANSLATE_RATE_LIMIT": "10/hour", "TRANSLATE_RATE_LIMIT_STORAGE": redis_address}
    servers = [start_server(**limit) for _ in range(2)]

    def ask(number: int) -> int:
        return requests.post(servers[number % 2].url + "/translate", json=GOOD, timeout=PATIENCE).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, range(30)))
    assert Counter(statuses) == {200: 10, 429: 20}
    # Each has answered with both: neither of them counts for itself.
    assert {number % 2 for number, status in enumerate(statuses) if status == 429} == {0, 1}
