"""An open loop: requests come at random moments, whether or not those before them are answered, as from many people."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator

from tests.benchmarks.load_generator import Connection, Outcome, measure
from tests.benchmarks.load_sentences import Rotation, translate_request
from tests.benchmarks.server_processes import Server

_SEED = 1
_TICK_SECONDS = 0.005
"""Requests are sent by the tick, so that this process does not wake for each: its cores are the service's, too."""
_WARM_UP_SECONDS = 2.0


class Arrivals:
    """`per_second` requests, due by a Poisson process at the same moments in every run, and sent at the next tick."""

    def __init__(self, port: int, requests: Iterator[bytes], *, per_second: float) -> None:
        self._port = port
        self._requests = requests
        self._per_second = per_second
        self._idle: list[Connection] = []
        self.outcomes: list[Outcome] = []
        """`started` is when the request was due: one that is sent late waits, too."""
        self.lateness: list[float] = []
        """By how many seconds requests were sent late, the wait for the tick included."""
        self.running = True

    async def run(self, seconds: float) -> tuple[float, float]:
        """Send for so long, or until `running` is unset, and wait for the last answer; when the first and the last
        request were due.
        """
        moments = random.Random(_SEED)
        begun = due = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                while self.running:
                    due += moments.expovariate(self._per_second)
                    if due > begun + seconds:
                        break
                    tick = begun + math.ceil((due - begun) / _TICK_SECONDS) * _TICK_SECONDS
                    # Even where it is late: answers are read then, too.
                    await asyncio.sleep(max(0.0, tick - time.perf_counter()))
                    group.create_task(self._send(due))
                end = time.perf_counter()
        finally:
            for connection in self._idle:
                connection.close()
        return begun, end

    async def _send(self, due: float) -> None:
        connection = self._idle.pop() if self._idle else Connection(self._port)
        self.lateness.append(time.perf_counter() - due)
        status = await connection.status_of(next(self._requests))
        self.outcomes.append(Outcome(due, time.perf_counter(), status))
        self._idle.append(connection)


def requests_of(rotation: Rotation, languages: tuple[str, str], sentences: int) -> Iterator[bytes]:
    """Requests for lists of so many sentences, all different."""
    while True:
        texts = rotation.stretch(rotation.position, sentences)
        rotation.position += sentences
        yield translate_request(texts[0] if sentences == 1 else texts, *languages)


async def capacity(
    server: Server, requests: Iterator[bytes], position: Callable[[], int], *, clients: int, seconds: float
) -> float:
    """Requests a second that the service answers for so many clients, each of which sends when it has its answer."""
    point = await measure(
        server.port,
        requests,
        position,
        server.resident_bytes,
        clients=clients,
        seconds=seconds,
        warm_up_seconds=min(_WARM_UP_SECONDS, seconds),
    )
    return point.sentences_per_second
