"""`python -m tests.benchmarks`: how near to the machine's limits we decode, and the service under load, in one table.

Nothing else should run beside it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
import torch
from rich.console import Console

from tests.benchmarks.growth import draw_growth, measure_growth
from tests.benchmarks.load_report import print_report, service_figures
from tests.benchmarks.load_sentences import Rotation, read_sentences, sentences_option
from tests.benchmarks.machine import MANY, machine_table, measure_machine
from tests.benchmarks.processor import describe_machine
from tests.benchmarks.server_processes import end_in_order_on_sigterm
from tests.benchmarks.service_load import measure_service

_SENTENCES = 20 * MANY
_WIDTH = 150
_MODEL = "en-fr"
PROGRESS = Console(stderr=True, highlight=False, markup=False, width=None if sys.stderr.isatty() else _WIDTH)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", default=5, type=click.IntRange(1, 50), help="How often decoding is measured, in turn.")
@click.option("--service-rounds", default=1, type=click.IntRange(0, 10), help="How often the service is; 0: not.")
@click.option("--seconds", default=5.0, type=click.FloatRange(0.5, 60), help="The service, each number of clients.")
@click.option("--threads", default=2, type=click.IntRange(1), help="Threads of the engine and of the ceilings.")
@sentences_option
@click.option("--details", is_flag=True, help="Print the service's throughput, waits and memory on standard error.")
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), help="Draw how the cost grows there.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(
    rounds: int,
    service_rounds: int,
    seconds: float,
    threads: int,
    files: tuple[Path, ...],
    details: bool,
    figure: Path | None,
    json_file: Path | None,
) -> None:
    """Measure the CPU engine against what the machine can do, and the service against what the engine can do."""
    end_in_order_on_sigterm()
    torch.set_num_threads(threads)
    sentences = read_sentences(files)
    figures = measure_machine(Rotation(sentences).stretch(0, _SENTENCES), rounds, PROGRESS.print)
    curves = measure_growth(PROGRESS.print) if figure else {}
    if figure:
        draw_growth(curves, figure)
    load = None
    if service_rounds:
        load = measure_service(_MODEL, sentences, seconds, service_rounds, PROGRESS.print)
        figures += service_figures(load)
    if load and details:
        print_report(load, PROGRESS)
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    console.print(machine_table(figures, "Decoding against the machine, the service against decoding"))
    console.print(describe_machine(threads))
    if json_file:
        document = {
            "machine": describe_machine(threads),
            "figures": [asdict(one) for one in figures],
            "growth": curves,
            "service": load.document() if load else None,
        }
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks")
