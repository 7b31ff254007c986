"""`POST /translate`, and `POST /suggest`, which is off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from itertools import chain
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request, stream_with_context

from service.problems import Problem
from service.schemas import TranslateRequest, read_request
from service.state import seconds_left, service
from service.translation import Translating

blueprint = Blueprint("translate", __name__)

EVENT_STREAM = "text/event-stream"


@blueprint.post("/translate")
def post_translate() -> Response:
    work = begin_work(read_request(TranslateRequest, request))
    if request.accept_mimetypes.best_match(["application/json", EVENT_STREAM]) != EVENT_STREAM:
        return jsonify(work.answer())
    events = work.events()
    first = next(events)  # what keeps the request from being served at all is said by the status
    response = Response(
        stream_with_context(_stream(chain([first], events))), content_type=f"{EVENT_STREAM}; charset=utf-8"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep the events together
    return response


@blueprint.post("/suggest")
def post_suggest() -> Response:
    raise Problem(HTTPStatus.FORBIDDEN, "Suggestions are switched off on this server.")


def begin_work(asked: TranslateRequest) -> Translating:
    """Check what depends on this server. Raises `Problem` (400)."""
    shared = service()
    asked.check_limits(shared.settings)
    g.measures = {"texts": len(asked.texts), "characters": sum(map(len, asked.texts))}
    return Translating(
        asked,
        route=shared.route,
        languages=shared.languages,
        most_pieces=shared.settings.queue_texts,
        seconds_left=seconds_left,
    )


def _stream(events: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """The events as they are sent; an error that comes later than the status is an event, too."""
    try:
        for name, data in events:
            yield f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
    except Exception as error:
        problem = current_app.make_response(current_app.handle_user_exception(error))
        yield f"event: error\ndata: {problem.get_data(as_text=True)}\n\n"
