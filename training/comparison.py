"""Which of several systems is better, in plain sentences, and how far the seeds of one recipe lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from training.evaluation_report import EvaluationReport, SystemOutput
from training.measures import Measured
from translator.card import Card

SIGNIFICANCE = 0.05
_LOWER_IS_BETTER = ("TER",)


class Difference(BaseModel):
    """How much higher a metric is than the first system's; `p_value` is two-sided."""

    model_config = ConfigDict(frozen=True)

    difference: float
    p_value: float


class Comparison(BaseModel):
    """A system beside the first one, by paired bootstrap resampling."""

    model_config = ConfigDict(frozen=True)

    first: str
    system: str
    differences: dict[str, Difference] = Field(description="Of BLEU, chrF and TER.")
    sentence: str
    caution: str = Field(default="", description="What the test says nothing about.")


class SeedSpread(BaseModel):
    """BLEU of several models of one recipe that differ in their seed; `standard_deviation` has n − 1 below."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    seeds: list[int]
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float


class ComparisonReport(BaseModel):
    """What `python -m training evaluate A B …` found, as its --json has it."""

    model_config = ConfigDict(frozen=True)

    systems: list[EvaluationReport]
    comparisons: list[Comparison] = Field(description="Of every further system with the first.")
    seeds: list[SeedSpread]


def compare(outputs: Sequence[SystemOutput], measured: Sequence[dict[str, Measured]]) -> list[Comparison]:
    """Every further system beside the first, as `training.measures.measure` measured them."""
    first = outputs[0]
    comparisons = []
    for output, found in zip(outputs[1:], measured[1:], strict=True):
        differences = {
            name: Difference(
                difference=round(each.value - measured[0][name].value, 4), p_value=round(each.p_value or 0.0, 4)
            )
            for name, each in found.items()
        }
        comparisons.append(
            Comparison(
                first=first.name,
                system=output.name,
                differences=differences,
                sentence=verdict(first.name, output.name, differences),
                caution=_caution(_trained_card(first), _trained_card(output)),
            )
        )
    return comparisons


def verdict(first: str, second: str, differences: dict[str, Difference]) -> str:
    """Whether `second` is better than `first`, worse, or not to be told apart: by BLEU, with what the others say."""
    directions = {name: _direction(name, each) for name, each in differences.items()}
    if {1, -1} <= set(directions.values()):
        return f"The metrics disagree on {first} and {second}: {second} has {_figures(differences, 1)}"
    if directions["BLEU"] == 0:
        others = [name for name, direction in directions.items() if direction]
        though = f", though by {' and '.join(others)}" if others else ""
        return f"{first} and {second} cannot be told apart by BLEU{though}: {second} has {_figures(differences, 1)}"
    better, worse = (second, first) if directions["BLEU"] > 0 else (first, second)
    return f"{better} is better than {worse}: {_figures(differences, directions['BLEU'])}"


def seed_spreads(outputs: Sequence[SystemOutput], measured: Sequence[dict[str, Measured]]) -> list[SeedSpread]:
    """One for each recipe of which there are single models of at least two seeds."""
    found: dict[str, dict[int, float]] = {}
    for output, each in zip(outputs, measured, strict=True):
        card = _trained_card(output)
        if card is not None and card.training is not None:
            found.setdefault(card.training.recipe, {})[card.training.seed] = each["BLEU"].value
    return [
        SeedSpread(
            recipe=recipe,
            seeds=sorted(by_seed),
            mean=round(statistics.fmean(by_seed.values()), 4),
            standard_deviation=round(statistics.stdev(by_seed.values()), 4),
            minimum=round(min(by_seed.values()), 4),
            maximum=round(max(by_seed.values()), 4),
        )
        for recipe, by_seed in found.items()
        if len(by_seed) > 1
    ]


def _figures(differences: dict[str, Difference], sign: int) -> str:
    return ", ".join(
        f"{name} {sign * each.difference:+.2f} (p = {each.p_value:.3f})" for name, each in differences.items()
    )


def _direction(metric: str, difference: Difference) -> int:
    """1 where the second system is better, -1 where it is worse, 0 where that may be chance."""
    if difference.p_value >= SIGNIFICANCE or difference.difference == 0:
        return 0
    better = (difference.difference > 0) != (metric in _LOWER_IS_BETTER)
    return 1 if better else -1


def _trained_card(output: SystemOutput) -> Card | None:
    """The card of a single model that was trained by a recipe."""
    if output.translator is None or len(output.translator.members) > 1:
        return None
    card = output.translator.card
    return card if card.training is not None else None


def _caution(first: Card | None, second: Card | None) -> str:
    """Resampling sentences says how much the test set matters, and nothing about the seed."""
    if first is None or second is None or first.training is None or second.training is None:
        return ""
    return "This is about these two models, one seed each; other seeds of the same recipes may differ by more."
