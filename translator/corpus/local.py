"""Shards translated by processes of this machine. Loads no torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from translator.corpus.inputs import CorpusError
from translator.corpus.manifest import Shard
from translator.corpus.work import Outcome, Work
from translator.interruption import interrupt_held_back, let_interrupt_through

if TYPE_CHECKING:
    from translator.corpus.shards import ShardTranslator

_FRUITLESS_STARTS = 3

_translator: ShardTranslator
"""Of a worker process."""


def translate_locally(work: Work, shards: Sequence[Shard], workers: int) -> Generator[Outcome]:
    """The outcome of each shard, as they are finished; a shard whose process was killed is done again. One worker is
    this process itself.

    Raises:
        CorpusError: processes ended again and again before one shard was finished.
    """
    if min(workers, len(shards)) == 1:
        from translator.corpus.shards import ShardTranslator

        yield from map(ShardTranslator(work), shards)
        return
    waiting = {shard.number: shard for shard in shards}
    fruitless = 0
    while waiting:
        finished = 0
        try:
            for outcome in _translated(work, list(waiting.values()), min(workers, len(waiting))):
                del waiting[outcome.number]
                finished += 1
                yield outcome
        except BrokenProcessPool as error:
            fruitless = 0 if finished else fruitless + 1
            if fruitless == _FRUITLESS_STARTS:
                raise CorpusError(
                    "worker processes were killed again and again; if memory ran out, take fewer --workers "
                    "or fewer --rows-per-shard"
                ) from error


def _translated(work: Work, shards: Sequence[Shard], workers: int) -> Iterator[Outcome]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["translator.corpus.shards"])  # PyTorch is loaded once, and not by each worker
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(work,))
    try:
        with interrupt_held_back():
            futures = [pool.submit(_translate, shard) for shard in shards]
        for future in as_completed(futures):
            yield future.result()
    except BaseException:  # Ctrl-C, too: what is unfinished is not waited for
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()
        raise
    pool.shutdown()


def _begin(work: Work) -> None:
    """Of a worker: get ready, and end at once at Ctrl-C or when the command has ended, however it ended."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))
    let_interrupt_through()
    threading.Thread(target=_end_with_the_command, daemon=True).start()

    from translator.corpus.shards import ShardTranslator

    global _translator
    _translator = ShardTranslator(work)


def _end_with_the_command() -> None:
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)


def _translate(shard: Shard) -> Outcome:
    return _translator(shard)
