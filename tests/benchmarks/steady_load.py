"""python -m tests.benchmarks.steady_load

Half an hour at 80 % of what the service can do: no error, memory that stays where it is, and waits that do not grow.

What it can do is measured at the beginning, by clients that send when they have their answer; then requests come at
random moments. Between the two as many come at once as are let in: the largest batch and the most threads take memory
that is kept for the next such rush, which else would come at some random moment and look like growth.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from service.settings import Settings
from tests.benchmarks.load_generator import OK, Latency, Outcome, failures
from tests.benchmarks.load_sentences import Rotation, read_sentences, sentences_option
from tests.benchmarks.open_load import Arrivals, capacity, requests_of
from tests.benchmarks.processor import describe_machine
from tests.benchmarks.server_processes import Server, end_in_order_on_sigterm, model_languages, running, service

_CLIENTS = 32
_RUSH_CLIENTS = 150
_MEBIBYTE = 1024 * 1024
_FLAT_GROWTH = 0.02
_SETTLED = 0.2
"""Share of the time after which memory is compared: until then caches and the allocator fill up."""
_SAMPLE_SECONDS = 0.25
_ROWS_PER_RUN = 30
_WIDTH = 150


@dataclass(frozen=True)
class Row:
    """A stretch of the time."""

    minutes: float
    """From the beginning to its end."""
    requests: int
    per_second: float
    p50: float
    p99: float
    resident_mebibytes: float
    failures: dict[str, int]


@dataclass(frozen=True)
class Soak:
    """All that was measured."""

    machine: str
    model: str
    share: float
    capacity: float
    requests: int
    failures: dict[str, int]
    growth: float
    late_p99: float
    rows: list[Row]

    @property
    def good(self) -> bool:
        return not self.failures and self.growth < _FLAT_GROWTH


async def soak(
    server: Server, rotation: Rotation, languages: tuple[str, str], *, share: float, minutes: float, seconds: float
) -> Soak:
    """Measure the capacity for so many seconds, then offer that share of it for so many minutes."""
    requests = requests_of(rotation, languages, 1)
    most = await capacity(server, requests, lambda: rotation.position, clients=_CLIENTS, seconds=seconds)
    await capacity(server, requests, lambda: rotation.position, clients=_RUSH_CLIENTS, seconds=seconds)
    arrivals = Arrivals(server.port, requests, per_second=share * most)
    samples: list[tuple[float, int]] = []
    running_task = asyncio.create_task(arrivals.run(60 * minutes))
    while not running_task.done():
        samples.append((time.perf_counter(), server.resident_bytes()))
        await asyncio.wait([running_task], timeout=_SAMPLE_SECONDS)
    begun, end = running_task.result()
    return Soak(
        machine="",
        model="",
        share=share,
        capacity=most,
        requests=len(arrivals.outcomes),
        failures=failures(arrivals.outcomes),
        growth=_growth(samples, begun, end),
        late_p99=Latency.of(arrivals.lateness).p99,
        rows=_rows(arrivals.outcomes, samples, begun, end),
    )


def _growth(samples: list[tuple[float, int]], begun: float, end: float) -> float:
    """Of the median of the last tenth over that of a tenth once all has settled.

    Memory goes up and down with the batch under way, so that one sample says little.
    """
    length = end - begun

    def median(start: float) -> float:
        return statistics.median(size for moment, size in samples if start <= (moment - begun) / length <= start + 0.1)

    return median(0.9) / median(_SETTLED) - 1


def _rows(outcomes: list[Outcome], samples: list[tuple[float, int]], begun: float, end: float) -> list[Row]:
    count = min(_ROWS_PER_RUN, max(1, math.ceil((end - begun) / 60)) if end - begun >= 120 else 6)
    length = (end - begun) / count
    rows = []
    for number in range(count):
        start, stop = begun + number * length, begun + (number + 1) * length
        some = [outcome for outcome in outcomes if start <= outcome.started < stop]
        latency = Latency.of([outcome.ended - outcome.started for outcome in some if outcome.status == OK])
        sizes = [size for moment, size in samples if start <= moment < stop]
        rows.append(
            Row(
                minutes=(stop - begun) / 60,
                requests=len(some),
                per_second=len(some) / length,
                p50=latency.p50,
                p99=latency.p99,
                resident_mebibytes=statistics.median(sizes) / _MEBIBYTE if sizes else math.nan,
                failures=failures(some),
            )
        )
    return rows


def print_soak(found: Soak, console: Console) -> None:
    table = Table(title=f"{found.share:.0%} of {found.capacity:.1f} sentences/s, by an open loop")
    for name in ("minute", "requests", "requests/s", "p50, ms", "p99, ms", "memory, MiB", "failures"):
        table.add_column(name, justify="right")
    for row in found.rows:
        failed = ", ".join(f"{count} × {status}" for status, count in row.failures.items())
        table.add_row(
            f"{row.minutes:.2f}", f"{row.requests:,}", f"{row.per_second:.1f}", f"{row.p50:.0f}", f"{row.p99:.0f}",
            f"{row.resident_mebibytes:.1f}", failed or "0",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{found.requests:,} requests, {sum(found.failures.values())} failed; memory grew by {found.growth:.2%} "
        f"(flat is below {_FLAT_GROWTH:.0%}); requests were sent up to {found.late_p99:.0f} ms late (p99)."
    )
    console.print(found.machine)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--model", default="en-fr", help="Model directory, or name of a shipped model.")
@sentences_option
@click.option("--minutes", default=30.0, type=click.FloatRange(0.1, 600), help="Time under load.")
@click.option("--share", default=0.8, type=click.FloatRange(0.05, 0.95), help="Share of the capacity that is offered.")
@click.option(
    "--capacity-seconds", default=10.0, type=click.FloatRange(1, 60), help="Time in which the capacity is measured."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(
    model: str, files: tuple[Path, ...], minutes: float, share: float, capacity_seconds: float, json_file: Path | None
) -> None:
    """Load the service for a long time with a share of what it can do, and watch errors, memory and waits.

    Exit status 1 where a request failed, or where memory grew by 2 % or more.
    """
    end_in_order_on_sigterm()
    model = str(Path(model).resolve()) if Path(model).is_dir() else model
    with running(service(), model) as server:
        found = asyncio.run(
            soak(
                server,
                Rotation(read_sentences(files)),
                model_languages(model),
                share=share,
                minutes=minutes,
                seconds=capacity_seconds,
            )
        )
    found = replace(found, machine=describe_machine(Settings().decoding_threads()), model=Path(model).name)
    print_soak(found, Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH))
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    if not found.good:
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.steady_load")
