"""python -m tests.benchmarks.soak

Whether the service's memory stays flat: tens of thousands of sentences, all different, through one worker.

Memory goes up and down with the batch under way, so that one sample says little: each row's figure is the median of the
samples taken since the last row, and growth is that from one row to another.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click

from tests.benchmarks.load_generator import OK, Clients, Latency, failures
from tests.benchmarks.load_sentences import Rotation, read_sentences, sentences_option
from tests.benchmarks.server_processes import end_in_order_on_sigterm, model_languages, running, service

_CLIENTS = 32
_SAMPLES = 50
_ROWS = 10
_SETTLED_ROW = 2
"""Memory is compared from here on: until then caches and the allocator fill up."""
_FLAT_GROWTH = 0.02
_LOOK_SECONDS = 0.05
_MEBIBYTE = 1024 * 1024


class _Soak:
    """Looks on while the clients send, and prints a row for each tenth of the sentences."""

    def __init__(self, clients: Clients, resident_bytes: Callable[[], int], count: int) -> None:
        self._clients = clients
        self._resident_bytes = resident_bytes
        self._sample_every = count // _SAMPLES
        self._row_every = count // _ROWS
        self._samples: list[int] = []
        self._sampled = 0
        self._row_started = time.perf_counter()
        self.rows: list[float] = []
        """Median resident bytes, row by row."""

    def look(self) -> None:
        """Take a sample and print a row where they are due; several where many sentences were answered at once."""
        while self._sampled + self._sample_every <= len(self._clients.outcomes):
            self._sampled += self._sample_every
            self._samples.append(self._resident_bytes())
            if self._sampled % self._row_every == 0:
                self._print_row()

    def _print_row(self) -> None:
        stretch = self._clients.outcomes[self._sampled - self._row_every : self._sampled]
        answered = [outcome.ended - outcome.started for outcome in stretch if outcome.status == OK]
        latency = Latency.of(answered)
        passed, self._row_started = time.perf_counter() - self._row_started, time.perf_counter()
        self.rows.append(statistics.median(self._samples))
        failed = sum(failures(stretch).values())
        click.echo(
            f"{self._sampled:>9,} {self.rows[-1] / _MEBIBYTE:>11.1f} {max(self._samples) / _MEBIBYTE:>11.1f}"
            f" {len(answered) / passed:>11.1f} {latency.p50:>9.0f} {latency.p99:>9.0f} {failed:>9}"
        )
        self._samples.clear()


async def _soak(
    port: int,
    resident_bytes: Callable[[], int],
    rotation: Rotation,
    languages: tuple[str, str],
    *,
    count: int,
    minutes: float,
) -> tuple[list[float], dict[str, int]]:
    """Send `count` sentences; the rows' memory and the failures. Fewer rows where the time was over."""
    clients = Clients(port, itertools.islice(rotation.requests(*languages), count))
    soak = _Soak(clients, resident_bytes, count)
    end = time.perf_counter() + 60 * minutes
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(clients.run(number)) for number in range(_CLIENTS)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(_LOOK_SECONDS)
            soak.look()
            clients.running = time.perf_counter() < end
    soak.look()
    return soak.rows, failures(clients.outcomes)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--model", default="en-fr", help="Model directory, or name of a shipped model.")
@sentences_option
@click.option("--count", default=50_000, type=click.IntRange(100, 1_000_000), help="How many to send; whole hundreds.")
@click.option("--minutes", default=60.0, type=click.FloatRange(0.1, 600), help="Stop after this time in any case.")
def main(model: str, files: tuple[Path, ...], count: int, minutes: float) -> None:
    """Send many sentences through the service over HTTP on 127.0.0.1, 32 at a time, and watch its worker's memory.

    Exit status 1 where memory grew by 2 % or more, where a request failed, or where the time was over before the end.
    """
    end_in_order_on_sigterm()
    model = str(Path(model).resolve()) if Path(model).is_dir() else model
    count -= count % 100
    languages = model_languages(model)
    rotation = Rotation(read_sentences(files))
    with running(service(), model) as server:
        click.echo(
            f"After loading: {server.resident_bytes() / _MEBIBYTE:.1f} MiB resident. Memory in MiB, waits in ms.\n"
        )
        headings = ("sentences", "memory", "largest", "sentences/s", "p50", "p99", "failures")
        click.echo(
            " ".join(f"{name:>{max(9, width)}}" for name, width in zip(headings, (9, 11, 11, 11, 9, 9, 9), strict=True))
        )
        rows, failed = asyncio.run(
            _soak(server.port, server.resident_bytes, rotation, languages, count=count, minutes=minutes)
        )
    for status, number in failed.items():
        click.echo(f"\n{number} requests failed with status {status}.")
    if len(rows) < _ROWS:
        raise click.ClickException(f"the time of {minutes:g} minutes was over before all {count:,} sentences were sent")
    growth = rows[-1] / rows[_SETTLED_ROW - 1] - 1
    flat = growth < _FLAT_GROWTH
    click.echo(
        f"\nFrom {_SETTLED_ROW * count // _ROWS:,} to {count:,} sentences memory grew by {growth:.2%}: "
        + ("flat." if flat else f"not flat, which would be below {_FLAT_GROWTH:.0%}.")
    )
    if failed or not flat:
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.soak")
