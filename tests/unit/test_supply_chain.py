"""What is installed at run time: pinned, with hashes, with known licences, and in a bill of materials."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.integration.deploy.files import tool

REPOSITORY = Path(__file__).parents[2]
REQUIREMENTS = REPOSITORY / "deploy" / "requirements"
LICENCES = (REPOSITORY / "LICENCES.md").read_text(encoding="utf-8")
CUDA = re.compile(r"torch|triton|(nvidia|cuda)-.*")
"""What is left out of the lists of hashes, because it differs by platform."""


def pins(path: Path) -> dict[str, str]:
    """Canonical names and versions."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def closure(*extras: str) -> set[str]:
    """Canonical names of all that these extras of the project bring on this platform, as installed packages say it."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(f"seq2seq-translator[{','.join(extras)}]")]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen or (CUDA.fullmatch(name) and name != "torch"):
            continue
        seen.add((name, frozenset(requirement.extras)))
        found.add(name)
        for line in requires(requirement.name):
            inner = Requirement(line)
            environments = [{**default_environment(), "extra": extra} for extra in (*requirement.extras, "")]
            if inner.marker is None or any(inner.marker.evaluate(environment) for environment in environments):
                waiting.append(inner)
    return found - {"seq2seq-translator"}


def requires(name: str) -> list[str]:
    """What a package needs; for the project itself as pyproject.toml says it now, and not when it was installed."""
    if name != "seq2seq-translator":
        return importlib.metadata.requires(name) or []
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    return project["dependencies"] + [f"{line}; extra == '{extra}'" for extra, lines in extras for line in lines]


@pytest.mark.parametrize("extra", ["serve", "train", "cluster"])
def test_the_list_for_an_extra_holds_all_that_it_brings_as_it_is_pinned(extra: str) -> None:
    """Fails when a dependency has been added or renewed: `make requirements licences`."""
    listed = pins(REQUIREMENTS / f"{extra}.txt")
    constraints = pins(REPOSITORY / "constraints.txt")
    assert closure(extra) - {"torch"} <= listed.keys()
    assert {name: version for name, version in listed.items() if constraints.get(name, version) != version} == {}
    assert not [name for name in listed if CUDA.fullmatch(name)]


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_package_of_a_list_has_hashes(path: Path) -> None:
    blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE).rstrip())
    assert len(blocks) > 3
    for block in blocks:
        assert re.fullmatch(r"[a-z0-9.-]+==\S+(?: ; .*)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+", block), block


def licences() -> dict[str, tuple[str, str]]:
    """Version and licence by canonical name, as the table says them."""
    rows = re.findall(r"^\| ([A-Za-z0-9._-]+) +\| ([0-9][^ |]*) +\| (.*?) +\|$", LICENCES, flags=re.MULTILINE)
    return {canonicalize_name(name): (version, licence) for name, version, licence in rows}


def test_the_licence_of_everything_that_is_installed_at_run_time_is_listed() -> None:
    table = licences()
    expected = closure("serve", "train", "cluster")
    constraints = pins(REPOSITORY / "constraints.txt")
    assert expected <= table.keys()
    assert {name: table[name][0] for name in expected} == {name: constraints[name] for name in expected}


def test_no_licence_is_unknown_or_reaches_into_this_program() -> None:
    licence_by_name = {name: licence for name, (_, licence) in licences().items()}
    assert licence_by_name
    assert {name for name, licence in licence_by_name.items() if re.search(r"UNKNOWN|\b[AL]?GPL", licence)} == set()


def test_the_licence_of_the_included_model_is_listed() -> None:
    for model in (REPOSITORY / "translator" / "pretrained").iterdir():
        card = json.loads((model / "card.json").read_text(encoding="utf-8"))
        assert str(model.relative_to(REPOSITORY)) in LICENCES
        assert card["licence"] in LICENCES
        assert re.sub(r"\s+", " ", card["corpus"]["attribution"]) in re.sub(r"\s+", " ", LICENCES)


def test_the_bill_of_materials_is_valid_and_complete(tmp_path: Path) -> None:
    """As `make sbom` writes it; cyclonedx-py checks it against CycloneDX's schema."""
    listing = (REQUIREMENTS / "serve.txt").read_text(encoding="utf-8") + "torch==2.13.0\n"
    file = tmp_path / "sbom.json"
    project = str(REPOSITORY / "pyproject.toml")
    options = ["--pyproject", project, "--output-reproducible", "--validate", "--output-file", str(file), "-"]
    subprocess.run([tool("cyclonedx-py"), "requirements", *options], input=listing, text=True, check=True)
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "seq2seq-translator"
    components = {canonicalize_name(part["name"]): part["version"] for part in document["components"]}
    assert components == pins(REQUIREMENTS / "serve.txt") | {"torch": "2.13.0"}
