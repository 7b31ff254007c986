"""The range test where it is known at what rate descent turns into divergence."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.learning_rate_range import growing_rates, run_range_test


class Bowl:
    """Gradient descent on ½ · curvature · x² + 1, which converges below the rate 2 ÷ curvature and diverges above."""

    def __init__(self, curvature: float) -> None:
        self.curvature = curvature
        self.place = 10.0 / math.sqrt(curvature)
        self.rates: list[float] = []

    def update(self, rate: float) -> float:
        loss = 0.5 * self.curvature * self.place**2 + 1
        self.place -= rate * self.curvature * self.place
        self.rates.append(rate)
        return loss


@given(st.floats(1e-2, 1e2))
def test_the_suggestion_lies_below_the_edge_and_the_test_stops_above_it(curvature: float) -> None:
    bowl = Bowl(curvature)
    edge = 2 / curvature
    rates = growing_rates(1e-5 * edge, 1e3 * edge, 300)
    test = run_range_test(bowl.update, rates)
    assert test.diverged
    assert edge < test.rates[-1] < 10 * edge
    assert len(bowl.rates) < len(rates)
    assert test.lower is not None
    assert test.suggested is not None
    assert test.upper is not None
    assert test.lower < test.upper < 1.2 * edge
    assert edge / 100 < test.suggested == pytest.approx(test.upper / 10)


def test_an_infinite_loss_ends_it_and_is_not_drawn() -> None:
    losses = iter([3.0] * 20 + [float("nan")])
    test = run_range_test(lambda rate: next(losses), growing_rates(1e-3, 1, 50))
    assert test.diverged
    assert len(test.losses) == len(test.rates) == len(test.smoothed) == 20


def test_where_the_loss_never_falls_there_is_no_suggestion() -> None:
    for slope in (0.0, 0.01):
        rising = iter(3.0 + slope * step for step in range(50))
        test = run_range_test(lambda rate, losses=rising: next(losses), growing_rates(1e-3, 1, 50))  # type: ignore[misc]
        assert (test.lower, test.suggested, test.upper) == (None, None, None)


def test_smoothing_does_not_shift_a_step() -> None:
    """A loss that falls in the middle, under much noise, has begun to fall there."""
    rates = growing_rates(1e-4, 1, 200)
    noise = np.random.default_rng(1).normal(0, 0.2, 200)
    losses = iter(6 - 3 / (1 + np.exp(-(np.arange(200) - 100) / 5)) + noise)
    test = run_range_test(lambda rate: float(next(losses)), rates)
    assert not test.diverged
    assert test.lower == pytest.approx(1e-2, rel=1.0)


def test_rates_grow_by_one_factor() -> None:
    rates = growing_rates(1e-4, 10, 6)
    assert rates[0] == pytest.approx(1e-4)
    assert [two / one for one, two in itertools.pairwise(rates)] == pytest.approx([10.0] * 5)
