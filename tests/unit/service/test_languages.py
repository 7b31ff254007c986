from __future__ import annotations

import pytest

from service.languages import Languages, language_name
from service.problems import Problem
from translator.card import Card


@pytest.fixture(scope="module")
def languages() -> Languages:
    return Languages(Card(name="m", source_language="en", target_language="fr"))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the station?", "en"),
        ("The cat sat on the mat and looked at the sky.", "en"),
        ("Hello", "en"),
        ("Où est la gare ?", "fr"),
        ("Bonjour", "fr"),
        ("Wo ist der Bahnhof?", "de"),
        ("¿Dónde está la estación de tren?", "es"),
        ("Где находится вокзал?", "ru"),
        ("駅はどこですか。", "ja"),
    ],
)
def test_guesses(languages: Languages, text: str, language: str) -> None:
    guesses = languages.guesses(text)
    assert guesses[0].language == language
    confidences = [guess.confidence for guess in guesses]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 100 for confidence in confidences)
    assert sum(confidences) <= 100.5


@pytest.mark.parametrize("text", ["", "   ", "42", "😀"])
def test_a_text_that_tells_nothing_counts_as_the_source_language(languages: Languages, text: str) -> None:
    guess = languages.source_of(text, "fr")
    assert guess.language == "en"
    assert guess.confidence < 50


def test_a_text_clearly_in_another_language_is_refused(languages: Languages) -> None:
    with pytest.raises(Problem, match=r"seems to be in German \(de\)"):
        languages.source_of("Können Sie mir bitte sagen, wo der Bahnhof ist?", "fr")


def test_pairs(languages: Languages) -> None:
    languages.check_pair("en", "fr")
    languages.check_pair("en", "en")
    languages.check_pair("fr", "fr")
    for source, target in (("fr", "en"), ("de", "fr"), ("en", "de"), ("de", "de")):
        with pytest.raises(Problem, match=r"this server translates English \(en\) into French \(fr\)") as raised:
            languages.check_pair(source, target)
        assert raised.value.status == 400


def test_a_model_of_languages_that_are_not_guessed_still_serves() -> None:
    languages = Languages(Card(name="m", source_language="tlh", target_language="fr"))
    assert languages.guesses("nuqneH")
    languages.check_pair("tlh", "fr")


def test_names() -> None:
    assert [language_name(code) for code in ("en", "fr", "zh", "no-such")] == [
        "English",
        "French",
        "Chinese",
        "no-such",
    ]


@pytest.mark.parametrize("text", ["", " \n", "…!", "\U0001f600 12"])
def test_a_text_without_letters_is_no_evidence(languages: Languages, text: str) -> None:
    (guess,) = languages.guesses(text)
    assert (guess.language, guess.confidence) == ("en", 0.0)
