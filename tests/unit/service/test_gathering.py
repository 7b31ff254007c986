"""The poller's selector: who is left alone in a rest, and until when."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from selectors import EVENT_READ

import pytest

from service.gathering import GatheringSelector

REST_SECONDS = 0.02


class Ends:
    """Two connected pairs: what is written to one of `there` makes that of `here` readable."""

    def __init__(self) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        self.here = [pair[0] for pair in pairs]
        self.there = [pair[1] for pair in pairs]


class Clock:
    """Stands still but for `turn`; what waits for the time meanwhile waits as long as it says."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def turn(self, rests: float) -> None:
        self.seconds += rests * REST_SECONDS


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    for end in ends.here + ends.there:
        end.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("service.gathering.monotonic", lambda: clock.seconds)
    return clock


@pytest.fixture
def selector(ends: Ends, clock: Clock) -> Iterator[GatheringSelector]:
    """The first of `ends.here` is gathered, the second is not."""
    selector = GatheringSelector(REST_SECONDS)
    for number, end in enumerate(ends.here):
        selector.register(end, EVENT_READ, number)
    selector.gather(ends.here[0])
    selector.gather(ends.here[0])  # it is there
    yield selector
    selector.close()


def ready(selector: GatheringSelector, timeout: float | None = 0) -> list[int]:
    return sorted(key.data for key, _ in selector.select(timeout))


def test_without_a_rest_all_are_found_at_once(selector: GatheringSelector, ends: Ends) -> None:
    assert ready(selector) == []
    ends.there[0].send(b"1")
    assert ready(selector) == [0]
    ends.there[1].send(b"1")
    assert ready(selector) == [0, 1]
    assert not selector.has_rested


def test_in_a_rest_the_gathered_wait_and_the_others_do_not(
    selector: GatheringSelector, ends: Ends, clock: Clock
) -> None:
    selector.rest()
    ends.there[0].send(b"1")
    ends.there[1].send(b"1")
    assert ready(selector, None) == [1]
    ends.here[1].recv(1)
    assert ready(selector, None) == [], "it wakes at the end of the rest at the latest"
    clock.turn(0.9)
    assert ready(selector) == []
    clock.turn(0.2)
    assert ready(selector) == [0]
    assert selector.has_rested
    assert ready(selector) == [0]  # the rest is over
    assert not selector.has_rested


def test_a_second_call_does_not_make_the_rest_longer(selector: GatheringSelector, ends: Ends, clock: Clock) -> None:
    ends.there[0].send(b"1")
    selector.rest()
    clock.turn(0.9)
    selector.rest()
    clock.turn(0.2)
    assert ready(selector) == [0]


def test_a_rest_can_be_ended(selector: GatheringSelector, ends: Ends) -> None:
    selector.end_rest()  # there is none
    ends.there[0].send(b"1")
    selector.rest()
    assert ready(selector) == []
    selector.end_rest()
    assert ready(selector) == [0]


def test_nothing_is_lost_in_a_rest_with_nobody_ready(selector: GatheringSelector, ends: Ends, clock: Clock) -> None:
    selector.rest()
    clock.turn(1.1)
    assert ready(selector) == []
    ends.there[0].send(b"1")
    assert ready(selector) == [0]


def test_a_gathered_file_can_be_changed_and_removed_as_any_other(selector: GatheringSelector, ends: Ends) -> None:
    selector.modify(ends.here[0], EVENT_READ, 7)
    selector.modify(ends.here[1], EVENT_READ, 8)
    for end in ends.there:
        end.send(b"1")
    assert ready(selector) == [7, 8]
    assert selector.unregister(ends.here[0]).data == 7
    assert ready(selector) == [8]
    selector.register(ends.here[0], EVENT_READ, 0)  # no longer gathered
    selector.rest()
    assert ready(selector) == [0, 8]


def test_one_that_was_closed_can_be_removed(selector: GatheringSelector, ends: Ends) -> None:
    ends.here[0].close()
    assert selector.unregister(ends.here[0]).data == 0
    assert ready(selector) == []
