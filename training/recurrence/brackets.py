"""Brackets of several kinds, nested at random: whether a network still knows at the end of a pair how it began.

A network learns to predict the next bracket. It is asked at every closing one which kind it is; the deeper the brackets
inside the pair are nested, the more had to be remembered meanwhile. Counting does not help: with k kinds, one who has
forgotten is right once in k times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from pydantic import BaseModel

from training.recurrence.small_models import CELLS, NO_TARGET, Task, predictions, scaled, small_model, train
from translator.language_model import RecurrentLanguageModel

KINDS = 4
DEEPEST = 8
_START = 2 * KINDS
_PAIRS = 24
_HIDDEN = 48
_UPDATES = 800
_BATCH = 64
_LEARNING_RATE = 0.005
_TESTED = 512


class BracketAccuracy(BaseModel):
    """Of one cell: the share of closing brackets whose kind is told right, by the levels nested inside the pair."""

    cell: str
    parameters: int
    by_levels: dict[int, float]
    brackets: dict[int, int]
    overall: float
    loss: float
    """Mean of the last tenth of the updates, nats a bracket."""


def draw_brackets(
    pairs: int, generator: np.random.Generator, *, kinds: int = KINDS, deepest: int = DEEPEST
) -> list[int]:
    """So many pairs, nested at most `deepest` deep: 2·kind opens, 2·kind + 1 closes.

    Where both are possible, a pair is opened or closed with equal probability.
    """
    brackets: list[int] = []
    opened: list[int] = []
    left = pairs
    while left or opened:
        may_open, may_close = left > 0 and len(opened) < deepest, bool(opened)
        if may_open and (not may_close or generator.random() < 0.5):
            opened.append(int(generator.integers(kinds)))
            brackets.append(2 * opened[-1])
            left -= 1
        else:
            brackets.append(2 * opened.pop() + 1)
    return brackets


def levels_inside(brackets: Sequence[int]) -> list[int | None]:
    """At each closing bracket how many levels are nested inside its pair, 0 for none; at an opening one None.

    Raises `ValueError` where the brackets are not balanced.
    """
    found: list[int | None] = []
    opened: list[tuple[int, int]] = []  # kind, levels inside so far
    for bracket in brackets:
        if bracket % 2 == 0:
            opened.append((bracket // 2, 0))
            found.append(None)
            continue
        if not opened or opened[-1][0] != bracket // 2:
            raise ValueError(f"bracket {len(found)} closes what was not opened last")
        levels = opened.pop()[1]
        found.append(levels)
        if opened:
            opened[-1] = (opened[-1][0], max(opened[-1][1], levels + 1))
    if opened:
        raise ValueError(f"{len(opened)} brackets are left open")
    return found


def bracket_task(count: int, generator: np.random.Generator) -> Task:
    """Inputs begin with a mark of their own; targets are the brackets, int64 [count, 2 · pairs]."""
    targets = np.array([draw_brackets(_PAIRS, generator) for _ in range(count)])
    inputs = np.concatenate([np.full((count, 1), _START), targets[:, :-1]], axis=1)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def measure_brackets(*, seed: int, share: float = 1.0) -> Iterator[BracketAccuracy]:
    """Train each cell with the same brackets, `share` of the usual number of updates, and test it on others."""
    for cell in CELLS:
        generator = np.random.default_rng(seed)
        tested = bracket_task(scaled(_TESTED, share), generator)
        model = small_model(cell, 2 * KINDS + 1, _HIDDEN, seed=seed)
        updates = scaled(_UPDATES, share)
        losses = train(model, (bracket_task(_BATCH, generator) for _ in range(updates)), learning_rate=_LEARNING_RATE)
        by_levels, brackets, overall = accuracy(model, tested)
        yield BracketAccuracy(
            cell=cell,
            parameters=model.parameter_count(),
            by_levels=by_levels,
            brackets=brackets,
            overall=overall,
            loss=float(np.mean(losses[-max(1, updates // 10) :])),
        )


def accuracy(model: RecurrentLanguageModel, task: Task) -> tuple[dict[int, float], dict[int, int], float]:
    """The share of closing brackets told right by levels inside, how many there are of each, and the share of all.

    The question is which kind closes; that some bracket closes there is given.
    """
    inputs_BT, targets_BT = task
    found_BT = predictions(model, inputs_BT)[:, :, 1:_START:2].argmax(dim=2)
    right = (found_BT == targets_BT // 2).numpy()
    levels = np.array([[NO_TARGET if level is None else level for level in levels_inside(row)]
                       for row in targets_BT.tolist()])  # fmt: skip
    present = sorted(set(levels[levels != NO_TARGET].tolist()))
    by_levels = {level: float(right[levels == level].mean()) for level in present}
    brackets = {level: int((levels == level).sum()) for level in present}
    return by_levels, brackets, float(right[levels != NO_TARGET].mean())
