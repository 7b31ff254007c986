"""A request on its way through the batcher, and how much of it waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from translator.search import Hypothesis, Query
from translator.ticket import Ticket

_LOW_WATER_MARK = 0.9


class QueueFullError(Exception):
    """More waits than is allowed."""


class DrainingError(Exception):
    """The service is shutting down and takes in nothing new."""


class TranslationFailedError(Exception):
    """The translator raised an error for a text of this request."""


class DecoderEndedError(TranslationFailedError):
    """The decoder ended while it had sentences of this request; that is not to say that it was their doing."""

    def __init__(self, cause: Exception | None = None) -> None:
        super().__init__()
        self.__cause__ = cause


class TooMuchWorkError(Exception):
    """A single request asks for more than any may; the message is for its sender."""


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


class Client:
    """Who waits for the answer to the request that a thread works for. This one has accepted nothing and waits."""

    def waits(self) -> bool:
        """Whether it is still connected, as far as one can see."""
        return True

    def accepted(self) -> bool:
        """Whether some of the request was taken in already, so that the rest is not to be refused."""
        return False

    def accept(self) -> None:
        """Some of the request is taken in."""

    def pause(self) -> None:
        """The thread is going to wait."""

    def resume(self) -> None:
        """The wait is over. Returns when the thread may go on."""


class Amount(NamedTuple):
    """So much that waits for the decoder; or the most that may."""

    texts: int = 0
    characters: int = 0
    sentences: int = 0
    tokens: int = 0  # of the source, `<EOS>` included

    def plus(self, other: Amount) -> Amount:
        return Amount(*(one + two for one, two in zip(self, other, strict=True)))

    def minus(self, other: Amount) -> Amount:
        return Amount(*(one - two for one, two in zip(self, other, strict=True)))

    @classmethod
    def sum(cls, amounts: Iterable[Amount]) -> Amount:
        return cls(*(sum(values) for values in zip(cls(), *amounts, strict=True)))

    def share_of(self, most: Amount) -> float:
        """The largest share: 1 or less where it is no more than `most` in any respect."""
        return max(one / two for one, two in zip(self, most, strict=True))


@dataclass(frozen=True)
class Sentence:
    """A sentence that waits. The last one of a text takes that text and its characters along when it waits no more."""

    text: str
    query: Query
    texts: int = 0
    characters: int = 0

    @property
    def tokens(self) -> int:
        return len(self.query.source) + 1

    @property
    def amount(self) -> Amount:
        return Amount(self.texts, self.characters, 1, self.tokens)


@dataclass(eq=False)
class Job:
    """One request on its way through the decoder. All fields are guarded by the batcher's lock."""

    deadline: float  # by time.monotonic
    waits: Amount
    follows: bool = False  # some of its request was taken in before, so that a full queue does not refuse the rest
    begun: float = 0.0  # when it was queued, by time.monotonic; 0 once a sentence of it is decoded
    waiting: deque[Sentence] = field(default_factory=deque)  # distinct, and not yet handed to the decoder
    tickets: set[Ticket] = field(default_factory=set)  # in the decoder
    found: dict[str, list[Hypothesis]] = field(default_factory=dict)
    vectors: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    prefixes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of the sentences that are being decoded
    news: set[str] = field(default_factory=set)  # those of them whose prefix its thread has not heard yet
    awaited: set[str] = field(default_factory=set)  # the sentences without which its thread cannot go on
    decoded: threading.Event = field(default_factory=threading.Event)  # none of these is left, or there is news
    error: Exception | None = None

    def await_(self, sentences: Iterable[str]) -> None:
        """Its thread is to wait until these are found, or until something is said of them."""
        self.awaited = set(sentences).difference(self.found)
        if self.awaited and self.error is None and self.awaited.isdisjoint(self.news):
            self.decoded.clear()
        else:
            self.decoded.set()

    def give(self, sentence: str, ticket: Ticket) -> None:
        """This was found for a sentence."""
        self.found[sentence] = ticket.result()
        if ticket.vector is not None:
            self.vectors[sentence] = ticket.vector
        self.awaited.discard(sentence)
        if not self.awaited:
            self.decoded.set()

    def say(self, sentence: str, prefix: tuple[int, ...]) -> None:
        """So much is certain of a sentence that is being decoded."""
        self.prefixes[sentence] = prefix
        self.news.add(sentence)
        if sentence in self.awaited:
            self.decoded.set()

    def hear(self, sentence: str) -> tuple[int, ...]:
        """What is certain of a sentence, and news no more. Needs no lock."""
        self.news.discard(sentence)
        return self.prefixes[sentence]


class Backlog:
    """What waits for the decoder, within bounds. Changed under the batcher's lock; one value may be read without."""

    def __init__(self, bounds: Amount) -> None:
        self.amount = Amount()
        self._bounds = bounds
        self._refusing = False

    @property
    def load(self) -> float:
        """How full it is: 0 empty, 1 full."""
        return min(1.0, self.amount.share_of(self._bounds))

    @property
    def overloaded(self) -> bool:
        """Whether something did not fit, and less than a tenth is free since then."""
        return self._refusing

    def take_in(self, job: Job) -> None:
        """Its texts wait, before anything else is known of it. Raises `QueueFullError`."""
        amount = self.amount.plus(job.waits)
        if (amount.texts > self._bounds.texts or amount.characters > self._bounds.characters) and not job.follows:
            self._refuse()
        self.amount = amount

    def divide(self, job: Job, waits: Amount) -> None:
        """Its texts are divided into sentences. Raises `QueueFullError`."""
        others = self.amount.minus(job.waits)
        # What a single request may have at most is always taken in where nothing else waits.
        if others.sentences and not job.follows and others.plus(waits).share_of(self._bounds) > 1:
            self._refuse()
        job.waits = waits
        self._hold(others.plus(waits))

    def release(self, job: Job, amount: Amount) -> None:
        """So much of the job waits no more."""
        job.waits = job.waits.minus(amount)
        self._hold(self.amount.minus(amount))

    def _hold(self, amount: Amount) -> None:
        self.amount = amount
        self._refusing = self._refusing and self.load > _LOW_WATER_MARK

    def _refuse(self) -> NoReturn:
        self._refusing = self.load > _LOW_WATER_MARK
        raise QueueFullError


def check_work(sentences: Sequence[Sentence], most: int) -> None:
    """Raises `TooMuchWorkError` where their tokens, each counted as often as the beam is wide, are more than `most`."""
    work = sum(sentence.tokens * sentence.query.rows for sentence in sentences)
    if work > most:
        raise TooMuchWorkError(
            f"The source tokens, each counted as often as the beam is wide, are {work:,}; at most {most:,} are "
            "allowed. Send less text, or ask for a narrower beam."
        )
