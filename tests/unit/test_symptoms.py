"""Repetition and lengths that nobody measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translator.card import Card, LengthScore
from translator.symptoms import repeated, untested
from translator.translation import Alternative, SentenceTranslation, assemble


@pytest.mark.parametrize(
    ("tokens", "phrase"),
    [
        ([], ()),
        ([1, 2, 3, 4, 5], ()),
        ([7, 7, 7], ()),
        ([1, 7, 7, 7, 7, 2], (7,)),
        ([1, 2, 1, 2], ()),
        ([9, 1, 2, 1, 2, 1, 2], (1, 2)),
        ([1, 2, 3, 1, 2, 3], ()),
        ([1, 2, 3, 1, 2, 3, 1, 2, 3], (1, 2, 3)),
        ([1, 2, 3, 4, 1, 2, 3, 4, 9], (1, 2, 3, 4)),
    ],
)
def test_phrases_that_follow_themselves(tokens: list[int], phrase: tuple[int, ...]) -> None:
    assert repeated(tokens, [1, 2, 3]) == phrase


def test_what_the_source_repeats_may_be_repeated() -> None:
    assert repeated([7] * 6, [3] * 6) == ()


@given(st.lists(st.integers(0, 3), max_size=30))
def test_a_phrase_that_is_reported_does_follow_itself(tokens: list[int]) -> None:
    phrase = repeated(tokens, [])
    joined = [*phrase, *phrase]
    assert not phrase or any(tokens[at : at + len(joined)] == joined for at in range(len(tokens)))


def test_lengths_beyond_those_that_were_measured() -> None:
    lengths = [(0, 5, 900, 45.0), (6, 10, 1000, 41.0), (11, 15, 90, 25.4), (16, 20, 7, 11.2), (21, 30, 0, 0.0)]
    parts = [LengthScore(minimum=a, maximum=b, sentences=n, bleu=bleu) for a, b, n, bleu in lengths]
    card = Card(name="x", source_language="en", target_language="fr", bleu_by_length=parts)
    assert list(untested(card, "word " * 15)) == []
    (warning,) = untested(card, "word " * 16)
    assert warning == (
        "untested: a sentence of 16 words; of 1,997 test sentences the model had 7 such, with BLEU 11.2, "
        "and BLEU 25.4 at 11 to 15 words"
    )
    for words in (25, 99):
        (warning,) = untested(card, "word " * words)
        assert "none such" in warning
    assert list(untested(Card(name="x", source_language="en", target_language="fr"), "word " * 99)) == []
    parts[-1] = LengthScore(minimum=11, maximum=None, sentences=100, bleu=20.0)
    assert list(untested(card.model_copy(update={"bleu_by_length": parts}), "word " * 99)) == []


def test_a_text_is_assembled_around_its_separators() -> None:
    def sentence(start: int, end: int, text: str, *others: str) -> SentenceTranslation:
        alternatives = tuple(Alternative(other, -2.0, -2.0) for other in others)
        return SentenceTranslation(start, end, 0, 0, "?", text, -1.0, -1.5, alternatives, (f"w: {text}",))

    whole = assemble("\tab  cd\r\n", [sentence(1, 3, "longer", "x"), sentence(5, 7, "y")])
    assert whole.text == "\tlonger  y\r\n"
    assert [whole.text[one.target_start : one.target_end] for one in whole.sentences] == ["longer", "y"]
    assert whole.score == -2.0
    assert [(other.text, other.score) for other in whole.alternatives] == [("\tx  y\r\n", -3.0)]
    assert whole.warnings == ("w: longer", "w: y")
    assert assemble(" \n", []).text == " \n"
