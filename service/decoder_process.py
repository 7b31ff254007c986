"""The decoder process: `python -m service.decoder_process`, started by `service.remote_decoder` and by nobody else.

It holds the weights and runs continuous decoders, with an interpreter of its own: beside the threads of many requests a
decoder would wait for the interpreter's lock at every step. There is a lane for each thread: a decoder, an engine with
one thread and a channel. Threads that share a step meet at dozens of barriers in it, and where the requests take a core
from one of them, all wait until it is there again; lanes wait for nobody.

On each channel, the first message is `(engine, refusal, identity)`: how steps are computed, or why that cannot be, and
of which model (see `service.decoder.card_identity`). From then on the worker sends
`(submitted, cancelled)`: `(number, query, deadline)` of new sentences and numbers of those that are no longer wanted.
The answer after a step, if there is something to say or the batch is empty, is
`(done, grown, steps, row_steps, rows)`: a list of `(number, hypotheses, error)`, with hypotheses as plain tuples, which
pickle a good deal faster than dataclasses, the bytes of a vector where the query is a `Reading`, or None and the name
of the error's type; `(number, prefix)` of sentences whose `Ticket.prefix` has become longer; and what was done since
the last answer (see `service.decoder.Work`). The process ends when the worker closes the channel or dies.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from typing import Any

from service.channel import Channel
from service.decoder import card_identity
from service.processes import return_freed_memory
from service.reading import SentenceReader

_NICENESS = 10
_READ_AT_ONCE = 16  # sentences, between two steps of those that are translated


def main(model: str, engine: str, threads: str, rows: str, *descriptors: str) -> None:
    """Load the model and serve the worker at the other ends of `descriptors`, a lane each."""
    # A terminal's Ctrl-C and a group's SIGTERM come here, too; what was taken in is still to be decoded.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # Reading a request and answering it comes first: it is short, and the health check is among it.
    os.nice(_NICENESS)
    channels = [Channel(socket.socket(fileno=int(descriptor))) for descriptor in descriptors]
    import torch

    from translator.engines import sharing
    from translator.pipeline import Translator

    torch.set_num_threads(int(threads))
    try:
        translator = Translator.load(model, engine=engine)
        engines = [translator.engine, *(sharing(translator.engine) for _ in channels[1:])]
    except ValueError as error:  # its message says what to do
        with contextlib.suppress(EOFError):
            channels[0].send((None, str(error), None))
        return
    identity = card_identity(translator.card)
    reader = SentenceReader(model, identity)
    del translator  # packed weights need no others beside them
    return_freed_memory()
    gc.freeze()  # what has been loaded stays
    lanes = [
        threading.Thread(target=_lane, args=(*pair, identity, reader, int(threads), int(rows)))
        for pair in zip(channels, engines, strict=True)
    ]
    for lane in lanes:
        lane.start()


def _lane(channel: Channel, engine: Any, identity: str, reader: SentenceReader, threads: int, rows: int) -> None:
    import torch

    torch.set_num_threads(threads)  # PyTorch's number is one of the calling thread
    try:
        channel.send((engine.describe(), None, identity))
        serve(channel, engine, rows, reader)
    except EOFError:
        pass
    except Exception as error:  # a process that has lost a lane is to be started again
        # Without the message, which may quote the user's text.
        frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        line = {"event": "decoder lane failed", "exception_type": type(error).__name__, "frames": frames}
        try:
            sys.stderr.write(json.dumps(line) + "\n")
            sys.stderr.flush()
        finally:
            os._exit(1)


def serve(channel: Channel, engine: Any, rows: int, reader: SentenceReader) -> None:
    """Decode what the worker sends, until it closes the channel; then raise `EOFError`."""
    from translator.decoder import ContinuousDecoder
    from translator.search import Reading
    from translator.ticket import Ticket

    decoder = ContinuousDecoder(engine, max_rows=rows)
    numbers: dict[Ticket, int] = {}
    tickets: dict[int, Ticket] = {}
    readings: deque[tuple[int, Reading]] = deque()
    steps = row_steps = 0  # that the worker knows of
    while True:
        if decoder.idle and not readings:
            channel.wait()
        channel.flush()
        for submitted, cancelled in channel.receive():
            for number, query, deadline in submitted:
                if isinstance(query, Reading):
                    readings.append((number, query))
                    continue
                ticket = decoder.submit(query, deadline=deadline)
                numbers[ticket], tickets[number] = number, ticket
            for number in cancelled:
                if number in tickets:  # else it was done a moment ago
                    ticket = tickets.pop(number)
                    del numbers[ticket]
                    decoder.cancel(ticket)
        if decoder.idle and not readings:
            continue
        done = _read(reader, [readings.popleft() for _ in range(min(len(readings), _READ_AT_ONCE))])
        grown = []
        try:
            for ticket in decoder.step():
                number = numbers.pop(ticket)
                del tickets[number]
                done.append((number, *_outcome(ticket)))
            grown = [(numbers[ticket], ticket.prefix) for ticket in decoder.grown() if ticket in numbers]
        except Exception as error:  # nobody's; the engine's own errors are those of sentences
            done += [(number, None, type(error).__name__) for number in tickets]
            decoder = ContinuousDecoder(engine, max_rows=rows)
            steps = row_steps = 0
            numbers.clear()
            tickets.clear()
        if done or grown or decoder.idle:
            channel.send((done, grown, decoder.steps - steps, decoder.row_steps - row_steps, decoder.rows))
            steps, row_steps = decoder.steps, decoder.row_steps


def _read(reader: SentenceReader, readings: list[tuple[int, Any]]) -> list[tuple[int, Any, str | None]]:
    try:
        vectors = reader.read([query.source for _, query in readings]) if readings else []
    except Exception as error:
        return [(number, None, type(error).__name__) for number, _ in readings]
    return [(number, vector, None) for (number, _), vector in zip(readings, vectors, strict=True)]


def _outcome(ticket: Any) -> tuple[list[tuple[Any, ...]] | None, str | None]:
    if ticket.error is not None:
        # The message may quote the user's text.
        return None, type(ticket.error.__cause__ or ticket.error).__name__
    return [
        (one.tokens, one.log_probability, one.score, one.finished, one.log_probabilities) for one in ticket.hypotheses
    ], None


if __name__ == "__main__":
    main(*sys.argv[1:])
