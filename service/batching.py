"""The queue between request threads and the one thread that decodes.

A request waits in `Batcher.translate` while the decoder thread works. Texts of different requests that wait
together and ask for the same search are decoded together, one text of each request in turn, up to a number of texts
and of characters a time: a long request neither blocks a short one nor waits for ever. The queue is bounded in
texts and in characters, every request has a deadline, and a request that fails fails alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from translator.card import Card
from translator.config import ModelConfig, SearchOptions
from translator.translation import Translation

log = structlog.get_logger(__name__)


class TextTranslator(Protocol):
    """What the service asks of a translator; `translator.Translator` is one. Only one thread calls `translate`."""

    card: Card
    model_config: ModelConfig

    def translate(self, texts: Sequence[str], options: SearchOptions, /) -> list[Translation]:
        """One translation for every text, in order."""
        ...


class QueueFullError(Exception):
    """More texts or characters wait than are allowed."""


class DrainingError(Exception):
    """The service is shutting down and takes in nothing new."""


class DeadlineError(Exception):
    """The deadline passed before all texts were translated."""


class TranslationFailedError(Exception):
    """The translator raised an error for a text of this request."""


@dataclass(eq=False)
class _Job:
    """One request's texts on their way through the decoder. All fields are guarded by the batcher's lock."""

    texts: list[str]
    options: SearchOptions
    deadline: float  # by time.monotonic()
    results: list[Translation | None]
    waiting: deque[int]  # positions in `texts` that are not yet taken by a batch
    unfinished: int
    finished: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


@dataclass(frozen=True)
class _Item:
    """One text of one job, taken into a batch."""

    job: _Job
    position: int

    @property
    def text(self) -> str:
        return self.job.texts[self.position]


class Batcher:
    """Owns the decoder thread. Every public method may be called from any thread."""

    def __init__(
        self,
        translator: TextTranslator,
        *,
        queue_texts: int,
        queue_characters: int,
        batch_texts: int,
        batch_characters: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._translator = translator
        self._queue_texts = queue_texts
        self._queue_characters = queue_characters
        self._batch_texts = batch_texts
        self._batch_characters = batch_characters
        self._clock = clock
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._waiting_texts = 0
        self._waiting_characters = 0
        self._draining = False
        self._stopping = False
        # A daemon, so that a process told to stop at once need not wait for a batch; `stop` ends it in order.
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def load(self) -> float:
        """How full the queue is: 0 empty, 1 full."""
        with self._changed:
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
        job = _Job(
            list(texts),
            options,
            self._clock() + seconds,
            [None] * len(texts),
            deque(range(len(texts))),
            unfinished=len(texts),
        )
        characters = sum(map(len, job.texts))
        with self._changed:
            if self._draining:
                raise DrainingError
            if (
                self._waiting_texts + len(texts) > self._queue_texts
                or self._waiting_characters + characters > self._queue_characters
            ):
                raise QueueFullError
            self._jobs.append(job)
            self._waiting_texts += len(texts)
            self._waiting_characters += characters
            self._changed.notify_all()
        if not job.finished.wait(seconds):
            with self._changed:
                self._finish(job, DeadlineError())
        if isinstance(job.error, DeadlineError):
            raise job.error
        if job.error is not None:
            raise TranslationFailedError from job.error
        return [result for result in job.results if result is not None]

    def drain(self) -> None:
        """Take in nothing new from now on; what was taken in is still translated."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def stop(self, seconds: float) -> bool:
        """Drain, and wait for the decoder thread to end; False if it did not within `seconds`."""
        with self._changed:
            self._draining = self._stopping = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._stopping:
                    self._changed.wait()
                if not self._jobs:
                    return
                batch = self._next_batch()
            if batch:
                self._decode(batch)

    def _next_batch(self) -> list[_Item]:
        """Texts to decode together: of the job that waits longest and of those that want the same search. Lock held."""
        now = self._clock()
        for job in list(self._jobs):
            if job.deadline <= now:
                self._finish(job, DeadlineError())
        batch: list[_Item] = []
        characters = 0
        passed_over: list[_Job] = []
        while self._jobs and len(batch) < self._batch_texts:
            job = self._jobs.popleft()
            if batch and job.options != batch[0].job.options:
                passed_over.append(job)
                continue
            size = len(job.texts[job.waiting[0]])
            if batch and characters + size > self._batch_characters:
                passed_over.append(job)
                break
            batch.append(_Item(job, job.waiting.popleft()))
            characters += size
            if job.waiting:
                self._jobs.append(job)
        self._jobs.extendleft(reversed(passed_over))
        self._waiting_texts -= len(batch)
        self._waiting_characters -= characters
        return batch

    def _decode(self, batch: Sequence[_Item]) -> None:
        try:
            results = self._translator.translate([item.text for item in batch], batch[0].job.options)
            if len(results) != len(batch):
                raise RuntimeError(f"the translator gave {len(results)} translations for {len(batch)} texts")
        except Exception as error:
            if len(batch) > 1:
                # One of these texts is to blame: each is tried alone, so that its neighbours do not suffer.
                for item in batch:
                    if not item.job.finished.is_set():
                        self._decode([item])
                return
            log.error("translation failed", exception_type=type(error).__name__, characters=len(batch[0].text))
            with self._changed:
                self._finish(batch[0].job, error)
            return
        with self._changed:
            for item, result in zip(batch, results, strict=True):
                item.job.results[item.position] = result
                item.job.unfinished -= 1
                if item.job.unfinished == 0:
                    self._finish(item.job)

    def _finish(self, job: _Job, error: BaseException | None = None) -> None:
        """Wake the job's request, once; forget what still waits of it. Lock held."""
        if job.finished.is_set():
            return
        job.error = error
        if job in self._jobs:
            self._jobs.remove(job)
        self._waiting_texts -= len(job.waiting)
        self._waiting_characters -= sum(len(job.texts[position]) for position in job.waiting)
        job.waiting.clear()
        job.finished.set()
