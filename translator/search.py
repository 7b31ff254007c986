"""Beam search, greedy search (beam 1) and sampling, vectorised over all hypotheses of all sentences. Knows no text.

Beam search is the paper's (section 3.2) with the freed places refilled: at every step all one-token extensions of a
sentence's open hypotheses are ranked; those among the best `beam_size` that end in `<EOS>` are finished, and the best
others fill the beam again. A sentence is done when it has `beam_size` finished hypotheses, when no open hypothesis
can still beat its `count`-th best, or at its maximum length.

score = log p ÷ ((5 + |y|) / 6)^α (Wu et al. 2016, equation 14), |y| in tokens without `<EOS>`; α = 0 is the paper's
ranking. N sentences, K beam, R = N · K rows, V vocabulary, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translator.config import SearchOptions
from translator.engines import Engine


@dataclass(frozen=True)
class Hypothesis:
    """A target sentence.

    `tokens` without `<EOS>`; `log_probability` in nats, that of `<EOS>` included where `finished`; `score` is the
    length-penalised one that hypotheses are ranked by. `finished` is false where the maximum length cut it.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float
    finished: bool


def maximum_length(options: SearchOptions, source_length: int) -> int:
    """Target tokens that a translation of `source_length` tokens may have, `<EOS>` not counted."""
    return options.max_length if options.max_length is not None else 2 * source_length + 20


def search(
    engine: Engine[Any],
    sources: Sequence[Sequence[int]],
    options: SearchOptions,
    *,
    length_penalty: float,
    count: int = 1,
) -> list[list[Hypothesis]]:
    """Translate `sources` (token ids in reading order, without `<EOS>`) as one batch.

    Returns for each source its up to `count` best hypotheses, best first and at least one; the beam is as wide as
    `count` where that is more. A result depends on its own source alone, never on its neighbours.
    """
    if not sources:
        return []
    if options.method == "sample":
        return _sample(engine, sources, options, length_penalty, count)
    return _BeamSearch(engine, sources, options, length_penalty, count).run()


@dataclass
class _Sentence:
    maximum_length: int
    finished: list[Hypothesis] = field(default_factory=list)
    cut: list[Hypothesis] = field(default_factory=list)

    def best(self, count: int) -> list[Hypothesis]:
        """The best finished hypotheses; only where there are too few, those that the maximum length cut."""
        ranked = [sorted(part, key=lambda hypothesis: -hypothesis.score) for part in (self.finished, self.cut)]
        return (ranked[0] + ranked[1])[:count]


