"""Applications around a translator that writes in capitals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.application import create_app
from service.models import Offer
from service.settings import Settings
from service.state import service_of
from tests.unit.service.capitals import PATIENCE, CapitalsTranslator, NearDecoder
from translator.pair_index import PairIndex


@pytest.fixture
def translator() -> CapitalsTranslator:
    return CapitalsTranslator()


@pytest.fixture
def make_client(translator: CapitalsTranslator) -> Iterator[Any]:
    """`make_client(**settings)` is a client of an application with these settings, and with an index of `pairs`."""
    apps: list[Flask] = []

    def make(*, pairs: PairIndex | None = None, **settings: Any) -> FlaskClient:
        checked = Settings(**settings)
        decoder = partial(NearDecoder, translator.engine, rows=checked.batch_rows)
        offer = Offer("capitals", translator, decoder, pairs=pairs)
        app = create_app(checked, lambda: [offer])
        apps.append(app)
        return app.test_client()

    yield make
    translator.may_go_on.set()
    for app in apps:
        assert service_of(app).models.stop(PATIENCE)


@pytest.fixture
def client(make_client: Any) -> FlaskClient:
    return make_client()  # type: ignore[no-any-return]
