"""gunicorn around the application: its worker with a decoder process of its own, and an orderly end.

SIGTERM, Ctrl-C and a terminal that closes drain: nothing new is taken in, what was taken in is answered, the exit
status is 0. A second Ctrl-C ends at once. A model that cannot be loaded ends the whole service with exit status 2
instead of being tried for ever, and so does a decoder process that ends again and again.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import select
import shlex
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
import structlog
from flask import Flask
from gunicorn import util
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import AppImportError
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn

from service.application import create_app
from service.arrival import HeadTooLargeError, Stage, TooSlowError
from service.arrival_worker import HEAD_SECONDS, ArrivalWorker
from service.languages import language_name
from service.library import find_offers
from service.metrics import forget_process
from service.models import LoadError, Models
from service.problems import MEDIA_TYPE, bad_request, problem_document, problem_response
from service.settings import Settings
from service.state import service_of
from service.terminal import Terminal
from translator.card import Card

log = structlog.get_logger(__name__)

BAD_START = 2
"""Exit status where the service cannot start as it was told to."""

_KEEP_ALIVE_SECONDS = 5
_CONNECTIONS = 800
_DRAIN_MARGIN_SECONDS = 10.0
_LOADING_SECONDS = 300
_LOOK_SECONDS = 1.0
# With a hundred request threads, the one that accepts connections would else wait 5 ms for each of them.
_SWITCH_SECONDS = 0.001
_REQUEST_LINE_BYTES = 8190
_HTTP_1_1 = (1, 1)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn is not typed
    """The service on a listening socket. `run` returns only by `SystemExit`."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._descriptor = listener.detach()  # gunicorn owns it from here on
        self.terminal = Terminal()
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"fd://{self._descriptor}",
            "workers": settings.workers,
            "worker_class": Worker,
            "threads": settings.request_threads,
            # Those without a request under way cost a file descriptor each, of 1,024 that a process commonly may have.
            "worker_connections": max(_CONNECTIONS, 2 * settings.request_threads),
            "keepalive": _KEEP_ALIVE_SECONDS,
            "timeout": _LOADING_SECONDS,
            "graceful_timeout": round(settings.connection_seconds + _DRAIN_MARGIN_SECONDS),
            "forwarded_allow_ips": "",  # whom to believe is said by TRANSLATE_TRUSTED_PROXIES (service.proxies)
            "limit_request_line": _REQUEST_LINE_BYTES,
            "logger_class": GunicornLogger,
            "loglevel": "debug" if settings.log_level == "debug" else "warning",
            "control_socket_disable": True,
            "post_worker_init": _announce,
            "child_exit": _count_out,
        }
        if Path("/dev/shm").is_dir():
            options["worker_tmp_dir"] = "/dev/shm"  # the heartbeat must not wait for a disk
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application with its models; called in the worker, after the fork."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            app = create_app(self._settings, partial(find_offers, self._settings))
            service_of(app).warm_up()
        except ValueError as error:  # its message says what to do
            raise AppImportError(f"Error: {error}") from None
        except OSError as error:
            raise AppImportError(
                f"Error: {error}. Loading takes some 70 MiB in the folder for temporary files, "
                f"{tempfile.gettempdir()}; TMPDIR names another"
            ) from None
        # A chunked body is parsed while the application reads it.
        app.register_error_handler(
            errors.ParseException, lambda _: problem_response(bad_request("The body is not validly chunked."))
        )
        gc.freeze()  # what has been loaded stays; looking through it again would stop all threads
        return app

    def run(self) -> None:
        settings = self._settings
        if settings.rate_limit and settings.workers > 1 and settings.rate_limit_storage.startswith("memory:"):
            log.warning(
                "every worker counts requests for itself: a client may make so many times as many as "
                "TRANSLATE_RATE_LIMIT says; TRANSLATE_RATE_LIMIT_STORAGE=redis://... counts them together",
                workers=settings.workers,
            )
        DrainingArbiter(self).run()


def _count_out(_: Arbiter, worker: Worker) -> None:
    forget_process(worker.pid)


def _announce(worker: Worker) -> None:
    if worker.age == 1:
        host, port = worker.sockets[0].getsockname()[:2]
        models = service_of(worker.wsgi).models.current.models.values()
        click.echo(announcement([model.offer.translator.card for model in models], host, port))


def announcement(cards: Sequence[Card], host: str, port: int) -> str:
    """What a person wants to know when the service has started: the models, the address and a command to try."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    address = f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
    card = cards[0]
    body = {
        "q": card.examples[0] if card.examples else "Hello.",
        "source": card.source_language,
        "target": card.target_language,
    }
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    models = "".join(f"  {_described(card)}\n" for card in cards)
    return (
        f"\n{models}  {address}  (Ctrl-C stops)\n\n"
        f"  curl -X POST {address}/translate -H 'Content-Type: application/json' -d {data}\n"
    )


def _described(card: Card) -> str:
    bleu = card.score("BLEU")
    quality = f"BLEU {bleu.value:.1f} on {bleu.test_set}" if bleu else "BLEU not measured"
    return f"{card.name}: {language_name(card.source_language)} → {language_name(card.target_language)}, {quality}"


class DrainingArbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's master process, with Ctrl-C as gentle as SIGTERM."""

    def handle_int(self) -> None:
        raise StopIteration

    def handle_hup(self) -> None:
        """Every worker loads the models that are there now (gunicorn would start all workers anew)."""
        if self.app.terminal.has_closed:
            raise StopIteration
        self.kill_workers(signal.SIGHUP)

    def handle_usr2(self) -> None:
        """Every worker goes back to the models from before."""
        self.kill_workers(signal.SIGUSR2)

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        super().halt(reason=reason, exit_status=BAD_START if exit_status == self.APP_LOAD_ERROR else exit_status)


