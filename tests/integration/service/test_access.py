"""Keys and proxies, over a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from libretranslatepy import LibreTranslateAPI

from tests.integration.service.conftest import Server
from tests.integration.service.test_start import Run, assert_refused

GOOD = {"q": "Where is the station?", "source": "en", "target": "fr"}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_keys_from_the_command_line_to_a_client(
    run: Run, start_server: Callable[..., Server], key_file: Path, tiny_model_directory: Path
) -> None:
    made = run("create-key", "anna", TRANSLATE_API_KEYS=str(key_file))
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    server = start_server(TRANSLATE_API_KEYS=str(key_file))

    assert LibreTranslateAPI(server.url, api_key=key).translate("It is raining.", "en", "fr")
    for scheme in ("Bearer", "DeepL-Auth-Key"):
        answer = requests.post(server.url + "/translate", json=GOOD, headers={"Authorization": f"{scheme} {key}"})
        assert answer.status_code == 200
    assert requests.post(server.url + "/translate", json=GOOD).status_code == 400
    assert requests.post(server.url + "/translate", json={**GOOD, "api_key": "x"}).status_code == 403
    assert requests.get(server.url + "/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 403

    late = run("create-key", "prometheus", "--scope", "metrics", "--file", str(key_file)).stdout.strip()
    metrics = requests.get(server.url + "/metrics", headers={"Authorization": f"Bearer {late}"})
    assert metrics.status_code == 200
    assert server.end() == 0
    lines = [json.loads(line) for line in server.errors.splitlines()]
    assert any(line.get("key_name") == "anna" and line.get("status") == 200 for line in lines)
    for secret in (key, late):
        assert secret not in server.errors + server.output + metrics.text


def test_a_bad_file_of_keys_stops_the_start(run: Run, key_file: Path, tiny_model_directory: Path) -> None:
    start = ("--model", str(tiny_model_directory), "--port", "0")
    assert_refused(run(*start, TRANSLATE_API_KEYS=str(key_file)), "keys.json: cannot be read", "create-key")
    key_file.write_text('{"keys": 5}')
    assert_refused(run(*start, TRANSLATE_API_KEYS=str(key_file)), "keys.json: keys: ")


def test_keys_that_cannot_be_made(run: Run, key_file: Path) -> None:
    assert_refused(run("create-key", "anna"), "--file, or the variable TRANSLATE_API_KEYS")
    assert_refused(run("create-key", "anna", "--file", str(key_file), "--scope", "everything"), "everything")
    assert_refused(run("create-key", "anna", "--file", str(key_file), "--rate-limit", "often"), "no rate limit")
    assert not key_file.exists()
    run("create-key", "anna", "--file", str(key_file))
    assert_refused(run("create-key", "anna", "--file", str(key_file)), "there is a key named anna already")
