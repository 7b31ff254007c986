"""`POST /vectors`: sentences as vectors, and their places on a plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.projection import principal_components
from tests.unit.service.capitals import NearDecoder
from translator.pair_index import PairIndex

SENTENCES = ["salt", "salt", "pepper", "", "salt and pepper"]


def test_every_text_has_its_vector(client: FlaskClient) -> None:
    answer = client.post("/vectors", json={"q": SENTENCES, "vectors": True}).json
    assert answer["vectors"] == [NearDecoder.vector(sentence).tolist() for sentence in SENTENCES]
    assert len(answer["coordinates"]) == len(SENTENCES)
    assert answer["coordinates"][0] == pytest.approx(answer["coordinates"][1])
    assert "vectors" not in client.post("/vectors", json={"q": SENTENCES}).json


@pytest.mark.parametrize("fields", [{"q": "one"}, {"q": ["one"]}, {"q": ["one", "one"]}, {"q": [""]}])
def test_where_nothing_differs_all_lie_in_the_middle(client: FlaskClient, fields: dict[str, Any]) -> None:
    answer = client.post("/vectors", json=fields).json
    assert answer["explained"] == [0, 0]
    assert {tuple(place) for place in answer["coordinates"]} == {(0, 0)}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "q is missing"),
        ({"q": []}, "q is empty"),
        ({"q": ["a"] * 6}, "at most 5"),
        ({"q": "a" * 78}, "at most 77"),
        ({"q": "a", "source": "fr", "target": "en"}, "There is no model from French"),
        ({"q": "a", "vectors": "yes"}, "vectors"),
    ],
)
def test_bad_requests_are_told_in_words(make_client: Any, fields: dict[str, Any], words: str) -> None:
    response = make_client(characters_per_text=77, texts_per_request=5).post("/vectors", json=fields)
    assert response.status_code == 400
    assert words in response.json["error"]


def test_what_is_like_a_text_is_found(make_client: Any) -> None:
    words = ["salt", "pepper", "a late train", "the train was late"]
    index = PairIndex.of(
        [(word, word.upper()) for word in words], np.stack([NearDecoder.vector(word) for word in words])
    )
    client = make_client(pairs=index)
    found = client.post("/similar", json={"q": "late was the train", "count": 2}).json["pairs"]
    assert [(pair["source"], pair["target"]) for pair in found] == [
        ("the train was late", "THE TRAIN WAS LATE"),
        ("a late train", "A LATE TRAIN"),
    ]
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert len(client.post("/similar", json={"q": "salt"}).json["pairs"]) == 3
    for fields in ({"q": ""}, {"q": ["salt"]}, {"q": "salt", "count": 0}, {"q": "salt", "target": "xx"}):
        assert client.post("/similar", json=fields).status_code == 400
    assert 'data-similar-endpoint="/similar"' in client.get("/").text


def test_without_an_index_there_is_nothing_similar(client: FlaskClient) -> None:
    response = client.post("/similar", json={"q": "salt"})
    assert response.status_code == 404
    assert "python -m training index" in response.json["error"]
    assert 'data-similar-endpoint=""' in client.get("/").text


def test_regions_and_forms_are_understood(client: FlaskClient) -> None:
    expected = client.post("/vectors", json={"q": ["a", "b"]}).json
    assert client.post("/vectors", data={"q": ["a", "b"], "source": "EN-gb", "target": "fr"}).json == expected


vectors = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.integers(1, 9)),
    elements=st.floats(-100, 100, width=32, allow_nan=False),
)


@given(vectors)
def test_the_plane_is_that_of_the_largest_variance(vectors_ND: Any) -> None:
    coordinates_N2, explained = principal_components(vectors_ND)
    centred_ND = vectors_ND.astype(np.float64) - vectors_ND.astype(np.float64).mean(axis=0)
    eigenvalues = np.sort(np.linalg.eigvalsh(centred_ND @ centred_ND.T))[::-1]
    total = (centred_ND**2).sum()
    assert coordinates_N2.shape == (len(vectors_ND), 2)
    assert coordinates_N2.mean(axis=0) == pytest.approx([0, 0], abs=1e-3)
    if explained.any():
        variances = (coordinates_N2**2).sum(axis=0)
        wanted = np.pad(eigenvalues[:2], (0, max(0, 2 - len(eigenvalues))))
        assert variances == pytest.approx(wanted, rel=1e-6, abs=1e-6 * total)
        assert explained == pytest.approx(variances / total, abs=1e-6)
    else:
        assert total <= 1e-10 * (vectors_ND.astype(np.float64) ** 2).sum()


def test_the_same_vectors_give_the_same_picture_whatever_the_sign() -> None:
    rng = np.random.default_rng(1)
    vectors_ND = rng.normal(size=(6, 40)).astype(np.float32)
    coordinates_N2, _ = principal_components(vectors_ND)
    for column in coordinates_N2.T:
        assert column[np.abs(column).argmax()] > 0