class _BeamSearch:
    """The state of one batch: `live` are the sentences not yet done, whose rows follow one another, K for each."""

    def __init__(
        self,
        engine: Engine[Any],
        sources: Sequence[Sequence[int]],
        options: SearchOptions,
        length_penalty: float,
        count: int,
    ) -> None:
        self.engine = engine
        self.sources = sources
        self.count = count
        self.beam_size = max(options.beam_size, count)
        self.length_penalty = length_penalty
        self.sentences = [_Sentence(maximum_length(options, len(source))) for source in sources]

    @torch.inference_mode()
    def run(self) -> list[list[Hypothesis]]:
        rows = self.engine.encode(self.sources)
        live = list(range(len(self.sources)))
        width = 1  # the first step has one hypothesis a sentence, the empty one
        tokens_R: Tensor | None = None
        scores_NK: Tensor | None = None
        history_NKT: Tensor | None = None
        length = 0
        while live:
            if tokens_R is None:
                tokens_R = torch.full((len(live),), self.engine.eos_id)
            log_probabilities_RV, rows = self.engine.step(rows, tokens_R)
            device = log_probabilities_RV.device
            if scores_NK is None or history_NKT is None:
                scores_NK = torch.zeros((len(live), 1), dtype=log_probabilities_RV.dtype, device=device)
                history_NKT = torch.zeros((len(live), 1, 0), dtype=torch.int64, device=device)
            candidates = _best_extensions(log_probabilities_RV, scores_NK, 2 * self.beam_size)
            is_end_NC = candidates.tokens_NC == self.engine.eos_id
            self._collect_finished(live, candidates, is_end_NC, history_NKT, length)
            scores_NK, chosen_NK = _best_open(candidates.scores_NC, is_end_NC, self.beam_size)
            parents_NK = candidates.parents_NC.gather(1, chosen_NK)
            tokens_NK = candidates.tokens_NC.gather(1, chosen_NK)
            keep = self._still_live(live, scores_NK, history_NKT, candidates, length)
            index = torch.tensor(keep, dtype=torch.int64, device=device)
            scores_NK, parents_NK, tokens_NK = scores_NK[index], parents_NK[index], tokens_NK[index]
            history_NKT = torch.cat(
                [
                    history_NKT[index].gather(1, parents_NK.unsqueeze(2).expand(-1, -1, length)),
                    tokens_NK.unsqueeze(2),
                ],
                dim=2,
            )
            live = [live[position] for position in keep]
            rows = self.engine.take(rows, (index.unsqueeze(1) * width + parents_NK).reshape(-1))
            tokens_R = tokens_NK.reshape(-1)
            width = tokens_NK.shape[1]
            length += 1
        return [sentence.best(self.count) for sentence in self.sentences]

    def _collect_finished(
        self, live: list[int], candidates: _Candidates, is_end_NC: Tensor, history_NKT: Tensor, length: int
    ) -> None:
        """Finish the hypotheses whose `<EOS>` is among the sentence's best `beam_size` extensions."""
        ends = is_end_NC[:, : self.beam_size] & candidates.scores_NC[:, : self.beam_size].isfinite()
        for position, rank in ends.nonzero().tolist():
            parent = int(candidates.parents_NC[position, rank])
            log_probability = float(candidates.scores_NC[position, rank])
            self.sentences[live[position]].finished.append(
                Hypothesis(
                    tuple(history_NKT[position, parent].tolist()),
                    log_probability,
                    log_probability / self._penalty(length),
                    finished=True,
                )
            )

    def _still_live(
        self, live: list[int], scores_NK: Tensor, history_NKT: Tensor, candidates: _Candidates, length: int
    ) -> list[int]:
        """The positions in `live` of the sentences that need another step; what is cut short is kept as such."""
        keep = []
        best_open = scores_NK.amax(dim=1).tolist()
        for position, number in enumerate(live):
            sentence = self.sentences[number]
            if length >= sentence.maximum_length:
                self._collect_cut(sentence, position, candidates, history_NKT, length)
            elif not self._is_done(sentence, best_open[position]):
                keep.append(position)
        return keep

    def _is_done(self, sentence: _Sentence, best_open: float) -> bool:
        if best_open == -np.inf or len(sentence.finished) >= self.beam_size:
            return True
        if len(sentence.finished) < self.count:
            return False
        worst_wanted = sorted((hypothesis.score for hypothesis in sentence.finished), reverse=True)[self.count - 1]
        # log p can only fall and the divisor only rise up to the maximum length, so this bounds all that may still
        # come.
        return best_open / self._penalty(sentence.maximum_length) <= worst_wanted

    def _collect_cut(
        self, sentence: _Sentence, position: int, candidates: _Candidates, history_NKT: Tensor, length: int
    ) -> None:
        """Keep the open hypotheses of a sentence at its maximum length, as they stood before this step."""
        scores = candidates.start_scores_NK[position].tolist()
        for beam, log_probability in enumerate(scores):
            if log_probability > -np.inf:
                tokens = tuple(history_NKT[position, beam].tolist())
                sentence.cut.append(
                    Hypothesis(tokens, log_probability, log_probability / self._penalty(length), finished=False)
                )

    def _penalty(self, length: int) -> float:
        return float(((5 + length) / 6) ** self.length_penalty)


@dataclass(frozen=True)
class _Candidates:
    """The best one-token extensions of each sentence's hypotheses, best first, and the scores they started from."""

    scores_NC: Tensor
    parents_NC: Tensor
    tokens_NC: Tensor
    start_scores_NK: Tensor


def _best_extensions(log_probabilities_RV: Tensor, scores_NK: Tensor, wanted: int) -> _Candidates:
    """Top-k within each row first, then over a sentence's rows: no pass over [beam · vocabulary] scores."""
    sentences, beam = scores_NK.shape
    each = min(wanted, log_probabilities_RV.shape[1])
    row_scores_RC, row_tokens_RC = log_probabilities_RV.topk(each, dim=1)
    sums_NC = (row_scores_RC.view(sentences, beam, each) + scores_NK.unsqueeze(2)).view(sentences, beam * each)
    best_NC, places_NC = sums_NC.topk(min(wanted, beam * each), dim=1)
    return _Candidates(
        best_NC, places_NC // each, row_tokens_RC.view(sentences, beam * each).gather(1, places_NC), scores_NK
    )


