"""Nested brackets: balanced, of known depth, and scored as they should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.recurrence import brackets
from training.recurrence.brackets import BracketAccuracy, accuracy, bracket_task, draw_brackets, levels_inside
from training.recurrence.small_models import CELLS, small_model

WRITTEN = "([{<)]}>"


def parsed(text: str) -> list[int]:
    return [2 * (WRITTEN.index(symbol) % 4) + WRITTEN.index(symbol) // 4 for symbol in text]


def reduced(sequence: Sequence[int]) -> str:
    """What is left when innermost pairs are taken out again and again: nothing, where all is balanced."""
    text = "".join(WRITTEN[bracket // 2 + 4 * (bracket % 2)] for bracket in sequence)
    while True:
        shorter = text
        for pair in ("()", "[]", "{}", "<>"):
            shorter = shorter.replace(pair, "")
        if shorter == text:
            return text
        text = shorter


@given(st.integers(0, 60), st.integers(1, 9), st.integers(0, 1000))
def test_drawn_brackets_are_balanced_and_no_deeper_than_asked(pairs: int, deepest: int, seed: int) -> None:
    drawn = draw_brackets(pairs, np.random.default_rng(seed), deepest=deepest)
    assert len(drawn) == 2 * pairs
    assert reduced(drawn) == ""
    depths = np.cumsum([1 - 2 * (bracket % 2) for bracket in drawn])
    assert max(depths, default=0) <= deepest


def test_all_depths_and_kinds_occur() -> None:
    generator = np.random.default_rng(1)
    drawn = [draw_brackets(24, generator) for _ in range(200)]
    assert {bracket for each in drawn for bracket in each} == set(range(8))
    assert {level for each in drawn for level in levels_inside(each)} == {None, *range(8)}


def test_levels_are_counted_inside_the_pair() -> None:
    assert levels_inside(parsed("()")) == [None, 0]
    assert levels_inside(parsed("([]{<>})")) == [None, None, 0, None, None, 0, 1, 2]
    assert levels_inside([]) == []


@pytest.mark.parametrize("text", ["(]", ")", "(()", "([)]"])
def test_brackets_that_are_not_balanced_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"closes what was not opened last|left open"):
        levels_inside(parsed(text))


def test_a_perfect_predictor_is_always_right_and_a_constant_one_as_often_as_its_kind_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = bracket_task(50, np.random.default_rng(3))
    model = small_model("rnn", 9, 4, seed=1)
    perfect: Tensor = torch.nn.functional.one_hot(task[1], 9).double()
    monkeypatch.setattr(brackets, "predictions", lambda model, inputs: perfect)
    by_levels, counts, overall = accuracy(model, task)
    assert set(by_levels.values()) == {1.0} == {overall}
    assert sum(counts.values()) == 50 * 24

    monkeypatch.setattr(brackets, "predictions", lambda model, inputs: torch.eye(9)[1].expand(*inputs.shape, 9))
    _, _, overall = accuracy(model, task)
    closing = task[1][task[1] % 2 == 1]
    assert overall == pytest.approx(float((closing == 1).double().mean()))


def test_a_network_sees_only_what_stands_before() -> None:
    inputs, targets = bracket_task(4, np.random.default_rng(1))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert bool((inputs[:, 0] == 8).all())


def test_every_cell_is_measured_on_the_same_brackets() -> None:
    found = list(brackets.measure_brackets(seed=1, share=0.01))
    assert tuple(each.cell for each in found) == CELLS
    assert all(isinstance(each, BracketAccuracy) and each.brackets == found[0].brackets for each in found)
