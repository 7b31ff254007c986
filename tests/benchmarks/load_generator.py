"""Clients that load an HTTP server on 127.0.0.1, in one process that takes as little of the shared cores as it can.

Requests are made by hand and of an answer only status and length are read: an HTTP library would take more time for a
request than the server does.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

HOST = "127.0.0.1"
OK = 200
NO_ANSWER = 0
"""Stands for a status where there was no answer: a refused or broken connection, or `REQUEST_SECONDS` over."""

REQUEST_SECONDS = 60.0
_REFUSAL_PAUSE_SECONDS = 0.1
_WARM_UP_LIMIT_SECONDS = 60.0
_EXTENSION = 4
_SAMPLE_SECONDS = 0.05

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Outcome(NamedTuple):
    """One request: when it was sent and answered (by time.perf_counter), and its status."""

    started: float
    ended: float
    status: int


@dataclass(frozen=True)
class Latency:
    """Percentiles by nearest rank, in milliseconds; NaN where nothing was measured."""

    p50: float
    p95: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        if not seconds:
            return cls(math.nan, math.nan, math.nan, math.nan)
        ordered = sorted(seconds)
        return cls(*(1000 * ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95, 0.99, 1.0)))


@dataclass(frozen=True)
class Point:
    """What was measured under one number of clients."""

    clients: int
    sentences: int
    sentences_per_second: float
    latency: Latency
    failures: dict[str, int]
    """Answers other than 200, by status."""
    health: Latency
    health_failures: int
    generator_share: float
    """Share of one core that the load generator itself took."""
    resident_bytes: int
    """The most memory that the server's worker had resident."""
    first_number: int
    """Number in the rotation of the first sentence that was sent in the measured time."""


class Connection:
    """A keep-alive connection, opened at the first request and again after the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def status_of(self, request: bytes) -> int:
        """Send a complete request, read the whole answer; its status, or NO_ANSWER."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                if self._streams is not None:
                    try:
                        return await self._exchange(*self._streams, request)
                    except (ConnectionError, EOFError):
                        # A server may close an idle connection at the moment of our request: every client tries again.
                        self.close()
                self._streams = await asyncio.open_connection(HOST, self._port)
                return await self._exchange(*self._streams, request)
        except (OSError, EOFError, TimeoutError):
            self.close()
            return NO_ANSWER

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if length is None:
            raise ConnectionError("an answer without Content-Length")
        await reader.readexactly(int(length[1]))
        if _CLOSE.search(head):
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Clients:
    """A closed loop: each client sends its next request when the last one is answered."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._answered: set[int] = set()
        self.outcomes: list[Outcome] = []
        self.running = True

    async def run(self, number: int) -> None:
        """Be client `number` until `running` is unset or there are no more requests."""
        connection = Connection(self._port)
        try:
            for request in self._requests:
                started = time.perf_counter()
                status = await connection.status_of(request)
                self.outcomes.append(Outcome(started, time.perf_counter(), status))
                self._answered.add(number)
                if status != OK:
                    # Without it, a client that is refused would do nothing but ask again, and take the server's cores.
                    await asyncio.sleep(_REFUSAL_PAUSE_SECONDS)
                if not self.running:
                    return
        finally:
            connection.close()

    async def warmed(self, clients: int, seconds: float) -> None:
        """Wait for `seconds`, and until every client has had an answer: then queues are as long as they will be."""
        begun = time.perf_counter()
        await asyncio.sleep(seconds)
        while len(self._answered) < clients and time.perf_counter() - begun < _WARM_UP_LIMIT_SECONDS:
            await asyncio.sleep(_SAMPLE_SECONDS)


async def measure(
    port: int,
    requests: Iterator[bytes],
    position: Callable[[], int],
    resident_bytes: Callable[[], int],
    *,
    clients: int,
    seconds: float,
    warm_up_seconds: float,
) -> Point:
    """Load the server with so many clients, `seconds` long after a warm-up.

    Where a server is so slow that there are fewer answers than clients in that time, it becomes up to four times as
    long. Latencies are of all requests sent in it, waited for beyond its end; a slow one is not left out.
    """
    loop = Clients(port, requests)
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(loop.run(number))
        await loop.warmed(clients, warm_up_seconds)
        first_number, start, processor = position(), time.perf_counter(), time.process_time()
        probing = group.create_task(probe(port, _EXTENSION * seconds, lambda: loop.running))
        sampling = group.create_task(_most(resident_bytes, _EXTENSION * seconds, lambda: loop.running))
        before = len(loop.outcomes)
        await asyncio.sleep(seconds)
        while len(loop.outcomes) - before < clients and time.perf_counter() < start + _EXTENSION * seconds:
            await asyncio.sleep(_SAMPLE_SECONDS)
        end, processor = time.perf_counter(), time.process_time() - processor
        loop.running = False
    sent = [outcome for outcome in loop.outcomes if start <= outcome.started < end]
    probed, health_failures = probing.result()
    return Point(
        clients=clients,
        sentences=sum(start < outcome.ended <= end and outcome.status == OK for outcome in loop.outcomes),
        sentences_per_second=rate(loop.outcomes, start, end),
        latency=Latency.of([outcome.ended - outcome.started for outcome in sent if outcome.status == OK]),
        failures=failures(sent),
        health=Latency.of(probed),
        health_failures=health_failures,
        generator_share=processor / (end - start),
        resident_bytes=sampling.result(),
        first_number=first_number,
    )


def rate(outcomes: Iterable[Outcome], start: float, end: float) -> float:
    """Answers with status 200 a second.

    Batched answers come in bursts, and whether one more burst falls into the time is chance. So the time is taken from
    the last answer before `start` to the last answer before `end`.
    """
    ended = sorted(outcome.ended for outcome in outcomes if outcome.status == OK and outcome.ended <= end)
    inside = [moment for moment in ended if moment > start]
    if not inside:
        return 0.0
    return len(inside) / (inside[-1] - max((moment for moment in ended if moment <= start), default=start))


def failures(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many answers were not 200, by status."""
    counted = Counter(outcome.status for outcome in outcomes if outcome.status != OK)
    return {str(status) if status else "no answer": count for status, count in sorted(counted.items())}


