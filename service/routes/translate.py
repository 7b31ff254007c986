"""`POST /translate`, and `POST /suggest`, which is off."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, g, jsonify, request

from service.problems import Problem
from service.schemas import TranslateRequest, read_request
from service.state import seconds_left, service
from service.translation import translate

blueprint = Blueprint("translate", __name__)


@blueprint.post("/translate")
def post_translate() -> Response:
    shared = service()
    asked = read_request(TranslateRequest, request)
    asked.check_limits(shared.settings)
    g.measures = {"texts": len(asked.texts), "characters": sum(map(len, asked.texts))}
    answer = translate(
        asked,
        route=shared.route,
        languages=shared.languages,
        most_pieces=shared.settings.queue_texts,
        seconds_left=seconds_left,
    )
    return jsonify(answer)


@blueprint.post("/suggest")
def post_suggest() -> Response:
    raise Problem(HTTPStatus.FORBIDDEN, "Suggestions are switched off on this server.")
