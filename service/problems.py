"""Errors as answers: RFC 9457 problem details with, beside them, the member `error` that LibreTranslate's clients
read.
"""

from __future__ import annotations

import errno
import json
import traceback
from http import HTTPStatus

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
_NO_ROOM = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])


class Problem(Exception):  # noqa: N818  # an answer, by the name RFC 9457 gives it
    """An answer other than success: `status` is its HTTP status, `detail` a sentence for people."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None, reason: str = "") -> None:
        """`reason` is a word for the metrics, where the status alone does not tell."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.reason = reason


def bad_request(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def unavailable(detail: str, reason: str = "") -> Problem:
    """Status 503: the same request may succeed a little later."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, retry_after=RETRY_AFTER_SECONDS, reason=reason)


def problem_document(status: int, detail: str, *, instance: str = "", request_id: str = "") -> bytes:
    """The body of an error answer, UTF-8 encoded JSON."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "error": detail,
    }
    if instance:
        document["instance"] = instance
    if request_id:
        document["requestId"] = request_id
    return json.dumps(document, ensure_ascii=False).encode("utf-8", errors="backslashreplace")


def problem_response(problem: Problem) -> Response:
    g.rejection = problem.reason
    body = problem_document(problem.status, problem.detail, instance=request.path, request_id=g.get("request_id", ""))
    response = Response(body, status=problem.status, content_type=MEDIA_TYPE)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def register_problems(app: Flask) -> None:
    """Answer every error of `app` as a problem, those of Flask and those nobody foresaw included."""

    def on_problem(problem: Problem) -> Response:
        return problem_response(problem)

    def on_http_exception(error: HTTPException) -> Response:
        status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
        if status < HTTPStatus.BAD_REQUEST:  # a redirect
            return Response(status=status, headers=error.get_headers())
        details = {
            HTTPStatus.NOT_FOUND: f"There is nothing at {request.path}.",
            HTTPStatus.METHOD_NOT_ALLOWED: f"{request.path} does not answer to {request.method}.",
            HTTPStatus.TOO_MANY_REQUESTS: "Too many requests from this client; wait a little.",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"The body is larger than {app.config['MAX_CONTENT_LENGTH']:,} bytes.",
        }
        response = problem_response(Problem(status, details.get(HTTPStatus(status), error.description or error.name)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or []))
        if isinstance(error, RequestEntityTooLarge):
            # What is left of the body is not worth reading.
            response.headers["Connection"] = "close"
        return response

    def on_anything_else(error: Exception) -> Response:
        # The message of an exception may quote the user's text: only its type and place are logged.
        log.error("unexpected error", exception_type=type(error).__name__, frames=_frames(error))
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return problem_response(
                unavailable("There is no room left to keep files in; try again later.", "disk_full")
            )
        return problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on the server."))

    app.register_error_handler(Problem, on_problem)
    app.register_error_handler(HTTPException, on_http_exception)
    app.register_error_handler(Exception, on_anything_else)


def _frames(error: BaseException) -> list[str]:
    """The innermost calls of a traceback, without any value."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-10:]
    ]
