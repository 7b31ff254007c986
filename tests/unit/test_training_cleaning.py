"""What cleaning leaves out, and that it counts it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.cleaning import LengthLimits, clean_chunk, first_occurrences, tidy
from training.splitting import comparison_key, digests


@given(st.text())
def test_a_tidied_sentence_is_one_line_and_stays_as_it_is(text: str) -> None:
    line = tidy(text)
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    assert tidy(line) == line


def test_tidying_changes_nothing_else() -> None:
    assert tidy(" Ça va\u00a0?\tOui,  merci\u2028bien.\r") == "Ça va\u00a0? Oui,  merci bien."


def test_empty_pairs_are_left_out_and_counted() -> None:
    chunk = clean_chunk([("a", "b"), ("", "d"), ("É. ", "c\nd"), ("e", " \t")])
    assert chunk.empty == 2
    assert chunk.texts == ("a\nÉ.\n".encode(), b"b\nc d\n")
    assert chunk.source_keys.tolist() == digests(map(comparison_key, ("a", "É."))).tolist()
    assert chunk.target_keys.tolist() == digests(map(comparison_key, ("b", "c d"))).tolist()


def test_pairs_are_known_again_by_both_sides() -> None:
    pairs = [("a", "b"), ("a", "c"), ("a ", "b"), ("ab", "c"), ("a", "bc"), ("A", "b")]
    keys = clean_chunk(pairs).pairs
    assert first_occurrences(keys).tolist() == [True, True, False, True, True, True]
    assert clean_chunk(pairs[2:3]).pairs[0] == keys[0]


@given(st.lists(st.integers(0, 5)))
def test_the_first_of_equal_keys_is_kept(keys: list[int]) -> None:
    expected = [key not in keys[:place] for place, key in enumerate(keys)]
    assert first_occurrences(np.array(keys, dtype=np.uint64)).tolist() == expected


@pytest.mark.parametrize(
    ("lengths", "kept", "reason"),
    [
        ((10, 10), True, None),
        ((11, 10), False, "too long"),
        ((10, 11), False, "too long"),
        ((30, 1), False, "too long"),
        ((2, 6), True, None),
        ((2, 7), False, "ratio"),
        ((7, 2), False, "ratio"),
    ],
)
def test_lengths_are_limited(lengths: tuple[int, int], kept: bool, reason: str | None) -> None:
    limits = LengthLimits(maximum_length=10, maximum_ratio=3.0)
    mask, removed = limits.judge(np.array([lengths[0]]), np.array([lengths[1]]))
    assert mask.tolist() == [kept]
    assert removed == {"too long": 0, "ratio": 0} | ({reason: 1} if reason else {})


def test_without_a_ratio_any_is_accepted() -> None:
    limits = LengthLimits(maximum_length=100, maximum_ratio=None)
    assert limits.judge(np.array([1]), np.array([100]))[0].tolist() == [True]
