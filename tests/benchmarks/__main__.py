"""`python -m tests.benchmarks`: how near to the machine's limits we decode. Nothing else should run beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
import torch
from rich.console import Console

from tests.benchmarks.growth import draw_growth, measure_growth
from tests.benchmarks.load_sentences import Rotation, read_sentences, sentences_option
from tests.benchmarks.machine import MANY, machine_table, measure_machine
from tests.benchmarks.processor import describe_machine

_SENTENCES = 20 * MANY
PROGRESS = Console(stderr=True, highlight=False, markup=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", default=5, type=click.IntRange(1, 50), help="How often all is measured, in turn.")
@click.option("--threads", default=2, type=click.IntRange(1), help="Threads of the engine and of the ceilings.")
@sentences_option
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), help="Draw how the cost grows there.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(rounds: int, threads: int, files: tuple[Path, ...], figure: Path | None, json_file: Path | None) -> None:
    """Measure the CPU engine against what the machine can do, and draw how its cost grows."""
    torch.set_num_threads(threads)
    sentences = Rotation(read_sentences(files)).stretch(0, _SENTENCES)
    figures = measure_machine(sentences, rounds, PROGRESS.print)
    curves = measure_growth(PROGRESS.print) if figure else {}
    if figure:
        draw_growth(curves, figure)
    console = Console(highlight=False)
    console.width = max(console.width, 150)
    console.print(machine_table(figures))
    console.print(describe_machine(threads))
    if json_file:
        document = {"machine": describe_machine(threads), "figures": [asdict(one) for one in figures], "growth": curves}
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks")
