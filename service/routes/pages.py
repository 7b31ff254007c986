"""`GET /`: the page on which a person types and reads; `GET /vectors`: the page that shows sentence vectors."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, render_template, request

from service.files import KINDS
from service.languages import Languages, language_name
from service.state import service
from translator.card import Card

blueprint = Blueprint("pages", __name__)

# Those of Sutskever et al. 2014, Figure 2.
_ENGLISH_SENTENCES = (
    "Mary admires John",
    "Mary is in love with John",
    "Mary respects John",
    "John admires Mary",
    "John is in love with Mary",
    "John respects Mary",
    "She gave me a card in the garden",
    "In the garden, she gave me a card",
    "She was given a card by me in the garden",
    "In the garden, I gave her a card",
    "I gave her a card in the garden",
    "I was given a card by her in the garden",
)

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
    """For the pair that the query string names; of one that two models translate, it says nothing of a model."""
    shared = service()
    card, served = _chosen()
    asked = {"source": request.args.get("source", ""), "target": request.args.get("target", "")}
    own = served or asked["target"] not in shared.languages.targets.get(asked["source"], ())
    pair = _pair(card) if own else asked
    return page(
        "index.html",
        card=card,
        own=own,
        pair=pair,
        bleu=card.score("BLEU"),
        lengths=[part.model_dump() for part in card.bleu_by_length if own],
        source_name=language_name(pair["source"]),
        target_name=language_name(pair["target"]),
        languages=named(shared.languages),
        file_kinds=list(KINDS),
        similar=any(model.offer.pairs is not None for model in shared.models.current.models.values()),
        key_needed=shared.keys.needed,
        settings=shared.settings,
        address=request.host_url.rstrip("/"),
    )


@blueprint.get("/vectors")
def get_vectors() -> Response:
    shared = service()
    card, _ = _chosen()
    return page(
        "vectors.html",
        card=card,
        pair=_pair(card),
        cards=[model.offer.translator.card for model in shared.models.current.models.values()],
        source_name=language_name(card.source_language),
        sentences=_ENGLISH_SENTENCES if card.source_language == "en" else card.examples,
        key_needed=shared.keys.needed,
        settings=shared.settings,
    )


def _chosen() -> tuple[Card, bool]:
    """The card of the model for the languages that the query string names, else of the first; whether there is one."""
    serving = service().models.current
    model = serving.find(request.args.get("source") or None, request.args.get("target") or None)
    return (model or serving.default).offer.translator.card, model is not None


def _pair(card: Card) -> dict[str, str]:
    return {"source": card.source_language, "target": card.target_language}


def page(template: str, **values: Any) -> Response:
    """A page under the policy that it may load and run what this service sends, and nothing else."""
    response = make_response(render_template(template, **values))
    response.headers["Content-Security-Policy"] = POLICY
    return response


def named(languages: Languages) -> list[dict[str, Any]]:
    """What is translated into what, with the names of the languages."""
    return [
        {
            "code": source,
            "name": language_name(source),
            "targets": [{"code": target, "name": language_name(target)} for target in targets],
        }
        for source, targets in languages.targets.items()
    ]
