"""The queue between request threads and the one thread that decodes.

A request thread divides its texts into sentences, waits in `Batcher.translate` while the decoder thread finds their
translations, and puts these together. The decoder thread keeps one batch running: sentences of all requests, whatever
their search options, join it and leave it at any step. It takes one sentence of each request in turn, so that a long
request neither blocks a short one nor waits for ever. The queue is bounded in texts and in characters, every request
has a deadline, and a request that fails fails alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from service.decoder import Decoder, TextTranslator
from translator.config import SearchOptions
from translator.search import Hypothesis, Query
from translator.texts import Draft
from translator.ticket import DeadlineError, DecodingError, Ticket
from translator.translation import Translation

log = structlog.get_logger(__name__)


class QueueFullError(Exception):
    """More texts or characters wait than are allowed."""


class DrainingError(Exception):
    """The service is shutting down and takes in nothing new."""


class TranslationFailedError(Exception):
    """The translator raised an error for a text of this request."""


@dataclass(frozen=True)
class _Sentence:
    """A sentence that waits; where it is the last of its text, that text of so many characters waits no more."""

    text: str
    query: Query
    texts: int = 0
    characters: int = 0


@dataclass(eq=False)
class _Job:
    """One request on its way through the decoder. All fields are guarded by the batcher's lock."""

    deadline: float  # by time.monotonic
    texts: int  # that count as waiting, and their characters
    characters: int
    waiting: deque[_Sentence] = field(default_factory=deque)  # distinct, and not yet handed to the decoder
    tickets: set[Ticket] = field(default_factory=set)  # in the decoder
    found: dict[str, list[Hypothesis]] = field(default_factory=dict)
    awaited: set[str] = field(default_factory=set)  # the sentences without which its thread cannot go on
    decoded: threading.Event = field(default_factory=threading.Event)  # there is none of these left, or an error
    error: Exception | None = None


