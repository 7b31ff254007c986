"""From indices to tensors on the device, ahead of time where that helps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.batches import Batch, collate
from training.distributed import World
from training.prepared import Prepared

_BATCHES_AHEAD = 4


class Place(NamedTuple):
    """A batch in the order of a run: the epoch, its number in it, and the pairs, int64 [batch]."""

    epoch: int
    number: int
    indices: NDArray[np.int64]


class Loaded(NamedTuple):
    """This process's rows of a batch on its device. Where it has none, `batch` is a row that is not to be `counted`."""

    batch: Batch
    counted: bool


class Loader:
    """Collates the rows of one process."""

    def __init__(self, prepared: Prepared, world: World) -> None:
        self._pairs = prepared.train
        self._pad_id = prepared.target_vocabulary.pad_id
        self._eos_id = prepared.target_vocabulary.eos_id
        self._world = world

    def load(self, indices: NDArray[np.int64]) -> Loaded:
        """This process's rows of the batch of `indices`, int64 [batch]."""
        rows = indices[self._world.share(len(indices))]
        counted = len(rows) > 0
        batch = collate(self._pairs, rows if counted else indices[:1], pad_id=self._pad_id, eos_id=self._eos_id)
        return Loaded(batch.to(self._world.device), counted)

    def ahead(self, places: Iterable[Place]) -> Iterator[tuple[Place, Loaded]]:
        """The batches in order. For a GPU they are laid out and copied by a thread while it computes."""
        if self._world.device.type == "cpu":  # the computation needs all cores
            for place in places:
                yield place, self.load(place.indices)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as executor:
            waiting: deque[tuple[Place, Future[Loaded]]] = deque()
            for place in places:
                waiting.append((place, executor.submit(self.load, place.indices)))
                if len(waiting) > _BATCHES_AHEAD:
                    yield waiting[0][0], waiting.popleft()[1].result()
            for place, future in waiting:
                yield place, future.result()
