"""The worker's side of the decoder process: `RemoteDecoder` looks like a decoder and has another process decode."""

from __future__ import annotations

import contextlib
import itertools
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import structlog

from service.channel import Channel
from service.decoder import Work
from translator.search import Hypothesis, Query
from translator.ticket import DeadlineError, DecodingError, Ticket

log = structlog.get_logger(__name__)

_Found = list[tuple[tuple[int, ...], float, float, bool, tuple[float, ...]]]
_Outcome = tuple[int, _Found | bytes | None, str]
_Answer = tuple[list[_Outcome], list[tuple[int, tuple[int, ...]]], int, int, int]

_LOADING_SECONDS = 300.0
_ENDING_SECONDS = 5.0
_DEATHS = 3
_DEATHS_SECONDS = 60.0


class DecoderDiedError(Exception):
    """The decoder process has ended without having been told to."""


class DecoderLostError(Exception):
    """The decoder process cannot be started again; the message says why."""


class RemoteDecodingError(DecodingError):
    """A sentence that the decoder process could not decode; `exception_type` names what was raised there."""

    def __init__(self, exception_type: str) -> None:
        super().__init__(f"decoding failed ({exception_type})")
        self.exception_type = exception_type


class RemoteDecoder:
    """A `ContinuousDecoder` in another process; see `service.decoder.Decoder` for who may call what.

    The process is a fresh one and no fork: it is started again when the worker has many threads, and it shall inherit
    nothing, least of all the listening socket.
    """

    def __init__(self, model: str | Path, *, identity: str, engine: str, threads: int, rows: int) -> None:
        """Start the process; `wait_until_loaded` before anything else.

        It must load the model of this `identity` (see `service.decoder.card_identity`), the first time and whenever it
        is started again. The other arguments are those of `Settings`.
        """
        self._identity = identity
        # As many lanes as threads, but none without room for a hypothesis.
        self._lanes = min(threads, rows)
        self._arguments = [str(model), engine, str(threads // self._lanes), str(rows // self._lanes)]
        self._rows = [0] * self._lanes  # hypotheses that each lane's sentences may come to need
        self._engine = ""
        self._steps = self._row_steps = 0
        self._live_rows = [0] * self._lanes
        self._tickets: dict[int, tuple[Ticket, int]] = {}  # and its lane
        self._numbers: dict[Ticket, int] = {}
        self._next_numbers = itertools.count()
        self._grown: list[Ticket] = []
        self._submitted: list[list[tuple[int, Query, float]]] = [[] for _ in range(self._lanes)]
        self._cancelled: deque[tuple[Ticket, int, int]] = deque()  # with number and lane
        self._deaths: deque[float] = deque()
        self._wakes, self._waker = socket.socketpair()
        self._wakes.setblocking(False)
        self._waker.setblocking(False)
        self._woken = False
        self._start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def idle(self) -> bool:
        return not self._tickets

    @property
    def work(self) -> Work:
        return Work(self._steps, self._row_steps, sum(self._live_rows))

    def describe(self) -> str:
        return self._engine if self._lanes == 1 else f"{self._engine}, in {self._lanes} lanes"

    def submit(self, query: Query, *, deadline: float) -> Ticket:
        """The sentence is sent off at the next step; `deadline` by `time.monotonic`, which all processes share."""
        ticket, number = Ticket(query, deadline), next(self._next_numbers)
        lane = self._rows.index(min(self._rows))
        self._rows[lane] += query.rows
        self._tickets[number], self._numbers[ticket] = (ticket, lane), number
        self._submitted[lane].append((number, query, deadline))
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        ticket.cancelled = True
        number = self._numbers.pop(ticket, None)
        found = self._tickets.pop(number, None) if number is not None else None
        if number is not None and found is not None:
            self._cancelled.append((ticket, number, found[1]))
            self.wake()

    def grown(self) -> list[Ticket]:
        grown, self._grown = self._grown, []
        return grown

    def wake(self) -> None:
        if not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):  # closed
                self._waker.send(b"\0")

    def step(self) -> list[Ticket]:
        """Raises `DecoderDiedError` where the process is gone; all sentences in it are lost then."""
        try:
            self._send()
            for channel in self._channels:
                self._poll.register(channel, channel.interest)
            ready = dict(self._poll.poll())
            if self._wakes.fileno() in ready:
                self._wakes.recv(64)
                self._woken = False
            done = []
            for lane, channel in enumerate(self._channels):
                if channel.fileno() in ready:
                    channel.flush()
                    for answer in channel.receive():
                        done += self._done(lane, answer)
            return done
        except EOFError:
            raise DecoderDiedError from None

    def _send(self) -> None:
        cancelled: list[list[int]] = [[] for _ in self._channels]
        for _ in range(len(self._cancelled)):
            ticket, number, lane = self._cancelled.popleft()
            self._rows[lane] -= ticket.query.rows
            cancelled[lane].append(number)
        for lane, channel in enumerate(self._channels):
            if self._submitted[lane] or cancelled[lane]:
                submitted, self._submitted[lane] = self._submitted[lane], []
                channel.send((submitted, cancelled[lane]))

    def _done(self, lane: int, answer: _Answer) -> list[Ticket]:
        outcomes, grown, steps, row_steps, self._live_rows[lane] = answer
        self._steps += steps
        self._row_steps += row_steps
        done = []
        for number, found, error in outcomes:
            sent = self._tickets.pop(number, None)
            if sent is None:  # cancelled meanwhile
                continue
            ticket, _ = sent
            self._rows[lane] -= ticket.query.rows
            self._numbers.pop(ticket, None)
            if found is None:
                ticket.error = DeadlineError() if error == DeadlineError.__name__ else RemoteDecodingError(error)
            elif isinstance(found, bytes):
                ticket.hypotheses, ticket.vector = [], np.frombuffer(found, dtype=np.float32)
            else:
                ticket.hypotheses = [Hypothesis(*one) for one in found]
            done.append(ticket)
        for number, prefix in grown:
            if number in self._tickets:
                ticket, _ = self._tickets[number]
                ticket.prefix = prefix
                self._grown.append(ticket)
        return done

    def restart(self) -> None:
        """Raises `DecoderLostError` where the process ends again and again, or can no longer load the model."""
        self._forget()
        while True:
            log.error("decoder process ended", status=self._end())
            now = time.monotonic()
            self._deaths.append(now)
            while self._deaths[0] < now - _DEATHS_SECONDS:
                self._deaths.popleft()
            if len(self._deaths) >= _DEATHS:
                raise DecoderLostError(f"the decoder process ended {_DEATHS} times within {_DEATHS_SECONDS:g} seconds")
            self._start()
            try:
                self.wait_until_loaded()
            except DecoderDiedError:
                continue
            except ValueError as error:
                raise DecoderLostError(str(error)) from error
            log.warning("decoder process started again")
            return

    def wait_until_loaded(self) -> None:
        """Raises `ValueError` where the process cannot use the model, `DecoderDiedError` where it ended or hangs."""
        end = time.monotonic() + _LOADING_SECONDS
        try:
            for channel in self._channels:
                while not (messages := channel.receive()):
                    if time.monotonic() > end:
                        raise EOFError
                    channel.wait(end - time.monotonic())
                self._engine, refusal, identity = messages[0]
                if refusal is not None:
                    raise ValueError(refusal)
                if identity != self._identity:
                    raise ValueError(f"{self._arguments[0]}: holds another model than a moment ago; load it anew")
        except EOFError:
            raise DecoderDiedError(f"the decoder process ended ({self._end()}) while it loaded the model") from None

    def close(self) -> None:
        self._forget()
        self._end()
        self._wakes.close()
        self._waker.close()

    def _start(self) -> None:
        pairs = [socket.socketpair() for _ in range(self._lanes)]
        descriptors = [theirs.fileno() for _, theirs in pairs]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "service.decoder_process", *self._arguments, *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
        )
        for _, theirs in pairs:
            theirs.close()
        self._channels = [Channel(ours) for ours, _ in pairs]
        self._poll = select.poll()
        self._poll.register(self._wakes, select.POLLIN)

    def _end(self) -> str:
        """See that the process is gone; how it ended, in words."""
        for channel in self._channels:
            channel.close()
        try:
            status = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def _forget(self) -> None:
        self._tickets.clear()
        self._grown.clear()
        self._numbers.clear()
        self._cancelled.clear()
        self._submitted = [[] for _ in range(self._lanes)]
        self._rows = [0] * self._lanes
        self._live_rows = [0] * self._lanes