class Batcher:
    """Owns the decoder thread. Every public method may be called from any thread."""

    def __init__(
        self,
        translator: TextTranslator,
        decoder: Decoder,
        *,
        queue_texts: int,
        queue_characters: int,
        batch_rows: int,
    ) -> None:
        """The decoder is the batcher's from here on, and closed by it."""
        self._translator = translator
        self._decoder = decoder
        self._queue_texts = queue_texts
        self._queue_characters = queue_characters
        # The decoder lets sentences in when a quarter of its rows is free; it needs no more than those at hand.
        self._decoder_rows = batch_rows * 5 // 4
        self._lock = threading.Lock()
        self._requests = 0
        self._jobs: deque[_Job] = deque()  # those with sentences that wait
        self._waiting_texts = 0
        self._waiting_characters = 0
        self._owners: dict[Ticket, tuple[_Job, str]] = {}  # of the sentences in the decoder
        self._rows = 0  # that these may come to need
        self._draining = False
        self._stopping = False
        self._restarting = False
        self._lost: Exception | None = None  # why there is no decoder any more
        # A daemon, so that a process told to stop at once need not wait for a batch; `stop` ends it in order.
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def restarting(self) -> bool:
        """Whether the decoder has failed and is not there again yet."""
        return self._restarting

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def load(self) -> float:
        """How full the queue is: 0 empty, 1 full."""
        with self._lock:
            return max(self._waiting_texts / self._queue_texts, self._waiting_characters / self._queue_characters)

    def translate(self, texts: Sequence[str], options: SearchOptions, *, seconds: float) -> list[Translation]:
        """The translations of `texts`, in order; waits for them for at most `seconds`.

        Raises:
            QueueFullError, DrainingError: nothing was taken in.
            DeadlineError: time is up. What is not yet decoded of this request is dropped.
            TranslationFailedError: the translator failed on one of these texts; its own error is the cause.
        """
        if not texts:
            return []
        with self._taken_in(texts, options, seconds) as (job, drafts):
            self._await(job, [sentence for draft in drafts for sentence in draft.sentences])
            found = job.found
            return [self._translator.finish(draft, [found[text] for text in draft.sentences]) for draft in drafts]

    def stream(
        self, texts: Sequence[str], options: SearchOptions, *, seconds: float
    ) -> Iterator[tuple[int, Draft, Translation]]:
        """Every sentence of the texts, in order, as soon as it is translated: which text it is of, its text's draft and
        its translation. Raises as `translate` does.
        """
        if not texts:
            return
        with self._taken_in(texts, options, seconds) as (job, drafts):
            for number, draft in enumerate(drafts):
                for part in draft.parts():
                    self._await(job, part.sentences)
                    yield number, draft, self._translator.finish(part, [job.found[part.sentences[0]]])

    @contextlib.contextmanager
    def _taken_in(
        self, texts: Sequence[str], options: SearchOptions, seconds: float
    ) -> Iterator[tuple[_Job, list[Draft]]]:
        characters = sum(map(len, texts))
        job = _Job(time.monotonic() + seconds, len(texts), characters)
        self._take_in(job)
        try:
            drafts = [self._translator.draft(text, options) for text in texts]
            self._queue(job, texts, drafts)
            yield job, drafts
        except DeadlineError:
            raise
        except Exception as error:
            # The message may quote the user's text.
            cause = error.__cause__ or error if isinstance(error, DecodingError) else error
            kind = getattr(cause, "exception_type", type(cause).__name__)
            log.error("translation failed", exception_type=kind, characters=characters)
            raise TranslationFailedError from cause
        finally:
            with self._lock:
                self._drop(job)
                self._requests -= 1
            if self._stopping:
                self._decoder.wake()

    def _await(self, job: _Job, sentences: Sequence[str]) -> None:
        with self._lock:
            job.awaited = set(sentences).difference(job.found)
            if job.awaited and job.error is None:
                job.decoded.clear()
            else:
                job.decoded.set()
        if not job.decoded.wait(max(0.0, job.deadline - time.monotonic())):
            raise DeadlineError
        if job.error is not None and job.awaited:
            raise job.error

    def drain(self) -> None:
        """Take in nothing new from now on; what was taken in is still translated."""
        with self._lock:
            self._draining = True

    def stop(self, seconds: float) -> bool:
        """Drain, and wait for the decoder thread to end; False if it did not within `seconds`."""
        with self._lock:
            self._draining = self._stopping = True
        self._decoder.wake()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _take_in(self, job: _Job) -> None:
        """Keep a place in the queue; before anything is done with the texts, because that costs time."""
        with self._lock:
            if self._draining:
                raise DrainingError
            if (
                self._waiting_texts + job.texts > self._queue_texts
                or self._waiting_characters + job.characters > self._queue_characters
            ):
                raise QueueFullError
            self._requests += 1
            self._waiting_texts += job.texts
            self._waiting_characters += job.characters

    def _queue(self, job: _Job, texts: Sequence[str], drafts: Sequence[Draft]) -> None:
        """Let the sentences wait for the decoder, each once. A text leaves the queue with its last sentence."""
        sentences: list[_Sentence] = []
        known: set[str] = set()
        for text, draft in zip(texts, drafts, strict=True):
            new = [pair for pair in zip(draft.sentences, draft.queries, strict=True) if pair[0] not in known]
            known.update(draft.sentences)
            sentences += [_Sentence(*pair) for pair in new[:-1]]
            sentences += [_Sentence(*pair, 1, len(text)) for pair in new[-1:]]
        with self._lock:
            texts_left = sum(one.texts for one in sentences)
            characters_left = sum(one.characters for one in sentences)
            self._release(job, job.texts - texts_left, job.characters - characters_left)
            if not sentences:
                return
            if self._lost is not None:
                raise self._lost
            job.waiting.extend(sentences)
            self._jobs.append(job)
        self._decoder.wake()

    def _run(self) -> None:
        with contextlib.closing(self._decoder):
            while self._work():
                pass

    def _work(self) -> bool:
        """One step and what belongs to it; False at the end."""
        try:
            if not self._feed():
                return False
            self._deliver(self._decoder.step())
        except Exception as error:
            log.error("decoder failed", exception_type=type(error).__name__)
            return self._begin_anew(error)
        return True

    def _feed(self) -> bool:
        """Hand to the decoder what waits, in turn, as far as there is room; False at the end."""
        with self._lock:
            if self._stopping and not self._requests:
                return False
            while self._jobs and self._rows < self._decoder_rows:
                job = self._jobs.popleft()
                sentence = job.waiting.popleft()
                if job.waiting:
                    self._jobs.append(job)
                ticket = self._decoder.submit(sentence.query, deadline=job.deadline)
                job.tickets.add(ticket)
                self._owners[ticket] = job, sentence.text
                self._rows += sentence.query.rows
                self._release(job, sentence.texts, sentence.characters)
        return True

    def _deliver(self, tickets: Sequence[Ticket]) -> None:
        """Give the requests what was found for them."""
        with self._lock:
            for ticket in tickets:
                if ticket not in self._owners:  # its request ended during this step
                    continue
                job, sentence = self._forget(ticket)
                if ticket.error is not None:
                    self._fail(job, ticket.error)
                else:
                    job.found[sentence] = ticket.result()
                    job.awaited.discard(sentence)
                    if not job.awaited:
                        job.decoded.set()

    def _begin_anew(self, error: Exception) -> bool:
        """After an error that is nobody's: the requests that had sentences in the decoder fail, the others wait for it
        to be there again. False where that will not be; then they fail, too.
        """
        with self._lock:
            self._restarting = True
            for job in {job for job, _ in self._owners.values()}:
                self._fail(job, error)
        try:
            self._decoder.restart()
        except Exception as lost:
            log.critical("the decoder cannot go on", exception_type=type(lost).__name__, reason=str(lost))
            with self._lock:
                self._draining, self._lost = True, lost
                for job in tuple(self._jobs):
                    self._fail(job, lost)
            return False
        self._restarting = False
        return True

    def _fail(self, job: _Job, error: Exception) -> None:
        """Lock held."""
        self._drop(job)
        job.error = error
        job.decoded.set()

    def _drop(self, job: _Job) -> None:
        """Forget what waits of it, and take the rest out of the decoder. Lock held."""
        if job.waiting:
            self._jobs.remove(job)
            job.waiting.clear()
        self._release(job, job.texts, job.characters)
        for ticket in tuple(job.tickets):
            self._decoder.cancel(ticket)
            self._forget(ticket)

    def _forget(self, ticket: Ticket) -> tuple[_Job, str]:
        """The decoder has done with it; whose it was. Lock held."""
        job, sentence = self._owners.pop(ticket)
        job.tickets.remove(ticket)
        self._rows -= ticket.query.rows
        return job, sentence

    def _release(self, job: _Job, texts: int, characters: int) -> None:
        """So much of the job waits no more. Lock held."""
        job.texts -= texts
        job.characters -= characters
        self._waiting_texts -= texts
        self._waiting_characters -= characters
