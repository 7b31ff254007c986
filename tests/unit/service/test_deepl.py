"""`/v2`: DeepL's shape."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict


def ask(client: FlaskClient, **fields: Any) -> Any:
    response = client.post("/v2/translate", json={"target_lang": "FR"} | fields)
    assert response.status_code == 200, response.text
    return response.json["translations"]


def test_texts_in_order_with_their_languages(client: FlaskClient) -> None:
    assert ask(client, text=["Where is the station?", "Où est la gare ?"]) == [
        {"text": "WHERE IS THE STATION?", "detected_source_language": "EN", "billed_characters": 21},
        {"text": "Où est la gare ?", "detected_source_language": "FR", "billed_characters": 16},
    ]
    (one,) = ask(client, text=["a"], source_lang="EN", formality="more", split_sentences="1", unknown={})
    assert (one["text"], one["detected_source_language"]) == ("A", "EN")


def test_forms(client: FlaskClient) -> None:
    form = MultiDict([("text", "a"), ("text", "b"), ("source_lang", "EN"), ("target_lang", "FR")])
    for response in (client.post("/v2/translate", data=form), client.post("/v2/translate", query_string=form)):
        assert [one["text"] for one in response.json["translations"]] == ["A", "B"]
    response = client.post("/v2/translate", query_string={"text": "a", "source_lang": "en", "target_lang": "fr"})
    assert [one["text"] for one in response.json["translations"]] == ["A"]


def test_tags(client: FlaskClient) -> None:
    (one,) = ask(client, text="<p>a &lt;</p>", source_lang="EN", tag_handling="html")
    assert one["text"] == "<p>A &lt;</p>"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": []},
        {"text": [""] * 101},
        {"text": [5]},
        {"text": ["a"], "target_lang": "XX"},
        {"text": ["a"], "glossary_id": "x"},
        {"text": ["a"], "tag_handling": "x"},
    ],
)
def test_bad_requests(client: FlaskClient, fields: dict[str, Any]) -> None:
    response = client.post("/v2/translate", json={"target_lang": "FR"} | fields)
    assert response.status_code == 400
    assert response.json["detail"]


def test_languages(client: FlaskClient) -> None:
    assert client.get("/v2/languages").json == [{"language": "EN", "name": "English", "supports_formality": False}]
    assert client.get("/v2/languages?type=target").json[0]["language"] == "FR"
    assert client.get("/v2/languages", data={"type": "target"}).json[0]["language"] == "FR"
    assert client.get("/v2/languages?type=x").status_code == 400
