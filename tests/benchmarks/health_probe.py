"""python -m tests.benchmarks.health_probe PORT SECONDS

Asks `GET /health` every 20 ms, as a watchful monitor would, until its standard input ends or the time is up, and prints
`{"latencies": [seconds …], "failed": number}`.
"""

from __future__ import annotations

import asyncio
import json
import select
import sys
import time

from tests.benchmarks.load_generator import OK, Connection

PROBE_SECONDS = 0.02
_HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def probe(port: int, seconds: float) -> tuple[list[float], int]:
    """How long each answer took, in seconds, and how many were not 200.

    A probe that is due while the last one still waits is counted from when it was due: who stands still for a second
    has let fifty clients wait, and not one.
    """
    connection = Connection(port)
    latencies: list[float] = []
    failed = 0
    try:
        await connection.status_of(_HEALTH)
        begun = ended = time.perf_counter()
        for number in range(round(seconds / PROBE_SECONDS)):
            due = begun + number * PROBE_SECONDS
            if due > ended:
                await asyncio.sleep(due - ended)
            started = due if due < ended else time.perf_counter()
            failed += await connection.status_of(_HEALTH) != OK
            ended = time.perf_counter()
            latencies.append(ended - started)
            if ended > begun + seconds or _told_to_end():
                break
    finally:
        connection.close()
    return latencies, failed


def _told_to_end() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    found, failures = asyncio.run(probe(int(sys.argv[1]), float(sys.argv[2])))
    print(json.dumps({"latencies": found, "failed": failures}))
