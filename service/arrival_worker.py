"""A gunicorn worker that gives a thread to a request that has come, and to nobody who is still sending one."""

from __future__ import annotations

import math
import select
import selectors
import socket
import time
from collections import deque
from concurrent.futures import Future
from functools import cached_property, partial
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from service.arrival import HeadTooLargeError, Stage, TooSlowError, awaited, peek, take, wake_at
from service.gathering import GatheringSelector
from service.shedding import Door
from service.state import service_of

_BEGINNING_SECONDS = 15.0
HEAD_SECONDS = 20.0
_LAST_CALL_SECONDS = 1.0
_GATHERING_SECONDS = 0.016
_ACCEPTED_AT_ONCE = 256
# A client that waits for each answer sends its next request at once. To hand its connection to the poller and back
# costs two switches of threads and several system calls.
_LINGERING_SECONDS = 0.005


class ArrivalWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn is not typed
    """The poller waits for any number of clients; how long, `patience` says for each stage, in seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.patience = {Stage.BEGINNING: _BEGINNING_SECONDS, Stage.HEAD: HEAD_SECONDS, Stage.BODY: math.inf}
        self._arriving: dict[TConn, tuple[Stage, int]] = {}  # what is waited for, and how many bytes in the socket
        self._last_call = math.inf

    @cached_property
    def door(self) -> Door:
        """There when the application is."""
        return Door(service_of(self.wsgi))

    def run(self) -> None:
        self.poller.close()  # gunicorn's own, in which nothing is registered yet
        self.poller: GatheringSelector = GatheringSelector(_GATHERING_SECONDS)
        super().run()

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        for listener in self.sockets if enabled else ():
            self.poller.gather(listener)

    def enqueue_req(self, conn: TConn) -> None:
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        # gunicorn would let a thread wait for the first byte.
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + self.patience[Stage.BEGINNING]
        self._wait_for(conn)

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        if not self._is_refused(conn, self.keepalived_conns):
            super().on_client_socket_readable(conn, client)

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        if conn in self._arriving or not self._is_refused(conn, self.pending_conns):
            super().on_pending_socket_readable(conn, client)

    def handle(self, conn: TConn) -> Any:
        try:
            keep = not self._is_arriving(conn) and super().handle(conn)
            while keep and self._goes_on_soon(conn):
                keep = not self._is_arriving(conn) and super().handle(conn)
            return keep
        except HeadTooLargeError as error:
            self._refuse(conn, error)
            return False

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        if service_of(self.wsgi).overload is None:  # there is room again, perhaps by this very request
            self.poller.end_rest()
        if conn in self._arriving:
            self._wait_for(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Cut off those whose time is up (gunicorn takes it that all have the same)."""
        now = time.monotonic()
        for conn in [conn for conn in self.pending_conns if now > conn.timeout]:
            self.pending_conns.remove(conn)
            self.poller.unregister(conn.sock)
            if self._arriving.pop(conn, None):
                self._refuse(conn, TooSlowError())
            self.nr_conns -= 1
            conn.close()

    def accept(self, listener: socket.socket) -> None:
        """The next one, so that all workers get their share; while refusals are gathered, many at once."""
        for _ in range(_ACCEPTED_AT_ONCE if self.poller.has_rested else 1):
            super().accept(listener)
            if self.nr_conns >= self.worker_connections or not select.select([listener], [], [], 0)[0]:
                break

    def call_last(self) -> None:
        """The end has come: what has not arrived in a moment will not be taken in."""
        self._last_call = time.monotonic() + _LAST_CALL_SECONDS
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, self._last_call)

    def _goes_on_soon(self, conn: TConn) -> bool:
        """Whether the connection's next request comes in a moment, and is this thread's to answer: nobody waits for a
        thread, and nothing is to be refused.
        """
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return self._may_go_on(conn) and bool(poll.poll(_LINGERING_SECONDS * 1000)) and self._may_go_on(conn)

    def _may_go_on(self, conn: TConn) -> bool:
        read_ahead = conn.parser.unreader.buf.tell()  # which the socket does not show
        waiting = self.tpool._work_queue.qsize()
        return self.alive and not read_ahead and not waiting and service_of(self.wsgi).overload is None

    def _is_arriving(self, conn: TConn) -> bool:
        """Whether a thread would have to wait for the client. Called in a thread."""
        buffered = conn.parser.unreader.buf.getvalue() if conn.parser is not None else b""
        stage, asked = self._arriving.pop(conn, (None, 0 if buffered else 1))
        if stage is not None:
            wake_at(conn.sock, 1)
        came = peek(conn.sock)
        # Woken by less than was asked for, more cannot come: the client has ended, or the kernel holds no more.
        wanted = awaited(buffered + came, service_of(self.wsgi).settings.body_bytes) if len(came) >= asked else None
        if wanted is None:
            return False
        if wanted.stage is not stage:
            conn.timeout = time.monotonic() + self.patience[wanted.stage]
        asked = wanted.bytes - len(buffered)
        wake_at(conn.sock, asked)
        conn.sock.setblocking(False)
        self._arriving[conn] = wanted.stage, asked
        return True

    def _is_refused(self, conn: TConn, among: deque[TConn]) -> bool:
        """Whether the service is overloaded and has told so to this client, one of those that are waited for."""
        if not self.alive or (overload := service_of(self.wsgi).overload) is None:
            return False
        if conn.parser is not None and conn.parser.unreader.buf.tell():  # of a request that is partly read
            return False
        # As gunicorn has it; a new client comes on top of those that are kept.
        keep = len(self.keepalived_conns) + (among is self.pending_conns) <= self.max_keepalived
        refusal = self.door.refusal(peek(conn.sock), overload, keep_alive=keep)
        if refusal is None:
            return False
        self.poller.rest()
        size, answer = refusal
        try:
            conn.sock.recv(size)
            # Blocked only by a client that does not read: then the rest is not worth waiting for.
            util.write_nonblock(conn.sock, answer)
        except OSError:
            keep = False
        among.remove(conn)
        if keep:
            conn.data_ready = True  # when it is readable again, as for those whose first request is answered
            conn.set_timeout()
            self.keepalived_conns.append(conn)
            if among is self.pending_conns:
                callback = partial(self.on_client_socket_readable, conn)
                self.poller.modify(conn.sock, selectors.EVENT_READ, callback)
            self.poller.gather(conn.sock)
        else:
            self.poller.unregister(conn.sock)
            take(conn.sock)
            self.nr_conns -= 1
            conn.close()
        return True

    def _refuse(self, conn: TConn, error: Exception) -> None:
        take(conn.sock)
        self.handle_error(None, conn.sock, conn.client, error)

    def _wait_for(self, conn: TConn) -> None:
        conn.timeout = min(conn.timeout, self._last_call)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
