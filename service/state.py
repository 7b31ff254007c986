"""What all requests share: the settings, the model's card, the queue to the decoder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from flask import Flask, current_app, g

from service.batching import Batcher
from service.decoder import Decoder, TextTranslator
from service.languages import Languages
from service.settings import Settings
from translator.card import Card
from translator.config import ModelConfig, SearchOptions

_EXTENSION = "translation-service"
_WARM_UP_SECONDS = 300.0


@dataclass
class Service:
    """The service behind the application's routes."""

    settings: Settings
    card: Card
    model_config: ModelConfig
    engine: str
    languages: Languages
    batcher: Batcher
    warmed_up: bool = field(default=False)

    @classmethod
    def start(cls, settings: Settings, translator: TextTranslator, decoder: Decoder) -> Service:
        """Start the decoder thread."""
        engine = decoder.describe()
        batcher = Batcher(
            translator,
            decoder,
            queue_texts=settings.queue_texts,
            queue_characters=settings.queue_characters,
            batch_rows=settings.batch_rows,
        )
        return cls(
            settings,
            translator.card,
            translator.model_config,
            engine,
            Languages(translator.card),
            batcher,
        )

    def warm_up(self) -> None:
        """Translate once, so that the first request does not pay for what the first translation sets up."""
        text = self.card.examples[0] if self.card.examples else "1 2 3"
        self.batcher.translate([text], SearchOptions(), seconds=_WARM_UP_SECONDS)
        self.warmed_up = True


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
    """Seconds until this request's deadline; never negative."""
    started: float = g.started
    return max(0.0, started + service().settings.deadline_seconds - time.monotonic())
