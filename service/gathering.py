"""A selector that can leave some of its files alone for a while, to find several of them ready at the next look.

Each waking of the poller takes a core from the decoder in the middle of a step, and with it what the step had in the
cache. While many are refused, the poller wakes for those who wait for an answer, and for those who are likely to be
refused only now and then.
"""

from __future__ import annotations

import selectors
from selectors import EVENT_READ, SelectorKey
from time import monotonic
from typing import Any


class GatheringSelector(selectors.DefaultSelector):
    """As the one it is made of, until `rest` is called. Its map (`get_map`, `get_key`) lacks the gathered files."""

    def __init__(self, rest_seconds: float) -> None:
        super().__init__()
        self._rest_seconds = rest_seconds
        self._gathered = selectors.DefaultSelector()
        self._files: set[Any] = set()  # that are gathered
        super().register(self._gathered, EVENT_READ)
        self._end = 0.0  # of the rest
        self._rests = False
        self.has_rested = False
        """Whether what is ready has had a rest to gather in."""

    def gather(self, fileobj: Any) -> None:
        """Move a registered file to those that are left alone in a rest, if it is not there yet."""
        if fileobj not in self._files:
            key = super().unregister(fileobj)
            self._gathered.register(fileobj, key.events, key.data)
            self._files.add(fileobj)

    def rest(self) -> None:
        """Leave the gathered files alone for `rest_seconds`, if no rest has begun yet."""
        if not self._rests:
            self._rests = True
            self._end = monotonic() + self._rest_seconds
            super().unregister(self._gathered)

    def end_rest(self) -> None:
        """Look at all files again."""
        if self._rests:
            self._rests = False
            super().register(self._gathered, EVENT_READ)

    def unregister(self, fileobj: Any) -> SelectorKey:
        if fileobj in self._files:
            self._files.remove(fileobj)
            return self._gathered.unregister(fileobj)
        return super().unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        if fileobj in self._files:
            return self._gathered.modify(fileobj, events, data)
        return super().modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if self._rests:
            left = max(0.0, self._end - monotonic())
            ready = super().select(left if timeout is None else min(left, timeout))
            if monotonic() < self._end:
                return ready
            self.end_rest()
            self.has_rested = True
            return ready + self._gathered.select(0)
        ready = super().select(timeout)
        self.has_rested = False
        prompt = [(key, events) for key, events in ready if key.fileobj is not self._gathered]
        return prompt if len(prompt) == len(ready) else prompt + self._gathered.select(0)

    def close(self) -> None:
        self._gathered.close()
        super().close()
