"""The measurements of the whole grid, and the figures that several claims ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from training.parallel_text import ParallelText
from training.phrases import PhraseSet
from training.scorecard.grid import Budget, Member
from training.scorecard.measuring import Measurement, RescoredList
from training.scorecard.resampling import Bootstrap, Doubles, Estimate, Integers, bleu_statistics, mean
from training.target_positions import hits_by_part
from translator.config import CellName

_PARTS = 3


@dataclass(frozen=True)
class Configuration:
    """A cell, a direction and a depth, of which the grid has several seeds."""

    cell: CellName
    reverses: bool
    depth: int

    def other_direction(self) -> Configuration:
        return Configuration(self.cell, not self.reverses, self.depth)


@dataclass(frozen=True)
class Results:
    """What was measured: `singles` by member, `ensembles` of the best configuration by their number of members."""

    budget: Budget
    text: ParallelText
    singles: dict[Member, Measurement]
    ensembles: dict[int, Measurement]
    rescored: RescoredList
    frequency_text: list[str]
    phrases: PhraseSet | None = None
    vectors: dict[Member, dict[str, Doubles]] = field(default_factory=dict)
    _statistics: dict[tuple[str, int], Integers] = field(default_factory=dict)

    @cached_property
    def bootstrap(self) -> Bootstrap:
        return Bootstrap(len(self.text.sources))

    @property
    def best(self) -> Configuration:
        """The paper's own: the deepest LSTM that reads in reverse."""
        return Configuration("lstm", True, self.budget.deepest)

    def members(self, configuration: Configuration) -> list[Member]:
        """Its models, by seed; as many for every configuration."""
        seeds = range(1, 1 + self.budget.seeds)
        return [Member(configuration.cell, configuration.reverses, configuration.depth, seed) for seed in seeds]

    def all_members(self, configuration: Configuration) -> list[Member]:
        """All of its models, by seed: more of the best configuration than of the others."""
        return [
            member
            for member in self.singles
            if (member.cell, member.reverses, member.depth)
            == (configuration.cell, configuration.reverses, configuration.depth)
        ]

    def bleu(self, member: Member, beam: int, sentences: Integers | None = None) -> Estimate:
        """BLEU of a model, of some sentences where they are given."""
        return self._bleu(member.name, beam, self.singles[member].beams[beam].texts, sentences)

    def ensemble_bleu(self, size: int, beam: int) -> Estimate:
        return self._bleu(f"ensemble of {size}", beam, self.ensembles[size].beams[beam].texts, None)

    def text_bleu(self, texts: Sequence[str]) -> Estimate:
        """BLEU of other translations of the test set."""
        return self.bootstrap.bleu(bleu_statistics(texts, self.text.references))

    def mean_bleu(self, members: Iterable[Member], beam: int, sentences: Integers | None = None) -> Estimate:
        return mean([self.bleu(member, beam, sentences) for member in members])

    def log_perplexity(self, member: Member) -> Estimate:
        """−mean log p of a reference token in nats, `<EOS>` counted."""
        measurement = self.singles[member]
        nats = np.array([-sum(each) for each in measurement.log_probabilities])
        return self.bootstrap.ratio(nats, self._tokens(member))

    def perplexity(self, member: Member) -> Estimate:
        return self.log_perplexity(member).map(np.exp)

    def mean_perplexity(self, members: Iterable[Member]) -> Estimate:
        """The geometric mean over seeds."""
        return mean([self.log_perplexity(member) for member in members]).map(np.exp)

    def from_source(self, member: Member) -> Estimate:
        """Nats a token that the model owes to its source: what it loses with the source of another sentence."""
        measurement = self.singles[member]
        nats = np.array(
            [
                sum(own) - other
                for own, other in zip(measurement.log_probabilities, measurement.without_source, strict=True)
            ]
        )
        return self.bootstrap.ratio(nats, self._tokens(member))

    def accuracy_by_part(self, member: Member) -> list[Estimate]:
        """The share of target tokens that are the most probable ones, in each third of the target."""
        counts = np.stack([hits_by_part(np.array(each), _PARTS) for each in self.singles[member].hits])
        return [
            self.bootstrap.ratio(counts[:, 0, part].astype(np.float64), counts[:, 1, part].astype(np.float64))
            for part in range(_PARTS)
        ]

    def _tokens(self, member: Member) -> Doubles:
        return np.array([len(each) for each in self.singles[member].log_probabilities], dtype=np.float64)

    def _bleu(self, name: str, beam: int, texts: Sequence[str], sentences: Integers | None) -> Estimate:
        key = (name, beam)
        if key not in self._statistics:
            self._statistics[key] = bleu_statistics(texts, self.text.references)
        return self.bootstrap.bleu(self._statistics[key], sentences)


def by_thirds(values: Sequence[float]) -> tuple[Integers, Integers, Integers]:
    """The numbers of the third of least values, of the middle one and of the greatest, each ascending."""
    order = np.argsort(np.array(values), kind="stable")
    low, middle, high = np.array_split(order, 3)
    return np.sort(low), np.sort(middle), np.sort(high)
