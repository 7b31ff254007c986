"""The continuous decoder: sentences join the running batch at any step and leave it when they are finished.

An LSTM decoder's state has a fixed size, so that a hypothesis is a row that can come and go by its number alone. The
batch is bounded in rows and in source tokens. Sentences are admitted oldest first, each with its own beam size,
length penalty, number of hypotheses, maximum length, sampling and deadline; what is found for one does not depend on
the others. Offline translation and the service use this same decoder.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from translator.batch import LiveBatch
from translator.engines.base import Engine
from translator.search import Hypothesis, Query
from translator.ticket import DeadlineError, DecodingError, Ticket

# Beyond some hundred rows a step gets no faster a row (tests/benchmarks/RESULTS.md); more of them are read at a time.
MAX_ROWS = 512
MAX_TOKENS = 8192
_MOMENT_STEPS = 3


class ContinuousDecoder:
    """Decodes sentences with one engine. One thread may use it at a time, except for `cancel`."""

    def __init__(
        self,
        engine: Engine[Any],
        *,
        max_rows: int = MAX_ROWS,
        max_tokens: int = MAX_TOKENS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """At most `max_rows` hypotheses and `max_tokens` source tokens are live at once; a sentence that wants more
        than that is decoded by itself.
        """
        self._engine = engine
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self._clock = clock
        self._waiting: deque[Ticket] = deque()
        self._batch: LiveBatch | None = None
        self._ended: list[Ticket] = []
        self._any_cancelled = False
        self._earliest_deadline = np.inf
        self._came_at_step = 0  # the oldest that waits, or the last step at which others were let in
        self.steps = 0  # made so far
        self.row_steps = 0  # hypotheses in the batch, summed over these steps

    @property
    def waiting(self) -> int:
        """Sentences that are not yet in the batch."""
        return len(self._waiting)

    @property
    def live(self) -> int:
        """Sentences in the batch."""
        return 0 if self._batch is None else len(self._batch.tickets)

    @property
    def rows(self) -> int:
        """Hypotheses in the batch."""
        return 0 if self._batch is None else len(self._batch.tokens_R)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self._batch is None and not self._waiting

    def submit(self, query: Query, *, deadline: float | None = None) -> Ticket:
        """Queue a sentence; `deadline` is a time of the decoder's clock."""
        ticket = Ticket(query, deadline)
        if not self._waiting:
            self._came_at_step = self.steps
        self._waiting.append(ticket)
        if deadline is not None:
            self._earliest_deadline = min(self._earliest_deadline, deadline)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """The sentence leaves, from the queue or from the batch, at the next step. Safe from any thread."""
        ticket.cancelled = True
        self._any_cancelled = True

    def step(self) -> list[Ticket]:
        """Let sentences in and out and make one step; returns the tickets that are done, without the cancelled."""
        if self._any_cancelled or (self._earliest_deadline < np.inf and self._earliest_deadline <= self._clock()):
            self._expire()
        self._admit()
        if self._batch is not None:
            self.steps += 1
            self.row_steps += self.rows
            try:
                finished = self._batch.step()
            except Exception as error:
                self._part(error)
            else:
                for ticket in finished:
                    self._end(ticket)
                if not self._batch.tickets:
                    self._batch = None
        ended, self._ended = self._ended, []
        return ended

    def grown(self) -> list[Ticket]:
        """The sentences in the batch of which more has become certain since the last call (`Ticket.prefix`)."""
        if self._batch is None:
            return []
        grown, self._batch.grown = self._batch.grown, []
        return grown

    def _end(self, ticket: Ticket) -> None:
        ticket.hypotheses = ticket.findings.best()
        if not ticket.hypotheses:
            ticket.hypotheses, ticket.error = None, DecodingError("the model gives no token a probability")
        self._ended.append(ticket)

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        ticket.error = error
        self._ended.append(ticket)

    def _expire(self) -> None:
        """Take out what was cancelled and what is too late."""
        self._any_cancelled = False
        now = self._clock()
        deadlines = [np.inf]
        gone: set[Ticket] = set()
        for ticket in (*self._waiting, *(self._batch.tickets if self._batch else ())):
            if ticket.cancelled:
                gone.add(ticket)
            elif ticket.deadline is not None and ticket.deadline <= now:
                self._fail(ticket, DeadlineError())
                gone.add(ticket)
            elif ticket.deadline is not None:
                deadlines.append(ticket.deadline)
        self._earliest_deadline = min(deadlines)
        if not gone:
            return
        self._waiting = deque(ticket for ticket in self._waiting if ticket not in gone)
        if self._batch is not None:
            keep_N = np.array([ticket not in gone for ticket in self._batch.tickets])
            if not keep_N.any():
                self._batch = None
            elif not keep_N.all():
                staying = [ticket for ticket in self._batch.tickets if ticket not in gone]
                try:
                    self._batch.keep(keep_N)
                except Exception as error:
                    self._batch = None
                    self._try_alone(staying, error)

    def _admit(self) -> None:
        chosen = self._next_to_join()
        if not chosen:
            return
        try:
            joining = LiveBatch.begin(self._engine, chosen)
        except Exception as error:
            self._try_alone(chosen, error)
            return
        if self._batch is None:
            self._batch = joining
            return
        together = self._batch.tickets + joining.tickets
        try:
            self._batch.join(joining)
        except Exception as error:
            self._batch = None
            self._try_alone(together, error)

    def _next_to_join(self) -> list[Ticket]:
        """The oldest waiting sentences that fit.

        Where not all fit, none joins before a quarter of the rows is free, and where few wait beside many in the batch,
        they wait for others for a moment: reading sentences one at a time is slow.
        """
        batch = self._batch
        if not self._waiting or (batch and (batch.tickets[0].alone or self._waiting[0].alone)):
            return []
        few = batch is not None and len(self._waiting) < len(batch.tickets) // 4
        if few and self.steps < self._came_at_step + _MOMENT_STEPS:
            return []
        rows, tokens = (batch.reserved_rows, batch.reserved_tokens) if batch else (0, 0)
        crowded = rows > self._max_rows * 3 // 4
        if crowded and len(self._waiting) > self._max_rows - rows:
            return []
        chosen: list[Ticket] = []
        for ticket in self._waiting:
            rows += ticket.query.rows
            tokens += len(ticket.query.source) + 1
            if (batch or chosen) and (ticket.alone or rows > self._max_rows or tokens > self._max_tokens):
                break
            chosen.append(ticket)
            if ticket.alone:
                break
        if batch and crowded and len(chosen) < len(self._waiting):
            return []
        for _ in chosen:
            self._waiting.popleft()
        self._came_at_step = self.steps
        return chosen

    def _part(self, error: Exception) -> None:
        """After a failed step: its sentences begin again, each by itself."""
        assert self._batch is not None
        tickets, self._batch = self._batch.tickets, None
        self._try_alone(tickets, error)

    def _try_alone(self, tickets: list[Ticket], error: Exception) -> None:
        """One of them is to blame for `error`, and its neighbours must not suffer; one by itself has failed."""
        if len(tickets) == 1:
            failure = DecodingError(f"decoding failed ({type(error).__name__}: {error})")
            failure.__cause__ = error
            self._fail(tickets[0], failure)
            return
        for ticket in reversed(tickets):
            ticket.alone = True
            self._waiting.appendleft(ticket)


def decode(engine: Engine[Any], queries: Iterable[Query], *, max_rows: int = MAX_ROWS) -> list[list[Hypothesis]]:
    """The hypotheses of every sentence, best first, in the order of `queries`. Raises the first `DecodingError`."""
    decoder = ContinuousDecoder(engine, max_rows=max_rows)
    tickets = [decoder.submit(query) for query in queries]
    while not decoder.idle:
        decoder.step()
    return [ticket.result() for ticket in tickets]
