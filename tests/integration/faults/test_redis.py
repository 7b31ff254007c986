"""The Redis that counts requests goes away, hangs and comes back: nobody is refused for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import requests

from tests.integration.faults.support import GOOD, PATIENCE
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.support import unused_port

LIMIT = 8
AT_ONCE = 4


class Redis:
    """A Redis server that can be killed and started anew, which forgets all then."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.port = unused_port()
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        until(self._answers)

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port) as connection:
                return bool(connection.ping())
        except redis.exceptions.ConnectionError:
            return False

    def keys(self) -> list[bytes]:
        with redis.Redis(port=self.port) as connection:
            return list(connection.scan_iter())

    def forget(self) -> None:
        with redis.Redis(port=self.port) as connection:
            connection.flushall()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def counter() -> Iterator[Redis]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    server = Redis(program)
    yield server
    server.kill()


def ask(server: Server, times: int) -> list[int]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: requests.post(server.url + "/translate", json=GOOD).status_code, range(times)))


@pytest.mark.parametrize("how", ["is killed", "hangs"])
def test_the_service_goes_on_without_redis(start_server: Callable[..., Server], counter: Redis, how: str) -> None:
    server = start_server(
        TRANSLATE_RATE_LIMIT=f"{LIMIT}/hour", TRANSLATE_RATE_LIMIT_STORAGE=f"redis://127.0.0.1:{counter.port}"
    )
    assert ask(server, 4) == [200] * 4
    assert counter.keys()
    if how == "is killed":
        counter.kill()
    else:
        os.kill(counter.process.pid, signal.SIGSTOP)
    # From here on it counts in its own memory, from nothing; those that wait for Redis just now are not counted.
    statuses = ask(server, LIMIT + AT_ONCE + 4)
    assert set(statuses) == {200, 429}
    assert LIMIT <= statuses.count(200) <= LIMIT + AT_ONCE
    assert requests.get(server.url + "/ready").status_code == 200
    if how == "is killed":
        counter.start()
    else:
        os.kill(counter.process.pid, signal.SIGCONT)
        counter.forget()
    end = time.monotonic() + PATIENCE
    while ask(server, 1) == [429]:  # until it looks again, and Redis has room for this client
        assert time.monotonic() < end
        time.sleep(0.2)
    assert counter.keys()
    assert server.end() == 0


def test_it_starts_without_redis(start_server: Callable[..., Server], free_port: int) -> None:
    server = start_server(
        TRANSLATE_RATE_LIMIT=f"{LIMIT}/hour", TRANSLATE_RATE_LIMIT_STORAGE=f"redis://127.0.0.1:{free_port}"
    )
    statuses = ask(server, LIMIT + AT_ONCE + 2)  # those that look for Redis together at first are not counted
    assert set(statuses) == {200, 429}
    assert LIMIT <= statuses.count(200) <= LIMIT + AT_ONCE
    assert server.end() == 0
