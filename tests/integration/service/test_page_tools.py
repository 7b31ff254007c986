"""What the pages have beside typing and reading: languages, files, history, colours, vectors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")

pytestmark = pytest.mark.browser
TEXT = "The train was late."


def test_languages_are_chosen_and_swapped(open_page: Callable[..., Any], two_way_server: Any) -> None:
    page = open_page(server=two_way_server)
    source, target = page.get_by_label("Translate from"), page.get_by_label("Translate into")
    assert source.locator("option").all_text_contents() == ["Detect language", "English", "French"]
    page.get_by_label("Text to translate").fill(TEXT)
    playwright.expect(page.locator("#copy")).to_be_visible()
    translated = page.locator("#target").text_content()
    page.get_by_role("button", name="Swap the languages").click()
    assert (source.input_value(), target.input_value()) == ("fr", "en")
    playwright.expect(page.get_by_label("Text to translate")).to_have_value(translated)
    playwright.expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"French\s*→\s*English"))
    source.select_option("auto")
    assert page.get_by_role("button", name="Swap the languages").is_disabled()
    target.select_option("en")
    page.get_by_label("Text to translate").fill("Les enfants jouent dans le jardin et ma sœur lit.")
    playwright.expect(page.locator("#detected")).to_have_text(re.compile("French, [0-9]+ % sure"))


def test_what_is_said_of_the_model_is_of_the_one_that_translates(
    open_page: Callable[..., Any], two_way_server: Any
) -> None:
    page = open_page(server=two_way_server)
    playwright.expect(page.locator("#model")).to_contain_text("tiny-en-fr")
    page.get_by_label("Text to translate").fill(TEXT)
    playwright.expect(page.locator("#meter")).to_be_visible()
    page.get_by_role("button", name="Swap the languages").click()
    for _ in ("chosen", "loaded anew"):
        playwright.expect(page.locator("#model")).to_contain_text("tiny-fr-en")
        playwright.expect(page.locator(".example")).to_have_text(["Où est la gare ?"])
        playwright.expect(page).to_have_title(re.compile("French to English"))
        assert page.url.endswith("?source=fr&target=en")
        page.locator(".example").click()
        playwright.expect(page.get_by_label("Text to translate")).to_have_value("Où est la gare ?")
        playwright.expect(page.locator("#copy")).to_be_visible()
        playwright.expect(page.locator("#curl")).to_contain_text('"source":"fr","target":"en"')
        page.reload()
    page.get_by_label("Translate into").select_option("en")
    page.get_by_label("Translate from").select_option("auto")
    page.get_by_label("Translate into").select_option("fr")
    playwright.expect(page.locator("#model")).to_contain_text("tiny-en-fr")
    page.get_by_role("link", name="Model card").first.click()
    playwright.expect(page.locator("#card")).to_contain_text("BLEU by the words of the source sentence")


def test_of_a_model_whose_page_does_not_come_nothing_is_said_until_it_comes(
    open_page: Callable[..., Any], two_way_server: Any
) -> None:
    page = open_page(server=two_way_server)
    page.get_by_label("Text to translate").fill("Anna, it is late.")
    playwright.expect(page.locator("#meter")).to_be_visible()
    page.route("**/?source=fr*", lambda route: route.abort())
    swap = page.get_by_role("button", name="Swap the languages")
    swap.click()
    for part in ("#model", "#meter"):
        playwright.expect(page.locator(part)).not_to_be_visible()
    playwright.expect(page.locator("#copy")).to_be_visible()
    page.unroute("**/?source=fr*")
    page.get_by_label("Text to translate").fill("Anna, il est tard.")
    playwright.expect(page.locator("#model")).to_contain_text("tiny-fr-en")
    assert page.locator("#bars rect").count() == 0, "its card has no lengths"


def test_the_pair_that_was_chosen_last_is_shown(open_page: Callable[..., Any], two_way_server: Any) -> None:
    page = open_page(server=two_way_server)
    held: list[Any] = []
    page.route("**/?source=*", lambda route: held.append(route) if not held else route.continue_())
    into = page.get_by_role("button", name="Swap the languages")
    for _ in range(3):
        into.click()
    playwright.expect(page.locator("#model")).to_contain_text("tiny-fr-en")
    held[0].abort()
    page.wait_for_timeout(200)
    playwright.expect(page.locator("#model")).to_contain_text("tiny-fr-en")
    assert page.url.endswith("?source=fr&target=en")
    page.get_by_role("link", name="Sentence vectors").click()
    playwright.expect(page.get_by_label("Sentences in French")).to_be_visible()


def test_without_a_model_back_there_is_no_swap(open_page: Callable[..., Any]) -> None:
    assert open_page().get_by_role("button", name="Swap the languages").is_disabled()


def test_what_was_shown_stays(open_page: Callable[..., Any], two_way_server: Any) -> None:
    """Whatever stood on the right while a text was translated is how its translation begins."""
    page = open_page(server=two_way_server)
    page.evaluate(
        """() => {
            window.seen = [];
            const target = document.getElementById("target");
            new MutationObserver(() => window.seen.push(target.textContent)).observe(target, {childList: true});
        }"""
    )
    text = " ".join([TEXT, "She reads a book every evening.", "He never answers my letters."] * 4)
    page.get_by_label("Text to translate").fill(text)
    playwright.expect(page.locator("#copy")).to_be_visible()
    seen = [said for said in page.evaluate("window.seen") if said]
    final = page.locator("#target").text_content()
    assert len(set(seen)) >= 3, "it came in parts"
    assert [said for said in seen if not final.startswith(said)] == []
    assert seen == sorted(seen, key=len)


def test_unsure_words_are_marked(open_page: Callable[..., Any]) -> None:
    page = open_page()
    pieces = [("Où", 0.9), (" est", 0.8), (" la", 0.4), (" ga", 0.6), ("re", 0.2), (" ?", 0.99), (" 7", None)]
    answer = {
        "translatedText": "".join(text for text, _ in pieces),
        "probabilities": [{"text": text, "probability": probability} for text, probability in pieces],
    }
    page.route("**/translate", lambda route: route.fulfill(json=answer))
    page.get_by_label("Text to translate").fill("Where is the station? 7")
    playwright.expect(page.locator("#target")).to_have_text("Où est la gare ? 7")
    assert page.locator("#target .unsure").all_text_contents() == ["la"]
    assert page.locator("#target .very-unsure").all_text_contents() == ["gare"]
    assert page.locator("#target .very-unsure").get_attribute("title") == "12 % sure"
    assert page.locator("#shade-label").inner_text().endswith("(2)")
    page.get_by_label("Mark unsure words").uncheck()
    assert page.evaluate("getComputedStyle(document.querySelector('.unsure')).textDecorationLine") == "none"


def test_alternatives_have_their_scores(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_label("Text to translate").fill(TEXT)
    playwright.expect(page.locator("#alternatives li").first).to_be_visible()
    scores = [float(score.replace("−", "-")) for score in page.locator("#alternatives .score").all_text_contents()]
    assert len(scores) == page.locator("#alternatives li").count()
    assert scores == sorted(scores, reverse=True)


def test_sentences_longer_than_the_tested_ones_are_warned_of(
    open_page: Callable[..., Any], two_way_server: Any
) -> None:
    page = open_page(server=two_way_server)
    page.get_by_label("Text to translate").fill("It is late.")
    playwright.expect(page.locator("#meter-text")).to_have_text(
        "The sentence has 3 words; at 0 to 3 words the model had BLEU 40.0 (90 test sentences)."
    )
    assert page.locator("#bars .here").count() == 1
    page.get_by_label("Text to translate").fill("Yes. The children are playing in the garden.")
    playwright.expect(page.locator("#meter.untested #meter-text")).to_have_text(
        "The longest sentence has 7 words; the model was never tested on one so long."
    )
    playwright.expect(page.locator("#notes")).to_contain_text("a sentence of 7 words; of 100 test sentences")


def test_the_history_stays_in_the_browser_and_can_be_cleared(open_page: Callable[..., Any], server: Any) -> None:
    page = open_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    for text in ("The train was", TEXT, "It is raining."):
        page.get_by_label("Text to translate").fill(text)
        playwright.expect(page.locator("#history-count")).to_have_text("(1)" if text != "It is raining." else "(2)")
        playwright.expect(page.locator("#history li").first).to_contain_text(text)
    assert {url for url in sent if "/static/" not in url} == {server.url + "/translate"}
    page.reload()
    page.locator("#history-box summary").click()
    entries = page.locator("#history button")
    assert [entry.split("\n")[0] for entry in entries.all_inner_texts()] == ["It is raining.", TEXT]
    entries.nth(1).click()
    playwright.expect(page.get_by_label("Text to translate")).to_have_value(TEXT)
    page.get_by_role("button", name="Clear the history").click()
    assert entries.count() == 0
    assert page.evaluate("localStorage.getItem('history')") == "[]"


def test_a_file_is_translated(open_page: Callable[..., Any], expected: Callable[[str], str], tmp_path: Path) -> None:
    page = open_page()
    file = tmp_path / "letter.txt"
    file.write_text(TEXT + "\n", encoding="utf-8")
    assert page.get_by_role("button", name="Translate the file").is_disabled()
    page.locator("#file").set_input_files(file)
    page.get_by_role("button", name="Translate the file").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the translation of letter.txt").click()
    assert download.value.suggested_filename == "letter.fr.txt"
    assert Path(download.value.path()).read_text(encoding="utf-8") == expected(TEXT) + "\n"
    (tmp_path / "letter.exe").write_bytes(b"MZ")
    page.locator("#file").set_input_files(tmp_path / "letter.exe")
    page.get_by_role("button", name="Translate the file").click()
    playwright.expect(page.locator("#file-result")).to_contain_text("Files of this kind are not translated")


def test_colours_are_chosen_and_kept(open_page: Callable[..., Any]) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page = open_page(color_scheme="light")
    light = background()
    page.get_by_role("button", name="Dark colours").click()
    dark = background()
    assert dark != light
    page.reload()
    assert background() == dark
    page.get_by_role("link", name="Sentence vectors").click()
    playwright.expect(page.get_by_role("heading", level=1)).to_have_text("Sentence vectors")
    assert background() == dark
    page.get_by_role("button", name="Light colours").click()
    assert background() == light


def test_vectors_are_drawn_where_the_server_says(open_page: Callable[..., Any]) -> None:
    page = open_page("/vectors")
    playwright.expect(page.locator("#plane circle")).to_have_count(12)
    sentences = ["The train was late.", "The train was early.", "She reads."]
    with page.expect_response("**/vectors") as answered:
        page.get_by_label("Sentences in English").fill("\n\n".join(sentences))
    playwright.expect(page.locator("#plane circle")).to_have_count(3)
    coordinates = answered.value.json()["coordinates"]
    shown = [
        [float(circle.get_attribute("cx")), -float(circle.get_attribute("cy"))]
        for circle in page.locator("#plane circle").all()
    ]

    def shape(points: list[list[float]]) -> list[float]:
        """The distances between the points, the first one being 1."""
        sides = [
            ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5
            for a, b in zip(points, points[1:] + points[:1], strict=True)
        ]
        return [side / sides[0] for side in sides]

    assert shape(shown) == pytest.approx(shape(coordinates), rel=1e-3)
    assert [title.split(" ", 1)[1] for title in sorted(page.locator("#plane text").all_text_contents())] == sentences
    page.get_by_text("The places as a table").click()
    assert page.locator("#places tr").count() == 3
    first = page.locator("#places tr").first.locator("td").nth(2).inner_text()
    assert float(first) == pytest.approx(coordinates[0][0], abs=1e-3)


def test_every_model_has_its_vectors(open_page: Callable[..., Any], two_way_server: Any) -> None:
    page = open_page("/vectors", server=two_way_server)
    page.get_by_role("link", name="Those of tiny-fr-en").click()
    playwright.expect(page.get_by_label("Sentences in French")).to_have_value("Où est la gare ?")
    playwright.expect(page.get_by_role("link", name="Those of tiny-en-fr")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_vectors_fit_the_screen(open_page: Callable[..., Any], width: int) -> None:
    page = open_page("/vectors", viewport={"width": width, "height": 800})
    playwright.expect(page.locator("#plane circle")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
