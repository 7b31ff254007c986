"""When a run counts as diverged, and what is said then."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from training.diagnosis import Evidence, diagnose, has_diverged
from training.preparation import prepare
from training.prepared import Prepared
from training.recipe import Recipe, load_recipe

SMOKE = Path(__file__).parents[1] / "fixtures" / "smoke"
OF_GUESSING = math.log(1000)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("smoke", [f"corpus.path={SMOKE}"])


@pytest.fixture(scope="module")
def prepared(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(recipe, tmp_path_factory.mktemp("prepared") / "smoke", console=Console(quiet=True))


@pytest.mark.parametrize("last", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_divergence(last: float) -> None:
    assert has_diverged([3.0, 2.9, last], 1000)
    assert has_diverged([last], 1000)


def test_far_worse_than_guessing_twice_is_a_divergence() -> None:
    far = 2 * OF_GUESSING
    assert has_diverged([5.0, 4.0, far, far], 1000)
    assert not has_diverged([5.0, 4.0, far], 1000)
    assert not has_diverged([5.0, far, 4.0], 1000)
    assert not has_diverged([], 1000)


@given(st.lists(st.floats(0.0, 1.4 * OF_GUESSING), max_size=20))
def test_no_loss_near_that_of_guessing_is_a_divergence(losses: list[float]) -> None:
    assert not has_diverged(losses, 1000)


def test_a_run_that_starts_high_and_stays_there_has_not_diverged() -> None:
    """Large initial weights make a first loss that is worse than guessing."""
    assert not has_diverged([30.0, 29.0, 28.0, 27.0], 1000)


def test_a_run_that_diverges_at_once_is_found_out() -> None:
    assert has_diverged([1e31, 9e30], 1000)
    assert not has_diverged([1e31], 1000)


def test_weights_that_are_to_be_kept_must_be_good_now() -> None:
    far = 2 * OF_GUESSING
    assert has_diverged([5.0, 4.0, far], 1000, patient=False)
    assert has_diverged([1e31], 1000, patient=False)
    assert not has_diverged([5.0, far, 4.0], 1000, patient=False)
    assert not has_diverged([30.0], 1000, patient=False)
    assert not has_diverged([], 1000, patient=False)


def evidence(**facts: object) -> Evidence:
    known: dict[str, object] = {
        "update": 1234,
        "epoch": 2.5,
        "indices": np.array([7, 9, 11]),
        "losses": [3.2, 3.4, 8.9, math.nan],
        "gradient_norm": 132.5,
        "learning_rate": 0.35,
        "checkpoint": Path("runs/smoke/state/checkpoint.pt"),
        "checkpoint_update": 1200,
    }
    return Evidence(**(known | facts))  # type: ignore[arg-type]


def test_the_message_has_all_that_is_known(recipe: Recipe, prepared: Prepared) -> None:
    text = diagnose(evidence(), recipe, prepared)
    for fact in ("nan after update 1,234", "epoch 2.50", "3.2, 3.4, 8.9, nan", "132.5, clipped to 5", "0.35"):
        assert fact in text
    assert "runs/smoke/state/checkpoint.pt, good after update 1,200" in text
    source = prepared.source_vocabulary.decode(prepared.train.source(7).tolist())
    target = prepared.target_vocabulary.decode(prepared.train.target(7).tolist())
    lines = (SMOKE / "train.en").read_text(encoding="utf-8").splitlines()
    assert source in lines
    assert f"source  {source}" in text
    assert f"target  {target}" in text
    lengths = prepared.train.target_lengths[[7, 9, 11]]
    assert "3 pairs" in text
    assert f"{lengths.min()}" in text


def test_the_advice_can_be_followed(recipe: Recipe, prepared: Prepared) -> None:
    """Every --set in it is one that the recipe takes."""
    for changed in (recipe, load_recipe("smoke", [f"corpus.path={SMOKE}", "optimisation.precision=bfloat16"])):
        text = diagnose(evidence(update=100, gradient_norm=1e6), changed, prepared)
        settings = [word for word in text.split() if word.startswith("optimisation.") and "=" in word]
        assert any(setting.startswith("optimisation.learning_rate=0.0025") for setting in settings)
        assert any(setting.startswith("optimisation.clip_norm=1") for setting in settings)
        assert ("optimisation.precision=float32" in settings) == (changed is not recipe)
        load_recipe("smoke", settings)


def test_without_a_checkpoint_it_does_not_ask_for_resumption(recipe: Recipe, prepared: Prepared) -> None:
    text = diagnose(evidence(checkpoint=None), recipe, prepared)
    assert "none yet" in text
    assert "--resume" not in text
