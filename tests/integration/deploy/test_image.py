"""The Dockerfile: what hadolint says of it, and that it fits the program."""

from __future__ import annotations

import json
import re

import pytest

from tests.integration.deploy.files import (
    DOCKERFILE,
    REPOSITORY,
    dockerfile_stage,
    image_environment,
    run,
    served_paths,
    settings_in,
    tool,
)


def test_hadolint_finds_nothing() -> None:
    done = run(tool("hadolint"), DOCKERFILE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_listens_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(image_environment(), monkeypatch)
    assert settings.host == "0.0.0.0"
    assert re.findall(r"^EXPOSE (\d+)$", dockerfile_stage("service"), flags=re.MULTILINE) == [str(settings.port)]


def test_every_stage_that_runs_has_a_numbered_user_that_is_not_root() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, flags=re.MULTILINE)
    parents = {name: parent for parent, name in stages}
    for parent, name in stages:
        if name in ("build", "runtime"):
            assert parent.startswith("python:3.")
        else:
            while parent in parents and parent != "runtime":
                parent = parents[parent]
            assert parent == "runtime", name
    (user,) = re.findall(r"^USER (\d+):(\d+)$", text, flags=re.MULTILINE)
    assert all(int(number) >= 10_000 for number in user)
    assert "\nUSER " in dockerfile_stage("runtime")


def test_the_health_check_is_a_program_that_asks_a_real_route(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = re.findall(r"^HEALTHCHECK .*? CMD (\[.*\])$", dockerfile_stage("service"), flags=re.MULTILINE)
    program, flag, script = json.loads(command)
    assert (program, flag) == ("python", "-c")
    asked: list[str] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: asked.append(url))
    monkeypatch.setenv("TRANSLATE_PORT", "8123")
    exec(compile(script, "health check", "exec"), {})
    assert asked == ["http://127.0.0.1:8123/health"]
    assert "/health" in served_paths()


def test_what_is_copied_exists_and_is_let_through() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    ignore = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert names == {line[1:] for line in ignore if line.startswith("!")}
    assert [name for name in names if not (REPOSITORY / name).exists()] in ([], ["own-model"])


def test_a_model_of_ones_own_is_the_one_that_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = dockerfile_stage("own-model")
    (target,) = re.findall(r"^COPY own-model (\S+)$", stage, flags=re.MULTILINE)
    (variables,) = re.findall(r"^ENV (.*)$", stage, flags=re.MULTILINE)
    assert settings_in(dict([variables.split("=", 1)]), monkeypatch).model == target
