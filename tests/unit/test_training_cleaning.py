"""What cleaning leaves out, and that it counts it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.cleaning import Cleaner, tidy


@given(st.text())
def test_a_tidied_sentence_is_one_line_and_stays_as_it_is(text: str) -> None:
    line = tidy(text)
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    assert tidy(line) == line


def test_tidying_changes_nothing_else() -> None:
    assert tidy(" Ça va\u00a0?\tOui,  merci\u2028bien.\r") == "Ça va\u00a0? Oui,  merci bien."


def test_empty_and_repeated_pairs_are_left_out_and_counted() -> None:
    cleaner = Cleaner(maximum_length=10, maximum_ratio=None)
    pairs = [("a", "b"), ("a", "c"), ("", "d"), ("e", " \t"), ("a ", "b"), ("ab", "c")]
    assert list(cleaner.clean_text(pairs)) == [("a", "b"), ("a", "c"), ("ab", "c")]
    assert cleaner.removed == {"empty": 2, "duplicates": 1, "too long": 0, "ratio": 0}


@pytest.mark.parametrize(
    ("lengths", "kept", "reason"),
    [
        ((10, 10), True, None),
        ((11, 10), False, "too long"),
        ((10, 11), False, "too long"),
        ((2, 6), True, None),
        ((2, 7), False, "ratio"),
        ((7, 2), False, "ratio"),
    ],
)
def test_lengths_are_limited(lengths: tuple[int, int], kept: bool, reason: str | None) -> None:
    cleaner = Cleaner(maximum_length=10, maximum_ratio=3.0)
    assert cleaner.accepts(*lengths) is kept
    assert cleaner.removed == dict.fromkeys(cleaner.removed, 0) | ({reason: 1} if reason else {})


def test_without_a_ratio_any_is_accepted() -> None:
    assert Cleaner(maximum_length=100, maximum_ratio=None).accepts(1, 100)
