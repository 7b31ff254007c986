"""The wall clock jumps, forwards and back, while requests are under way: deadlines go by another one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from tests.integration.faults.support import GOOD, SLOW, answer_of, request_bytes, send, slow_request
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.integration.service.test_observation import samples

DAY = 86_400.0
# Python imports this module at its start, in each of the service's processes.
_SITE = """
import pathlib, time
_time, _time_ns, _jump = time.time, time.time_ns, pathlib.Path(__file__).with_name("jump")
time.time = lambda: _time() + float(_jump.read_text())
time.time_ns = lambda: _time_ns() + int(1e9 * float(_jump.read_text()))
"""


class Clock:
    """What the service takes for the time of day: the true one and `seconds` more."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(_SITE)
        self._jump = folder / "jump"
        self.environment = {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}
        self.jump(0.0)

    def jump(self, seconds: float) -> None:
        written = self._jump.with_name("next")
        written.write_text(str(seconds))
        written.replace(self._jump)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forwards", "back"])
def test_requests_under_way_neither_end_nor_hang(
    start_server: Callable[..., Server], clock: Clock, jump: float
) -> None:
    server = start_server(**{**SLOW, "TRANSLATE_DEADLINE_SECONDS": "60"}, **clock.environment)
    processes = {each.pid for each in psutil.Process(server.process.pid).children(recursive=True)}
    patient = send(server.port, request_bytes(slow_request(0, texts=30)))
    hasty = send(server.port, request_bytes(slow_request(1, texts=100), "X-Request-Timeout: 1"))
    until(lambda: samples(server, "translate_queue_texts")["en-fr"] > 100)
    clock.jump(jump)
    assert answer_of(hasty)[0] == 504
    assert answer_of(patient)[0] == 200
    assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert requests.get(server.url + "/ready").status_code == 200
    assert {each.pid for each in psutil.Process(server.process.pid).children(recursive=True)} == processes
    assert server.end() == 0
    times = [json.loads(line).get("timestamp", "") for line in server.errors.splitlines()]
    assert len(times) > 1


def test_files_are_kept_and_rates_are_counted_over_a_jump(start_server: Callable[..., Server], clock: Clock) -> None:
    server = start_server(TRANSLATE_RATE_LIMIT="6/hour", **clock.environment)

    def ask(times: int) -> list[int]:
        return [requests.post(server.url + "/translate", json=GOOD).status_code for _ in range(times)]

    kept = requests.post(
        server.url + "/translate_file", data={"source": "en", "target": "fr"}, files={"file": ("a.txt", b"Hello.")}
    ).json()["translatedFileUrl"]
    assert ask(6) == [200] * 5 + [429]
    for jump in (DAY, 0.0, -DAY, 0.0):
        clock.jump(jump)
        assert requests.get(kept).status_code == 200, "it is kept for minutes, whatever the clock says"
    clock.jump(-DAY)
    refused = requests.post(server.url + "/translate", json=GOOD)
    while refused.status_code == 200:
        refused = requests.post(server.url + "/translate", json=GOOD)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 7_200, "nobody is locked out for a day"
    assert server.end() == 0
    assert "Traceback" not in server.errors
