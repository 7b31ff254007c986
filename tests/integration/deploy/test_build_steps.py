"""The commands of the Dockerfile's build stage, run one by one in virtual environments instead of an image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.deploy.files import DOCKERFILE, REPOSITORY, dockerfile_stage, run
from tests.support import unused_port


def copied(sources: list[str], target: Path) -> None:
    """What COPY does, as far as .dockerignore lets it."""
    for name in sources:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.so"), dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_build_stage_makes_a_service_that_answers(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    # TORCH_INDEX is as for the Makefile. Without it, pip finds PyTorch's CPU-only build where its own settings say.
    index = os.environ.get("TORCH_INDEX") or (tmp_path / "no-index").as_uri()
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("TRANSLATE_", "PYTHON"))}
    environment |= {"VARIANT": "cpu", "EXTRA": "serve", "TORCH_INDEX": index}
    programs = tmp_path / "bin"  # the image's `python`
    programs.mkdir()
    (programs / "python").symlink_to(Path(sys.executable).resolve())
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    steps = 0
    for line in dockerfile_stage("build").splitlines():
        word, _, rest = line.partition(" ")
        if word == "COPY":
            *sources, target = rest.split()
            copied(sources, app / target)
        elif word == "RUN":
            command = ["sh", "-c", rest]
            done = subprocess.run(command, cwd=app, env=environment, capture_output=True, text=True, check=False)
            if done.returncode and "torch" in rest and "No matching distribution" in done.stderr:
                pytest.skip("PyTorch's CPU-only build cannot be had here; TORCH_INDEX names an index that has it")
            assert done.returncode == 0, f"{rest}\n{done.stdout}\n{done.stderr}"
            steps += 1
    assert steps == len(re.findall("^RUN ", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE))

    # As the last stage leaves it: an empty working directory, and the program of the virtual environment.
    python = app / ".venv" / "bin" / "python"
    work = tmp_path / "srv"
    work.mkdir()
    assert run(python, "-m", "pip", "check").returncode == 0
    inspected = run(python, "-m", "translator", "inspect", "en-fr", cwd=work, env=environment)
    assert re.search(r"used here +│ cpu, int8", inspected.stdout), inspected.stdout + inspected.stderr
    port = unused_port()
    server = subprocess.Popen([python, "-m", "service", "--port", str(port)], cwd=work, env=environment)
    try:
        stage = dockerfile_stage("service")
        (check,) = re.findall(r"^HEALTHCHECK .*? CMD \[\"python\", \"-c\", (\".*\")\]$", stage, flags=re.MULTILINE)
        script = check[1:-1].replace('\\"', '"')
        for _ in range(90):
            health = run(python, "-c", script, cwd=work, env=environment | {"TRANSLATE_PORT": str(port)})
            if health.returncode == 0:
                break
        assert health.returncode == 0, health.stderr
    finally:
        server.terminate()
        assert server.wait(90) == 0
