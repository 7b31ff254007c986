"""What a recipe will train and what it will cost, before anything is spent: `python -m training train --dry-run`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from training.cost import (
    BatchShape,
    MemoryEstimate,
    Work,
    parameter_count,
    parameters_by_part,
    training_flops,
    training_memory,
)
from training.hardware import choose_device, has_fast_bfloat16
from training.initial_model import begins_with_a_translator, describe_start
from training.meter import Meter, memory_available, memory_in_use
from training.prepared import Prepared
from training.recipe import Recipe
from training.trial import Trial
from translator.config import ModelConfig
from translator.vocabulary import SIDES

_PERCENTILES = (50, 90, 95, 99, 100)
_WARM_UP_UPDATES = 2
_FEWEST_UPDATES = 3
_MOST_UPDATES = 40
_SECONDS_FOR_UPDATES = 20.0
_RESAMPLES = 1000


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of all updates together, and the borders of the middle 90% of what other samples would have given."""

    seconds: float
    low: float
    high: float


def extrapolate(
    seconds: NDArray[np.float64], flops: NDArray[np.float64], all_flops: NDArray[np.float64], updates: int
) -> TimeEstimate:
    """The time of `updates` updates, from the time of a random sample of their batches.

    The sample's mean time is corrected by the regression of time on operations, because the mean of all batches'
    operations is known exactly (Cochran 1977, *Sampling Techniques*, section 7.2); the range is by bootstrap (Efron
    and Tibshirani 1993, section 13.3).

    Args:
        seconds: of the sample, float64 [sample].
        flops: of the sample, float64 [sample].
        all_flops: of all batches of an epoch, float64 [batches].
    """

    def mean_seconds(sample: NDArray[np.int64]) -> float:
        times, operations = seconds[sample], flops[sample]
        spread = operations.var()
        slope = float(np.cov(operations, times, bias=True)[0, 1] / spread) if spread > 0 else 0.0
        # More operations never take less time; a sample that says so is too small to correct by.
        corrected = times.mean() + max(0.0, slope) * (all_flops.mean() - operations.mean())
        return max(float(corrected), float(times.min()))

    everything = np.arange(len(seconds))
    generator = np.random.default_rng(0)
    resampled = [mean_seconds(generator.choice(everything, len(everything))) for _ in range(_RESAMPLES)]
    low, high = np.quantile(resampled, [0.05, 0.95])
    estimate = mean_seconds(everything)
    return TimeEstimate(updates * estimate, updates * min(float(low), estimate), updates * max(float(high), estimate))


def dry_run(recipe: Recipe, prepared: Prepared, console: Console) -> None:
    """Print corpus, lengths, batches, network, memory and time of a training job. Nothing is written."""
    config = recipe.model.configuration(prepared.source_vocabulary.size, prepared.target_vocabulary.size)
    device = choose_device()
    low_precision = recipe.optimisation.precision == "bfloat16" and has_fast_bfloat16(device)
    console.print(_corpus_table(prepared), _length_table(prepared), _network_table(config))
    if recipe.initial_model is not None:
        console.print(describe_start(recipe), highlight=False, markup=False)
    for notice in prepared.record.notices:
        console.print(f"Note: {notice}", highlight=False, markup=False)
    available = memory_available(device)
    # The network itself has to fit before its batches can be looked at.
    smallest = _memory(recipe, config, BatchShape(1, 1, 1), low_precision, device.type)
    if available is not None and smallest.total > available:
        console.print(_memory_table(smallest, available, "a batch of one word", None))
        console.print("It does not fit into the memory that is free here, so no update is tried.")
        return
    trial = Trial(recipe, prepared)
    batches = trial.epoch(0)
    shapes = [_shape(prepared, batch) for batch in batches]
    console.print(_batch_table(recipe, trial, batches, shapes))
    estimates = {shape: _memory(recipe, config, shape, low_precision, device.type) for shape in set(shapes)}
    largest_shape, largest = max(estimates.items(), key=lambda item: item[1].total)
    if available is not None and largest.total > available:
        console.print(_memory_table(largest, available, "the largest batch", None))
        console.print("It does not fit into the memory that is free here, so no update is tried.")
        return
    flops = _flops(config, (trial.work(batch) for batch in batches))
    with console.status("Trying some updates"):
        seconds, works = _time_updates(trial, batches[shapes.index(largest_shape)])
        meter = Meter(prepared, config, device, low_precision=low_precision)
    console.print(_memory_table(largest, available, "the largest batch", memory_in_use(device)))
    estimate = extrapolate(seconds, _flops(config, works), flops, trial.updates)
    figures = meter.figures(sum(works, Work()), float(seconds.sum()))
    table = _table("Time", "", "")
    table.add_row("updates tried", f"{len(seconds)}, after {_WARM_UP_UPDATES} to warm up")
    table.add_row(
        "all updates", f"{_duration(estimate.seconds)} ({_duration(estimate.low)} to {_duration(estimate.high)})"
    )
    table.add_row("target tokens a second", f"{figures['target_tokens_per_second']:,.0f}")
    table.add_row("source and target words a second", f"{figures['words_per_second']:,.0f}")
    utilisation = figures["flop_utilisation"]
    table.add_row(
        "FLOP/s",
        f"{utilisation * meter.peak_flops:.3g}, {utilisation:.1%} of a matrix product's {meter.peak_flops:.3g}",
    )
    table.add_row("FLOP of all updates", f"{flops.mean() * trial.updates:.3g}")
    console.print(table)
    interval = max(1, round(recipe.evaluation.every_epochs * len(trial.epoch(0))))
    measurements = math.ceil(trial.updates / interval)
    measurements += begins_with_a_translator(recipe)
    console.print(
        f"The time is that of the updates; {measurements:,} measurements on dev come on top. The range says how much "
        "it depends on the batches that were tried, not how busy this machine will be. The model was thrown away.",
        highlight=False,
    )


