"""The queue between request threads and the one thread that decodes.

A request thread divides its texts into sentences, waits in `Batcher.translate` while the decoder thread finds their
translations, and puts these together. The decoder thread keeps one batch running: sentences of all requests, whatever
their search options, join it and leave it at any step. It takes one sentence of each request in turn, so that a long
request neither blocks a short one nor waits for ever. The queue is bounded in texts, characters, sentences and tokens,
every request has a deadline, and a request that fails fails alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import structlog

from service.decoder import Decoder, TextTranslator
from service.jobs import (
    Amount,
    Backlog,
    Client,
    ClientGoneError,
    DecoderEndedError,
    DrainingError,
    Job,
    QueueFullError,
    Sentence,
    TooMuchWorkError,
    TranslationFailedError,
    check_work,
)
from service.metrics import PairMetrics
from translator.config import SearchOptions
from translator.texts import Draft
from translator.ticket import DeadlineError, DecodingError, Ticket
from translator.translation import Translation

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.5  # how often it is looked whether the client still waits


class Batcher:
    """Owns the decoder thread. Every public method may be called from any thread."""

    def __init__(
        self,
        translator: TextTranslator,
        decoder: Decoder,
        *,
        bounds: Amount,
        batch_rows: int,
        work_per_request: int,
        metrics: PairMetrics,
        client: Client,
    ) -> None:
        """`bounds` are those of the queue. A request may have `work_per_request` source tokens, each counted as often
        as its beam is wide. `client` is asked in a request's thread about that request. The decoder is the batcher's
        from here on, and closed by it.
        """
        self._translator = translator
        self._decoder = decoder
        self._work_per_request = work_per_request
        self._client = client
        # The decoder lets sentences in when a quarter of its rows is free; it needs no more than those at hand.
        self._decoder_rows = batch_rows * 5 // 4
        self._metrics = metrics
        metrics.batch_rows_limit.set(batch_rows)
        self._lock = threading.Lock()
        self._requests = 0
        self._jobs: deque[Job] = deque()  # those with sentences that wait
        self._backlog = Backlog(bounds)
        self._owners: dict[Ticket, tuple[Job, str]] = {}  # of the sentences in the decoder
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
    def decoder_pid(self) -> int:
        return self._decoder.pid

    @property
    def load(self) -> float:
        """How full the queue is: 0 empty, 1 full."""
        with self._lock:
            return self._backlog.load

    @property
    def overloaded(self) -> bool:
        """Whether requests are better refused at once: see `Backlog.overloaded`. A glance, which waits for nobody."""
        return self._backlog.overloaded

    def observe(self) -> None:
        """Bring those metrics up to date that say how things are now."""
        self._metrics.observe(self._backlog.amount, self.load, self._decoder.work)

    def translate(self, texts: Sequence[str], options: SearchOptions, *, seconds: float) -> list[Translation]:
        """The translations of `texts`, in order; waits for them for at most `seconds`.

        Raises:
            QueueFullError, DrainingError, TooMuchWorkError: nothing was taken in.
            DeadlineError, ClientGoneError: time is up, or nobody waits; what is not yet decoded is dropped.
            TranslationFailedError, DecoderEndedError: it failed on one of these texts, or as a whole.
        """
        if not texts:
            return []
        with self._taken_in(texts, seconds, lambda text: self._translator.draft(text, options)) as (job, drafts):
            self._await(job, [sentence for draft in drafts for sentence in draft.sentences])
            return [self._translator.finish(draft, [job.found[one] for one in draft.sentences]) for draft in drafts]

    def stream(
        self, texts: Sequence[str], options: SearchOptions, *, seconds: float
    ) -> Iterator[tuple[int, Draft, Translation | str]]:
        """Every sentence of the texts, in order, as soon as it is translated: which text it is of, its text's draft and
        its translation; with `options.prefixes` also a `str`, whenever it has become longer, of what the next sentence
        is certain to begin with. Raises as `translate` does.
        """
        if not texts:
            return
        with self._taken_in(texts, seconds, lambda text: self._translator.draft(text, options)) as (job, drafts):
            for number, draft in enumerate(drafts):
                for part in draft.parts():
                    (sentence,) = part.sentences
                    said = ""
                    while not self._await(job, [sentence]):
                        if len(beginning := self._translator.beginning(job.hear(sentence))) > len(said):
                            said = beginning
                            yield number, draft, said
                    yield number, draft, self._translator.finish(part, [job.found[sentence]])

    def vectors(self, texts: Sequence[str], *, seconds: float) -> npt.NDArray[np.float32]:
        """h(x) of each text, which is read as one sentence: float32 [texts, numbers]. Raises as `translate` does."""
        with self._taken_in(texts, seconds, self._translator.reading) as (job, _):
            self._await(job, texts)
            return np.stack([job.vectors[text] for text in texts])

    @contextlib.contextmanager
    def _taken_in(
        self, texts: Sequence[str], seconds: float, drafted: Callable[[str], Draft]
    ) -> Iterator[tuple[Job, list[Draft]]]:
        characters = sum(map(len, texts))
        job = Job(time.monotonic() + seconds, Amount(len(texts), characters))
        self._take_in(job)
        try:
            drafts = [drafted(text) for text in texts]
            self._queue(job, texts, drafts)
            yield job, drafts
        except (DeadlineError, ClientGoneError, QueueFullError, TooMuchWorkError):
            raise
        except Exception as error:  # whose message may quote the user's text
            ended = isinstance(error, DecoderEndedError)
            cause = error.__cause__ or error if ended or isinstance(error, DecodingError) else error
            kind = getattr(cause, "exception_type", type(cause).__name__)
            log.error("translation failed", exception_type=kind, characters=characters)
            raise (DecoderEndedError if ended else TranslationFailedError) from cause
        finally:
            with self._lock:
                self._drop(job)
                self._requests -= 1
            if self._stopping:
                self._decoder.wake()

    def _await(self, job: Job, sentences: Sequence[str]) -> bool:
        """Whether all of them are found; else more has become certain of one of them."""
        with self._lock:
            job.await_(sentences)
        self._client.pause()
        while not job.decoded.wait(min(_LOOK_SECONDS, max(0.0, job.deadline - time.monotonic()))):
            if time.monotonic() >= job.deadline:
                raise DeadlineError
            if not self._client.waits():
                raise ClientGoneError
        self._client.resume()
        if job.error is not None and job.awaited:
            raise job.error
        return not job.awaited

    def drain(self) -> None:
        """Take in no new requests; those that were taken in are finished, in as many calls as they need."""
        with self._lock:
            self._draining = True

    def stop(self, seconds: float) -> bool:
        """Drain, and wait for the decoder thread to end; False if it did not within `seconds`."""
        with self._lock:
            self._draining = self._stopping = True
        self._decoder.wake()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _take_in(self, job: Job) -> None:
        """Keep a place in the queue; before anything is done with the texts, because that costs time."""
        with self._lock:
            job.follows = self._client.accepted()
            if self._stopping or (self._draining and not job.follows):
                raise DrainingError
            self._backlog.take_in(job)
            self._requests += 1
        self._client.accept()
        self._metrics.texts.inc(job.waits.texts)
        self._metrics.characters.inc(job.waits.characters)

    def _queue(self, job: Job, texts: Sequence[str], drafts: Sequence[Draft]) -> None:
        """Let the sentences wait for the decoder, each once. A text leaves the queue with its last sentence."""
        sentences: list[Sentence] = []
        known: set[str] = set()
        for text, draft in zip(texts, drafts, strict=True):
            new = [pair for pair in zip(draft.sentences, draft.queries, strict=True) if pair[0] not in known]
            known.update(draft.sentences)
            sentences += [Sentence(*pair) for pair in new[:-1]]
            sentences += [Sentence(*pair, 1, len(text)) for pair in new[-1:]]
        check_work(sentences, self._work_per_request)
        waits = Amount.sum(sentence.amount for sentence in sentences)
        with self._lock:
            self._backlog.divide(job, waits)
            if not sentences:
                return
            if self._lost is not None:
                raise self._lost
            job.begun = time.monotonic()
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
            self._deliver(self._decoder.step(), self._decoder.grown())
            self._metrics.count_work(self._decoder.work)
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
                if job.begun:
                    self._metrics.queue_seconds.observe(time.monotonic() - job.begun)
                    job.begun = 0.0
                ticket = self._decoder.submit(sentence.query, deadline=job.deadline)
                job.tickets.add(ticket)
                self._owners[ticket] = job, sentence.text
                self._rows += sentence.query.rows
                self._backlog.release(job, sentence.amount)
        return True

    def _deliver(self, tickets: Sequence[Ticket], grown: Sequence[Ticket]) -> None:
        """Give the requests what was found for them, and what has become certain of the rest."""
        self._metrics.count_sentences(tickets)
        with self._lock:
            for ticket in grown:
                if ticket in self._owners:
                    job, sentence = self._owners[ticket]
                    job.say(sentence, ticket.prefix)
            for ticket in tickets:
                if ticket not in self._owners:  # its request ended during this step
                    continue
                job, sentence = self._forget(ticket)
                if ticket.error is not None:
                    self._fail(job, ticket.error)
                else:
                    job.give(sentence, ticket)

    def _begin_anew(self, error: Exception) -> bool:
        """After an error that is nobody's: the requests that had sentences in the decoder fail, the others wait for it
        to be there again. False where that will not be; then they fail, too.
        """
        with self._lock:
            self._restarting = True
            for job in {job for job, _ in self._owners.values()}:
                self._fail(job, DecoderEndedError(error))
        try:
            self._decoder.restart()
        except Exception as lost:
            log.critical("the decoder cannot go on", exception_type=type(lost).__name__, reason=str(lost))
            with self._lock:
                self._draining, self._lost = True, DecoderEndedError(lost)
                for job in tuple(self._jobs):
                    self._fail(job, self._lost)
            return False
        self._restarting = False
        self._metrics.decoder_restarts.inc()
        return True

    def _fail(self, job: Job, error: Exception) -> None:
        """Lock held."""
        self._drop(job)
        job.error = error
        job.decoded.set()

    def _drop(self, job: Job) -> None:
        """Forget what waits of it, and take the rest out of the decoder. Lock held."""
        if job.waiting:
            self._jobs.remove(job)
            job.waiting.clear()
        self._backlog.release(job, job.waits)
        for ticket in tuple(job.tickets):
            self._decoder.cancel(ticket)
            self._forget(ticket)

    def _forget(self, ticket: Ticket) -> tuple[Job, str]:
        """The decoder has done with it; whose it was. Lock held."""
        job, sentence = self._owners.pop(ticket)
        job.tickets.remove(ticket)
        self._rows -= ticket.query.rows
        return job, sentence
