"""python -m translator translate-corpus: a corpus from files to files, on one machine or many."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from translator.command_line import Failure, model_options

if TYPE_CHECKING:
    from translator.config import Combination
    from translator.corpus.work import Work


@click.command()
@model_options
@click.option(
    "--input", "given", required=True, metavar="KIND:FILES", help="parquet:, jsonl: or text:, and a file or a pattern."
)
@click.option("--column", default="text", show_default=True, help="What is translated.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the translation; one that was begun is gone on with.",
)
@click.option("--ray", "address", metavar="ADDRESS", help="Translate on this Ray cluster: HOST:PORT, or auto.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes, each with a model; if not given, one for each core. 1 is this process itself.",
)
@click.option(
    "--rows-per-shard", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True, help="Rows of each file."
)
@click.option("--beam-size", type=click.IntRange(1, 200), default=5, show_default=True, help="1 is greedy.")
@click.option("--length-penalty", type=click.FloatRange(0, 5), help="α of the search; the model's own if not given.")
@click.option("--engine", default="auto", show_default=True, help="How to compute; inspect lists the engines.")
@click.option("--translation-column", default="translation", show_default=True, help="Name of the column to add.")
@click.option("--row-column", default="row", show_default=True, help="Name of the column with the rows' numbers.")
def translate_corpus(
    models: tuple[str, ...],
    combination: Combination,
    device: str,
    given: str,
    column: str,
    output: Path,
    address: str | None,
    workers: int | None,
    rows_per_shard: int,
    beam_size: int,
    length_penalty: float | None,
    engine: str,
    translation_column: str,
    row_column: str,
) -> None:
    """Translate a corpus of any size from files to files, on this machine or on a Ray cluster.

    \b
    python -m translator translate-corpus --model en-fr \\
      --input 'parquet:crawl/part-*.parquet' --column source --output translated

    The input is Parquet, JSON Lines (plain or .gz) or text, a text a line. Texts may have several sentences. It is cut
    into shards, and each becomes one file of the output, part-000000-of-…, with every column of the input, the row's
    number in the whole input, counted from 0, and the translation. Parquet becomes Parquet, all else JSON Lines; the
    names of the files sort in the order of the rows. A null has no translation.

    Stop it whenever you like, or pull the plug: the same command goes on, and makes the files that are missing. The
    folder's _manifest.json holds what it was begun with, and another model, other options or a changed input are
    refused. A worker that dies loses at most the shard that it had in hand, which is done again.

    With --ray the workers are on the nodes of a cluster, one for each core (with --device cuda: each GPU). Every node
    needs this program with the extra `cluster`, and input, output and model under the same paths, such as on a network
    volume. The files are the same, byte for byte, as those made without it on processors of the same kind.

    \b
    ray start --head                  # on the first machine
    ray start --address FIRST:6379    # on the others
    python -m translator translate-corpus … --ray FIRST:6379
    """
    from pydantic import ValidationError

    from translator.config import SearchOptions
    from translator.corpus.inputs import Columns, find_files
    from translator.corpus.manifest import Settings, held_folder, model_digests, prepare
    from translator.corpus.work import Work
    from translator.description import SHIPPED_MODELS, first_fault
    from translator.ensemble import model_paths

    try:
        paths = model_paths(models[0] if len(models) == 1 else models)
        # A shipped model has another path on every machine, all others have the same.
        names = tuple(path.name if path.parent == SHIPPED_MODELS else str(path.absolute()) for path in paths)
        kind, files = find_files(given)
        settings = Settings(
            models=model_digests(names),
            combination=combination,
            device=device,
            engine=os.environ.get("ENGINE") or engine if engine == "auto" else engine,
            search=SearchOptions(beam_size=beam_size, length_penalty=length_penalty),
            kind=kind,
            columns=Columns(column, translation_column, row_column),
            rows_per_shard=rows_per_shard,
        )
        output = output.absolute()
        with held_folder(output):
            work = Work(names, files, output, prepare(output, settings, files))
            _translate(work, workers, address)
    except ValidationError as error:
        raise Failure(f"the options: {first_fault(error)}") from error
    except ValueError as error:
        raise Failure(str(error)) from error


def _translate(work: Work, workers: int | None, address: str | None) -> None:
    from translator.corpus.cluster import translate_on_cluster
    from translator.corpus.local import translate_locally

    manifest = work.manifest
    shards = manifest.unfinished(work.output)
    rows_before = manifest.rows - sum(shard.rows for shard in shards)
    rows = 0
    warned: Counter[str] = Counter()
    start = time.monotonic()
    if address is not None and shards:
        outcomes = translate_on_cluster(work, shards, workers, address)
    else:
        outcomes = translate_locally(work, shards, workers or _workers(manifest.settings.device))
    with closing(outcomes), _progress_bar(manifest.rows, rows_before) as advance:
        for outcome in outcomes:
            if outcome.error:
                raise Failure(outcome.error)
            rows += outcome.rows
            warned.update(outcome.warnings)
            advance(outcome.rows)
    missing = len(manifest.unfinished(work.output))
    if missing:
        raise Failure(
            f"{work.output}: {missing} of {len(manifest.shards)} files are written and not there; "
            "is it a folder that all nodes share?"
        )
    seconds = time.monotonic() - start
    before = f" ({rows_before:,} were there already)" if rows_before else ""
    rate = f", {rows / seconds:,.0f} rows/s" if rows else ""
    files = "1 file" if len(manifest.shards) == 1 else f"{len(manifest.shards):,} files"
    click.echo(f"{work.output}: {manifest.rows:,} rows in {files}{before}{rate}", err=True)
    if warned:
        counts = ", ".join(f"{code} {count:,}" for code, count in warned.most_common())
        click.echo(f"rows with warnings, of {rows:,}: {counts}", err=True)


def _workers(device: str) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device == "cpu" else 1


@contextmanager
def _progress_bar(total: int, before: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal. Yields advance(rows)."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("translating", total=total, completed=before)
        yield lambda rows: progress.update(task, advance=rows)
