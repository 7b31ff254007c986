"""Accuracy by target position: against scoring, against the engine, and known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ENGLISH, FRENCH
from training.target_positions import accuracy_by_position, encoded, encoded_pairs, hits_by_part, token_scores
from translator import Translator
from translator.config import SearchOptions
from translator.engines import make_engine
from translator.engines.reference import ReferenceEngine
from translator.scoring import score_texts


def test_token_scores_are_those_of_scoring(tiny_model_directory: Path) -> None:
    translator = Translator.load(tiny_model_directory, engine="reference")
    found = token_scores(translator.loaded, encoded(translator.loaded, ENGLISH, FRENCH))
    expected = score_texts(translator, list(zip(ENGLISH, FRENCH, strict=True)))
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.log_probabilities == pytest.approx(theirs.log_probabilities, abs=1e-5)


def test_a_hit_is_what_greedy_search_would_choose_after_the_right_words(tiny_model_directory: Path) -> None:
    loaded = Translator.load(tiny_model_directory, engine="reference").loaded
    vocabulary = loaded.target_vocabulary
    engine = make_engine(
        loaded.model,
        source_eos_id=loaded.source_vocabulary.eos_id,
        target_eos_id=vocabulary.eos_id,
        forbidden=[vocabulary.pad_id],
        name="reference",
    )
    assert isinstance(engine, ReferenceEngine)
    # What the model itself would say, and one token more, so that there are hits and misses.
    said = Translator(loaded, engine=engine).translate(list(ENGLISH), SearchOptions(beam_size=1), split_sentences=False)
    targets = [[*translation.sentences[0].target_tokens, 5] for translation in said]
    sources = [loaded.source_vocabulary.encode(text) for text in ENGLISH]
    pairs = encoded_pairs(sources, targets)
    found = token_scores(loaded, pairs)
    assert 0 < sum(int(each.hits.sum()) for each in found) < sum(len(each.hits) for each in found)
    for index, each in enumerate(found):
        rows = engine.encode([pairs.source(index).tolist()])
        wanted = [*pairs.target(index).tolist(), vocabulary.eos_id]
        last = vocabulary.eos_id
        hits = []
        for token in wanted:
            log_probabilities, rows = engine.log_probabilities(rows, torch.tensor([last]))
            hits.append(int(log_probabilities.argmax()) == token)
            last = token
        assert each.hits.tolist() == hits


def test_accuracy_at_each_position_is_over_the_sentences_that_reach_it() -> None:
    hits = [np.array(each) for each in ([True, False, True], [True], [False, True])]
    assert accuracy_by_position(hits, 5) == [(3, 2 / 3), (2, 0.5), (1, 1.0)]
    assert accuracy_by_position(hits, 1) == [(3, 2 / 3)]


def test_parts_of_a_sentence() -> None:
    hits = np.array([True, True, False, False, True, False])
    assert hits_by_part(hits, 3).tolist() == [[2, 0, 1], [2, 2, 2]]
    assert hits_by_part(np.array([True]), 3).tolist() == [[1, 0, 0], [1, 0, 0]]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 6))
def test_parts_hold_every_token_once_and_are_nearly_equal(hits: list[bool], parts: int) -> None:
    found = hits_by_part(np.array(hits), parts)
    assert found.sum(axis=1).tolist() == [sum(hits), len(hits)]
    assert found[1].max() - found[1].min() <= 1
