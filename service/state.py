"""What all requests share: the settings, the models, the metrics, the keys."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask, current_app, g, has_request_context, request

from service.admission import TURN, Admission, Turn
from service.jobs import Client
from service.keys import KeyRing
from service.languages import Languages
from service.metrics import Metrics
from service.models import Models, Offer
from service.problems import bad_request
from service.processes import resident_bytes
from service.routing import Route
from service.settings import Settings
from service.tracing import Tracing
from translator.card import Card

_EXTENSION = "translation-service"
_TIMEOUT_HEADER = "X-Request-Timeout"
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_HIGH_WATER_MARK = 0.8
"""A queue fuller than this is better left alone for a while."""

QUEUE_FULL = ("Too much is waiting for translation; try again in a moment.", "queue_full")
TOO_MANY_REQUESTS = ("Too many requests at once; try again in a moment.", "too_many_requests")
"""Why a request for a translation may be refused with status 503: for people, and for the metrics."""


@dataclass
class Service:
    """The service behind the application's routes."""

    settings: Settings
    models: Models
    metrics: Metrics
    tracing: Tracing
    keys: KeyRing
    warmed_up: bool = field(default=False)
    admission: Admission | None = field(default=None)

    @classmethod
    def start(cls, settings: Settings, find: Callable[[], list[Offer]]) -> Service:
        """Load the models that `find` finds. Raises `ValueError` where they, or the keys, cannot be used."""
        tracing = Tracing()
        keys = KeyRing(Path(settings.api_keys) if settings.api_keys else None)
        metrics = Metrics()
        return cls(settings, Models(settings, metrics, find, client=_RequestClient()), metrics, tracing, keys)

    @property
    def card(self) -> Card:
        """The default model's."""
        return self.models.current.default.offer.translator.card

    @property
    def languages(self) -> Languages:
        return self.models.current.languages

    def route(self, source: str, target: str) -> Route:
        """The way from one served language into another; it holds even where models are exchanged meanwhile."""
        return Route(self.models, source, target)

    def warm_up(self) -> None:
        """Raises `LoadError`, see `Models.warm_up`."""
        self.models.warm_up()
        self.warmed_up = True

    @property
    def alive(self) -> bool:
        """Whether every decoder thread lives."""
        return all(model.batcher.alive for model in self.models.current.models.values())

    @property
    def hindrance(self) -> str:
        """Why no requests should be sent here now; empty where they should."""
        batchers = [model.batcher for model in self.models.current.models.values()]
        for hindered, why in (
            (not self.alive, "The decoder has stopped."),
            (any(batcher.restarting for batcher in batchers), "The decoder is being started again."),
            (any(batcher.draining for batcher in batchers), "The service is shutting down."),
            (not self.warmed_up, "The model is not warmed up yet."),
            (any(batcher.load > _HIGH_WATER_MARK for batcher in batchers), "The queue is nearly full."),
        ):
            if hindered:
                return why
        return ""

    @property
    def overload(self) -> tuple[str, str] | None:
        """Why requests for a translation are refused now, as `QUEUE_FULL`; None where they are not."""
        if self.admission is not None and self.admission.full:
            return TOO_MANY_REQUESTS
        models = self.models.current.models.values()
        return QUEUE_FULL if all(model.batcher.overloaded for model in models) else None

    def observe(self) -> None:
        """Bring those metrics up to date that say how things are now."""
        self.models.observe()
        self.metrics.ready.set(not self.hindrance)
        self.metrics.memory.labels("worker").set(resident_bytes(os.getpid()))


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


class _RequestClient(Client):
    """The client of the request that Flask handles in this thread, if it handles one."""

    def waits(self) -> bool:
        connection = request.environ.get("gunicorn.socket") if has_request_context() else None
        if connection is None:
            return True
        try:
            return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:  # nothing to read: it waits
            return True
        except OSError:
            return False

    def accepted(self) -> bool:
        return has_request_context() and bool(g.get("accepted"))

    def accept(self) -> None:
        if has_request_context():
            g.accepted = True

    def pause(self) -> None:
        if (turn := self._turn()) is not None:
            turn.give()

    def resume(self) -> None:
        if (turn := self._turn()) is not None:
            turn.take()

    @staticmethod
    def _turn() -> Turn | None:
        return request.environ.get(TURN) if has_request_context() else None
