"""`python -m tests.benchmarks.training_machine`: how near to the machine's matrix products we train on the CPU."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console

from tests.benchmarks.disturbance import Others, describe
from tests.benchmarks.machine import Figure, machine_table
from tests.benchmarks.peers.pairs import encode_pairs, read_pairs
from tests.benchmarks.peers.text import VOCABULARY_SIZE
from tests.benchmarks.processor import describe_machine
from tests.benchmarks.training_ceiling import matrix_product_peak, products_of
from tests.benchmarks.training_pieces import Update, batches_of, make_recipe, work_of
from tests.benchmarks.training_profile import as_document, profile_operations, shares_table, time_parts
from training.batches import Batch
from training.cost import Work, training_flops
from training.prepared import EncodedPairs

_GOAL = 0.5
_TOKENS = 24
_PROFILED = 6
_WIDTH = 150
PROGRESS = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", default=3, type=click.IntRange(1, 50), help="How often all is measured, in turn.")
@click.option("--seconds", default=10.0, type=click.FloatRange(0.1), help="Training measured in each round.")
@click.option("--warm-up", default=20.0, type=click.FloatRange(0.0), help="Seconds of training on real pairs before.")
@click.option("--threads", default=2, type=click.IntRange(1), help="Threads of training and of the ceiling.")
@click.option("--batch", default=128, type=click.IntRange(1), help="Sentence pairs in a batch.")
@click.option("--hidden", default=512, type=click.IntRange(1), help="Cells in each of 4+4 layers.")
@click.option("--attention/--no-attention", default=True, help="With dot attention.")
@click.option(
    "--corpus",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with two files train.LANGUAGE for a figure with real batches, too.",
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(
    rounds: int,
    seconds: float,
    warm_up: float,
    threads: int,
    batch: int,
    hidden: int,
    attention: bool,
    corpus: Path | None,
    json_file: Path | None,
) -> None:
    """Measure training in bfloat16 against the machine's bfloat16 matrix products, and where its time goes."""
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    recipe = make_recipe(attention=attention, precision="bfloat16", batch_sentences=batch, size=hidden)
    shape = recipe.model.configuration(VOCABULARY_SIZE, VOCABULARY_SIZE)
    update = Update(recipe, shape, device)
    dtype = torch.bfloat16 if update.low_precision else torch.float32
    sizes = products_of(shape, batch, batch * _TOKENS)
    sources = {f"{batch} × {_TOKENS} tokens, synthetic": batches_of(_uniform_pairs(batch), recipe, device)}
    if corpus:
        try:
            pairs = read_pairs(corpus)
        except (ValueError, OSError) as error:
            raise click.UsageError(str(error)) from error
        sources[f"real batches of {corpus.name}"] = batches_of(pairs.encoded, recipe, device)
    figures = {title: Figure(f"{title} ÷ the matrix-product peak", _GOAL, True) for title in sources}
    for title, source in sources.items():
        PROGRESS.print(f"warming up: {title}")
        # Every length of a sentence makes oneDNN prepare products of other sizes, once.
        _train(update, source, warm_up if corpus and title.startswith("real") else min(warm_up, 3.0))
    disturbance: list[float] = []
    for number in range(1, rounds + 1):
        PROGRESS.print(f"round {number} of {rounds}")
        others = Others()
        peak = matrix_product_peak(device, dtype, sizes)
        for title, source in sources.items():
            taken, batches = _train(update, source, seconds)
            work = sum(map(work_of, batches), Work())
            rate = training_flops(shape, work) / taken
            tokens = work.target_tokens
            figures[title].values.append(rate / peak.operations_per_second)
            figures[title].details = (
                f"{tokens / taken:,.0f} target tokens/s, {rate / 1e9:,.0f} of {peak.operations_per_second / 1e9:,.0f} "
                f"GFLOP/s ({' × '.join(map(str, peak.size))})"
            )
            PROGRESS.print(f"  {title}: {figures[title].details}")
        disturbance.append(others.cores())
        PROGRESS.print(f"  {describe(disturbance[-1])}")
    profiles = {}
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    for title, source in sources.items():
        some = list(itertools.islice(source, _PROFILED))
        profiles[title] = (time_parts(update, some), profile_operations(update, some))
    console.print(machine_table(list(figures.values()), "Training against the machine"))
    console.print(
        f"{str(dtype).removeprefix('torch.')}; {describe_machine(threads)}; at most, {describe(max(disturbance))}"
    )
    for title, (parts, kinds) in profiles.items():
        console.print(shares_table(f"Parts of an update: {title}", parts))
        console.print(shares_table(f"Operations, by torch.profiler: {title}", kinds))
    if json_file:
        document = {
            "machine": describe_machine(threads),
            "cores_used_by_others": disturbance,
            "figures": [asdict(figure) for figure in figures.values()],
            "medians": {title: statistics.median(figure.values) for title, figure in figures.items()},
            "parts": {title: as_document(parts) for title, (parts, _) in profiles.items()},
            "operations": {title: as_document(kinds) for title, (_, kinds) in profiles.items()},
        }
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _train(update: Update, batches: Iterator[Batch], seconds: float) -> tuple[float, list[Batch]]:
    """Train for so long; the seconds that it took, laying out of batches included, and what was trained on."""
    used = []
    start = time.perf_counter()
    for batch in batches:
        update(batch)
        used.append(batch)
        if time.perf_counter() - start >= seconds:
            break
    return time.perf_counter() - start, used


def _uniform_pairs(sentences: int) -> EncodedPairs:
    """Pairs of equal length, so that nothing is padded; `_TOKENS` with the end of the sentence."""
    generator = np.random.default_rng(1)
    drawn: Iterable[list[int]] = generator.integers(3, VOCABULARY_SIZE, (2 * sentences, _TOKENS - 1)).tolist()
    sides = list(drawn)
    return encode_pairs(zip(sides[:sentences], sides[sentences:], strict=True))


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.training_machine")