async def probe(port: int, seconds: float, going: Callable[[], bool]) -> tuple[list[float], int]:
    """Ask `GET /health` at fixed moments from a process of its own; how long each answer took, in seconds, and how many
    were not 200.

    It ends after `seconds`, or when `going` says so. Here, a hundred answers to the clients that come at once
    would be handled before the one to the probe is looked at.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.benchmarks.health_probe", str(port), str(seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    for _ in range(round(seconds / _SAMPLE_SECONDS)):
        if not going():
            break
        await asyncio.sleep(_SAMPLE_SECONDS)
    output, _ = await process.communicate(b"")  # which closes its input, and so tells it to end
    found = json.loads(output)
    return found["latencies"], found["failed"]


async def _most(resident_bytes: Callable[[], int], seconds: float, going: Callable[[], bool]) -> int:
    """The largest of the samples taken for `seconds`, or until `going` says no."""
    most = resident_bytes()
    for _ in range(round(seconds / _SAMPLE_SECONDS)):
        if not going():
            break
        await asyncio.sleep(_SAMPLE_SECONDS)
        most = max(most, resident_bytes())
    return most


class PacedClients:
    """An open loop: together the clients send `per_second` requests a second, evenly, whatever the answers say."""

    def __init__(self, port: int, requests: Iterator[bytes], *, clients: int, per_second: float) -> None:
        self._port = port
        self._requests = requests
        self._clients = clients
        self._per_second = per_second
        self.sent = 0
        self.running = True

    async def run(self, number: int, seconds: float) -> None:
        """Be client `number` until `running` is unset, at most for `seconds`."""
        connection = Connection(self._port)
        begun = time.perf_counter()
        due = begun + number / self._per_second
        try:
            while self.running and due < begun + seconds:
                await asyncio.sleep(due - time.perf_counter())
                await connection.status_of(next(self._requests))
                self.sent += 1
                due += self._clients / self._per_second
        finally:
            connection.close()
