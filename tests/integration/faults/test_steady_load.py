"""The benchmark of a steady load, for half a minute: what it must not find, however fast the machine is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.service.conftest import REPOSITORY


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_under_a_steady_load_nothing_fails_and_memory_stays_flat(tiny_model_directory: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "tests.benchmarks.steady_load", "--model", str(tiny_model_directory)),
        *("--minutes", "0.5", "--share", "0.4", "--capacity-seconds", "5", "--json", str(tmp_path / "soak.json")),
    ]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
    assert found["failures"] == {}
    assert found["growth"] < 0.02
    assert found["requests"] > 100
    assert sum(row["requests"] for row in found["rows"]) == found["requests"]
