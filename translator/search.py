"""What a sentence is searched for, what is found, and the rules in between. Knows no text and no engine.

Beam search is the paper's (section 3.2) with the freed places refilled: at every step all one-token extensions of a
sentence's open hypotheses are ranked; those among the best `beam_size` that end in `<EOS>` are finished, and the best
others fill the beam again. A sentence is done when it has `beam_size` finished hypotheses, when no open hypothesis
can still beat its `count`-th best, or at its maximum length. Beam size 1 is greedy search.

score = log p ÷ ((5 + |y|) / 6)^α (Wu et al. 2016, equation 14), |y| in tokens without `<EOS>`; α = 0 is the paper's
ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from translator.config import SearchOptions

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Hypothesis:
    """A target sentence.

    `tokens` without `<EOS>`; `log_probability` in nats, that of `<EOS>` included where `finished`; `score` is the
    length-penalised one that hypotheses are ranked by. `finished` is false where the maximum length cut it.
    `log_probabilities` are those of the tokens and, where it is finished, of `<EOS>`, each given all before it; ()
    unless `SearchOptions.probabilities` asked for them.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float
    finished: bool
    log_probabilities: tuple[float, ...] = ()


@dataclass(frozen=True)
class Query:
    """One source sentence (token ids in reading order, without `<EOS>`) and how it is to be searched.

    `count` is how many hypotheses are wanted, at least 1; the beam is as wide as `count` where that is more.
    `length_penalty` is α.
    """

    source: tuple[int, ...]
    options: SearchOptions
    length_penalty: float = 0.0
    count: int = 1

    @property
    def sampled(self) -> bool:
        return self.options.method == "sample"

    @property
    def beam_size(self) -> int:
        return max(self.options.beam_size, self.count)

    @property
    def rows(self) -> int:
        """The most hypotheses that are live at once."""
        return self.count if self.sampled else self.beam_size

    @property
    def maximum_length(self) -> int:
        """Target tokens that a translation may have, `<EOS>` not counted."""
        return maximum_length(self.options, len(self.source))

    def penalty(self, length: int) -> float:
        """What log p of a hypothesis of so many tokens is divided by."""
        return float(((5 + length) / 6) ** self.length_penalty)


@dataclass(frozen=True)
class Reading(Query):
    """A source sentence of which the vector h(x) is wanted, and no translation."""


def maximum_length(options: SearchOptions, source_length: int) -> int:
    """Target tokens that a translation of `source_length` tokens may have, `<EOS>` not counted."""
    return options.max_length if options.max_length is not None else 2 * source_length + 20


class Findings:
    """The hypotheses of one sentence that are no longer open."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._finished: list[Hypothesis] = []
        self._cut: list[Hypothesis] = []

    def add(
        self, tokens: Sequence[int], log_probability: float, *, finished: bool, log_probabilities: Sequence[float] = ()
    ) -> None:
        score = log_probability / self._query.penalty(len(tokens))
        found = Hypothesis(tuple(tokens), log_probability, score, finished, tuple(log_probabilities))
        (self._finished if finished else self._cut).append(found)

    def bound(self) -> float:
        """log p that an open hypothesis must be above for the search to go on: +inf where it is over, else -inf or
        more.
        """
        query = self._query
        if len(self._finished) >= query.beam_size:
            return float("inf")
        if len(self._finished) < query.count:
            return float("-inf")
        worst_wanted = sorted((hypothesis.score for hypothesis in self._finished), reverse=True)[query.count - 1]
        # log p can only fall and the divisor only rise up to the maximum length, so this bounds all that may still
        # come.
        return worst_wanted * query.penalty(query.maximum_length)

    def leader(self) -> Hypothesis | None:
        """The best finished hypothesis so far, the first of equals as in `best`."""
        return max(self._finished, key=lambda hypothesis: hypothesis.score, default=None)

    def best(self) -> list[Hypothesis]:
        """The best finished hypotheses; only where there are too few, those that the maximum length cut."""
        ranked = [sorted(part, key=lambda hypothesis: -hypothesis.score) for part in (self._finished, self._cut)]
        found = ranked[0] + ranked[1]
        if self._query.sampled:
            found.sort(key=lambda hypothesis: -hypothesis.score)
        return found[: self._query.count]


def uniform_numbers(query: Query) -> Doubles:
    """Numbers [count, maximum length + 1] in [0, 1) to sample with; a row depends on the seed, the source and its
    number alone.
    """
    rows = [
        np.random.default_rng([query.options.seed, number, *query.source]).random(query.maximum_length + 1)
        for number in range(query.count)
    ]
    return np.stack(rows)


def draw(
    log_probabilities_RV: npt.NDArray[np.float32], options: SearchOptions, numbers_R: Doubles
) -> npt.NDArray[np.int64]:
    """One token a row by inversion of the cumulated probabilities, after temperature, top-k and top-p (nucleus)."""
    below_best_RV = log_probabilities_RV.astype(np.float64) - log_probabilities_RV.max(axis=1, keepdims=True)
    weights_RV = np.exp(below_best_RV / options.temperature)
    order_RV = np.argsort(-weights_RV, axis=1, kind="stable")
    sorted_RV = np.take_along_axis(weights_RV / weights_RV.sum(axis=1, keepdims=True), order_RV, axis=1)
    if options.top_k is not None:
        sorted_RV[:, options.top_k :] = 0
    if options.top_p is not None:
        mass_before_RV = sorted_RV.cumsum(axis=1) - sorted_RV
        sorted_RV[mass_before_RV >= options.top_p * sorted_RV.sum(axis=1, keepdims=True)] = 0
    cumulated_RV = sorted_RV.cumsum(axis=1)
    places_R = (cumulated_RV <= numbers_R[:, None] * cumulated_RV[:, -1:]).sum(axis=1)
    last_R = (sorted_RV > 0).sum(axis=1) - 1
    chosen_R: npt.NDArray[np.int64] = order_RV[np.arange(len(order_RV)), np.minimum(places_R, last_R)]
    return chosen_R
