"""The pages of docs/: built without a warning, complete, and true of the files they name."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.integration.deploy.files import REPOSITORY, run, tool

DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `make docs` writes them."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = run(tool("mkdocs"), "build", "--strict", "--quiet", "--site-dir", folder, cwd=REPOSITORY, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.mark.parametrize("package", ["translator", "training", "service"])
def test_every_module_has_its_docstring_in_the_reference(site: Path, package: str) -> None:
    page = (site / "reference" / package / "index.html").read_text(encoding="utf-8")
    for path in (REPOSITORY / package).rglob("*.py"):
        names = path.relative_to(REPOSITORY).with_suffix("").parts
        if names[-1] != "__main__" and "native" not in names:
            module = ".".join(name for name in names if name != "__init__")
            assert re.search(rf"<h2[^>]*><code>{re.escape(module)}</code>", page), module
    assert page.count("doc-contents") > 20


def test_a_docstring_and_a_signature_come_through(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "reference" / "translator" / "index.html").read_text(encoding="utf-8"))
    assert "Read and check a model directory." in page
    assert "ModelDirectoryError" in page
    assert "load_model(" in page


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'(?:src="|<link[^>]* href=")(?:https?:)?//[^"]+', text) == []


def test_every_box_of_the_picture_is_a_file_and_stands_in_the_picture() -> None:
    source = (DOCS / "architecture.dot").read_text(encoding="utf-8")
    drawn = (DOCS / "architecture.svg").read_text(encoding="utf-8")
    boxes = re.findall(r'\[label="((?:translator|training|service)/[^"\\ ]+)', source)
    assert len(boxes) > 10
    for box in boxes:
        assert (REPOSITORY / box).exists(), box
        assert f">{box}" in drawn, box


def test_every_file_that_the_page_on_architecture_names_exists() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:translator|training|service|tests|deploy)/[\w./-]+)`", text)
    assert len(named) > 10
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
