from __future__ import annotations

import pytest

from service.languages import Languages, language_name
from service.problems import Problem


@pytest.fixture(scope="module")
def languages() -> Languages:
    return Languages([("en", "fr")])


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
    languages = Languages([("tlh", "fr")])
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


SEVERAL = [("fr", "en"), ("en", "de"), ("fr", "it"), ("it", "de"), ("es", "it")]


def test_what_two_models_reach_is_served_too() -> None:
    languages = Languages(SEVERAL)
    assert languages.targets == {"fr": ["en", "de", "it"], "en": ["de"], "it": ["de"], "es": ["de", "it"]}
    assert (languages.source, languages.target) == ("fr", "en")
    assert languages.pivot("fr", "en") is None
    assert languages.pivot("fr", "de") == "en", "where there are several ways, by English"
    assert languages.pivot("es", "de") == "it"
    for source, target in (("fr", "de"), ("es", "de"), ("de", "de")):
        languages.check_pair(source, target)
    for source, target in (("de", "fr"), ("es", "en"), ("fr", "ru")):
        with pytest.raises(Problem, match=r"French \(fr\) into English \(en\), German \(de\), Italian \(it\); "):
            languages.check_pair(source, target)


def test_among_several_the_likeliest_served_language_is_guessed() -> None:
    languages = Languages(SEVERAL)
    assert languages.source_of("Où est la gare ?", "de").language == "fr"
    assert languages.source_of("Where is the station?", "de").language == "en"


def test_an_error_does_not_list_a_hundred_pairs() -> None:
    sources = ["ar", "bg", "cs", "da", "el", "et", "fi", "ga", "hr", "hu"]
    languages = Languages([(source, "en") for source in sources])
    with pytest.raises(Problem, match="from 6 other languages") as raised:
        languages.check_pair("en", "ar")
    assert len(raised.value.detail) < 400
