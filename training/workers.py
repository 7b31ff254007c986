"""Work on chunks of a corpus in several processes, with the results in the order of the chunks.

The processes are spawned, not forked: a fork copies locks that threads of PyTorch or Arrow may hold. A small corpus is
worked on here, since it is done before a process has started.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self, TypeVar

from training.errors import InputError
from translator.interruption import interrupt_held_back, let_interrupt_through

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# One process reads and writes for all the others: beyond so many they wait for it.
_MOST_PROCESSES = 8
_CHUNKS_DONE_HERE = 4
_CHUNKS_AHEAD = 3  # for each process: no process waits for its next chunk, and few chunks are in memory


def usable_processes() -> int:
    """How many processes preparation makes use of on this machine: as many as the cores that this one may run on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_PROCESSES)


class Workers:
    """Processes that are started when there is enough to do, and ended with the block."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: tuple[Connection, Connection] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None or self._lifeline is None:
            return
        reader, writer = self._lifeline
        if error is not None:
            writer.close()  # a vocabulary may take minutes more, and nobody wants it any longer
        self._pool.shutdown(cancel_futures=True)
        reader.close()
        writer.close()

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """`function` of each item, in order. Few items are taken from `items` ahead of what the caller has got.

        Args:
            function: of a module, or a partial of such a one; items and results must be picklable.

        Raises:
            InputError: a process was killed. Whatever `function` or `items` raise comes through.
        """
        items = iter(items)
        first = list(islice(items, _CHUNKS_DONE_HERE + 1)) if self._pool is None and self.processes > 1 else []
        if self._pool is None and len(first) > _CHUNKS_DONE_HERE:
            context = multiprocessing.get_context("spawn")
            self._lifeline = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(self.processes, context, _begin, (self._lifeline[0],))
        items = chain(first, items)
        if self._pool is None:
            yield from map(function, items)
            return
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                with interrupt_held_back():  # it may start a process
                    future = self._pool.submit(_call, function, item)
                waiting.append(future)
                if len(waiting) >= self.processes * _CHUNKS_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                "a process of the preparation was killed, perhaps for want of memory; "
                "try 'python -m training prepare' with --processes 1"
            ) from error


# Free while a worker is in the function of `Workers.map`, where it may be ended at any moment. Elsewhere it may be in
# the middle of sending a result, for the rest of which the first process would wait forever.
_between_calls = threading.Lock()


def _begin(lifeline: Connection) -> None:
    """Ctrl-C is the first process's to handle, and no process outlives it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    let_interrupt_through()
    _between_calls.acquire()
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    threading.Thread(target=_end_with_the_first_process, daemon=True).start()


def _call(function: Callable[[_Item], _Result], item: _Item) -> _Result:
    _between_calls.release()
    try:
        return function(item)
    finally:
        _between_calls.acquire()


def _end_with(lifeline: Connection) -> None:
    lifeline.poll(None)  # nothing is ever sent: it ends when the first process has closed its end
    with _between_calls:
        os._exit(1)


def _end_with_the_first_process() -> None:
    first = multiprocessing.parent_process()
    assert first is not None
    first.join()
    os._exit(1)
