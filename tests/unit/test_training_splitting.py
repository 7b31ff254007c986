"""Held-out sentences are unseen ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import InputError
from training.splitting import comparison_key, connected_components, hold_out

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


@given(PAIRS)
def test_components_are_those_of_a_search_through_the_graph(pairs: list[tuple[str, str]]) -> None:
    unvisited = set(range(len(pairs)))
    expected = set()
    while unvisited:
        component = {unvisited.pop()}
        while more := {
            index
            for index in unvisited
            if any(pairs[index][side] == pairs[member][side] for member in component for side in (0, 1))
        }:
            component |= more
            unvisited -= more
        expected.add(frozenset(component))
    assert {frozenset(component) for component in connected_components(pairs)} == expected


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
