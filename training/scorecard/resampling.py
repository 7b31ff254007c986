"""Bootstrap resampling of the test sentences (Koehn 2004), the same resampled test sets for every system.

A system's BLEU on each of them follows from the sentences' n-gram counts, so that means over seeds, differences and
ratios have intervals, too. The counts and the formula are sacreBLEU's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import sacrebleu
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

RESAMPLES = 1_000
_SEED = 20140914
_ORDERS = 4


@dataclass(frozen=True)
class Estimate:
    """A figure, and what it is on each resampled test set, float64 [resamples]."""

    value: float
    resampled: Doubles

    @property
    def interval(self) -> tuple[float, float]:
        """The middle 95 % of what it is on resampled test sets."""
        low, high = np.quantile(self.resampled, [0.025, 0.975])
        return float(low), float(high)

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.resampled - other.resampled)

    def __truediv__(self, other: Estimate) -> Estimate:
        with np.errstate(divide="ignore", invalid="ignore"):
            return Estimate(float(np.divide(self.value, other.value)), self.resampled / other.resampled)

    def map(self, function: Callable[[Doubles], Doubles]) -> Estimate:
        """`function`, which works element by element, of the figure."""
        return Estimate(float(function(np.array([self.value]))[0]), function(self.resampled))


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of several, such as of the seeds of a configuration."""
    value = sum(estimate.value for estimate in estimates) / len(estimates)
    resampled: Doubles = np.mean([estimate.resampled for estimate in estimates], axis=0)
    return Estimate(value, resampled)


def bleu_statistics(translations: Sequence[str], references: Sequence[str]) -> Integers:
    """Of each sentence the matching and all n-grams of one to four words and both lengths, int64 [sentences, 10]."""
    metric = sacrebleu.BLEU(effective_order=True)
    rows = []
    for translation, reference in zip(translations, references, strict=True):
        found = metric.sentence_score(translation, [reference])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return np.array(rows, dtype=np.int64).reshape(len(rows), 2 * _ORDERS + 2)


def bleu_of(statistics: Sequence[int]) -> float:
    """sacreBLEU's BLEU (exponential smoothing) from the sum of sentences' statistics, [10]."""
    numbers = [int(number) for number in statistics]
    found = sacrebleu.BLEU.compute_bleu(
        correct=numbers[:_ORDERS],
        total=numbers[_ORDERS : 2 * _ORDERS],
        sys_len=numbers[-2],
        ref_len=numbers[-1],
        smooth_method="exp",
    )
    return float(found.score)


class Bootstrap:
    """Resampled test sets of so many sentences."""

    def __init__(self, sentences: int, *, resamples: int = RESAMPLES) -> None:
        generator = np.random.default_rng(_SEED)
        #: How often each sentence stands in each test set, int64 [resamples, sentences].
        self.weights: Integers = generator.multinomial(sentences, np.full(sentences, 1 / sentences), size=resamples)

    def bleu(self, statistics: Integers, members: Integers | None = None) -> Estimate:
        """Corpus BLEU from `bleu_statistics`, of the sentences `members` [n] alone where they are given."""
        chosen = np.arange(len(statistics)) if members is None else members
        sums = self.weights[:, chosen] @ statistics[chosen]
        return Estimate(bleu_of(statistics[chosen].sum(axis=0)), np.array([bleu_of(each) for each in sums]))

    def ratio(self, numerators: Doubles, denominators: Doubles) -> Estimate:
        """Σ numerators ÷ Σ denominators, both [sentences]: a mean over tokens, where the latter are their numbers."""
        with np.errstate(divide="ignore", invalid="ignore"):
            resampled = (self.weights @ numerators) / (self.weights @ denominators)
        return Estimate(float(numerators.sum() / denominators.sum()), resampled)
