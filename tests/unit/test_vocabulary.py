"""Vocabularies: what goes in comes out."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.subwords import train_vocabulary
from translator.vocabulary import Vocabulary

SENTENCES = [
    "The station is near the old bridge.",
    "Où est la gare ? Elle est là, près du vieux pont !",
    "Il y a 3 500 œufs à 12,50 € dans le réfrigérateur.",
    "She reads a book every evening.",
] * 5
UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
HARD = st.text(st.sampled_from(" \u2581\ue000\0\n\t\r\u00a0\u202f\u3000012abé<>\U0001f600"), max_size=20)


def _train(model_type: Literal["unigram", "bpe", "char", "word"], size: int = 400) -> Vocabulary:
    return train_vocabulary(SENTENCES, size=size, model_type=model_type, seed=1)[0]


UNIGRAM, BPE = _train("unigram"), _train("bpe")


@pytest.mark.parametrize("vocabulary", [UNIGRAM, BPE], ids=["unigram", "bpe"])
@given(text=UNICODE | HARD)
def test_any_unicode_text_survives(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.unk_id not in ids
    assert vocabulary.lossless


def test_special_symbols_have_no_text_and_are_never_encoded() -> None:
    ids = UNIGRAM.encode("</s> <pad> <unk>")
    assert not {UNIGRAM.eos_id, UNIGRAM.pad_id, UNIGRAM.unk_id} & set(ids)
    assert UNIGRAM.decode([UNIGRAM.eos_id, *ids, UNIGRAM.pad_id]) == "</s> <pad> <unk>"


def test_a_lone_surrogate_is_refused_by_position() -> None:
    with pytest.raises(ValueError, match="text 2 holds a lone surrogate"):
        UNIGRAM.encode_batch(["fine", "broken \ud800"])


def test_word_and_char_vocabularies_lose_what_they_do_not_know_and_say_so() -> None:
    words, notices = train_vocabulary(SENTENCES, size=60, model_type="word", seed=1)
    assert not words.lossless
    assert any("lossy" in notice for notice in notices)
    assert words.encode("zyzzyva") == [words.unk_id]
    assert words.decode(words.encode("The station")) == "The station"
    characters = _train("char")
    assert characters.unk_id in characters.encode("☃")


def test_a_corpus_too_small_gives_a_smaller_vocabulary_with_a_notice() -> None:
    vocabulary, notices = train_vocabulary(["one two", "two three"], size=30_000, model_type="unigram", seed=1)
    assert vocabulary.size < 30_000
    assert str(vocabulary.size) in notices[0].replace(",", "")
    assert vocabulary.decode(vocabulary.encode("three one")) == "three one"


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no text to learn"):
        train_vocabulary(["", "  "], size=100, model_type="unigram", seed=1)


def test_training_is_reproducible_and_models_reload() -> None:
    assert _train("unigram").model_bytes == UNIGRAM.model_bytes
    assert Vocabulary(UNIGRAM.model_bytes).encode("la gare") == UNIGRAM.encode("la gare")


def test_foreign_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="SentencePiece"):
        Vocabulary(b"not a model")