def _time_updates(trial: Trial, largest: NDArray[np.int64]) -> tuple[NDArray[np.float64], list[Work]]:
    """Seconds, float64 [sample], and work of some updates, on batches in the random order of training."""
    for _ in range(_WARM_UP_UPDATES):
        trial.update(largest)  # fetches all the memory that will be needed
    seconds: list[float] = []
    works: list[Work] = []
    started = time.monotonic()
    for batch in islice(trial.batches(), _MOST_UPDATES):
        if len(seconds) >= _FEWEST_UPDATES and time.monotonic() - started > _SECONDS_FOR_UPDATES:
            break
        seconds.append(trial.update(batch).seconds)
        works.append(trial.work(batch))
    return np.array(seconds), works


def _flops(config: ModelConfig, works: Iterable[Work]) -> NDArray[np.float64]:
    return np.array([training_flops(config, work) for work in works], dtype=np.float64)


def _shape(prepared: Prepared, indices: NDArray[np.int64]) -> BatchShape:
    pairs = prepared.train
    source = int(pairs.source_offsets[indices[0] + 1] - pairs.source_offsets[indices[0]])
    targets = pairs.target_offsets[indices + 1] - pairs.target_offsets[indices]
    return BatchShape(len(indices), source + 1, int(targets.max()) + 1)


def _memory(
    recipe: Recipe, config: ModelConfig, shape: BatchShape, low_precision: bool, device_type: str
) -> MemoryEstimate:
    return training_memory(
        config,
        recipe.optimisation,
        shape,
        low_precision=low_precision,
        device_type=device_type,
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _corpus_table(prepared: Prepared) -> Table:
    record = prepared.record
    table = _table("Corpus", record.corpus_name, "pairs", "source tokens", "target tokens")
    for name, pairs in record.pairs.items():
        counts = [record.tokens.get(f"{name}.{side}") for side in SIDES]
        table.add_row(name, f"{pairs:,}", *(f"{count:,}" if count is not None else "" for count in counts))
    for reason, count in record.removed.items():
        table.add_row(f"left out of train: {reason}", f"{count:,}", "", "")
    return table


def _length_table(prepared: Prepared) -> Table:
    names = [("longest" if percentile == 100 else f"{percentile}%") for percentile in _PERCENTILES]
    table = _table("Tokens of a sentence of train, <EOS> not counted", "", "mean", *names)
    for side, lengths in (("source", prepared.train.source_lengths), ("target", prepared.train.target_lengths)):
        percentiles = np.percentile(lengths, _PERCENTILES, method="inverted_cdf")
        table.add_row(side, f"{lengths.mean():.1f}", *(f"{int(value):,}" for value in percentiles))
    return table


def _network_table(config: ModelConfig) -> Table:
    table = _table("Network", "", "parameters")
    for part, count in parameters_by_part(config).items():
        table.add_row(part, f"{count:,}")
    table.add_row("in all", f"{parameter_count(config):,}")
    return table


def _batch_table(
    recipe: Recipe, trial: Trial, batches: Sequence[NDArray[np.int64]], shapes: Sequence[BatchShape]
) -> Table:
    positions = sum(shape.sentences * shape.target_positions for shape in shapes)
    tokens = int((trial.prepared.train.target_lengths[np.concatenate(batches)] + 1).sum())
    table = _table("Batches", "", "")
    table.add_row("updates", f"{len(batches):,} an epoch, {trial.updates:,} in {recipe.optimisation.epochs:g} epochs")
    sizes = [shape.sentences for shape in shapes]
    table.add_row("pairs in a batch", f"{np.mean(sizes):.1f} ({min(sizes):,} to {max(sizes):,})")
    table.add_row("target tokens in a batch", f"{tokens / len(batches):,.1f}")
    table.add_row("padding", f"{1 - tokens / positions:.1%} of the target, none of the source")
    return table


def _memory_table(estimate: MemoryEstimate, available: int | None, batch: str, measured: int | None) -> Table:
    table = _table(f"Memory for {batch}", "", "MiB")
    for field in fields(estimate):
        size = getattr(estimate, field.name)
        if size:
            table.add_row(field.name.replace("_", " "), f"{size / 2**20:,.1f}")
    table.add_row("in all", f"{estimate.total / 2**20:,.1f}")
    if available is not None:
        table.add_row("free here", f"{available / 2**20:,.1f}")
    if measured is not None:
        table.add_row("in use after the updates tried, program included", f"{measured / 2**20:,.1f}")
    return table


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds / 60)} min {int(seconds % 60)} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min"
