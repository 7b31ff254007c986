"""`python -m tests.benchmarks.training_scaling`: one and two processes that train together, on this machine's cores.

Strong scaling: the batches are the same, each process has its share of the rows, and one thread. On one machine this
says what DistributedDataParallel costs beside the work; what a network between machines costs it cannot say.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.benchmarks.disturbance import Others, describe
from tests.benchmarks.peers.ours import REPOSITORY
from tests.benchmarks.peers.peer import on_threads
from tests.benchmarks.peers.report import spread
from tests.benchmarks.processor import describe_machine

_LONGEST_SECONDS = 1800
_FEWEST_LINES = 2
_WIDTH = 120
PROGRESS = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@dataclass
class Processes:
    """So many processes: target tokens a second and what others used, by round."""

    count: int
    rates: list[float] = field(default_factory=list)
    disturbance: list[float] = field(default_factory=list)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("recipe", default="multi30k-de-en")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="As for training; may be repeated.")
@click.option("--processes", default=(1, 2), multiple=True, type=click.IntRange(1), help="May be repeated.")
@click.option(
    "--epochs",
    default=0.5,
    type=click.FloatRange(0.001),
    help="How much of the corpus is trained on; at least 100 batches, as a line of the log stands for 50.",
)
@click.option("--rounds", default=2, type=click.IntRange(1, 20), help="How often all are measured, in turn.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(
    recipe: str,
    overrides: tuple[str, ...],
    processes: tuple[int, ...],
    epochs: float,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Train RECIPE for a while with torchrun, one thread a process, and compare their target tokens a second."""
    results = [Processes(count) for count in dict.fromkeys(processes)]
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared"
        settings = [word for override in overrides for word in ("--set", override)]
        PROGRESS.print(f"preparing {recipe}")
        _run([sys.executable, "-m", "training", "prepare", recipe, *settings, "--output", str(prepared)], 2)
        for number in range(1, rounds + 1):
            for result in results if number % 2 else reversed(results):
                others = Others()
                directory = Path(folder) / f"run-{number}-{result.count}"
                result.rates.append(_train(recipe, settings, prepared, directory, result.count, epochs))
                result.disturbance.append(others.cores())
                PROGRESS.print(
                    f"round {number}, {result.count} processes: {result.rates[-1]:,.0f} target tokens/s; "
                    f"{describe(result.disturbance[-1])}"
                )
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    console.print(_table(recipe, results))
    if json_file:
        document = {"machine": describe_machine(1), "recipe": recipe, "processes": [asdict(one) for one in results]}
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _train(recipe: str, settings: list[str], prepared: Path, directory: Path, processes: int, epochs: float) -> float:
    """Target tokens a second of a run: the median of its log's lines but the first, which has the warm-up in it."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
        *("-m", "training", "train", recipe, *settings, "--prepared", str(prepared)),
        *("--set", f"output.directory={directory}", "--set", f"optimisation.epochs={epochs}"),
        *("--set", "evaluation.bleu_sentences=1", "--set", "evaluation.length_penalties=[0.0]"),
        *("--set", "evaluation.every_epochs=1000"),
    ]
    _run(command, 1)
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    rates = [float(line["target_tokens_per_second"]) for line in lines if line["event"] == "train"]
    if len(rates) < _FEWEST_LINES:
        raise click.ClickException(f"{len(rates)} lines in the log are too few; give more --epochs")
    return statistics.median(rates[1:])


def _run(command: Sequence[str], threads: int) -> None:
    finished = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **on_threads(threads)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    if finished.returncode:
        raise click.ClickException(finished.stderr.strip()[-2000:] or f"exit status {finished.returncode}")


def _table(recipe: str, results: Sequence[Processes]) -> Table:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    worst = max(max(result.disturbance) for result in results)
    table = Table(
        title=f"Processes that train {recipe} together, one thread each, on the same {cores} cores",
        title_justify="left",
        caption="The same batches, divided by rows; gloo on the loopback. One process leaves the other cores idle.\n"
        f"{describe_machine(1)}; at most, {describe(worst)}.",
        caption_justify="left",
    )
    for heading in (f"÷ {results[0].count} process(es)", "of the ideal", "processes", "target tokens/s"):
        table.add_column(heading, justify="right")
    for result in results:
        ratios = [ours / first for ours, first in zip(result.rates, results[0].rates, strict=True)]
        ideal = [ratio * results[0].count / result.count for ratio in ratios]
        table.add_row(spread(ratios, 2), spread(ideal, 2), str(result.count), spread(result.rates, 0))
    return table


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.training_scaling")
