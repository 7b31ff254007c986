"""Work in several processes: in order, a few items ahead, and ended with the block."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from training.errors import InputError
from training.workers import Workers, _call


def process_of(item: int) -> tuple[int, int]:
    time.sleep(0.02 if item % 3 == 0 else 0.0)  # so that later items are done before earlier ones
    return item, os.getpid()


def fail_at_seven(item: int) -> int:
    if item == 7:
        raise InputError("item 7 is bad")
    return item


def kill_own_process(item: int) -> int:
    if item == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def large(item: int) -> bytes:
    return bytes(20_000_000)  # takes long to come through the pipe


def wait_long(item: int) -> int:
    time.sleep(120)
    return item


def test_results_come_in_order_from_other_processes() -> None:
    with Workers(2) as workers:
        results = list(workers.map(process_of, range(30)))
        again = list(workers.map(process_of, range(2)))
    assert [item for item, _ in results] == list(range(30))
    processes = {process for _, process in results}
    assert os.getpid() not in processes
    assert len(processes) == 2
    assert {process for _, process in again} <= processes  # what has been started is used


@pytest.mark.parametrize(("processes", "items"), [(1, 30), (2, 4)])
def test_one_process_and_few_items_need_no_other_process(processes: int, items: int) -> None:
    with Workers(processes) as workers:
        assert list(workers.map(process_of, range(items))) == [(item, os.getpid()) for item in range(items)]


def test_few_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            taken += 1
            yield item

    with Workers(2) as workers:
        for done, _ in enumerate(workers.map(process_of, items()), start=1):
            assert taken - done < 10
            if done == 50:
                break


def test_what_goes_wrong_in_a_process_is_told() -> None:
    with Workers(2) as workers, pytest.raises(InputError, match="item 7 is bad"):
        list(workers.map(fail_at_seven, range(30)))


def test_a_killed_process_is_told() -> None:
    with Workers(2) as workers, pytest.raises(InputError, match=r"was killed.*--processes 1"):
        list(workers.map(kill_own_process, range(30)))


@pytest.mark.timeout(60)  # a third of what the work would take
def test_a_failure_does_not_wait_for_work_under_way() -> None:
    with pytest.raises(KeyboardInterrupt), Workers(2) as workers:  # noqa: PT012
        list(workers.map(process_of, range(30)))
        for _ in range(2):
            assert workers._pool is not None
            workers._pool.submit(_call, wait_long, 1)
        time.sleep(0.5)
        raise KeyboardInterrupt


@pytest.mark.timeout(60)
@pytest.mark.parametrize("taken", [1, 4])
def test_a_failure_while_results_are_on_their_way(taken: int) -> None:
    with pytest.raises(KeyboardInterrupt), Workers(2) as workers:  # noqa: PT012
        for _ in islice(workers.map(large, range(1000)), taken):
            pass
        raise KeyboardInterrupt
