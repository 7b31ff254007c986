"""Wheel and sdist: built, installed in a clean virtual environment, and used there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.integration.deploy.files import REPOSITORY, run

REQUIREMENTS = REPOSITORY / "deploy" / "requirements"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with what the service needs, by the lists of hashes, and without the project itself."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for name in ("serve", "build"):
        install(folder, "--require-hashes", "--no-deps", "--requirement", REQUIREMENTS / f"{name}.txt")
    index = os.environ.get("TORCH_INDEX") or (folder / "no-index").as_uri()
    torch = ["--constraint", REPOSITORY / "constraints.txt", "--no-deps", "--index-url", index, "torch"]
    done = run(folder / "bin" / "python", "-m", "pip", "install", *torch)
    if done.returncode:
        pytest.skip("PyTorch's CPU-only build cannot be had here; TORCH_INDEX names an index that has it")
    return folder


def install(folder: Path, *arguments: str | Path) -> None:
    command = [folder / "bin" / "python", "-m", "pip", "--quiet", "install", *arguments]
    subprocess.run(command, check=True, timeout=500)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist of the repository as it is."""
    folder = tmp_path_factory.mktemp("dist")
    for target in ("wheel", "sdist"):
        command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder]
        subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"], ids=["wheel", "sdist"])
def test_it_installs_where_nothing_else_is_and_works(kind: str, environment: Path, built: Path, tmp_path: Path) -> None:
    (package,) = built.glob(kind)
    # Nothing is fetched: what builds the sdist is in the environment already.
    install(environment, "--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall", package)
    python = environment / "bin" / "python"
    variables = {name: text for name, text in os.environ.items() if not name.startswith(("TRANSLATE_", "PYTHON"))}

    def in_it(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [python, "-m", *arguments],
            input=text,
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert in_it("pip", "check").strip() == "No broken requirements found."
    translated = in_it("translator", "translate", "--model", "en-fr", text="Where is the station?\n")
    assert translated == "Où est la gare\u202f?\n"
    assert re.search(r"used here +│ cpu, int8", in_it("translator", "inspect", "en-fr"))  # the library is in it
    assert "TRANSLATE_PORT=8000" in in_it("service", "--print-settings")
    where = in_it("pip", "show", "--files", "seq2seq-translator")
    assert "service/static/" in where
    assert "tests/" not in where


@pytest.mark.slow
def test_the_sdist_holds_what_the_repository_holds_for_building_and_testing(built: Path) -> None:
    (package,) = built.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode or shutil.which("git") is None:
        pytest.skip("this is not a git checkout")
    parts = ("translator/", "training/", "service/", "tests/", "deploy/", "docs/", "pyproject.toml", "LICEN")
    wanted = {name for name in listed.stdout.splitlines() if name.startswith(parts)}
    assert wanted - names == set()
