"""Sentences in the space of h(x): components, cosines, phrases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ENGLISH
from training.phrases import PHRASES, Panel, PhraseSet, Triple
from training.sentence_space import (
    centred_vectors,
    cosine_distance,
    neighbours_of_one_group,
    principal_components,
    voice_and_order,
)
from translator.directory import load_model


@given(st.integers(0, 10_000))
def test_components_do_not_depend_on_how_the_space_is_turned_or_mirrored(seed: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(7, 5)) * [5.0, 2.0, 0.5, 0.2, 0.1]
    turned, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    coordinates, shares = principal_components(vectors)
    for other in (vectors @ turned, -vectors @ turned @ -turned.T, vectors + generator.normal(size=5)):
        same, its_shares = principal_components(other)
        np.testing.assert_allclose(same, coordinates, atol=1e-9)
        np.testing.assert_allclose(its_shares, shares, atol=1e-9)


def test_components_of_points_on_a_line_are_the_line() -> None:
    points = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    coordinates, shares = principal_components(points)
    assert np.abs(np.diff(coordinates[:, 0])).tolist() == pytest.approx([5.0, 5.0])
    assert coordinates[:, 1].tolist() == pytest.approx([0.0, 0.0, 0.0])
    assert shares.tolist() == pytest.approx([1.0, 0.0])


def test_cosine_distances() -> None:
    east, north = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    assert cosine_distance(east, 3 * east) == pytest.approx(0.0)
    assert cosine_distance(east, north) == pytest.approx(1.0)
    assert cosine_distance(east, -east) == pytest.approx(2.0)


def test_voice_and_order_of_known_vectors() -> None:
    phrases = PhraseSet((), (Triple("active", "passive", "exchanged"),))
    vectors = {"active": np.array([1.0, 0.0]), "passive": np.array([1.0, 0.0]), "exchanged": np.array([0.0, 1.0])}
    found = voice_and_order(phrases, vectors)
    assert (found.voice.tolist(), found.order.tolist(), found.misled.tolist()) == ([0.0], [1.0], [1.0])


def test_neighbours_of_known_vectors() -> None:
    panel = Panel("", (("a", 0), ("b", 0), ("c", 1), ("d", 1)))
    angles = {"a": 0.0, "b": 0.1, "c": 0.25, "d": 2.0}  # c lies nearer to b than to d
    vectors = {name: np.array([np.cos(angle), np.sin(angle)]) for name, angle in angles.items()}
    assert neighbours_of_one_group(panel, vectors) == [True, True, False, True]


def test_vectors_are_centred_on_ordinary_sentences(tiny_model_directory: Path) -> None:
    loaded = load_model(tiny_model_directory)
    vectors = centred_vectors(loaded, ENGLISH, ENGLISH)
    assert list(vectors) == list(ENGLISH)
    config = loaded.config
    assert {vector.shape for vector in vectors.values()} == {(2 * config.num_layers * config.hidden_size,)}
    np.testing.assert_allclose(np.mean(list(vectors.values()), axis=0), 0.0, atol=1e-6)


@pytest.mark.parametrize("language", PHRASES)
def test_phrases_are_distinct_and_every_group_has_as_many(language: str) -> None:
    phrases = PHRASES[language]
    for panel in phrases.panels:
        assert len({text for text, _ in panel.phrases}) == 6
        assert sorted(group for _, group in panel.phrases) == [0, 0, 0, 1, 1, 1]
    for triple in phrases.triples:
        assert len({triple.active, triple.passive, triple.exchanged}) == 3
    assert len(phrases.triples) == 8
