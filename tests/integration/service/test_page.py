"""The page at `/` in a real browser: typing and reading."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from translator import SearchOptions, Translator

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def expected(tiny_model_directory: Any) -> Callable[[str], str]:
    translator = Translator.load(tiny_model_directory)
    return lambda text: translator.translate(text, SearchOptions(alternatives=3)).text


def test_it_translates_while_one_types(open_page: Callable[..., Any], expected: Callable[[str], str]) -> None:
    page = open_page()
    assert page.evaluate("document.activeElement.id") == "source", "the field to type in has the focus"
    page.keyboard.type("The train was late.")
    playwright.expect(page.locator("#target")).to_have_text(expected("The train was late."))
    assert page.locator("#alternatives li").count() >= 1
    page.get_by_role("button", name="Clear").click()
    playwright.expect(page.locator("#target")).to_be_empty()
    assert page.evaluate("document.activeElement.id") == "source"


def test_an_example_is_translated_by_a_click_and_by_the_keyboard(
    open_page: Callable[..., Any], expected: Callable[[str], str]
) -> None:
    page = open_page()
    page.get_by_role("button", name="Where is the station?").click()
    playwright.expect(page.get_by_label("Text to translate")).to_have_value("Where is the station?")
    playwright.expect(page.locator("#target")).to_have_text(expected("Where is the station?"))
    other = "I would like a cup of coffee, please."
    page.get_by_role("button", name=other).focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#target")).to_have_text(expected(other))


def test_the_command_shown_is_for_the_text_typed(open_page: Callable[..., Any], server: Any) -> None:
    page = open_page()
    page.get_by_label("Text to translate").fill("It's late.")
    page.get_by_text("The same from a terminal").click()
    command = page.locator("#curl").inner_text()
    assert command.startswith(f"curl -X POST {server.url}/translate ")
    assert '"q":"It\'\\\'\'s late."' in command


def test_errors_are_told_in_words(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_label("Text to translate").fill("x" * 5_001)
    playwright.expect(page.get_by_role("alert")).to_contain_text("more than 5,000 characters")
    page.route("**/translate", lambda route: route.abort())
    page.get_by_label("Text to translate").fill("Hello.")
    playwright.expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    page.unroute("**/translate")
    page.route(
        "**/translate",
        lambda route: route.fulfill(status=504, json={"detail": "The translation was not finished in time."}),
    )
    page.get_by_label("Text to translate").fill("Hello again.")
    playwright.expect(page.get_by_role("alert")).to_contain_text("not finished in time")


def test_a_busy_server_is_asked_again(open_page: Callable[..., Any]) -> None:
    page = open_page()
    answers = [
        {"status": 503, "headers": {"Retry-After": "1"}, "json": {"detail": "busy"}},
        {"status": 200, "json": {"translatedText": "Bonjour."}},
    ]
    page.route("**/translate", lambda route: route.fulfill(**answers.pop(0)))
    page.get_by_label("Text to translate").fill("Hello.")
    playwright.expect(page.get_by_role("alert")).to_contain_text("Trying again")
    playwright.expect(page.locator("#target")).to_have_text("Bonjour.")
    playwright.expect(page.get_by_role("alert")).to_be_hidden()


def test_only_the_last_text_is_shown(open_page: Callable[..., Any]) -> None:
    """An answer that comes late must not take the place of a later one."""
    page = open_page()
    held: list[Any] = []
    page.route("**/translate", lambda route: held.append(route))
    page.get_by_label("Text to translate").fill("first")
    page.keyboard.press("Control+Enter")
    playwright.expect(page.locator("#translator.busy")).to_have_count(1)
    page.get_by_label("Text to translate").fill("second")
    page.keyboard.press("Control+Enter")
    while len(held) < 2:
        page.wait_for_timeout(20)
    held[1].fulfill(json={"translatedText": "deuxième"})
    playwright.expect(page.locator("#target")).to_have_text("deuxième")
    with contextlib.suppress(playwright.Error):  # the browser may have given it up already
        held[0].fulfill(json={"translatedText": "premier"})
    page.wait_for_timeout(200)
    playwright.expect(page.locator("#target")).to_have_text("deuxième")
    assert page.locator("#translator.busy").count() == 0


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_the_screen(open_page: Callable[..., Any], width: int) -> None:
    page = open_page(viewport={"width": width, "height": 800})
    page.get_by_label("Text to translate").fill("word " * 50 + "w" * 200)
    page.get_by_text("The same from a terminal").click()
    playwright.expect(page.locator("#target")).not_to_be_empty()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_light_and_dark(open_page: Callable[..., Any]) -> None:
    def colour(scheme: str) -> str:
        page = open_page(color_scheme=scheme)
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert colour("light") == "rgb(246, 243, 238)"
    assert colour("dark") == "rgb(20, 24, 26)"
