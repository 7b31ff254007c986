"""`python -m tests.benchmarks.corpus_translation`: sentences a second of `translate-corpus`, its start included.

Every measurement is a run of the command as a person types it, into a folder of its own.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import click

from tests.benchmarks.disturbance import Others, describe

_PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl(2): orphans among the descendants become children of this process."""


def adopt_orphans() -> None:
    """From now on wait for the workers too: a process's time counts as ours only once it has been waited for."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for_orphans() -> None:
    """Return when this process has no children any more."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return


def sentences_per_second(model: str, corpus: Path, sentences: int, workers: int, *options: str) -> float:
    """Of one run over the lines of a file. Raises `click.ClickException` where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "translator", "translate-corpus", "--model", model, "--rows-per-shard", "1000"]
        command += ["--input", f"text:{corpus}", "--output", f"{folder}/out", "--workers", str(workers), *options]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        wait_for_orphans()
        if done.returncode:
            raise click.ClickException(done.stderr)
    return sentences / seconds


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="en-fr", show_default=True)
@click.option("--most", default=20_000, show_default=True, help="Lines of each file at most.")
@click.option("--workers", multiple=True, type=int, default=(1, 2), show_default=True, help="Processes; repeatable.")
@click.option("--rounds", default=3, show_default=True)
def main(files: tuple[Path, ...], model: str, most: int, workers: tuple[int, ...], rounds: int) -> None:
    """Translate the lines of FILES and print a row of RESULTS.md for each of them and each number of processes."""
    adopt_orphans()
    for file in files:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as part:
            with file.open(encoding="utf-8") as lines:
                taken = list(islice(lines, most))
            part.writelines(taken)
            part.flush()
            for count in workers:
                others = Others()
                rates = [sentences_per_second(model, Path(part.name), len(taken), count) for _ in range(rounds)]
                span = f"{statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f})"
                click.echo(f"| {file} | {len(taken):,} | {count} | {span} |")
                click.echo(describe(others.cores()), err=True)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.corpus_translation")
