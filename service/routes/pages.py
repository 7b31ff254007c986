"""`GET /`: the page on which a person types and reads."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, render_template, request

from service.languages import language_name
from service.state import service

blueprint = Blueprint("pages", __name__)

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@blueprint.get("/")
def get_page() -> Response:
    shared = service()
    card = shared.card
    page = render_template(
        "index.html",
        card=card,
        bleu=card.score("BLEU"),
        source_name=language_name(card.source_language),
        target_name=language_name(card.target_language),
        settings=shared.settings,
        address=request.host_url.rstrip("/"),
    )
    response = make_response(page)
    response.headers["Content-Security-Policy"] = POLICY
    return response
