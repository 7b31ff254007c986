"""One running service for all tests of deploy/ that ask it something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.service.conftest import Server


@pytest.fixture(scope="session")
def service(tiny_model_directory: Path) -> Iterator[Server]:
    server = Server(["--model", str(tiny_model_directory)], {})
    yield server
    assert server.end() == 0, server.errors
