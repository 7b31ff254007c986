"""The pages by axe-core's rules (WCAG 2.2 A and AA, and good practice), and by the keyboard alone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")

pytestmark = pytest.mark.browser
PATIENCE = 120.0


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program axe-core, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    folder = tmp_path_factory.mktemp("axe")
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install axe-core here: {installed.stderr[-200:]}")
    return Path(folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Any, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def translated(page: Any) -> None:
    """The page with everything on it that it can show."""
    page.get_by_label("Text to translate").fill("It is late. It is late, and the train is late, too, and so am I.")
    playwright.expect(page.locator("#history-count")).to_have_text("(1)")
    for box in page.locator("details").all():
        box.locator("summary").click()


def drawn(page: Any) -> None:
    playwright.expect(page.locator("#plane circle").first).to_be_visible()
    page.locator("summary").click()


def opened(page: Any) -> None:
    page.locator("details.operation").first.locator("summary").click()
    page.locator("details:not(.operation)").first.locator("summary").click()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize(
    ("path", "prepare"),
    [("/", lambda page: None), ("/", translated), ("/vectors", drawn), ("/docs", opened)],
    ids=["empty", "translated", "vectors", "docs"],
)
def test_axe_finds_nothing(
    open_page: Callable[..., Any],
    two_way_server: Any,
    axe: str,
    path: str,
    prepare: Callable[[Any], None],
    colours: str,
) -> None:
    page = open_page(path, two_way_server, color_scheme=colours, reduced_motion="reduce")
    prepare(page)
    assert violations(page, axe) == []


def test_it_is_usable_by_keyboard_alone(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.keyboard.type("The train was late.")
    page.keyboard.press("Control+Enter")
    playwright.expect(page.locator("#copy")).to_be_visible()
    playwright.expect(page.locator("#announcement")).to_have_text(
        "Translation: " + page.locator("#target").inner_text()
    )
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if page.evaluate("document.activeElement === document.body"):  # once around
            continue
        assert outline != "none" or reached[-1] == "source", reached[-1]
        if reached[-1] == "To the content":
            break
    for control in ("clear", "copy", "file", "Model card", "The same from a terminal"):
        assert control in reached
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_translation_is_not_read_out_before_it_is_whole(open_page: Callable[..., Any]) -> None:
    page = open_page()
    held: list[Any] = []
    page.route("**/translate", lambda route: held.append(route))
    page.get_by_label("Text to translate").fill("It is raining.")
    playwright.expect(page.locator("#target[aria-busy=true]")).to_have_count(1)
    assert page.locator("#announcement").inner_text() == ""
    held[0].fulfill(json={"translatedText": "Il pleut."})
    playwright.expect(page.locator("#announcement")).to_have_text("Translation: Il pleut.")
    assert page.locator("#target").get_attribute("aria-busy") == "false"
