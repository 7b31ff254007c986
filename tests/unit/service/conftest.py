"""A translator whose answers are known: it writes in capitals."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.application import create_app
from service.settings import Settings
from service.state import service_of
from translator.card import Card, Score
from translator.config import ModelConfig, SearchOptions
from translator.pipeline import Alternative, SentenceTranslation, Translation

PATIENCE = 30.0


class CapitalsTranslator:
    """Translates by writing in capitals; can be held back, and fails on texts that contain 'fail'."""

    def __init__(self) -> None:
        self.card = Card(
            name="capitals",
            source_language="en",
            target_language="fr",
            intended_use="tests <b>only</b>.",
            not_for="translating.",
            scores=[Score(test_set="the test set", metric="BLEU", value=12.34, signature="nrefs:1")],
            examples=["Where is the station?", "It's raining."],
        )
        self.model_config = ModelConfig(source_vocabulary_size=10, target_vocabulary_size=10)
        self.calls: list[list[str]] = []
        self.options: list[SearchOptions] = []
        self.entered = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def translate(self, texts: Sequence[str], options: SearchOptions) -> list[Translation]:
        self.calls.append(list(texts))
        self.options.append(options)
        self.entered.release()
        assert self.may_go_on.wait(PATIENCE)
        if any("fail" in text for text in texts):
            raise ValueError("the secret text is " + texts[0])
        return [self._translation(text, options) for text in texts]

    def _translation(self, text: str, options: SearchOptions) -> Translation:
        capitals = text.upper()
        alternatives = tuple(
            Alternative(f"{capitals} {rank}", -1.0 - rank, -2.0) for rank in range(1, options.alternatives + 1)
        )
        span = SentenceTranslation(0, len(text), 0, len(capitals), text, capitals, -0.5, -0.5, alternatives, ())
        warnings = ("unknown: 1 of 3 source tokens are not in the vocabulary",) if "unheard" in text else ()
        return Translation(capitals, -0.5, alternatives, warnings, (span,))


@pytest.fixture
def translator() -> CapitalsTranslator:
    return CapitalsTranslator()


@pytest.fixture
def make_client(translator: CapitalsTranslator) -> Iterator[Any]:
    """`make_client(**settings)` is a client of an application with these settings."""
    apps: list[Flask] = []

    def make(**settings: Any) -> FlaskClient:
        app = create_app(Settings(**settings), translator)
        apps.append(app)
        return app.test_client()

    yield make
    translator.may_go_on.set()
    for app in apps:
        assert service_of(app).batcher.stop(PATIENCE)


@pytest.fixture
def client(make_client: Any) -> FlaskClient:
    return make_client()  # type: ignore[no-any-return]
