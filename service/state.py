"""What all requests share: the settings, the model's card, the queue to the decoder, the metrics."""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from flask import Flask, current_app, g, has_request_context, request

from service.batching import Batcher
from service.decoder import Decoder, TextTranslator
from service.keys import KeyRing
from service.languages import Languages
from service.metrics import Metrics
from service.problems import bad_request
from service.settings import Settings
from service.tracing import Tracing
from translator.card import Card
from translator.config import ModelConfig, SearchOptions

_EXTENSION = "translation-service"
_TIMEOUT_HEADER = "X-Request-Timeout"
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_WARM_UP_SECONDS = 300.0
_HIGH_WATER_MARK = 0.8
"""A queue fuller than this is better left alone for a while."""


@dataclass
class Service:
    """The service behind the application's routes."""

    settings: Settings
    card: Card
    model_config: ModelConfig
    engine: str
    languages: Languages
    batcher: Batcher
    metrics: Metrics
    tracing: Tracing
    keys: KeyRing
    warmed_up: bool = field(default=False)

    @classmethod
    def start(cls, settings: Settings, translator: TextTranslator, decoder: Decoder) -> Service:
        """Start the decoder thread."""
        engine = decoder.describe()
        metrics = Metrics()
        card = translator.card
        pair = f"{card.source_language}-{card.target_language}"
        metrics.model_info.labels(pair, card.name, engine, card.digest).set(1)
        batcher = Batcher(
            translator,
            decoder,
            bounds=settings.queue_bounds,
            batch_rows=settings.batch_rows,
            work_per_request=settings.work_per_request,
            wanted=client_waits,
            metrics=metrics.pair(pair),
        )
        return cls(
            settings,
            card,
            translator.model_config,
            engine,
            Languages(card),
            batcher,
            metrics,
            Tracing(),
            KeyRing(Path(settings.api_keys) if settings.api_keys else None),
        )

    def warm_up(self) -> None:
        """Translate once, so that the first request does not pay for what the first translation sets up."""
        text = self.card.examples[0] if self.card.examples else "1 2 3"
        self.batcher.translate([text], SearchOptions(), seconds=_WARM_UP_SECONDS)
        self.warmed_up = True

    @property
    def hindrance(self) -> str:
        """Why no requests should be sent here now; empty where they should."""
        batcher = self.batcher
        for hindered, why in (
            (not batcher.alive, "The decoder has stopped."),
            (batcher.restarting, "The decoder is being started again."),
            (batcher.draining, "The service is shutting down."),
            (not self.warmed_up, "The model is not warmed up yet."),
            (batcher.load > _HIGH_WATER_MARK, "The queue is nearly full."),
        ):
            if hindered:
                return why
        return ""

    def observe(self) -> None:
        """Bring those metrics up to date that say how things are now."""
        self.batcher.observe()
        self.metrics.ready.set(not self.hindrance)
        self.metrics.memory.labels("worker").set(resident_bytes(os.getpid()))
        self.metrics.memory.labels("decoder").set(resident_bytes(self.batcher.decoder_pid))


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM; 0 where it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def attach(app: Flask, service: Service) -> None:
    app.extensions[_EXTENSION] = service


def service_of(app: Flask) -> Service:
    found = app.extensions[_EXTENSION]
    assert isinstance(found, Service)
    return found


def service() -> Service:
    """The service of the application that handles this request."""
    return service_of(current_app)


def seconds_left() -> float:
    """Seconds until this request's deadline, the service's or its client's own; never negative.

    Raises `Problem` (400) where the client's is no time.
    """
    started: float = g.started
    allowed = service().settings.deadline_seconds
    given = request.headers.get(_TIMEOUT_HEADER)
    if given is not None:
        if not _SECONDS.fullmatch(given):
            raise bad_request(f"{_TIMEOUT_HEADER} must be a number of seconds, such as 2.5.")
        allowed = min(allowed, float(given))
    return max(0.0, started + allowed - time.monotonic())


def client_waits() -> bool:
    """Whether the client that this thread works for is still connected, as far as one can see."""
    connection = request.environ.get("gunicorn.socket") if has_request_context() else None
    if connection is None:
        return True
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:  # nothing to read: it waits
        return True
    except OSError:
        return False
