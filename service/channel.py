"""Messages between the worker and its decoder process, over a socket pair.

Neither side ever blocks in sending: what the socket does not take waits in memory, and whoever waits for the socket
waits for both directions. So both always come to read, and no deadlock is possible however full the socket is. What
waits is bounded by the sentences that the batcher lets into the decoder at once.
"""

from __future__ import annotations

import pickle
import select
import socket
import struct
from typing import Any

_LENGTH = struct.Struct(">I")
_READ_BYTES = 1 << 18


class Channel:
    """One end. For one thread at a time. Every method raises `EOFError` where the other end is gone."""

    def __init__(self, connection: socket.socket) -> None:
        """`connection` is a connected stream socket, and the channel's from here on."""
        self._socket = connection
        self._socket.setblocking(False)
        self._received = bytearray()
        self._unsent = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def interest(self) -> int:
        """What to wait for, as `select.poll` has it."""
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def send(self, message: Any) -> None:
        """Send a message, or as much of it as is possible now; `flush` sends the rest."""
        pickled = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._unsent += _LENGTH.pack(len(pickled)) + pickled
        self.flush()

    def flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise EOFError from error

    def receive(self) -> list[Any]:
        """The messages that are there; does not wait."""
        try:
            while True:
                read = self._socket.recv(_READ_BYTES)
                if not read:
                    raise EOFError
                self._received += read
                if len(read) < _READ_BYTES:
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            raise EOFError from error
        messages = []
        start = 0
        while len(self._received) >= start + _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(self._received, start)[0]
            if len(self._received) < end:
                break
            messages.append(pickle.loads(memoryview(self._received)[start + _LENGTH.size : end]))
            start = end
        if start:
            del self._received[:start]
        return messages

    def wait(self, seconds: float | None = None) -> None:
        """Until something comes, or what is left can be sent, or the time is up."""
        poll = select.poll()
        poll.register(self, self.interest)
        poll.poll(None if seconds is None else 1000 * seconds)

    def close(self) -> None:
        self._socket.close()
