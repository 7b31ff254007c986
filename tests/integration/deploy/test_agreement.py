"""What no tool checks: settings that exist, and time-outs that are in order from the inside to the outside."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path

import pytest
from py3langid import langid

from service import file_store
from service.settings import PREFIX, Settings
from tests.integration.deploy.files import (
    DEPLOY,
    compose_file,
    compose_settings,
    gunicorn_grace,
    known_settings,
    kubernetes_settings,
    manifest,
    run,
    served_paths,
    text_files,
    tool,
    unit_settings,
    unit_values,
)


@pytest.mark.parametrize("path", text_files(), ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8")))
    assert named <= known_settings()


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_the_probes_that_are_described_are_served(path: str) -> None:
    assert f"GET {path}" in (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert path in served_paths()


def seconds(text: str) -> float:
    """A duration such as 75s."""
    match = re.fullmatch(r"(\d+)s?", text)
    assert match, text
    return float(match[1])


def proxy_patience() -> dict[str, float]:
    """How long the proxies wait for an answer, in seconds."""
    (nginx,) = re.findall(r"proxy_read_timeout (\S+);", (DEPLOY / "nginx.conf").read_text(encoding="utf-8"))
    (caddy,) = re.findall(r"response_header_timeout (\S+)", (DEPLOY / "Caddyfile").read_text(encoding="utf-8"))
    return {"nginx": seconds(nginx), "Caddy": seconds(caddy)}


def check_order(settings: Settings, grace: float) -> None:
    """Deadline < the whole request < gunicorn's grace < the platform's < the proxies' patience."""
    inside = [settings.deadline_seconds, settings.connection_seconds, gunicorn_grace(settings), grace]
    for patience in proxy_patience().values():
        order = [*inside, patience]
        assert order == sorted(set(order))


def test_time_outs_of_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    grace = compose_file()["services"]["translator"]["stop_grace_period"]
    check_order(compose_settings(monkeypatch), seconds(grace))


def test_time_outs_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    (grace,) = unit_values("TimeoutStopSec")
    check_order(unit_settings(monkeypatch), seconds(grace))


@pytest.mark.parametrize("overlay", ["overlays/development", "overlays/production"])
def test_time_outs_of_kubernetes(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = manifest(overlay, "Deployment")["spec"]["template"]["spec"]
    grace = pod["terminationGracePeriodSeconds"]
    settings = kubernetes_settings(overlay, monkeypatch)
    check_order(settings, grace)
    (container,) = pod["containers"]
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < before + gunicorn_grace(settings) < grace
    # The service gives a model five minutes to load, and so does the probe that waits for it.
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300


def mebibytes(text: str) -> int:
    """A size such as 512m or 512Mi."""
    match = re.fullmatch(r"(\d+)(?:m|Mi)", text)
    assert match, text
    return int(match[1])


def test_there_is_room_for_temporary_files() -> None:
    """For translated files, and for the model that detects languages, which each worker unpacks at its start."""
    (mount,) = compose_file()["services"]["translator"]["tmpfs"]
    pod = manifest("overlays/production", "Deployment")["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tmp"]
    sizes = re.search(r"size=(\w+)", mount)
    assert sizes
    with lzma.open(Path(langid.__file__).parent / langid.MODEL_FILE) as packed:
        model = len(packed.read()) >> 20
    for size in (sizes[1], volume["emptyDir"]["sizeLimit"]):
        assert mebibytes(size) >= (file_store._MOST_BYTES >> 20) + 3 * model


def test_proxies_let_the_service_refuse_what_is_too_large() -> None:
    (nginx,) = re.findall(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx.conf").read_text(encoding="utf-8"))
    assert int(nginx) * 1024**2 > Settings().body_bytes
    caddy = tool("caddy")
    done = run(caddy, "adapt", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile")
    (limit,) = re.findall(r'"max_size":(\d+)', json.dumps(json.loads(done.stdout), separators=(",", ":")))
    assert int(limit) > Settings().body_bytes
