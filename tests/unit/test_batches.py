"""Batches: every pair once an epoch, one source length each, in an order that seed and epoch decide."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import batches
from training.batches import BatchSampler, collate
from training.prepared import EncodedPairs

LENGTHS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=60)


def _pairs(lengths: list[tuple[int, int]]) -> EncodedPairs:
    """Sentence i is made of the number i + 10 alone."""

    def side(which: int) -> tuple[np.ndarray, np.ndarray]:
        counts = [pair[which] for pair in lengths]
        tokens = np.repeat(np.arange(len(lengths), dtype=np.int32) + 10, counts)
        return tokens, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    return EncodedPairs(*side(0), *side(1))


@given(lengths=LENGTHS, batch_sentences=st.integers(1, 8), seed=st.integers(0, 3))
def test_an_epoch_holds_every_pair_once_in_batches_of_one_source_length(
    lengths: list[tuple[int, int]], batch_sentences: int, seed: int
) -> None:
    sampler = BatchSampler(_pairs(lengths), batch_sentences=batch_sentences, seed=seed)
    epoch = sampler.epoch(0)
    assert sorted(np.concatenate(epoch).tolist()) == list(range(len(lengths)))
    for batch in epoch:
        assert len(batch) <= batch_sentences
        assert len({lengths[index][0] for index in batch}) == 1
    assert sampler.nominal_sentences == batch_sentences


@given(lengths=LENGTHS, budget=st.integers(1, 40))
def test_a_token_budget_bounds_the_padded_target(lengths: list[tuple[int, int]], budget: int) -> None:
    sampler = BatchSampler(_pairs(lengths), batch_target_tokens=budget, seed=1)
    epoch = sampler.epoch(0)
    assert sorted(np.concatenate(epoch).tolist()) == list(range(len(lengths)))
    for batch in epoch:
        assert len(batch) == 1 or len(batch) * (max(lengths[index][1] for index in batch) + 1) <= budget
    mean = np.mean([target + 1 for _, target in lengths])
    assert sampler.nominal_sentences == pytest.approx(max(1.0, budget / mean))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    pairs = _pairs([(1 + index % 4, 1 + index % 7) for index in range(200)])

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in BatchSampler(pairs, batch_sentences=8, seed=seed).epoch(epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_sorting_by_target_length_keeps_padding_small() -> None:
    generator = np.random.default_rng(1)
    lengths = [
        (int(a), max(1, int(a + b)))
        for a, b in zip(generator.integers(3, 12, 4000), generator.integers(-3, 4, 4000), strict=True)
    ]
    sampler = BatchSampler(_pairs(lengths), batch_sentences=32, seed=1)
    assert sampler.target_padding() < 0.03


@given(
    lengths=st.lists(st.integers(2, 12), min_size=1, max_size=9).map(sorted),
    most=st.integers(1, 6),
)
def test_batches_are_cut_where_they_cost_least(lengths: list[int], most: int) -> None:
    """Against every way to cut them."""

    def cost(ends: tuple[int, ...]) -> float:
        starts = (0, *ends[:-1])
        if any(end - start > most for start, end in zip(starts, ends, strict=True)):
            return np.inf
        return sum(
            batches._BATCH_COST_TOKENS + lengths[end - 1] * (end - start)
            for start, end in zip(starts, ends, strict=True)
        )

    inner = range(1, len(lengths))
    ways = [(*cuts, len(lengths)) for count in range(len(lengths)) for cuts in combinations(inner, count)]
    found = batches._cheapest_ends(np.array(lengths), np.full(len(lengths), most))
    assert cost(tuple(found)) == min(map(cost, ways))


def test_windows_divide_a_large_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_PAIRS_A_WINDOW", 50)
    sampler = BatchSampler(_pairs([(1 + index % 3, 2) for index in range(170)]), batch_sentences=16, seed=1)
    assert sorted(np.concatenate(sampler.epoch(3)).tolist()) == list(range(170))


def test_collate_lays_out_inputs_and_targets() -> None:
    batch = collate(_pairs([(2, 1), (2, 3)]), np.array([1, 0]), pad_id=0, eos_id=2)
    assert batch.source_BS.tolist() == [[11, 11], [10, 10]]
    assert batch.target_inputs_BT.tolist() == [[2, 11, 11, 11], [2, 10, 0, 0]]
    assert batch.targets_N.tolist() == [11, 11, 11, 2, 10, 2]
    assert batch.positions_N.tolist() == [0, 1, 2, 3, 4, 5]


def test_tokens_are_counted_with_the_end_of_sentence() -> None:
    sampler = BatchSampler(_pairs([(2, 1), (2, 3)]), batch_sentences=2, seed=1)
    work = sampler.work(np.array([1, 0]))
    assert (work.source_tokens, work.target_tokens, work.attended_pairs) == (6, 6, 3 * 2 + 3 * 4)


def test_one_kind_of_size_must_be_given() -> None:
    with pytest.raises(ValueError, match="either"):
        BatchSampler(_pairs([(1, 1)]), seed=1)
