"""What holds for the repository as a whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import translator

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
LONGEST_MODULE = 350
LARGEST_FILE = 1024 * 1024
LARGEST_MODEL = 32 * 1024 * 1024


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def texts() -> dict[Path, str]:
    """Every tracked text file and what it holds."""
    found = {}
    for file in tracked_files():
        content = file.read_bytes()
        if b"\0" not in content:
            found[file.relative_to(REPOSITORY)] = content.decode("utf-8")
    return found


def test_modules_are_short() -> None:
    modules = [
        path for package in ("translator", "training", "service") for path in (REPOSITORY / package).rglob("*.py")
    ]
    assert modules
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_no_file_names_a_place_on_one_machine() -> None:
    places = re.compile(r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+|opt/venv)(?:/|\b)")
    this_file = Path(__file__).relative_to(REPOSITORY)
    named = {str(path): places.findall(text) for path, text in texts().items() if path != this_file}
    assert {path: found for path, found in named.items() if found} == {}


def test_no_corpus_and_no_large_file_is_in_the_repository() -> None:
    sizes = {file.relative_to(REPOSITORY): file.stat().st_size for file in tracked_files()}
    models = {path: size for path, size in sizes.items() if path.parts[:2] == ("translator", "pretrained")}
    by_model: dict[str, int] = {}
    for path, size in models.items():
        by_model[path.parts[2]] = by_model.get(path.parts[2], 0) + size
    assert {model: size for model, size in by_model.items() if size > LARGEST_MODEL} == {}
    others = {str(path): size for path, size in sizes.items() if path not in models}
    assert {path: size for path, size in others.items() if size > LARGEST_FILE} == {}


def test_the_wheel_holds_every_file_of_the_three_packages(tmp_path: Path) -> None:
    packages = ("translator", "training", "service")
    tracked = {str(file.relative_to(REPOSITORY)) for file in tracked_files()}
    expected = {name for name in tracked if name.startswith(tuple(f"{package}/" for package in packages))}
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    # Without the engine's library, which takes a minute to compile and is no file of the repository.
    subprocess.run(build, cwd=REPOSITORY, env=os.environ | {"CXX": "false"}, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert expected <= set(archive.namelist())


def test_text_files_end_in_one_line_break_and_have_no_trailing_blanks() -> None:
    untidy = [
        str(path)
        for path, text in texts().items()
        if text
        and path.name != "LICENSE"
        and (re.search(r"[ \t]+$", text, re.MULTILINE) or not re.search(r"[^\n]\n\Z", text))
    ]
    assert untidy == []


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert translator.__version__ == version
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, flags=re.MULTILINE)
    assert released[0] == version
    assert changelog.index("## [Unreleased]") < changelog.index(f"## [{version}]")


def requirements() -> list[str]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    return [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]


@pytest.mark.parametrize("requirement", requirements())
def test_every_requirement_has_a_lower_bound_and_is_pinned(requirement: str) -> None:
    match = re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?(>=|==)((?:\d+!)?[0-9.]+)(?:,<[0-9.]+)?", requirement)
    assert match
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", CONSTRAINTS, flags=re.MULTILINE))
    by_name = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    assert match[1] in by_name
    assert version_key(by_name[match[1]]) >= version_key(match[3])


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def test_constraints_pin_torch_and_leave_its_cuda_packages_to_its_build() -> None:
    lines = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    assert "torch==2.13.0" in lines
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==(?:\d+!)?[A-Za-z0-9.]+", line) for line in lines)
    assert not [line for line in lines if line.startswith(("nvidia", "cuda", "triton"))]


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md", "training/EXPERIMENTS.md"]
)
def test_links_between_documents_lead_somewhere(name: str) -> None:
    document = REPOSITORY / name
    links = re.findall(r"\]\(([^)#\s]+)\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_makefile_variables_and_targets_that_documents_name_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \?=", makefile, flags=re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "deploy/README.md"):
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        for command in re.findall(r"(?:^|`)make ([^`\n#]+)", text, flags=re.MULTILINE):
            words = command.split()
            assert {word.partition("=")[0] for word in words if "=" in word and word[0].isupper()} <= variables, command
            assert {word for word in words if re.fullmatch("[a-z-]+", word)} <= targets | {"-C"}, command
