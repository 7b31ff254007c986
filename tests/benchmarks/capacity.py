"""`python -m tests.benchmarks.capacity`: how many machines a load takes and what they cost, by RESULTS.md.

A machine is what was measured: two cores, on which the load generator ran as well. One that serves is planned to be
busy for a part of the time only, and there is one machine more for one that fails. Machines that translate files are
busy all the time, and what one that fails had in hand is done by the others.
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
COMPARED_CLIENTS = 32
"""Clients of the service whose rate is given as a part of that of a translation without a service."""
CORES = 2
HOURS_A_MONTH = 730


def measured_rate(corpus: str, results: str, clients: int = CLIENTS) -> int:
    """Sentences a second of one service with so many clients. Raises `ValueError` where RESULTS.md does not say it."""
    table = re.search(rf"^\| {corpus}, service \|.*?(?=^\| \w|^$)", results, flags=re.MULTILINE | re.DOTALL)
    row = re.search(rf"^\| \| {clients} \| (\d+) ", table[0], flags=re.MULTILINE) if table else None
    if row is None:
        raise ValueError(f"{RESULTS.name} has no rate of the service for {corpus} with {clients} clients")
    return int(row[1])


def rate_of_files(corpus: str, results: str) -> int:
    """Sentences a second of `Translator.translate` on many sentences at once: RESULTS.md has the service's rate with 32
    clients, and which part of this one it is. Raises `ValueError` where it does not say so.
    """
    shares = re.search(r"^\| `Translator.translate` offline.*$", results, flags=re.MULTILINE)
    if shares is None:
        raise ValueError(f"{RESULTS.name} does not compare the service with a translation without one")
    share = float(shares[0].split("|")[2 + list(CORPORA).index(corpus)].split()[0])
    return int(measured_rate(corpus, results, COMPARED_CLIENTS) / share)


def machines(load: int, rate: int, utilisation: float, spare: int = 1) -> int:
    """Machines for `load` sentences a second, `spare` more than are busy."""
    return math.ceil(load / (rate * utilisation)) + spare


def table(results: str, *, utilisation: float, price: float) -> str:
    """The rows of deploy/CAPACITY.md; `price` is that of one machine for an hour."""
    lines = [
        "| text | by | measured, sentences/s a machine | load, sentences/s | machines | cores | price an hour "
        "| price a month | price of a million sentences |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for corpus, name in CORPORA.items():
        served, translated = measured_rate(corpus, results), rate_of_files(corpus, results)
        for way, rate, busy, spare in (("service", served, utilisation, 1), ("files", translated, 1.0, 0)):
            for load in LOADS:
                count = machines(load, rate, busy, spare)
                hour = count * price
                million = hour / (load * 3600) * 1e6
                lines.append(
                    f"| {name} | {way} | {rate} | {load:,} | {count:,} | {CORES * count:,} | {hour:,.2f} "
                    f"| {hour * HOURS_A_MONTH:,.0f} | {million:.2f} |"
                )
    return "\n".join(lines)


@click.command()
@click.option(
    "--utilisation", default=0.7, show_default=True, type=click.FloatRange(0.05, 1.0), help="Of machines that serve."
)
@click.option("--price", default=0.1, show_default=True, type=click.FloatRange(0.0), help="Of a machine for an hour.")
def main(utilisation: float, price: float) -> None:
    """Print the table of deploy/CAPACITY.md, for a price of your own."""
    click.echo(table(RESULTS.read_text(encoding="utf-8"), utilisation=utilisation, price=price))


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.capacity")
