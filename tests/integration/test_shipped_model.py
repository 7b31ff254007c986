"""The models that come with the package: complete, honest about themselves, independent of a sentence's neighbours."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from training.evaluation_report import evaluate_translator
from translator import SearchOptions, Translator
from translator.description import SHIPPED_MODELS
from translator.engines.native_library import instruction_sets

TEST_SET = Path(__file__).parents[3] / "shared" / "corpora" / "tatoeba-en-fr"
needs_test_set = pytest.mark.skipif(not (TEST_SET / "test.en").is_file(), reason="needs the corpus tatoeba-en-fr")
needs_library = pytest.mark.skipif(not instruction_sets(), reason="the cpu engine's library is not built")


@pytest.fixture(scope="module", params=["en-fr", "fr-en"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def translator(name: str) -> Translator:
    return Translator.load(name)


def _lines(language: str) -> list[str]:
    return (TEST_SET / f"test.{language}").read_text(encoding="utf-8").split("\n")[:-1]


def test_all_are_tested_here() -> None:
    assert sorted(path.name for path in SHIPPED_MODELS.iterdir()) == ["en-fr", "fr-en"]


def test_it_is_small_and_its_card_is_complete(translator: Translator, name: str) -> None:
    assert sum(file.stat().st_size for file in (SHIPPED_MODELS / name).iterdir()) <= 32 * 2**20
    card = translator.card
    assert [card.source_language, card.target_language] == name.split("-")
    for metric in ("BLEU", "chrF"):
        score = card.score(metric)
        assert score is not None
        assert score.sentences == 2000
        assert "version:" in score.signature
    assert card.corpus is not None
    assert "Tatoeba" in card.corpus.attribution
    assert card.bleu_by_length
    assert all((card.intended_use, card.not_for, card.licence, card.training, card.training_lengths, card.examples))
    assert (translator.model_config.num_layers, translator.model_config.attention) == (4, "none")


def test_it_translates_into_french() -> None:
    translator = Translator.load("en-fr")
    assert translator.translate("Where is the station?").text.replace("\u202f", " ") == "Où est la gare ?"
    translation = translator.translate("I am hungry.\n\n  He is my brother. ")
    assert translation.text.startswith("J'ai faim.\n\n  ")
    assert "frère" in translation.text
    assert translation.text.endswith(" ")


def test_it_translates_into_english() -> None:
    translator = Translator.load("fr-en")
    assert translator.translate("Je suis fatigué.").text == "I'm tired."
    translation = translator.translate("J'ai faim.\n\n  C'est mon frère. ")
    assert translation.text.startswith("I'm hungry.\n\n  ")
    assert "brother" in translation.text
    assert translation.text.endswith(" ")


def _same_alone_and_together(translator: Translator, sentences: list[str]) -> None:
    options = SearchOptions(beam_size=5)
    together = [translation.text for translation in translator.translate(sentences, options)]
    shuffled = random.Random(3).sample(range(len(sentences)), len(sentences))
    elsewhere = translator.translate([sentences[index] for index in shuffled], options)
    assert [elsewhere[shuffled.index(index)].text for index in range(len(sentences))] == together
    assert [translator.translate(sentence, options).text for sentence in sentences] == together


def _assert_engines_agree(name: str, sentences: list[str]) -> None:
    """Rounding to 8 bits may turn a near decision: at most one sentence in 20, and for the better as often as not."""
    quick, exact = (Translator.load(name, engine=engine).translate(sentences) for engine in ("cpu", "cpu-float32"))
    pairs = list(zip(quick, exact, strict=True))
    assert sum(one.text == other.text for one, other in pairs) >= 0.95 * len(pairs)
    assert sum(one.score - other.score for one, other in pairs) / len(pairs) == pytest.approx(0, abs=0.01)


@needs_test_set
def test_real_sentences_translate_the_same_alone_and_in_any_batch(translator: Translator) -> None:
    _same_alone_and_together(translator, _lines(translator.card.source_language)[:150])


@needs_test_set
@needs_library
def test_int8_says_nearly_what_float32_says(name: str) -> None:
    _assert_engines_agree(name, _lines(name[:2])[:150])


@needs_test_set
@needs_library
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_int8_says_nearly_what_float32_says_in_2000_sentences(name: str) -> None:
    _assert_engines_agree(name, _lines(name[:2]))


@needs_test_set
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_2000_real_sentences_translate_the_same_alone_and_in_any_batch(translator: Translator) -> None:
    _same_alone_and_together(translator, _lines(translator.card.source_language))


@needs_test_set
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_card_says_what_is_measured(translator: Translator) -> None:
    texts = [_lines(language) for language in (translator.card.source_language, translator.card.target_language)]
    report = evaluate_translator(translator, *texts, test_set="tatoeba-en-fr test")
    for measured in (report.bleu, report.chrf):
        stated = translator.card.score(measured.metric)
        assert stated is not None
        assert measured.value == pytest.approx(stated.value, abs=0.05)
        assert measured.signature == stated.signature
    assert report.bleu.value >= 35
