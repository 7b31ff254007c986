"""`python -m tests.benchmarks.capacity`: how many machines a load takes and what they cost, by RESULTS.md.

A machine is what was measured: two cores, on which the load generator ran as well. It is planned to be busy for a part
of the time only, and one machine more is there for one that fails.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import click

RESULTS = Path(__file__).with_name("RESULTS.md")
LOADS = (1_000, 100_000)
CORPORA = {"Tatoeba": "short everyday sentences (Tatoeba)", "newstest": "sentences of news (newstest 2012)"}
CLIENTS = 128
HOURS_A_MONTH = 730


def measured_rate(corpus: str, results: str) -> int:
    """Sentences a second of one service with 128 clients. Raises `ValueError` where RESULTS.md does not say it."""
    table = re.search(rf"^\| {corpus}, service \|.*?(?=^\| \w|^$)", results, flags=re.MULTILINE | re.DOTALL)
    row = re.search(rf"^\| \| {CLIENTS} \| (\d+) ", table[0], flags=re.MULTILINE) if table else None
    if row is None:
        raise ValueError(f"{RESULTS.name} has no rate of the service for {corpus} with {CLIENTS} clients")
    return int(row[1])


def machines(load: int, rate: int, utilisation: float) -> int:
    """Machines for `load` sentences a second, one more than are busy."""
    return math.ceil(load / (rate * utilisation)) + 1


def table(results: str, *, utilisation: float, price: float) -> str:
    """The rows of deploy/CAPACITY.md; `price` is that of one machine for an hour."""
    lines = [
        "| text | measured, sentences/s a machine | load, sentences/s | machines | cores | price an hour "
        "| price a month | price of a million sentences |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for corpus, name in CORPORA.items():
        rate = measured_rate(corpus, results)
        for load in LOADS:
            count = machines(load, rate, utilisation)
            hour = count * price
            million = hour / (load * 3600) * 1e6
            lines.append(
                f"| {name} | {rate} | {load:,} | {count:,} | {2 * count:,} | {hour:,.2f} | {hour * HOURS_A_MONTH:,.0f} "
                f"| {million:.2f} |"
            )
    return "\n".join(lines)


@click.command()
@click.option("--utilisation", default=0.7, show_default=True, type=click.FloatRange(0.05, 1.0))
@click.option("--price", default=0.1, show_default=True, type=click.FloatRange(0.0), help="Of a machine for an hour.")
def main(utilisation: float, price: float) -> None:
    """Print the table of deploy/CAPACITY.md, for a price of your own."""
    click.echo(table(RESULTS.read_text(encoding="utf-8"), utilisation=utilisation, price=price))


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.capacity")
