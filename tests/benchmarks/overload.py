"""python -m tests.benchmarks.overload

Ten times as many requests as the service can answer: it goes on at its full speed, refuses the rest at once, and is as
before when they stop.

What it can do is measured before and after, because a machine that others share is not the same all the time, by
clients that send when they have their answer. Between the two, requests come at random moments. Each is for a list of
sentences, so that this process, on the same cores, can send ten times as many.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from service.settings import Settings
from tests.benchmarks.load_generator import OK, Connection, Latency, failures, probe, rate
from tests.benchmarks.load_sentences import Rotation, read_sentences, sentences_option
from tests.benchmarks.open_load import Arrivals, capacity, requests_of
from tests.benchmarks.processor import describe_machine
from tests.benchmarks.server_processes import Server, end_in_order_on_sigterm, model_languages, running, service

_CLIENTS = 64
_REFUSED = (429, 503)
_RAMP_SECONDS = 3.0
"""At the beginning the queue fills: what is refused or answered then is not counted in the throughput."""
_PROBE_SECONDS = 0.05
_PROBED_SECONDS = 5.0
_LEAST_THROUGHPUT = 0.9
_REFUSAL_MILLISECONDS = 100.0
_RECOVERY_SECONDS = 2.0
_WIDTH = 150


@dataclass(frozen=True)
class Overload:
    """All that was measured; waits in ms."""

    machine: str
    model: str
    times: float
    capacity_before: float
    capacity_after: float
    offered: float
    answered: float
    refused: int
    failures: dict[str, int]
    """By status, the refused among them."""
    refusal: Latency
    accepted: Latency
    health: Latency
    health_failures: int
    late_p99: float
    """By how much requests were sent late: the wait for the tick, and for this process. It counts as waiting."""
    generator_share: float
    recovery_seconds: float
    """From the end of the load until a request of one sentence was answered, and from then on all of them."""
    drained_seconds: float
    """From the end of the load until all that was taken in was answered."""

    @property
    def capacity(self) -> float:
        """What the service can answer, requests/s: the larger of the two, or else the harm done by the overload, or by
        others on the machine, would count in its favour.
        """
        return max(self.capacity_before, self.capacity_after)

    @property
    def goals(self) -> list[tuple[str, str, str, bool]]:
        """What is aimed at: name, measured, goal, reached."""
        throughput = self.answered / self.capacity
        others = sum(self.failures.values()) - self.refused
        return [
            ("throughput ÷ capacity", f"{throughput:.2f}", f"≥ {_LEAST_THROUGHPUT}", throughput >= _LEAST_THROUGHPUT),
            (
                "refusals, p99",
                f"{self.refusal.p99:.0f} ms",
                f"≤ {_REFUSAL_MILLISECONDS:.0f} ms",
                self.refusal.p99 <= _REFUSAL_MILLISECONDS,
            ),
            ("neither answered nor refused", str(others), "0", others == 0),
            (
                "recovery",
                f"{self.recovery_seconds:.2f} s",
                f"≤ {_RECOVERY_SECONDS:g} s",
                self.recovery_seconds <= _RECOVERY_SECONDS,
            ),
        ]


async def overload(
    server: Server,
    rotation: Rotation,
    languages: tuple[str, str],
    *,
    times: float,
    sentences: int,
    seconds: float,
    capacity_seconds: float,
) -> Overload:
    """Measure the capacity, offer so many times as much for so many seconds, and measure it again."""
    requests = requests_of(rotation, languages, sentences)

    async def measured() -> float:
        return await capacity(server, requests, lambda: rotation.position, clients=_CLIENTS, seconds=capacity_seconds)

    most = await measured()
    arrivals = Arrivals(server.port, requests, per_second=times * most)
    begun, processor = time.perf_counter(), time.process_time()
    end = begun + seconds
    running = asyncio.create_task(arrivals.run(seconds))
    probing = asyncio.create_task(probe(server.port, seconds, lambda: time.perf_counter() < end))
    await asyncio.sleep(max(0.0, end - time.perf_counter()))
    processor = time.process_time() - processor
    probes = await _probes(server.port, requests_of(rotation, languages, 1))
    await running
    health, health_failures = await probing
    after = await measured()
    outcomes = arrivals.outcomes
    refused = [outcome for outcome in outcomes if outcome.status in _REFUSED]
    accepted = [outcome for outcome in outcomes if outcome.status == OK]
    return Overload(
        machine="",
        model="",
        times=times,
        capacity_before=most,
        capacity_after=after,
        offered=len(outcomes) / seconds,
        answered=rate(outcomes, begun + min(_RAMP_SECONDS, seconds / 4), end),
        refused=len(refused),
        failures=failures(outcomes),
        refusal=Latency.of([outcome.ended - outcome.started for outcome in refused]),
        accepted=Latency.of([outcome.ended - outcome.started for outcome in accepted]),
        health=Latency.of(health),
        health_failures=health_failures,
        late_p99=Latency.of(arrivals.lateness).p99,
        generator_share=processor / seconds,
        recovery_seconds=_recovery(probes, end),
        drained_seconds=max((outcome.ended for outcome in accepted), default=end) - end,
    )


async def _probes(port: int, requests: Iterator[bytes]) -> list[tuple[float, int]]:
    """Requests of one sentence, one after the other: when each was answered, and its status."""
    connection = Connection(port)
    end = time.perf_counter() + _PROBED_SECONDS
    found = []
    try:
        while time.perf_counter() < end:
            status = await connection.status_of(next(requests))
            found.append((time.perf_counter(), status))
            await asyncio.sleep(_PROBE_SECONDS)
    finally:
        connection.close()
    return found


def _recovery(probes: list[tuple[float, int]], end: float) -> float:
    """Seconds until the first answer after which none was refused; infinite where the last one was."""
    recovered = float("inf")
    for moment, status in reversed(probes):
        if status != OK:
            break
        recovered = moment - end
    return recovered


def print_overload(found: Overload, console: Console) -> None:
    table = Table(title=f"{found.times:g} times what the service can answer ({found.capacity:.1f} requests/s)")
    for name in ("", "measured", "goal", "reached"):
        table.add_column(name, justify="left" if not name else "right")
    for name, measured, goal, reached in found.goals:
        table.add_row(name, measured, goal, "yes" if reached else "no")
    table.add_section()
    for name, measured in (
        ("capacity before and after, requests/s", f"{found.capacity_before:.1f}, {found.capacity_after:.1f}"),
        ("offered, requests/s", f"{found.offered:.1f}"),
        ("answered, requests/s", f"{found.answered:.1f}"),
        ("refused", f"{found.refused:,}"),
        ("refusals, p50 / maximum", f"{found.refusal.p50:.0f} / {found.refusal.maximum:.0f} ms"),
        ("answers, p50 / p99", f"{found.accepted.p50:.0f} / {found.accepted.p99:.0f} ms"),
        ("/health, p99, and failures", f"{found.health.p99:.0f} ms, {found.health_failures}"),
        ("all that was taken in is answered", f"{found.drained_seconds:.1f} s after the end"),
        ("sent late, p99", f"{found.late_p99:.0f} ms"),
        ("the load generator took", f"{found.generator_share:.0%} of a core"),
    ):
        table.add_row(name, measured, "", "")
    console.print(table)
    console.print(f"Failures by status: {found.failures or 'none'}.")
    console.print(found.machine)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--model", default="en-fr", help="Model directory, or name of a shipped model.")
@sentences_option
@click.option("--times", default=10.0, type=click.FloatRange(1, 100), help="How many times the capacity is offered.")
@click.option("--per-request", default=8, type=click.IntRange(1, 100), help="Sentences in a request.")
@click.option("--seconds", default=60.0, type=click.FloatRange(2, 600), help="Time under load.")
@click.option(
    "--capacity-seconds", default=10.0, type=click.FloatRange(1, 60), help="Time of each measurement of the capacity."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(
    model: str,
    files: tuple[Path, ...],
    times: float,
    per_request: int,
    seconds: float,
    capacity_seconds: float,
    json_file: Path | None,
) -> None:
    """Offer the service many times what it can answer, and see what becomes of throughput, refusals and recovery.

    Exit status 1 where a goal is missed.
    """
    end_in_order_on_sigterm()
    model = str(Path(model).resolve()) if Path(model).is_dir() else model
    with running(service(), model) as server:
        found = asyncio.run(
            overload(
                server,
                Rotation(read_sentences(files)),
                model_languages(model),
                times=times,
                sentences=per_request,
                seconds=seconds,
                capacity_seconds=capacity_seconds,
            )
        )
    found = replace(found, machine=describe_machine(Settings().decoding_threads()), model=Path(model).name)
    print_overload(found, Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH))
    if json_file is not None:
        document = {**asdict(found), "goals": [[*goal] for goal in found.goals]}
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if not all(reached for *_, reached in found.goals):
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.overload")
