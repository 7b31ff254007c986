"""`GET /spec`, the OpenAPI document, and `GET /docs`, the same as a page."""

from __future__ import annotations

import json

from flask import Blueprint, Response, jsonify, make_response, render_template, request

from service.documentation import sections
from service.openapi import document
from service.routes.pages import POLICY
from service.state import service
from translator import __version__

blueprint = Blueprint("documentation", __name__)


@blueprint.get("/spec")
def get_spec() -> Response:
    shared = service()
    return jsonify(document(shared.settings, shared.languages, __version__))


@blueprint.get("/docs")
def get_docs() -> Response:
    shared = service()
    spec = document(shared.settings, shared.languages, __version__)
    example = shared.card.examples[0] if shared.card.examples else "Hello."
    known = {
        "q": example,
        "text": [example],
        "source": shared.card.source_language,
        "target": shared.card.target_language,
        "target_lang": shared.card.target_language.upper(),
    }
    page = render_template(
        "docs.html", spec=spec, sections=sections(spec, known, request.host_url.rstrip("/")), dumps=json.dumps
    )
    response = make_response(page)
    response.headers["Content-Security-Policy"] = POLICY
    return response
