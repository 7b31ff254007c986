"""The running batch: the live sentences, their open hypotheses, and what one decoder step makes of them.

Everything is vectorised over all hypotheses of all sentences, because a step of the network takes about a tenth of a
millisecond and a loop in Python over its rows would take longer.

N live sentences, R rows (open hypotheses), K the widest beam, T tokens so far, W rows of one sentence, V target
vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from translator.engines.base import Beams, Engine, Extensions, Integers
from translator.prefixes import certain_prefix
from translator.search import Doubles, draw
from translator.ticket import Ticket

_NONE = -np.inf
_NO_ROWS: Integers = np.zeros(0, dtype=np.int64)
_BY_SENTENCE = ("widths_N", "beam_sizes_N", "lengths_N", "limits_N", "bounds_N")
_BY_ROW = ("tokens_R", "scores_R", "history_RT", "trail_RT")


@dataclass
class LiveBatch:
    """Sentences and their rows, which follow one another in the sentences' order."""

    engine: Engine[Any]
    tickets: list[Ticket]
    rows: Any
    widths_N: npt.NDArray[np.int32]
    beam_sizes_N: npt.NDArray[np.int32]  # 0 for a sentence that is sampled
    lengths_N: Integers
    limits_N: Integers
    bounds_N: Doubles  # see Findings.bound
    tokens_R: Integers
    scores_R: npt.NDArray[np.float32]
    history_RT: npt.NDArray[np.int32]  # a sentence's tokens begin at 0
    trail_RT: npt.NDArray[np.float32]  # log p up to each of these tokens; [R, 0] where no sentence wants to know
    grown: list[Ticket] = field(default_factory=list, init=False)  # whose prefix has become longer
    traced: bool = field(default=True, init=False)  # whether a sentence wants the probabilities of its tokens
    followed: bool = field(default=True, init=False)  # whether a sentence wants to know what is certain of it
    reserved_rows: int = field(init=False)
    reserved_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self._reserve()

    @classmethod
    def begin(cls, engine: Engine[Any], tickets: Sequence[Ticket]) -> Self:
        """Read the sentences. Each begins with one empty hypothesis, a sampled one with as many as are wanted."""
        for ticket in tickets:
            ticket.begin()
        queries = [ticket.query for ticket in tickets]
        rows = engine.encode([query.source for query in queries])
        widths_N = np.array([query.count if query.sampled else 1 for query in queries], dtype=np.int32)
        count = int(widths_N.sum())
        if count > len(tickets):
            rows = engine.take(rows, np.repeat(np.arange(len(tickets)), widths_N))
        return cls(
            engine,
            list(tickets),
            rows,
            widths_N,
            np.array([0 if query.sampled else query.beam_size for query in queries], dtype=np.int32),
            np.zeros(len(tickets), dtype=np.int64),
            np.array([query.maximum_length for query in queries], dtype=np.int64),
            np.full(len(tickets), _NONE),
            np.full(count, engine.eos_id, dtype=np.int64),
            np.zeros(count, dtype=np.float32),
            np.zeros((count, 32), dtype=np.int32),
            _no_trail(count),
        )

    def join(self, others: LiveBatch) -> None:
        """Take in the sentences of another batch, behind one's own."""
        self.traced = self.traced or others.traced
        self.followed = self.followed or others.followed
        longest = max(self.history_RT.shape[1], others.history_RT.shape[1])
        self._widen(longest, traced=self.traced)
        others._widen(longest, traced=self.traced)
        self.rows = self.engine.append(self.rows, others.rows)
        self.tickets = self.tickets + others.tickets
        for name in (*_BY_SENTENCE, *_BY_ROW):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(others, name)]))
        self._reserve()

    def keep(self, keep_N: npt.NDArray[np.bool_]) -> None:
        """Go on with those sentences only."""
        rows_R = np.flatnonzero(np.repeat(keep_N, self.widths_N))
        for name in _BY_ROW:
            setattr(self, name, getattr(self, name)[rows_R])
        self.rows = self.engine.take(self.rows, rows_R)
        self._keep_sentences(keep_N)

    def step(self) -> list[Ticket]:
        """Make every hypothesis one token longer; returns the sentences that are done with and have left.

        The engine's errors pass through; the batch is then of no further use.
        """
        drawn_D = _NO_ROWS
        if not self.beam_sizes_N.all():
            drawn_D = np.flatnonzero(np.repeat(self.beam_sizes_N == 0, self.widths_N))
        beams = Beams(self.tokens_R, self.scores_R, self.widths_N, self.beam_sizes_N, drawn_D)
        extensions, self.rows = self.engine.step(self.rows, beams)
        self._finish(extensions.ended_R)
        if len(drawn_D):
            extensions = self._with_drawn(drawn_D, extensions)
        return self._advance(extensions)

    def _advance(self, extensions: Extensions) -> list[Ticket]:
        """Put the open extensions in the place of the rows they came from."""
        going_N = self.lengths_N < self.limits_N
        if not going_N.all():
            for position in np.flatnonzero(~going_N & (self.beam_sizes_N > 0)).tolist():
                self._cut(position)
        keep_N = going_N & (extensions.scores_NK[:, 0] > self.bounds_N)
        open_NK = extensions.scores_NK > _NONE
        all_go_on = bool(keep_N.all())
        if not all_go_on:
            open_NK &= keep_N[:, None]
        parents_R = extensions.parents_NK[open_NK]
        self.tokens_R = extensions.tokens_NK[open_NK]
        self.scores_R = extensions.scores_NK[open_NK]
        self.widths_N = open_NK.sum(axis=1, dtype=np.int32)
        self._widen(int(self.lengths_N.max()) + 1, traced=self.traced)
        self.history_RT = self.history_RT[parents_R]
        lengths_R = self.lengths_N.repeat(self.widths_N)
        self.history_RT[np.arange(len(parents_R)), lengths_R] = self.tokens_R
        if self.traced:
            self.trail_RT = self.trail_RT[parents_R]
            self.trail_RT[np.arange(len(parents_R)), lengths_R] = self.scores_R
        else:
            self.trail_RT = _no_trail(len(parents_R))
        self.lengths_N += 1
        self.rows = self.engine.take(self.rows, parents_R)
        leaving: list[Ticket] = []
        if not all_go_on:
            leaving = [self.tickets[position] for position in np.flatnonzero(~keep_N).tolist()]
            self._keep_sentences(keep_N)
        if self.followed:
            self._follow()
        return leaving

    def _finish(self, ended_R: npt.NDArray[np.float32]) -> None:
        ended = np.flatnonzero(ended_R > _NONE)
        if not len(ended):
            return
        owners = np.searchsorted(self.widths_N.cumsum(), ended, side="right").tolist()
        for row, position in zip(ended.tolist(), owners, strict=True):
            self._add(position, row, float(ended_R[row]), finished=True)
        for position in set(owners):
            self.bounds_N[position] = self.tickets[position].findings.bound()

    def _cut(self, position: int) -> None:
        """Keep the open hypotheses of a sentence at its maximum length, as they stood before this step."""
        first = int(self.widths_N[:position].sum())
        for row in range(first, first + int(self.widths_N[position])):
            self._add(position, row, float(self.scores_R[row]), finished=False)

    def _add(self, position: int, row: int, log_probability: float, *, finished: bool) -> None:
        tokens = self.history_RT[row, : self.lengths_N[position]].tolist()
        ticket = self.tickets[position]
        each: list[float] = []
        if ticket.query.options.probabilities:
            trail = self.trail_RT[row, : self.lengths_N[position]].tolist()
            each = np.diff([0.0, *trail, *([log_probability] if finished else [])]).tolist()
        ticket.findings.add(tokens, log_probability, finished=finished, log_probabilities=each)

    def _follow(self) -> None:
        """Note what has become certain of the sentences that want to know."""
        ends = self.widths_N.cumsum().tolist()
        for ticket, start, end, length in zip(self.tickets, [0, *ends], ends, self.lengths_N.tolist(), strict=False):
            if ticket.query.options.prefixes:
                history_WT, scores_W = self.history_RT[start:end, :length], self.scores_R[start:end]
                prefix = certain_prefix(ticket.query, ticket.findings, history_WT, scores_W)
                if len(prefix) > len(ticket.prefix):
                    ticket.prefix = prefix
                    self.grown.append(ticket)

    def _with_drawn(self, drawn_D: Integers, extensions: Extensions) -> Extensions:
        """The extensions and, in the sampled sentences' places, those that are drawn: each row has one or ends."""
        sampled_N = self.beam_sizes_N == 0
        widest = max(extensions.scores_NK.shape[1], int(self.widths_N[sampled_N].max()))
        missing = ((0, 0), (0, widest - extensions.scores_NK.shape[1]))
        scores_NK = np.pad(extensions.scores_NK, missing, constant_values=_NONE)
        parents_NK, tokens_NK = np.pad(extensions.parents_NK, missing), np.pad(extensions.tokens_NK, missing)
        first = 0
        for position in np.flatnonzero(sampled_N).tolist():
            ticket, last = self.tickets[position], first + int(self.widths_N[position])
            rows_W, log_probabilities_WV = drawn_D[first:last], extensions.log_probabilities_DV[first:last]
            first = last
            tokens_W = draw(log_probabilities_WV, ticket.query.options, ticket.numbers_WT[:, self.lengths_N[position]])
            scores_W = self.scores_R[rows_W] + log_probabilities_WV[np.arange(len(rows_W)), tokens_W]
            ended_W = tokens_W == self.engine.eos_id
            cut = bool(self.lengths_N[position] >= self.limits_N[position])
            for row, score, ended in zip(rows_W.tolist(), scores_W.tolist(), ended_W.tolist(), strict=True):
                if ended and np.isfinite(score):
                    self._add(position, row, score, finished=True)
                elif cut and not ended:
                    self._add(position, row, float(self.scores_R[row]), finished=False)
            going_W = _NO_ROWS if cut else np.flatnonzero(~ended_W & np.isfinite(scores_W))
            for all_NK, drawn_W in ((scores_NK, scores_W), (parents_NK, rows_W), (tokens_NK, tokens_W)):
                all_NK[position, : len(going_W)] = drawn_W[going_W]
            ticket.numbers_WT = ticket.numbers_WT[going_W]
        return Extensions(scores_NK, parents_NK, tokens_NK, extensions.ended_R, extensions.log_probabilities_DV)

    def _keep_sentences(self, keep_N: npt.NDArray[np.bool_]) -> None:
        self.tickets = [ticket for ticket, keeps in zip(self.tickets, keep_N.tolist(), strict=True) if keeps]
        for name in _BY_SENTENCE:
            setattr(self, name, getattr(self, name)[keep_N])
        self._reserve()

    def _reserve(self) -> None:
        """Count what the sentences may come to need, and find out what they want to know."""
        self.reserved_rows = sum(ticket.query.rows for ticket in self.tickets)
        self.reserved_tokens = sum(len(ticket.query.source) + 1 for ticket in self.tickets)
        self.traced = self.traced and any(ticket.query.options.probabilities for ticket in self.tickets)
        self.followed = self.followed and any(ticket.query.options.prefixes for ticket in self.tickets)
        if not self.traced:
            self.trail_RT = _no_trail(len(self.tokens_R))

    def _widen(self, length: int, *, traced: bool) -> None:
        """Make room for histories of so many tokens, and some more; for trails, too, where they are `traced`."""
        room = self.history_RT.shape[1]
        if room < length:
            self.history_RT = _wider(self.history_RT, max(length, 2 * room))
        if traced and self.trail_RT.shape[1] < self.history_RT.shape[1]:
            self.trail_RT = _wider(self.trail_RT, self.history_RT.shape[1])


def _no_trail(rows: int) -> npt.NDArray[np.float32]:
    return np.zeros((rows, 0), dtype=np.float32)


def _wider(array: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    wider = np.zeros((len(array), width), dtype=array.dtype)
    wider[:, : array.shape[1]] = array
    return wider
