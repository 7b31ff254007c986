"""Every piece of shell in the repository, by shellcheck."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.deploy.files import DEPLOY, REPOSITORY, pod_templates, run, tool


def scripts() -> list[Path]:
    """Tracked files that begin as a shell script does."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and re.match(rb"#!.*\b(ba|da)?sh\b", file.read_bytes()[:64])]


def test_scripts() -> None:
    shellcheck = tool("shellcheck")
    files = scripts()
    assert REPOSITORY / ".ci" / "run" in files
    done = run(shellcheck, "--norc", *files)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "deploy/README.md"])
def test_commands_in_documents(document: str, tmp_path: Path) -> None:
    shellcheck = tool("shellcheck")
    blocks = re.findall(r"^```sh\n(.*?)^```$", (REPOSITORY / document).read_text(encoding="utf-8"), re.M | re.S)
    file = tmp_path / "commands.sh"
    file.write_text("\n".join(blocks), encoding="utf-8")
    done = run(shellcheck, "--norc", "--shell=bash", file)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("overlay", ["training/single", "training/distributed"])
def test_commands_of_jobs(overlay: str, tmp_path: Path) -> None:
    shellcheck = tool("shellcheck")
    for name, template in pod_templates(overlay):
        (container,) = template["spec"]["containers"]
        assert container["command"] == ["sh", "-c"]
        file = tmp_path / f"{name}.sh"
        file.write_text(container["args"][0], encoding="utf-8")
        # $resume is left unquoted on purpose: empty, it is to be no argument.
        done = run(shellcheck, "--norc", "--shell=sh", "--exclude=SC2086", file)
        assert (done.returncode, done.stdout) == (0, "")


def test_there_are_commands_in_the_runbook() -> None:
    assert "```sh\n" in (DEPLOY / "README.md").read_text(encoding="utf-8")
