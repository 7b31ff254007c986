"""The Flask application: `create_app(settings, translator, decoder)`."""

from __future__ import annotations

import re
import time
import uuid
from http import HTTPStatus

import structlog
from flask import Flask, Response, g, request

from service import state
from service.admission import REFUSED, Admission
from service.batching import DrainingError, QueueFullError, TranslationFailedError
from service.decoder import Decoder, TextTranslator
from service.problems import Problem, problem_response, register_problems, unavailable
from service.routes import deepl, documentation, files, languages, operations, pages, translate
from service.settings import Settings
from translator.ticket import DeadlineError

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_QUIET_ENDPOINTS = frozenset(["operations.get_health", "operations.get_ready", "static"])


def create_app(settings: Settings, translator: TextTranslator, decoder: Decoder) -> Flask:
    """The service as a WSGI application; starts the decoder thread, to which `decoder` belongs from then on.

    The application's state is at `service_of(app)`; `service_of(app).batcher.stop()` ends the decoder thread.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.body_bytes
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # French is read by people, too
    app.json.sort_keys = False  # type: ignore[attr-defined]
    state.attach(app, state.Service.start(settings, translator, decoder))

    app.before_request(_begin)
    app.before_request(_refuse_over_limit)
    app.after_request(_finish)
    for module in (translate, deepl, files, languages, operations, pages, documentation):
        app.register_blueprint(module.blueprint)
    register_problems(app)
    for exception, problem in (
        (QueueFullError, unavailable("Too much is waiting for translation; try again in a moment.")),
        (DrainingError, unavailable("The service is shutting down; try again in a moment.")),
        (
            DeadlineError,
            Problem(HTTPStatus.GATEWAY_TIMEOUT, "The translation was not finished in time; send less text at once."),
        ),
        (TranslationFailedError, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The translator failed on this text.")),
    ):
        app.register_error_handler(exception, lambda _, problem=problem: problem_response(problem))
    app.wsgi_app = Admission(app.wsgi_app, settings.concurrent_requests)  # type: ignore[method-assign]
    return app


def _begin() -> None:
    g.started = time.monotonic()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _refuse_over_limit() -> None:
    if REFUSED in request.environ:
        raise unavailable("Too many requests at once; try again in a moment.")


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    # The query string is left out on purpose: it may hold the text.
    report = log.debug if request.endpoint in _QUIET_ENDPOINTS else log.info
    report(
        "request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        milliseconds=round(1000 * (time.monotonic() - g.started), 1),
        **g.get("measures", {}),
    )
    return response
