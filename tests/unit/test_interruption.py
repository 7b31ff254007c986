"""Ctrl-C is held back, and comes once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from threading import Event, Thread

import pytest

from translator.interruption import interrupt_held_back


def of_this_process() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupted(interrupt: Callable[[], None], after: Callable[[], None]) -> None:
    with interrupt_held_back():
        interrupt()
        after()


def test_it_comes_at_the_end() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(of_this_process, lambda: done.append("to the end"))
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        of_this_process()


def test_it_is_held_back_where_the_system_gives_it_to_another_thread() -> None:
    asked, answered = Event(), Event()
    done: list[bool] = []

    def interrupt() -> None:  # in a thread as those of a library, which was there before the block
        asked.wait()
        of_this_process()
        answered.set()

    Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        interrupted(asked.set, lambda: done.append(answered.wait(60)))
    assert done == [True]


def test_an_error_of_the_block_comes_with_it() -> None:
    def fail() -> None:
        raise ValueError

    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted(of_this_process, fail)
    assert isinstance(caught.value.__context__, ValueError)


def test_a_process_that_is_started_in_the_block_is_not_interrupted_before_it_is_ready() -> None:
    script = "\n".join(
        [
            "import time",
            "print('imported', flush=True)",
            "time.sleep(0.5)",
            "from translator.interruption import let_interrupt_through",
            "try: let_interrupt_through()",
            "except KeyboardInterrupt: print('interrupted')",
        ]
    )
    with interrupt_held_back():
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "imported\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("interrupted\n", None)
    assert process.returncode == 0


def test_other_threads_are_let_be() -> None:
    found: list[object] = []

    def work() -> None:
        with interrupt_held_back():
            found.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found == [set()]
