"""python -m tests.benchmarks.service_load

How many sentences a second the service translates for 1 to 128 clients at once, how long they wait, and how that
compares with the same translator served one text at a time and with no service at all. Contenders take turns, so that a
machine that becomes slower in the meantime is slow for all.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from tests.benchmarks.load_generator import measure
from tests.benchmarks.load_report import COMPARED_CLIENTS, Measurements, Visit, print_report
from tests.benchmarks.load_sentences import Rotation, read_sentences, sentences_option
from tests.benchmarks.offline_translation import measure_offline
from tests.benchmarks.server_processes import (
    BATCHING_OFF,
    MOST_CLIENTS,
    Contender,
    end_in_order_on_sigterm,
    model_languages,
    one_at_a_time,
    running,
    service,
    service_without_batching,
)

_CLIENTS = (1, 8, COMPARED_CLIENTS, MOST_CLIENTS)
_WARM_UP_SECONDS = 2.0
_IDLE_SECONDS = 1.0
# Enough that the offline translation sorts by length and fills its batches as it does with a whole file.
_FEWEST_OFFLINE_SENTENCES = 1_000
_MOST_OFFLINE_SENTENCES = 5_000
_WIDTH = 150


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--model", default="en-fr", help="Model directory, or name of a shipped model.")
@sentences_option
@click.option(
    "--seconds", default=5.0, type=click.FloatRange(0.5, 60), help="Time measured for each number of clients."
)
@click.option("--rounds", default=2, type=click.IntRange(1, 10), help="How often each contender has its turn.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(model: str, files: tuple[Path, ...], seconds: float, rounds: int, json_file: Path | None) -> None:
    """Load the service and its contenders over HTTP on 127.0.0.1, and compare them."""
    end_in_order_on_sigterm()
    progress = Console(stderr=True, highlight=False)
    measured = measure_service(model, read_sentences(files), seconds, rounds, progress.print)
    print_report(measured, Console(width=None if sys.stdout.isatty() else _WIDTH))
    if json_file is not None:
        json_file.write_text(json.dumps(measured.document(), indent=2) + "\n", encoding="utf-8")


def measure_service(
    model: str, sentences: list[str], seconds: float, rounds: int, progress: Callable[[str], None]
) -> Measurements:
    """The service and its contenders in turn, under every number of clients; `model` is a directory or a name."""
    model = str(Path(model).resolve()) if Path(model).is_dir() else model
    languages = model_languages(model)
    contenders = [service(), service_without_batching(), one_at_a_time()]
    if None in contenders:
        progress(f"The service has no setting {', '.join(BATCHING_OFF)}: batching off is left out.")
    measured = Measurements(Path(model).name, len(sentences), seconds, len(os.sched_getaffinity(0)))
    for number in range(1, rounds + 1):
        # There and back: whoever is always first would always have the cooler processor.
        for contender in contenders if number % 2 else reversed(contenders):
            if contender is None:
                continue
            visit = _visit(contender, number, model, languages, sentences, seconds, progress)
            measured.visits.append(visit)
            if contender.name == "service":
                point = visit.at(COMPARED_CLIENTS)
                run = asyncio.run(
                    measure_offline(
                        model,
                        Rotation(sentences),
                        languages,
                        first=point.first_number,
                        count=min(max(point.sentences, _FEWEST_OFFLINE_SENTENCES), _MOST_OFFLINE_SENTENCES),
                        per_second=max(point.sentences_per_second, 1.0),
                        clients=COMPARED_CLIENTS,
                    )
                )
                measured.offline.append(run)
                progress(f"round {number}, offline: {run.sentences_per_second:.1f} sentences/s")
    return measured


def _visit(
    contender: Contender,
    number: int,
    model: str,
    languages: tuple[str, str],
    sentences: list[str],
    seconds: float,
    progress: Callable[[str], None],
) -> Visit:
    """Start the contender, measure it under every number of clients, stop it; all get the same sentences in order."""
    rotation = Rotation(sentences)
    requests = rotation.requests(*languages)
    points = []
    with running(contender, model) as server:
        loaded = server.resident_bytes()
        for clients in _CLIENTS:
            point = asyncio.run(
                measure(
                    server.port,
                    requests,
                    lambda: rotation.position,
                    server.resident_bytes,
                    clients=clients,
                    seconds=seconds,
                    warm_up_seconds=min(_WARM_UP_SECONDS, seconds),
                )
            )
            points.append(point)
            progress(
                f"round {number}, {contender.name}, {clients} clients: {point.sentences_per_second:.1f} sentences/s"
            )
        time.sleep(_IDLE_SECONDS)
        return Visit(contender.name, number, loaded, server.resident_bytes(), points)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.service_load")
