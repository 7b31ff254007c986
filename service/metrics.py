"""What Prometheus reads at `GET /metrics`. No label holds a key, an address or text.

Every worker process writes its numbers into files of the folder that PROMETHEUS_MULTIPROC_DIR names, and whichever
worker is asked adds all of them up. prometheus_client looks at that variable when it is imported, which is why
`service.__main__` sets it before this module is.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.decoder import Work
from service.jobs import Amount
from translator.ticket import Ticket

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_READINGS = 20
_SECONDS_BETWEEN_READINGS = 0.01
_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WAITS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter(
            "translate_requests",
            "Requests answered, by route (never the address itself) and status.",
            "route",
            "status",
        )
        self.request_seconds = Histogram(
            "translate_request_duration_seconds",
            "From a request's arrival to the beginning of its answer.",
            ["route"],
            buckets=_DURATIONS,
            registry=self._registry,
        )
        self._of_requests: dict[tuple[str, int, str], tuple[Counter, Histogram, Counter | None]] = {}
        self.requests_in_progress = self._gauge("translate_requests_in_progress", "Requests being worked on.")
        self.rejections = self._counter("translate_rejections", "Requests that were not served, by reason.", "reason")
        self.texts = self._counter("translate_texts", "Texts taken in for translation.", "pair")
        self.characters = self._counter("translate_characters", "Characters of these texts.", "pair")
        self.sentences = self._counter("translate_sentences", "Sentences decoded.", "pair")
        self.source_tokens = self._counter("translate_source_tokens", "Source tokens of the decoded sentences.", "pair")
        self.target_tokens = self._counter("translate_target_tokens", "Tokens of their best hypotheses.", "pair")
        self.steps = self._counter("translate_decode_steps", "Decoder steps.", "pair")
        self.row_steps = self._counter(
            "translate_decode_rows", "Hypotheses in the batch, summed over all decoder steps.", "pair"
        )
        self.batch_rows = self._gauge("translate_batch_rows", "Hypotheses in the batch at the last step.", "pair")
        self.batch_rows_limit = self._gauge("translate_batch_rows_limit", "Most hypotheses the batch may hold.", "pair")
        self.queue_texts = self._gauge("translate_queue_texts", "Texts that wait for the decoder.", "pair")
        self.queue_characters = self._gauge("translate_queue_characters", "Characters of these texts.", "pair")
        self.queue_sentences = self._gauge("translate_queue_sentences", "Sentences that wait for the decoder.", "pair")
        self.queue_tokens = self._gauge("translate_queue_tokens", "Source tokens of these sentences.", "pair")
        self.queue_load = self._gauge(
            "translate_queue_load_ratio", "How full the fullest queue is: 0 empty, 1 full.", "pair", mode="livemax"
        )
        self.queue_seconds = Histogram(
            "translate_queue_wait_seconds",
            "Wait of a request until its first sentence is taken into the batch.",
            ["pair"],
            buckets=_WAITS,
            registry=self._registry,
        )
        self.decoder_restarts = self._counter(
            "translate_decoder_restarts", "Times that a decoder process ended and was started again.", "pair"
        )
        self.reloads = self._counter(
            "translate_reloads", "Reloads of the models: swapped, unchanged, refused or rolled_back.", "outcome"
        )
        self.ready = self._gauge("translate_ready_workers", "Workers that take requests.")
        self.memory = self._gauge(
            "translate_resident_memory_bytes",
            "Resident memory of the workers and of their decoder processes.",
            "process",
        )
        self.model_info = self._gauge(
            "translate_model_info",
            "1 for each model that is served.",
            "pair",
            "name",
            "engine",
            "sha256",
            mode="livemax",
        )

    def pair(self, pair: str) -> PairMetrics:
        """The metrics of the model for "en-fr"."""
        return PairMetrics(self, pair)

    def count_request(self, route: str, status: int, seconds: float, reason: str) -> None:
        """A request is answered; `reason` says why it was refused, if it was."""
        found = self._of_requests.get((route, status, reason))
        if found is None:  # `labels` costs more than a look at a dictionary
            rejections = self.rejections.labels(reason) if reason else None
            found = self.requests.labels(route, status), self.request_seconds.labels(route), rejections
            self._of_requests[route, status, reason] = found
        requests, request_seconds, rejections = found
        requests.inc()
        request_seconds.observe(seconds)
        if rejections is not None:
            rejections.inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """The numbers of all workers as text, and its content type, which the header `Accept` chooses."""
        registry = self._registry
        if DIRECTORY_VARIABLE in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        encode, content_type = choose_encoder(accept)
        for _ in range(_READINGS):
            try:
                return encode(registry), content_type
            except (OSError, struct.error):  # a worker makes its files, or has ended and they are removed
                time.sleep(_SECONDS_BETWEEN_READINGS)
        return encode(registry), content_type

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str, mode: str = "livesum") -> Gauge:
        return Gauge(name, text, labels, registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]


class PairMetrics:
    """The metrics of one pair of languages."""

    def __init__(self, metrics: Metrics, pair: str) -> None:
        self.texts = metrics.texts.labels(pair)
        self.characters = metrics.characters.labels(pair)
        self.sentences = metrics.sentences.labels(pair)
        self.source_tokens = metrics.source_tokens.labels(pair)
        self.target_tokens = metrics.target_tokens.labels(pair)
        self.steps = metrics.steps.labels(pair)
        self.row_steps = metrics.row_steps.labels(pair)
        self.batch_rows = metrics.batch_rows.labels(pair)
        self.batch_rows_limit = metrics.batch_rows_limit.labels(pair)
        self.queue_texts = metrics.queue_texts.labels(pair)
        self.queue_characters = metrics.queue_characters.labels(pair)
        self.queue_sentences = metrics.queue_sentences.labels(pair)
        self.queue_tokens = metrics.queue_tokens.labels(pair)
        self.queue_load = metrics.queue_load.labels(pair)
        self.queue_seconds = metrics.queue_seconds.labels(pair)
        self.decoder_restarts = metrics.decoder_restarts.labels(pair)
        self._work = Work(0, 0, 0)  # that is counted

    def observe(self, waiting: Amount, load: float, work: Work) -> None:
        """How things are now."""
        self.queue_texts.set(waiting.texts)
        self.queue_characters.set(waiting.characters)
        self.queue_sentences.set(waiting.sentences)
        self.queue_tokens.set(waiting.tokens)
        self.queue_load.set(load)
        self.batch_rows.set(work.rows)

    def count_work(self, work: Work) -> None:
        """`work` is all that the decoder has done; what is new of it is counted."""
        before, self._work = self._work, work
        if work.steps > before.steps:
            self.steps.inc(work.steps - before.steps)
            self.row_steps.inc(work.row_steps - before.row_steps)

    def count_sentences(self, tickets: Sequence[Ticket]) -> None:
        """Those of `tickets` that were decoded."""
        found = [ticket for ticket in tickets if ticket.hypotheses is not None]
        if found:
            self.sentences.inc(len(found))
            self.source_tokens.inc(sum(len(ticket.query.source) for ticket in found))
            self.target_tokens.inc(sum(len(best.tokens) for ticket in found for best in ticket.result()[:1]))


def forget_process(pid: int) -> None:
    """A worker has ended: what it said of the present (gauges) no longer counts; what it counted stays."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
