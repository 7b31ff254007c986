"""An ensemble as the service's model: TRANSLATE_MODEL names several."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.integration.service.conftest import Server
from translator import Translator


@pytest.fixture
def ensemble(tiny_model_directory: Path, second_model_directory: Path) -> str:
    return f"{tiny_model_directory}, {second_model_directory}"


def test_an_ensemble_is_served(ensemble: str) -> None:
    server = Server([], {"TRANSLATE_MODEL": ensemble})
    try:
        text = "The children are playing in the garden."
        answer = requests.post(server.url + "/translate", json={"q": text, "source": "en", "target": "fr"}, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["translatedText"] == Translator.load(ensemble).translate(text).text
        model = requests.get(server.url + "/model", timeout=60).json()
        assert model["name"] == "tiny-en-fr + second-en-fr"
        assert model["engine"].startswith("ensemble of 2, probabilities averaged: ")
        assert server.end() == 0, server.errors
    finally:
        server.kill()


def test_models_that_do_not_fit_together_are_refused(
    run: Callable[..., subprocess.CompletedProcess[str]], tiny_model_directory: Path, tmp_path: Path
) -> None:
    result = run("--port", "0", "--model", f"{tiny_model_directory},en-fr")
    assert result.returncode == 2, result.stderr
    assert "its source.model is not that of" in result.stderr
    assert "Traceback" not in result.stderr
    missing = run("--model", f"{tiny_model_directory},{tmp_path / 'none'}")
    assert missing.returncode == 2
    assert "none: there is no such model directory" in missing.stderr
    nothing = run("--model", " , ")
    assert nothing.returncode == 2
    assert "no model is named" in nothing.stderr
