"""The Flask application: `create_app(settings, find)`."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, request
from flask_cors import CORS

from service import authentication, limits, observation, state
from service.admission import REFUSED, Admission
from service.jobs import (
    ClientGoneError,
    DecoderEndedError,
    DrainingError,
    QueueFullError,
    TooMuchWorkError,
    TranslationFailedError,
)
from service.models import LoadError, Offer
from service.problems import Problem, bad_request, problem_response, register_problems, unavailable
from service.proxies import TrustedProxies
from service.routes import deepl, documentation, files, languages, operations, pages, translate, vectors
from service.schemas import check_body
from service.settings import Settings
from translator.ticket import DeadlineError

_EXPOSED_HEADERS = ["X-Request-ID", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]


def create_app(settings: Settings, find: Callable[[], list[Offer]]) -> Flask:
    """The service as a WSGI application, with the models that `find` finds, now and at each reload.

    The application's state is at `service_of(app)`; `service_of(app).models.stop()` ends the decoders. Raises
    `ValueError` where a model, or another thing that settings name, cannot be used.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.body_bytes
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # French is read by people, too
    app.json.sort_keys = False  # type: ignore[attr-defined]
    state.attach(app, state.Service.start(settings, find))

    observation.register(app)
    app.before_request(_refuse_over_limit)
    app.before_request(_check_body)
    app.before_request(_check_host)
    authentication.register(app)
    if settings.allowed_origins:
        CORS(
            app,
            origins=settings.allowed_origins,
            send_wildcard="*" in settings.allowed_origins,
            expose_headers=_EXPOSED_HEADERS,
            max_age=600,
        )
    if settings.rate_limit or settings.api_keys:  # a key may have a limit of its own
        limits.register(app, settings)
    for module in (translate, deepl, files, languages, operations, pages, vectors, documentation):
        app.register_blueprint(module.blueprint)
    register_problems(app)
    for exception, problem in (
        (
            QueueFullError,
            unavailable(*state.QUEUE_FULL),
        ),
        (DrainingError, unavailable("The service is shutting down; try again in a moment.", "draining")),
        (
            DeadlineError,
            Problem(HTTPStatus.GATEWAY_TIMEOUT, "The translation was not finished in time; send less text at once."),
        ),
        (ClientGoneError, Problem(HTTPStatus.REQUEST_TIMEOUT, "Nobody waits for the answer.", reason="client_gone")),
        (
            DecoderEndedError,
            unavailable(
                "The decoder ended while it had this text; it is started again, try again in a moment.", "decoder"
            ),
        ),
        (TranslationFailedError, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The translator failed on this text.")),
    ):
        app.register_error_handler(exception, lambda _, problem=problem: problem_response(problem))
    if settings.proxy_networks:
        app.wsgi_app = TrustedProxies(app.wsgi_app, settings.proxy_networks)  # type: ignore[method-assign]
    app.register_error_handler(
        LoadError, lambda error: problem_response(Problem(HTTPStatus.CONFLICT, str(error), reason="reload"))
    )
    app.register_error_handler(
        TooMuchWorkError,
        lambda error: problem_response(Problem(HTTPStatus.BAD_REQUEST, str(error), reason="too_much_work")),
    )
    admission = Admission(app.wsgi_app, settings.concurrent_requests)
    app.wsgi_app = admission  # type: ignore[method-assign]
    state.service_of(app).admission = admission
    return app


def _refuse_over_limit() -> None:
    if REFUSED in request.environ:
        raise unavailable(*state.TOO_MANY_REQUESTS)


def _check_host() -> None:
    """Pages have addresses in them that begin with it."""
    if request.method == "GET":
        try:
            _ = request.host_url
        except UnicodeError:
            raise bad_request("The Host header is no name of a host.") from None


def _check_body() -> None:
    if request.method == "POST":
        check_body(request)
