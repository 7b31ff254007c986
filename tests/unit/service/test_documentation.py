"""The OpenAPI document is valid and true, and its page shows it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.openapi import OPERATIONS

PAIR = {"source": "en", "target": "fr"}


@pytest.fixture
def spec(client: FlaskClient) -> Any:
    return client.get("/spec").json


def test_it_is_a_valid_document(spec: Any) -> None:
    assert spec["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(spec).iter_errors()) == []


def test_it_names_every_address_and_no_other(client: FlaskClient, spec: Any) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
    }
    described = {(path, method) for path, methods in spec["paths"].items() for method in methods}
    assert described == served


def test_it_states_the_limits_of_this_server(make_client: Any) -> None:
    client = make_client(characters_per_text=77, texts_per_request=5, alternatives=2)
    fields = client.get("/spec").json["components"]["schemas"]["TranslateRequest"]["properties"]
    text, texts = fields["q"]["anyOf"]
    assert (text["maxLength"], texts["maxItems"], texts["items"]["maxLength"]) == (77, 5, 77)
    assert fields["alternatives"]["anyOf"][0]["maximum"] == 2


def holds(spec: Any, answer: Any, schema: dict[str, Any]) -> None:
    Draft202012Validator({**schema, "components": spec["components"]}).validate(answer)


@pytest.mark.parametrize(
    "body",
    [
        {"q": "a", "alternatives": 2, "scores": True, "sentences": True},
        {"q": ["a\nb", "unheard", ""], "alternatives": 2, "scores": True, "sentences": True},
        {"q": ["Where is the station?"], "source": "auto"},
        {"q": "<p>a", "source": "auto", "format": "html"},
        {"q": ["a", ""], "alternatives": 1, "scores": True, "probabilities": True},
        {"q": 5},
        {"q": "a", "target": "xx"},
    ],
)
def test_answers_are_as_it_says(client: FlaskClient, spec: Any, body: dict[str, Any]) -> None:
    response = client.post("/translate", json=PAIR | body)
    described = spec["paths"]["/translate"]["post"]["responses"][str(response.status_code)]["content"]
    holds(spec, response.json, described[response.mimetype]["schema"])


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.method == "get"], ids=lambda one: str(one.path))
def test_what_is_read_is_as_it_says(client: FlaskClient, spec: Any, operation: Any) -> None:
    response = client.get(re.sub(r"{\w+}", "x", operation.path))
    described = spec["paths"][operation.path]["get"]["responses"][str(response.status_code)]["content"]
    schema = described[response.mimetype].get("schema")
    if schema:
        holds(spec, response.json, schema)


def test_deepl_and_detection_are_as_it_says(client: FlaskClient, spec: Any) -> None:
    for path, body in (
        ("/v2/translate", {"text": ["a"], "target_lang": "FR", "source_lang": "EN"}),
        ("/v2/translate", {"text": ["a"], "target_lang": "XX"}),
        ("/detect", {"q": "Where is the station?"}),
        ("/suggest", {}),
        ("/vectors", {"q": ["Where", "is", "it"], "vectors": True}),
        ("/vectors", {"q": "Where", "target": "xx"}),
        ("/similar", {"q": "Where"}),
    ):
        response = client.post(path, json=body)
        described = spec["paths"][path]["post"]["responses"][str(response.status_code)]["content"]
        holds(spec, response.json, described[response.mimetype]["schema"])


def test_the_page_shows_it_without_anything_from_elsewhere(client: FlaskClient, spec: Any) -> None:
    response = client.get("/docs")
    page = response.text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*\ssrc=)|\sstyle=|\son[a-z]+=", page), "the policy forbids inline code"
    for path in spec["paths"]:
        assert f"<code>{path}</code>" in page
    for name in spec["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert asset.startswith(("/", "#"))
        if asset.startswith("/"):
            with client.get(asset) as answer:
                assert answer.status_code == 200
    for link in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{link}"' in page
