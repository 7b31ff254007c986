"""schemathesis over the whole OpenAPI document, against a real server: no server error, nothing it does not say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 3_000.0
CASES = os.environ.get("SCHEMATHESIS_CASES", "200")
# Those that ask whether valid data is taken are left out: which languages are served, and what is text, no schema says.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method"
)


@pytest.mark.slow
def test_answers_are_as_the_document_says(server: Any, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", server.url + "/spec", "--checks", CHECKS,
        "--max-examples", CASES, "--seed", "1", "--generation-deterministic", "--no-color",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 0, ran.stdout[-8_000:] + ran.stderr[-2_000:]
