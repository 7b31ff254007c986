"""Held-out sentences are unseen ones."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import InputError
from training.splitting import comparison_key, connected_components, digests, draw, hold_out

# Few different sentences, so that many pairs share one.
SENTENCES = st.integers(0, 12).map(lambda number: f"Sentence {number}.")
PAIRS = st.lists(st.tuples(SENTENCES, SENTENCES), max_size=25)


@pytest.mark.parametrize(
    ("one", "other"), [("Hello, world!", "hello world"), ("Où ?", "OÙ?"), ("cafe\u0301", "café"), ("a_b", "ab")]
)
def test_case_punctuation_and_spacing_are_ignored(one: str, other: str) -> None:
    assert comparison_key(one) == comparison_key(other)


@pytest.mark.parametrize(("one", "other"), [("?", "!"), ("ou", "où"), ("1.5", "2.5"), ("東京", "京都")])
def test_different_sentences_stay_different(one: str, other: str) -> None:
    assert comparison_key(one) != comparison_key(other)


def components_by_search(pairs: list[tuple[str, str]]) -> list[list[int]]:
    """Pairs' numbers by component, in the order of their first pair, by walking from pair to pair."""
    unvisited = set(range(len(pairs)))
    components = []
    while unvisited:
        component = {min(unvisited)}
        unvisited -= component
        while more := {
            index
            for index in unvisited
            if any(pairs[index][side] == pairs[member][side] for member in component for side in (0, 1))
        }:
            component |= more
            unvisited -= more
        components.append(sorted(component))
    return components


@given(PAIRS)
def test_components_are_those_of_a_search_through_the_graph(pairs: list[tuple[str, str]]) -> None:
    expected = {index: component[0] for component in components_by_search(pairs) for index in component}
    labels = connected_components(*(digests(pair[side] for pair in pairs) for side in (0, 1)))
    assert labels.tolist() == [expected[index] for index in range(len(pairs))]


def test_a_long_chain_is_one_component() -> None:
    numbers = np.random.default_rng(1).permutation(10_000).astype(np.uint64)
    two = np.uint64(2)
    # Pair n shares its source with pair n - 1 or its target with pair n + 1, in turn.
    assert not connected_components(numbers // two, (numbers + np.uint64(1)) // two).any()


@given(PAIRS, st.integers(0, 3))
def test_whole_components_are_drawn_by_the_seed_alone(pairs: list[tuple[str, str]], seed: int) -> None:
    small = [component for component in components_by_search(pairs) if len(component) <= 8]
    random.Random(seed).shuffle(small)
    keys = [digests(pair[side] for pair in pairs) for side in (0, 1)]
    left = set(range(len(pairs))) - {index for component in small[:3] for index in component}
    if len(small) < 3 or len(left) < 3:
        with pytest.raises(InputError, match="are too few to hold out 3"):
            draw(keys[0], keys[1], dev=2, test=1, seed=seed)
        return
    drawn = draw(keys[0], keys[1], dev=2, test=1, seed=seed)
    assert (drawn.dev, drawn.test) == ([small[0][0], small[1][0]], [small[2][0]])
    assert set(np.flatnonzero(drawn.train).tolist()) == left


def test_drawing_needs_at_most_a_hundred_bytes_a_pair() -> None:
    pairs = 200_000
    keys = np.random.default_rng(1).integers(0, pairs, size=(2, pairs)).astype(np.uint64)
    tracemalloc.start()
    try:
        draw(keys[0], keys[1], dev=100, test=100, seed=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (peak + keys.nbytes) / pairs <= 100


@given(st.integers(0, 1000))
def test_no_held_out_sentence_stands_in_another_part(seed: int) -> None:
    # Each number gives a component of one to three pairs, which differ in case and punctuation.
    pairs = [
        (f"source {number}{'?' * variant}", f"CIBLE {number}{'!' * variant}" if variant < 2 else f"autre {number}")
        for number in range(40)
        for variant in range(number % 3 + 1)
    ]
    split = hold_out(pairs, dev=5, test=6, seed=seed)
    assert (len(split.dev), len(split.test)) == (5, 6)
    parts = [split.train, split.dev, split.test]
    for side in (0, 1):
        keys = [{comparison_key(pair[side]) for pair in part} for part in parts]
        assert not keys[0] & keys[1]
        assert not keys[0] & keys[2]
        assert not keys[1] & keys[2]
    assert set(split.train) | set(split.dev) | set(split.test) <= set(pairs)
    assert split == hold_out(pairs, dev=5, test=6, seed=seed)


def test_the_seed_decides_what_is_held_out() -> None:
    pairs = [(f"source {number}", f"target {number}") for number in range(100)]
    assert hold_out(pairs, dev=5, test=5, seed=1).dev != hold_out(pairs, dev=5, test=5, seed=2).dev


def test_a_large_component_stays_in_train() -> None:
    large = [("the same", f"target {number}") for number in range(30)]
    small = [(f"source {number}", f"other target {number}") for number in range(10)]
    split = hold_out(large + small, dev=5, test=5, seed=0)
    assert split.train == large


def test_too_few_pairs_are_refused_with_a_number_that_works() -> None:
    pairs = [(f"source {number}", f"target {number}") for number in range(60)]
    with pytest.raises(InputError, match=r"corpus\.held_out_pairs=3"):
        hold_out(pairs, dev=1000, test=1000, seed=0)
    assert len(hold_out(pairs, dev=3, test=3, seed=0).train) == 54
