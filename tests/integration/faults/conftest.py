"""Services to break: as those of `tests/integration/service`, and one for all tests that must not be able to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.service.conftest import Server, start_server

__all__ = ["start_server", "sturdy"]


@pytest.fixture(scope="session")
def sturdy(tiny_model_directory: Path) -> Iterator[Server]:
    """A service that stands all that is sent to it: its decoder never ended, and its log knows no fault."""
    server = Server(["--model", str(tiny_model_directory)], {"TRANSLATE_DEADLINE_SECONDS": "600"})
    yield server
    assert server.end() == 0, server.errors
    for fault in ("Traceback", "unexpected error", "decoder process ended", "translation failed"):
        assert fault not in server.errors
