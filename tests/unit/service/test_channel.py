from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.channel import Channel

PATIENCE = 30.0


def channels() -> tuple[Channel, Channel]:
    one, other = socket.socketpair()
    return Channel(one), Channel(other)


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    one, other = channels()
    yield one, other
    one.close()
    other.close()


@given(st.lists(st.binary(max_size=600) | st.lists(st.tuples(st.integers(), st.text()))))
def test_messages_come_whole_and_in_order(messages: list[object]) -> None:
    one, other = channels()
    for message in messages:
        one.send(message)
    received: list[object] = []
    while len(received) < len(messages):
        other.wait(PATIENCE)
        received += other.receive()
        one.flush()
    assert received == messages
    assert other.receive() == []
    one.close()
    other.close()


def test_both_may_send_more_than_the_socket_holds(pair: tuple[Channel, Channel]) -> None:
    large = bytes(10_000_000)
    for channel in pair:
        channel.send(large)
        channel.send("the end")
    received: list[list[object]] = [[], []]
    while any(len(messages) < 2 for messages in received):
        for channel, messages in zip(pair, received, strict=True):
            channel.wait(PATIENCE)
            channel.flush()
            messages += channel.receive()
    assert received == [[large, "the end"]] * 2


def test_the_end_of_the_other_side_is_noticed(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    other.close()
    one.wait(PATIENCE)
    with pytest.raises(EOFError):
        one.receive()
    with pytest.raises(EOFError):
        one.send("is anybody there?")
