"""Rows about lengths, batches and time, which follow from the corpus; and those that nothing here can test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.batches import BatchSampler
from training.prepared import EncodedPairs
from training.recipe import Recipe
from training.scorecard.rows import Row, not_tested

_SAMPLE = 20_000
_PAPER_WORDS = (348e6 + 304e6) * 7.5
_PAPER_WORDS_A_SECOND = 6_300


def corpus_rows(recipe: Recipe, pairs: EncodedPairs, words_a_second: float, network: str) -> list[Row]:
    """P10 and P17 to P21; `words_a_second` is the speed at which the grid's model `network` was trained."""
    return [
        _time_lag(pairs),
        _batches(recipe, pairs),
        not_tested(
            "P18",
            "speed on one GPU, and on eight",
            "1,700 and 6,300 words/s",
            "needs the paper's network and GPU; `make bench-throughput` measures the network on a GPU",
            ours=f"{words_a_second:,.0f} words/s, source and target together, training {network}",
        ),
        not_tested(
            "P19",
            "each layer on a GPU of its own, the softmax on four more",
            "8 GPUs",
            "needs 8 GPUs; this program divides batches among GPUs, not layers",
        ),
        not_tested(
            "P20",
            "training time",
            "about ten days",
            "needs WMT'14 and days on GPUs",
            ours=f"652M words × 7.5 ÷ 6,300 words/s = {_PAPER_WORDS / _PAPER_WORDS_A_SECOND / 86_400:.1f} days",
        ),
        not_tested(
            "P21",
            "data: selected sentences of WMT'14 English–French",
            "12M pairs, 348M French and 304M English words",
            "the list of the selected sentences is not public",
            ours=f"{len(pairs):,} pairs, {len(pairs.source_tokens):,} source and {len(pairs.target_tokens):,} "
            "target tokens",
        ),
    ]


def time_lags(source_length: int, target_length: int, *, reverses: bool) -> NDArray[np.int64]:
    """Steps between reading a source word and writing the target word on the diagonal beside it, int64 [target]."""
    target = np.arange(target_length)
    source = (2 * target + 1) * source_length // (2 * target_length)  # where the middle of the target word falls
    read_at = source_length - 1 - source if reverses else source
    return source_length + target - read_at


def _time_lag(pairs: EncodedPairs) -> Row:
    lengths = [
        (source, target)
        for source, target in zip(
            pairs.source_lengths[:_SAMPLE].tolist(), pairs.target_lengths[:_SAMPLE].tolist(), strict=True
        )
        if source and target
    ]
    found = {}
    for reverses in (False, True):
        lags = [time_lags(source, target, reverses=reverses) for source, target in lengths]
        found[reverses] = (
            float(np.mean([each.mean() for each in lags])), float(np.mean([each.min() for each in lags]))
        )  # fmt: skip
    (mean, least), (mean_reversed, least_reversed) = found[False], found[True]
    return Row(
        identifier="P10",
        claim="reversal leaves the mean distance of corresponding words as it is and cuts the minimal time lag",
        paper="mean the same, minimum much smaller",
        ours=f"words on the diagonal, {len(lengths):,} pairs: mean {mean:.1f} and {mean_reversed:.1f} steps, "
        f"least {least:.1f} and {least_reversed:.1f} (forward and reversed)",
        verdict="holds" if abs(mean_reversed / mean - 1) < 0.05 and least_reversed < least / 2 else "does not hold",
    )


def _batches(recipe: Recipe, pairs: EncodedPairs) -> Row:
    options = recipe.optimisation
    sampler = BatchSampler(
        pairs,
        batch_sentences=None if options.batch_target_tokens else options.batch_sentences,
        batch_target_tokens=options.batch_target_tokens,
        seed=options.seed,
    )
    batches = sampler.epoch(0)
    size = round(len(pairs) / len(batches))
    order = np.random.default_rng(options.seed).permutation(len(pairs))
    random = np.split(order, range(size, len(order), size))
    ratio = _positions(pairs, random) / _positions(pairs, batches)
    return Row(
        identifier="P17",
        claim="batches of sentences of about equal length are faster",
        paper="2 ×",
        ours=f"random batches of as many pairs have {ratio:.2f} × the positions to compute, padding included",
        verdict="holds" if ratio > 1.5 else "does not hold" if ratio < 1.1 else "undecided",
        reason="counted, not timed" if ratio > 1.5 else "counted, not timed; the lengths of this corpus differ little",
    )


def _positions(pairs: EncodedPairs, batches: list[NDArray[np.int64]]) -> int:
    """Source and target positions of the batches, each padded to its longest sentences, `<EOS>` included."""
    source, target = pairs.source_lengths + 1, pairs.target_lengths + 1
    return sum(len(batch) * int(source[batch].max() + target[batch].max()) for batch in batches)
