"""Who asks, and whether they may: API keys and their scopes.

A key is taken from `Authorization: Bearer KEY` or `DeepL-Auth-Key KEY`, or from the field `api_key` of the body or of
the query string, as LibreTranslate's clients send it. It is never logged, and no address that we write holds it.
"""

from __future__ import annotations

import json
from http import HTTPStatus

import structlog
from flask import Flask, Request, g, request
from werkzeug.exceptions import MethodNotAllowed

from service.keys import Key, Scope
from service.problems import Problem
from service.state import service

_SCHEMES = frozenset(["bearer", "deepl-auth-key"])
_FIELD = "api_key"


def register(app: Flask) -> None:
    app.before_request(_authorise)


def asking_key() -> Key | None:
    """The key of this request, if it has one that we know."""
    key: Key | None = g.get("key")
    return key


def needed_scope(asked: Request) -> Scope | None:
    """What a key must be for. Reading about the service is free; all that makes it work is not."""
    if asked.path.startswith("/admin/"):
        return "admin"
    if asked.path == "/metrics":
        return "metrics"
    return "translate" if asked.method == "POST" else None


def _authorise() -> None:
    scope = needed_scope(request)
    if scope is None or isinstance(request.routing_exception, MethodNotAllowed):
        return
    keys = service().keys
    if not keys.needed:
        if scope == "admin":
            raise Problem(
                HTTPStatus.FORBIDDEN, "This is for administrators, and the server has no keys (TRANSLATE_API_KEYS)."
            )
        return
    secret = _secret(request)
    if not secret:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "An API key is needed: send it as api_key, or in the header Authorization.",
            reason="key_missing",
        )
    key = keys.find(secret)
    if key is None:
        raise Problem(HTTPStatus.FORBIDDEN, "This API key is not known here.", reason="key_unknown")
    if scope not in key.scopes:
        raise Problem(HTTPStatus.FORBIDDEN, f"This API key is not for {scope}.", reason="scope")
    g.key = key
    structlog.contextvars.bind_contextvars(key_name=key.name)


def _secret(asked: Request) -> str:
    scheme, _, secret = asked.headers.get("Authorization", "").partition(" ")
    if scheme.lower() in _SCHEMES and secret.strip():
        return secret.strip()
    try:
        field = asked.args.get(_FIELD) or asked.form.get(_FIELD)
    except UnicodeDecodeError:  # bytes in the query string that no browser sends
        return ""
    if not field and asked.is_json:
        field = _json_field(asked.get_data())
    return field or ""


def _json_field(body: bytes) -> str:
    """What is wrong with the JSON is said when the request is read."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    secret = document.get(_FIELD) if isinstance(document, dict) else None
    return secret if isinstance(secret, str) else ""
