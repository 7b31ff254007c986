"""How many requests a client may make, counted by flask-limiter. Off unless the settings or a key say a limit.

A client is a key, or else an address (of IPv6, its /64 network, which one customer commonly has whole). Counted is what
makes the service work: POST, but for administration.

They are counted in this process, or in a Redis for several workers and machines together. A Redis that is away or slow
takes nothing down: after half a second each worker counts in its own memory, and now and then (after 1, 2, 4 … 32
seconds) one request looks whether Redis is there again.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from typing import Any

from flask import Flask, Response, request
from flask_limiter import Limiter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from service.admission import TURN
from service.authentication import asking_key
from service.settings import Settings
from service.state import service

_REDIS_SECONDS = 0.5


def register(app: Flask, settings: Settings) -> None:
    """To be called when what finds out the key is registered, and before what answers requests is."""
    options: dict[str, Any] = {}
    if not settings.rate_limit_storage.startswith("memory:"):
        options = {
            "socket_connect_timeout": _REDIS_SECONDS,
            "socket_timeout": _REDIS_SECONDS,
            "retry": Retry(NoBackoff(), 0),
        }
    limiter = Limiter(
        _client,
        application_limits=[_limits],
        strategy="sliding-window-counter",
        storage_uri=settings.rate_limit_storage,
        storage_options=options,
        in_memory_fallback_enabled=True,
        swallow_errors=True,
        key_prefix="translate",
    )
    limiter.request_filter(_is_free)
    limiter.init_app(app)
    logger = logging.getLogger("flask-limiter")
    logger.setLevel(logging.WARNING)  # it names addresses at level INFO
    logger.addFilter(_in_one_line)

    def state_limits(response: Response) -> Response:
        limit = limiter.current_limit
        if limit is None:
            return response
        if (turn := request.environ.get(TURN)) is not None:
            turn.give()  # a Redis may take its time
        try:
            remaining, seconds = limit.remaining, max(1, round(limit.reset_at - time.time()))
        except Exception:  # whatever a storage that has just gone away raises
            return response
        response.headers["RateLimit-Limit"] = str(limit.limit.amount)
        response.headers["RateLimit-Remaining"] = str(remaining)
        response.headers["RateLimit-Reset"] = str(seconds)
        if limit.breached:
            response.headers["Retry-After"] = str(seconds)
        return response

    app.after_request(state_limits)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Of the requests that wait for a Redis just when it goes away, one makes the worker count by itself; the others
    pass uncounted, and each of them is reported like a fault of the program.
    """
    if record.exc_info and isinstance(record.exc_info[1], RedisError):
        record.exc_info = None
    return True


def _is_free() -> bool:
    return request.method != "POST" or request.path.startswith("/admin/")


def _client() -> str:
    key = asking_key()
    if key is not None:
        return f"key {key.name}"
    address = request.remote_addr or ""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket
        return address or "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _limits() -> str:
    key = asking_key()
    return (key.rate_limit if key is not None else "") or service().settings.rate_limit