def _best_open(scores_NC: Tensor, is_end_NC: Tensor, beam_size: int) -> tuple[Tensor, Tensor]:
    """Scores and candidate numbers of the best extensions that do not end, in order."""
    open_scores_NC = scores_NC.masked_fill(is_end_NC, -torch.inf)
    scores_NK, chosen_NK = open_scores_NC.topk(min(beam_size, scores_NC.shape[1]), dim=1)
    return scores_NK, chosen_NK


@torch.inference_mode()
def _sample(
    engine: Engine[Any], sources: Sequence[Sequence[int]], options: SearchOptions, length_penalty: float, count: int
) -> list[list[Hypothesis]]:
    """Draw `count` translations of each source from the softmax, each from a generator of its own."""
    limits = [maximum_length(options, len(source)) for source in sources for _ in range(count)]
    uniform_RT = _uniform_numbers(sources, options.seed, count, max(limits) + 1)
    rows = engine.encode([source for source in sources for _ in range(count)])
    tokens_R = torch.full((len(limits),), engine.eos_id)
    live = list(range(len(limits)))
    drawn: list[list[int]] = [[] for _ in limits]
    totals = [0.0] * len(limits)
    finished = [False] * len(limits)
    length = 0
    while live:
        log_probabilities_RV, rows = engine.step(rows, tokens_R)
        numbers_R1 = uniform_RT[live, length].unsqueeze(1).to(log_probabilities_RV.device)
        tokens_R = _draw(log_probabilities_RV, options, numbers_R1)
        gained = log_probabilities_RV.gather(1, tokens_R.unsqueeze(1)).squeeze(1).tolist()
        keep = []
        for position, (row, token) in enumerate(zip(live, tokens_R.tolist(), strict=True)):
            finished[row] = token == engine.eos_id
            if finished[row]:
                totals[row] += gained[position]
            elif length < limits[row]:
                totals[row] += gained[position]
                drawn[row].append(token)
                keep.append(position)
        index = torch.tensor(keep, dtype=torch.int64, device=tokens_R.device)
        rows, tokens_R = engine.take(rows, index), tokens_R[index]
        live = [live[position] for position in keep]
        length += 1
    hypotheses = [
        Hypothesis(tuple(tokens), total, total / ((5 + len(tokens)) / 6) ** length_penalty, ended)
        for tokens, total, ended in zip(drawn, totals, finished, strict=True)
    ]
    groups = [hypotheses[start : start + count] for start in range(0, len(hypotheses), count)]
    return [sorted(group, key=lambda hypothesis: -hypothesis.score) for group in groups]


def _uniform_numbers(sources: Sequence[Sequence[int]], seed: int, count: int, steps: int) -> Tensor:
    """Float64 numbers [rows, steps] in [0, 1); a row's depend on the seed, its source and its number alone."""
    rows = [
        np.random.default_rng([seed, number, *source]).random(steps) for source in sources for number in range(count)
    ]
    return torch.from_numpy(np.stack(rows))


def _draw(log_probabilities_RV: Tensor, options: SearchOptions, numbers_R1: Tensor) -> Tensor:
    """One token a row by inversion of the cumulated probabilities, after temperature, top-k and top-p (nucleus)."""
    probabilities_RV = torch.softmax(log_probabilities_RV.double() / options.temperature, dim=1)
    sorted_RV, order_RV = probabilities_RV.sort(dim=1, descending=True, stable=True)
    if options.top_k is not None:
        sorted_RV[:, options.top_k :] = 0
    if options.top_p is not None:
        mass_before_RV = sorted_RV.cumsum(dim=1) - sorted_RV
        sorted_RV[mass_before_RV >= options.top_p * sorted_RV.sum(dim=1, keepdim=True)] = 0
    cumulated_RV = sorted_RV.cumsum(dim=1)
    places_R1 = torch.searchsorted(cumulated_RV, numbers_R1 * cumulated_RV[:, -1:], right=True)
    last_R1 = (sorted_RV > 0).sum(dim=1, keepdim=True) - 1
    return order_RV.gather(1, torch.minimum(places_R1, last_R1)).squeeze(1)
