"""The OpenAPI 3.1 document of the service, made from the schemas of requests and answers and from the settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import answers, schemas
from service.languages import AUTO, Languages
from service.problems import MEDIA_TYPE
from service.settings import Settings

JSON = "application/json"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_REFERENCE = "#/components/schemas/{model}"
_DESCRIPTIONS: dict[int, str] = {
    400: "The request is not understood, or asks for what is not there or over a limit.",
    403: "Not allowed, or switched off.",
    404: "There is nothing.",
    409: "Not possible as things are; everything stays as it was.",
    413: "The body is over the limit.",
    415: "The content type is not understood, or the body is compressed.",
    429: "Too many requests from one client; `Retry-After` says when to come again.",
    500: "The translator failed.",
    503: "Too much to do, not ready, shutting down, or no decoder or disk; `Retry-After` says when to come again.",
    504: "Not finished in time.",
}
_WORK = (400, 413, 415, 429, 500, 503, 504)


@dataclass(frozen=True)
class Operation:
    """One method of one path. `answer` is a schema, a list of one, or the content type of what is no JSON."""

    path: str
    method: str
    name: str
    summary: str
    answer: type[BaseModel] | list[type[BaseModel]] | str
    tag: str = "Translation"
    request: type[BaseModel] | None = None
    encodings: tuple[str, ...] = (JSON, *_FORMS)
    query: dict[str, dict[str, Any]] = field(default_factory=dict)  # parameters, by name
    events: tuple[type[BaseModel], ...] = ()  # their data
    problems: tuple[int, ...] = ()
    description: str = ""


OPERATIONS = (
    Operation(
        "/translate", "post", "translate", "Translate a text, or several.", answers.TranslateAnswer,
        request=schemas.TranslateRequest, events=(answers.SentenceEvent, answers.PrefixEvent), problems=(*_WORK, 403),
        description="The fields may also stand in the query string, with an empty body. With `Accept: "
        "text/event-stream` there is an event `sentence` for each sentence as it is finished, and in the end an event "
        "`done` with the whole answer, or an event `error` with a problem. With `stream=tokens`, events `prefix` "
        "before a sentence say what its translation is certain to begin with.",
    ),
    Operation(
        "/detect", "post", "detect", "Find out which language a text is in; the likeliest first.", [answers.Guess],
        request=schemas.DetectRequest, problems=(400, 403, 413, 415, 429, 503),
    ),
    Operation(
        "/suggest", "post", "suggest", "Suggest a better translation: switched off.", answers.Status,
        problems=(403, 429, 503),
    ),
    Operation("/languages", "get", "languages", "What is translated into what.", [answers.Language]),
    Operation(
        "/frontend/settings", "get", "frontendSettings", "What a page needs to know; the limits.",
        answers.FrontendSettings,
    ),
    Operation(
        "/translate_file", "post", "translateFile", "Translate a file.", answers.FileAnswer,
        request=schemas.FileRequest, encodings=("multipart/form-data",), problems=(*_WORK, 403),
    ),
    Operation(
        "/download_file/{name}", "get", "downloadFile", "A translated file, for 15 minutes.",
        "application/octet-stream", problems=(404,),
    ),
    Operation(
        "/vectors", "post", "vectors", "What the encoder makes of sentences, and their places on a plane.",
        answers.VectorsAnswer, request=schemas.VectorsRequest, problems=(*_WORK, 403), tag="Model",
    ),
    Operation(
        "/similar", "post", "similar", "The training pairs that are most like a text.", answers.SimilarAnswer,
        request=schemas.SimilarRequest, problems=(*_WORK, 403, 404), tag="Model",
        description="Where the model's directory has an index of them; python -m training index makes one.",
    ),
    Operation(
        "/v2/translate", "post", "translateAsDeepL", "Translate texts.", answers.DeepLAnswer, tag="DeepL",
        request=schemas.DeepLRequest, problems=(*_WORK, 403),
    ),
    Operation(
        "/v2/languages", "get", "languagesAsDeepL", "Source or target languages.", [answers.DeepLLanguage], tag="DeepL",
        query={"type": {"type": "string", "enum": ["source", "target"], "default": "source"}}, problems=(400,),
    ),
    Operation(
        "/health", "get", "health", "Whether the service lives.", answers.Status, tag="Operation", problems=(503,),
    ),
    Operation(
        "/ready", "get", "ready", "Whether requests should be sent here now.", answers.Status, tag="Operation",
        problems=(503,),
    ),
    Operation(
        "/model", "get", "model", "A model's card, and what is loaded.", answers.ModelCard, tag="Operation",
        query={"source": {"type": "string"}, "target": {"type": "string"}}, problems=(400,),
    ),
    Operation(
        "/metrics", "get", "metrics", "The service's numbers, for Prometheus.", "text/plain", tag="Operation",
        problems=(400, 403),
    ),
    Operation(
        "/admin/reload", "post", "reload", "Serve the models that are there now.", answers.ModelsChange,
        tag="Operation", problems=(400, 403, 409, 503),
        description="For a key with the scope `admin`. A model that does not stand the test leaves all as it was.",
    ),
    Operation(
        "/admin/rollback", "post", "rollback", "Serve the models from before the last change again.",
        answers.ModelsChange, tag="Operation", problems=(400, 403, 409, 503),
        description="For a key with the scope `admin`.",
    ),
    Operation("/spec", "get", "spec", "This document.", JSON, tag="Documentation"),
    Operation("/docs", "get", "docs", "This document as a page.", "text/html", tag="Documentation"),
    Operation("/", "get", "page", "The page to translate on.", "text/html", tag="Documentation"),
    Operation(
        "/vectors", "get", "vectorsPage", "The page that shows sentence vectors.", "text/html", tag="Documentation",
    ),
)  # fmt: skip


def document(settings: Settings, languages: Languages, version: str) -> dict[str, Any]:
    """The OpenAPI document; the limits of `settings` and the languages that are served stand in it."""
    models: set[type[BaseModel]] = {answers.ProblemAnswer}
    for operation in OPERATIONS:
        models.update(_models(operation))
    ordered = sorted(models, key=lambda model: model.__name__)
    inputs = [model for model in ordered if model.__module__ == schemas.__name__]
    _, definitions = models_json_schema(
        [(model, "validation" if model in inputs else "serialization") for model in ordered],
        ref_template=_REFERENCE,
    )
    components: dict[str, Any] = definitions["$defs"]
    for model in inputs:
        _state_limits(components[model.__name__], settings)
        _state_languages(components[model.__name__], languages)
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "seq2seq-translator",
            "version": version,
            "summary": "Translates texts and files, as LibreTranslate and DeepL do.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _models(operation: Operation) -> Iterable[type[BaseModel]]:
    answer = operation.answer if isinstance(operation.answer, list) else [operation.answer]
    return [
        model
        for model in (*answer, operation.request, *operation.events)
        if model is not None and not isinstance(model, str)
    ]


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": {"200": _success(operation)}
        | {str(status): _problem(status) for status in sorted(operation.problems)},
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in operation.query.items()
    ]
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        schema = {"$ref": _REFERENCE.format(model=operation.request.__name__)}
        described["requestBody"] = {
            "required": True,
            "content": {encoding: {"schema": schema} for encoding in operation.encodings},
        }
    return described


def _success(operation: Operation) -> dict[str, Any]:
    answer = operation.answer
    content: dict[str, Any]
    if isinstance(answer, str):
        content = {answer: {}}
    elif isinstance(answer, list):
        content = {JSON: {"schema": {"type": "array", "items": _reference(answer[0])}}}
    else:
        content = {JSON: {"schema": _reference(answer)}}
    if operation.events:
        names = " or a ".join(event.__name__ for event in operation.events)
        content["text/event-stream"] = {
            "schema": {
                "type": "string",
                "description": f"Events; their data, as JSON, is a {names}, or what the event of that name says.",
            }
        }
    return {"description": HTTPStatus.OK.phrase, "content": content}


def _problem(status: int) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "description": _DESCRIPTIONS[status],
        "content": {MEDIA_TYPE: {"schema": _reference(answers.ProblemAnswer)}},
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        problem["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return problem


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _state_limits(schema: dict[str, Any], settings: Settings) -> None:
    """Write this server's limits into the schema of a request, and that null counts as absent."""
    fields = schema["properties"]
    for name in fields.keys() - set(schema.get("required", [])):
        variants = fields[name].get("anyOf", [])
        if {"type": "null"} not in variants:
            described = {
                key: fields[name].pop(key) for key in ("description", "default", "title") if key in fields[name]
            }
            fields[name] = {"anyOf": [*(variants or [fields[name]]), {"type": "null"}], **described}
    for name in ("q", "text"):
        for variant in fields.get(name, {}).get("anyOf", [fields.get(name, {})]):
            if variant.get("type") == "string":
                variant |= {"minLength": 1, "maxLength": settings.characters_per_text}
            elif variant.get("type") == "array":
                variant |= {"minItems": 1, "maxItems": settings.texts_per_request}
                variant["items"] = {"type": "string", "maxLength": settings.characters_per_text}
    for name in ("alternatives", "beam_size", "max_length"):
        for variant in fields.get(name, {}).get("anyOf", [fields.get(name, {})]):
            if variant.get("type") == "integer":
                variant["maximum"] = getattr(settings, name)


def _state_languages(schema: dict[str, Any], languages: Languages) -> None:
    """Write the languages of this server into the schema of a request; codes with a region are understood, too."""
    sources = list(languages.targets)
    targets = list(dict.fromkeys(target for some in languages.targets.values() for target in some))
    fields = schema["properties"]
    for name, codes in (
        ("source", [AUTO, *sources]),
        ("target", targets),
        ("source_lang", [AUTO, *(code.upper() for code in sources)]),
        ("target_lang", [code.upper() for code in targets]),
    ):
        for variant in fields.get(name, {}).get("anyOf", [fields.get(name, {})]):
            if variant.get("type") == "string":
                variant["enum"] = codes
