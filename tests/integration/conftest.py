"""What several of the integration tests start from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke recipe's prepared folder, made by a real process."""
    path = tmp_path_factory.mktemp("prepared") / "smoke"
    command = [sys.executable, "-m", "training", "prepare", "smoke", "--output", str(path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 0, result.stderr
    return path