class GunicornLogger(Logger):  # type: ignore[misc]
    """gunicorn's messages on the service's own way out; it keeps no access log of its own (see `application`)."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers = []
            logger.propagate = True
        logging.getLogger("gunicorn.error").setLevel(cfg.loglevel.upper())

    def error(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Where the model cannot be loaded, the worker has said so in one line; that it ended for it is no news."""
        if Arbiter.APP_LOAD_ERROR in args:
            logging.getLogger("gunicorn.error").setLevel(logging.CRITICAL)
        super().error(msg, *args, **kwargs)


class Worker(ArrivalWorker):
    """A worker that gives a thread to nobody for ever, and ends with its decoder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ends: dict[TConn, float] = {}
        self._connection_seconds = self.cfg.graceful_timeout - _DRAIN_MARGIN_SECONDS
        self.patience[Stage.BODY] = self._connection_seconds
        self._next_look = 0.0
        self.alive: bool
        self._decoder_lost = False

    def init_signals(self) -> None:
        super().init_signals()
        # A terminal sends Ctrl-C to every process of the group: the master answers for all.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, lambda *_: self._exchange("reload"))
        signal.signal(signal.SIGUSR2, lambda *_: self._exchange("rollback"))

    def _exchange(self, how: str) -> None:
        """Beside all else, because loading takes a while."""
        if self.wsgi is not None and not self.app.terminal.has_closed:
            threading.Thread(target=_exchange_models, args=(service_of(self.wsgi).models, how), daemon=True).start()

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.door.report()
            service_of(self.wsgi).models.stop(_DRAIN_MARGIN_SECONDS)
        if self._decoder_lost:
            raise AppImportError("Error: the service has ended, because its decoder cannot go on")

    def notify(self) -> None:
        """Called at every turn of the poller, and once a second at least: also ends without a decoder, brings the
        metrics up to date, and cuts off the connections whose time is up.
        """
        super().notify()
        if self.alive and not service_of(self.wsgi).alive:
            self._decoder_lost, self.alive = True, False
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        service_of(self.wsgi).observe()
        self.door.report()
        for connection, end in list(self._ends.items()):
            if now > end:
                self._ends.pop(connection, None)
                with contextlib.suppress(OSError):  # it may have been closed a moment ago
                    connection.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it

    def set_accept_enabled(self, enabled: bool) -> None:
        if enabled or self.alive:
            super().set_accept_enabled(enabled)
            return
        # The end: clients that are connected already are answered, others are to find the port closed.
        service_of(self.wsgi).models.drain()
        for listener in self.sockets:
            while select.select([listener], [], [], 0)[0]:
                self.accept(listener)
        super().set_accept_enabled(enabled)
        for listener in self.sockets:
            listener.close()
        self.call_last()

    def handle(self, conn: TConn) -> Any:
        self._ends[conn] = time.monotonic() + HEAD_SECONDS
        try:
            return super().handle(conn)
        finally:
            self._ends.pop(conn, None)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        self._ends[conn] = time.monotonic() + self._connection_seconds
        req.version = min(req.version, _HTTP_1_1)  # gunicorn would answer in the version of the request
        try:
            return super().handle_request(req, conn)
        finally:  # the next one's head, if it is this thread's, too
            self._ends[conn] = time.monotonic() + HEAD_SECONDS

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what is not even HTTP; as JSON, and without a word of the request in the log."""
        status = _status_of(exc)
        details = {
            HTTPStatus.BAD_REQUEST: "This is not a valid HTTP request.",
            HTTPStatus.REQUEST_TIMEOUT: "The request did not come in time.",
            HTTPStatus.REQUEST_URI_TOO_LONG: f"The address is over {_REQUEST_LINE_BYTES} bytes: send a body.",
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers are too large.",
        }
        service_of(self.wsgi).metrics.rejections.labels("malformed").inc()
        log.warning("request refused", status=int(status), exception_type=type(exc).__name__)
        body = problem_document(status, details.get(status, status.phrase))
        head = (
            f"HTTP/1.1 {int(status)} {status.phrase}\r\nConnection: close\r\n"
            f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, head.encode("ascii") + body)
        except OSError:
            log.debug("client gone before the answer")


def _exchange_models(models: Models, how: str) -> None:
    try:
        change = models.reload(wait=True) if how == "reload" else models.rollback(wait=True)
        log.info("models exchanged", how=how, loaded=change.loaded, removed=change.removed)
    except LoadError as error:
        log.error("models not exchanged", how=how, reason=str(error))


def _status_of(error: BaseException) -> HTTPStatus:
    """The status that fits an error of gunicorn's HTTP parser, or of a request's arrival."""
    for kind, status in (
        (TooSlowError, HTTPStatus.REQUEST_TIMEOUT),
        (HeadTooLargeError, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
        (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (errors.UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
        (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
        (errors.ParseException, HTTPStatus.BAD_REQUEST),
    ):
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR
