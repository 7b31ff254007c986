"""What the service must not start with: each with one clear line and exit status 2."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert "curl" not in result.stdout


def test_no_such_model(run: Run, tmp_path: Path) -> None:
    assert_refused(run("--model", str(tmp_path / "nothing")), "nothing: there is no such model directory")
    assert_refused(run("--model", str(tmp_path)), "config.json", "is this a model directory?")


@pytest.mark.parametrize("file", ["model.safetensors", "source.model", "card.json", "config.json"])
def test_a_damaged_model(run: Run, tmp_path: Path, tiny_model_directory: Path, file: str) -> None:
    model = tmp_path / "damaged"
    shutil.copytree(tiny_model_directory, model)
    (model / file).write_bytes((model / file).read_bytes()[:-10])
    result = run("--model", str(model), "--port", "0")
    assert_refused(result, f"Error: {model / file}: ")
    assert result.stderr.count(str(model / file)) == 1, "once, not in a loop of restarts"
    assert len(result.stderr.splitlines()) == 1


def test_no_such_engine(run: Run, tiny_model_directory: Path) -> None:
    result = run("--model", str(tiny_model_directory), "--port", "0", ENGINE="steam")
    assert_refused(result, "Error: there is no engine steam; choose one of auto, reference")
    assert len(result.stderr.splitlines()) == 1


def test_a_port_in_use(run: Run, tiny_model_directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--model", str(tiny_model_directory), "--port", str(port))
    assert_refused(result, f"cannot listen on 127.0.0.1 port {port}: Address already in use", "choose another port")


def test_no_such_address(run: Run, tiny_model_directory: Path) -> None:
    assert_refused(run("--model", str(tiny_model_directory), "--host", "192.0.2.1"), "cannot listen on 192.0.2.1")


def test_bad_settings(run: Run) -> None:
    assert_refused(run(TRANSLATE_BEAM_SIZE="0"), "TRANSLATE_BEAM_SIZE=0: Input should be greater than or equal to 1")
    assert_refused(run(TRANSLATE_BEAMSIZE="5"), "did you mean TRANSLATE_BEAM_SIZE?")
    assert_refused(run("--port", "70000"), "--port")


def test_settings_can_be_printed(run: Run) -> None:
    result = run("--print-settings", "--port", "8080", TRANSLATE_WORKERS="2")
    assert result.returncode == 0
    assert "TRANSLATE_PORT=8080\n" in result.stdout
    assert "TRANSLATE_WORKERS=2\n" in result.stdout
    assert "# Largest request body, in bytes. (default: 1048576)\nTRANSLATE_BODY_BYTES=1048576\n" in result.stdout
