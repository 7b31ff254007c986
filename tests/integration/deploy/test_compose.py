"""compose.yaml: what Compose says of it, and that it fits the image."""

from __future__ import annotations

import json
import re

import pytest

from tests.integration.deploy.files import DEPLOY, DOCKERFILE, compose_file, compose_settings, run, tool


@pytest.mark.parametrize("profile", ["", "monitoring"])
def test_compose_accepts_it(profile: str) -> None:
    options = ["--profile", profile] if profile else []
    command = [tool("docker-compose"), "--file", str(DEPLOY / "compose.yaml"), *options]
    done = run(*command, "config", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    expected = {"translator", "redis"} | ({"prometheus", "grafana"} if profile else set())
    assert json.loads(done.stdout)["services"].keys() == expected


def test_only_this_machine_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    services = compose_file()["services"]
    published = {name: service.get("ports", []) for name, service in services.items()}
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\d+", port) for ports in published.values() for port in ports)
    assert published["translator"] == [f"127.0.0.1:8000:{compose_settings(monkeypatch).port}"]
    assert published["redis"] == []


def test_what_it_builds_and_mounts_exists() -> None:
    document = compose_file()
    build = document["services"]["translator"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DOCKERFILE.resolve()
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert build["args"].keys() <= arguments
    mounts = [mount.split(":")[0] for service in document["services"].values() for mount in service.get("volumes", [])]
    assert mounts
    assert [mount for mount in mounts if mount not in document["volumes"] and not (DEPLOY / mount).exists()] == []


def test_every_container_is_closed_in() -> None:
    for name, service in compose_file()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service.get("privileged") is None, name
    assert compose_file()["services"]["translator"]["read_only"] is True
