"""The OpenAPI document prepared for its page: operations by tag, fields as rows, examples as commands."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A field of a request, or a parameter."""

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Entry:
    """An operation: `body` is an example of its request as JSON, where it takes such; `command` asks by curl."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    rows: tuple[Row, ...]
    body: str
    command: str
    answers: tuple[tuple[str, str, str], ...]  # status, content types, description
    schema: str  # name of the answer's schema, or ""


def sections(spec: dict[str, Any], known: dict[str, Any], address: str) -> dict[str, list[Entry]]:
    """The operations by their tags. `known` has values for examples, by the names of their fields."""
    found: dict[str, list[Entry]] = {}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append(_entry(spec, path, method, operation, known, address))
    return found


def type_name(schema: dict[str, Any]) -> str:
    """A schema in a few words: 'string or list of string', 'integer, at least 0, at most 10'."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(type_name(variant) for variant in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(repr(value) for value in schema["enum"])
    if schema.get("type") == "array":
        bound = f", at most {schema['maxItems']:,}" if "maxItems" in schema else ""
        return f"list of {type_name(schema.get('items', {}))}{bound}"
    words = [str(schema.get("type", "any"))]
    for key, phrase in (
        ("minimum", "at least {:,}"),
        ("maximum", "at most {:,}"),
        ("maxLength", "at most {:,} characters"),
    ):
        if key in schema:
            words.append(phrase.format(schema[key]))
    return ", ".join(words)


def _entry(
    spec: dict[str, Any], path: str, method: str, operation: dict[str, Any], known: dict[str, Any], address: str
) -> Entry:
    content = operation.get("requestBody", {}).get("content", {})
    reference = next((media["schema"].get("$ref", "") for media in content.values()), "")
    schema = spec["components"]["schemas"].get(reference.rpartition("/")[2], {})
    required = schema.get("required", [])
    rows = [
        Row(parameter["name"], type_name(parameter["schema"]), parameter["required"], "In the address.")
        for parameter in operation.get("parameters", [])
    ]
    rows += [
        Row(name, type_name(field), name in required, field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    ]
    example = {name: known[name] for name in required if name in known}
    body = json.dumps(example, ensure_ascii=False) if "application/json" in content and example else ""
    command = f"curl {address}{path}"
    if body:
        command = f"curl -X POST {address}{path} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    elif method == "post":
        fields = " ".join(f"-F {name}={known.get(name, '@text.txt')}" for name in required)
        command = f"curl -X POST {address}{path} {fields}".rstrip()
    success = operation["responses"]["200"]["content"]
    answer = next(iter(success.values())).get("schema", {})
    answer = answer.get("items", answer)
    return Entry(
        operation["operationId"],
        method.upper(),
        path,
        operation["summary"],
        operation.get("description", ""),
        tuple(rows),
        body,
        command,
        tuple(
            (status, ", ".join(response["content"]), response["description"])
            for status, response in operation["responses"].items()
        ),
        str(answer.get("$ref", "")).rpartition("/")[2],
    )
