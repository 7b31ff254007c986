"""What is noted of every request: its id, its place in a trace, a line in the log, its numbers in the metrics.

No text, key, query string or address that was asked for is noted anywhere, only the route.
"""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, g, request

from service.state import Service, service
from service.tracing import random_id

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_QUIET_ENDPOINTS = frozenset(["operations.get_health", "operations.get_ready", "operations.get_metrics", "static"])
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    # A page says for itself what it needs.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
_POLICY = "Content-Security-Policy"
_BESIDE_THE_POLICY = {name: value for name, value in SECURITY_HEADERS.items() if name != _POLICY}
_UNKNOWN_ROUTE = "unknown"
_REASONS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "invalid",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "media_type",
    HTTPStatus.TOO_MANY_REQUESTS: "rate",
    HTTPStatus.INTERNAL_SERVER_ERROR: "failed",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "deadline",
}
"""Why a request was not served, where its problem does not say so itself."""


def register(app: Flask) -> None:
    """To be called before anything else that looks at requests is registered."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.teardown_request(_forget)


def request_id_of(given: str) -> str:
    """The id that its sender gave a request, if it is one; else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else random_id(128)


def count(
    shared: Service, method: str, route: str, status: int, seconds: float, reason: str, span: Span | None
) -> None:
    """Put an answered request into the metrics, and send its span; `reason` says why it was refused, if it was."""
    shared.metrics.count_request(route, status, seconds, reason)
    if span is not None:
        shared.tracing.end(span, method=method, route=route, status=status)


def _begin() -> None:
    g.started = time.monotonic()
    g.request_id = request_id_of(request.headers.get("X-Request-ID", ""))
    g.trace, g.span = service().tracing.begin(request.headers.get("traceparent", ""))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id, trace_id=g.trace.trace_id, span_id=g.trace.span_id)
    service().metrics.requests_in_progress.inc()
    g.in_progress = True


def _finish(response: Response) -> Response:
    shared = service()
    response.headers["X-Request-ID"] = g.request_id
    response.headers["traceparent"] = g.trace.traceparent
    response.headers.extend(_BESIDE_THE_POLICY)
    response.headers.setdefault(_POLICY, SECURITY_HEADERS[_POLICY])
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.method == "POST":
        response.headers.setdefault("Cache-Control", "no-store")
    seconds = time.monotonic() - g.started
    route = request.url_rule.rule if request.url_rule else None
    status = response.status_code
    reason = g.get("rejection") or _REASONS.get(status, "")
    count(shared, request.method, route or _UNKNOWN_ROUTE, status, seconds, reason, g.span)
    report = log.debug if request.endpoint in _QUIET_ENDPOINTS else log.info
    report(
        "request",
        method=request.method,
        route=route,
        status=status,
        milliseconds=round(1000 * seconds, 1),
        **g.get("measures", {}),
    )
    return response


def _forget(_: BaseException | None) -> None:
    if g.pop("in_progress", False):  # Flask comes here twice for a stream whose client has gone
        service().metrics.requests_in_progress.dec()
