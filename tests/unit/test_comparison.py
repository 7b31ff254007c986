"""Verdicts in plain sentences, and the spread of seeds."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from training.comparison import Difference, compare, seed_spreads, verdict
from training.evaluation_report import SystemOutput
from training.measures import Measured
from translator import Translator
from translator.card import TrainingRecord
from translator.directory import load_model


def differences(**values: tuple[float, float]) -> dict[str, Difference]:
    return {name: Difference(difference=value, p_value=p_value) for name, (value, p_value) in values.items()}


@pytest.mark.parametrize(
    ("found", "beginning"),
    [
        (
            {"BLEU": (1.25, 0.004), "chrF": (0.5, 0.2), "TER": (-2.0, 0.01)},
            "B is better than A: BLEU +1.25 (p = 0.004), chrF +0.50 (p = 0.200), TER -2.00 (p = 0.010)",
        ),
        (
            {"BLEU": (-1.25, 0.049), "chrF": (-0.5, 0.2), "TER": (2.0, 0.3)},
            "A is better than B: BLEU +1.25 (p = 0.049), chrF +0.50 (p = 0.200), TER -2.00 (p = 0.300)",
        ),
        ({"BLEU": (1.25, 0.05), "chrF": (0.5, 0.2), "TER": (2.0, 0.3)}, "A and B cannot be told apart by BLEU: B has"),
        ({"BLEU": (0.0, 1.0), "chrF": (0.0, 1.0), "TER": (0.0, 1.0)}, "A and B cannot be told apart by BLEU: B has"),
        (
            {"BLEU": (0.3, 0.5), "chrF": (0.9, 0.01), "TER": (-1.0, 0.01)},
            "A and B cannot be told apart by BLEU, though by chrF and TER: B has",
        ),
        (
            {"BLEU": (1.0, 0.01), "chrF": (-0.9, 0.01), "TER": (-1.0, 0.2)},
            "The metrics disagree on A and B: B has BLEU +1.00",
        ),
        (  # a higher TER is a worse one
            {"BLEU": (1.0, 0.01), "chrF": (0.9, 0.2), "TER": (1.0, 0.01)},
            "The metrics disagree on A and B: B has BLEU +1.00",
        ),
    ],
)
def test_verdicts(found: dict[str, tuple[float, float]], beginning: str) -> None:
    assert verdict("A", "B", differences(**found)).startswith(beginning)


def measured(bleu: float, p_value: float | None) -> dict[str, Measured]:
    return {
        name: Measured(bleu + shift, "", bleu - 1, bleu + 1, p_value, 1000)
        for name, shift in (("BLEU", 0), ("chrF", 20), ("TER", 30))
    }


@pytest.fixture(scope="module")
def translators(tiny_model_directory: Path) -> list[Translator]:
    """Three seeds of one recipe and one of another."""
    loaded = load_model(tiny_model_directory)
    found = []
    for recipe, seed in (("plain", 3), ("plain", 1), ("plain", 2), ("deep", 1)):
        training = TrainingRecord(
            recipe=recipe, seed=seed, updates=1, epochs=1, target_tokens=1, minutes=1, device="cpu", torch_version="2"
        )
        card = loaded.card.model_copy(update={"training": training})
        member = type(loaded)(
            loaded.path, loaded.config, loaded.model, loaded.source_vocabulary, loaded.target_vocabulary, card
        )
        found.append(Translator(member))
    return found


def test_every_further_system_is_compared_with_the_first(translators: list[Translator]) -> None:
    outputs = [
        SystemOutput("one", [], translators[0]), SystemOutput("two", [], translators[3]), SystemOutput("file", []),
    ]  # fmt: skip
    found = compare(outputs, [measured(30, None), measured(32, 0.01), measured(29.5, 0.4)])
    assert [(each.first, each.system) for each in found] == [("one", "two"), ("one", "file")]
    assert found[0].sentence.startswith("The metrics disagree")  # TER rose as well
    assert found[0].differences["BLEU"] == Difference(difference=2.0, p_value=0.01)
    assert found[1].sentence.startswith("one and file cannot be told apart")
    assert "seed" in found[0].caution
    assert found[1].caution == ""


def test_the_spread_of_seeds_is_that_of_single_models_of_one_recipe(translators: list[Translator]) -> None:
    ensemble = Translator(*(translator.loaded for translator in translators[:2]))
    outputs = [SystemOutput("x", [], translator) for translator in (*translators, ensemble)]
    outputs.append(SystemOutput("file", []))
    values = [30.0, 31.0, 33.5, 40.0, 50.0, 60.0]
    (spread,) = seed_spreads(outputs, [measured(value, None) for value in values])
    assert (spread.recipe, spread.seeds) == ("plain", [1, 2, 3])
    assert (spread.minimum, spread.maximum) == (30.0, 33.5)
    assert spread.mean == pytest.approx(31.5)
    assert spread.standard_deviation == pytest.approx(statistics.stdev(values[:3]), abs=1e-4)
