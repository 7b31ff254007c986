"""Where the cuda engine's decoder states stand.

R rows (live hypotheses), M positions of all sources, L layers, H hidden, G gates (4 · hidden).
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from translator.engines.base import Integers


@dataclass(eq=False)
class Store:
    """The states that rows are taken of by number: `used` rows and `positions` of the memory are written.

    `states` are hidden [rows, layers, hidden], cell [rows, layers, hidden] (float32) and what h(x) adds to the first
    layer's gates, [rows, gates] (float32; [rows, 0] where it is not fed). `memory_MH` are the sources' outputs, one
    source after another ([0, 0] without attention). None of it is here while it stands in the engine's buffers.
    """

    states: tuple[Tensor, ...]
    memory_MH: Tensor | None
    used: int
    positions: int


@dataclass(eq=False)
class CUDARows:
    """R hypotheses: row r stands at `places_R[r]` of the store, and the `lengths_R[r]` outputs of its source from
    `starts_R[r]` on.
    """

    store: Store
    places_R: Integers
    starts_R: Integers
    lengths_R: Integers


class Room(NamedTuple):
    """What a store needs besides its own: `more_rows` and `more_positions` behind it, `fewest_rows` in all."""

    more_rows: int = 0
    more_positions: int = 0
    fewest_rows: int = 0

    def needed(self, store: Store) -> tuple[int, int]:
        """Rows and positions."""
        return max(store.used + self.more_rows, self.fewest_rows), store.positions + self.more_positions


class Buffers:
    """Room at fixed addresses for one store at a time, its owner. Who else was there takes what is his with him."""

    def __init__(self, like: Store, rows: int, positions: int) -> None:
        """Room for so many rows and positions of memory, with the shapes and types of a store."""
        assert like.memory_MH is not None
        self.rows, self.positions = rows, positions
        self.states = tuple(state.new_empty((rows, *state.shape[1:])) for state in like.states)
        self.memory_MH = like.memory_MH.new_empty((positions, like.memory_MH.shape[1]))
        self._owner: weakref.ref[Store] | None = None

    def bring_home(self, rows: CUDARows, room: Room) -> bool:
        """Put the states of `rows` here, with room for more. If they are too many, leave them outside and return
        False.
        """
        store = rows.store
        owner = self._owner() if self._owner is not None else None
        if owner is store:
            if self._has_room(store, room):
                return True
            self._compact(rows)
        elif owner is not None:
            owner.states = tuple(state[: owner.used].clone() for state in self.states)
            owner.memory_MH = self.memory_MH[: owner.positions].clone()
        self._owner = None
        if not self._has_room(store, room):
            return False
        self.write(store, 0, 0)
        store.states, store.memory_MH = (), None
        self._owner = weakref.ref(store)
        return True

    def write(self, store: Store, row: int, position: int) -> None:
        """Copy what a store holds to `row` and `position`, and behind them."""
        assert store.memory_MH is not None
        for mine, theirs in zip(self.states, store.states, strict=True):
            mine[row : row + store.used].copy_(theirs)
        self.memory_MH[position : position + store.positions].copy_(store.memory_MH)

    def _has_room(self, store: Store, room: Room) -> bool:
        rows, positions = room.needed(store)
        return rows <= self.rows and positions <= self.positions

    def _compact(self, rows: CUDARows) -> None:
        """Take out the rows, and the sources that they still need."""
        store, device = rows.store, self.memory_MH.device
        places_R = torch.from_numpy(rows.places_R).to(device)
        store.states = tuple(state.index_select(0, places_R) for state in self.states)
        starts, first, numbers_R = np.unique(rows.starts_R, return_index=True, return_inverse=True)
        lengths = rows.lengths_R[first]
        moved = lengths.cumsum() - lengths
        positions_M = np.repeat(starts - moved, lengths) + np.arange(lengths.sum())
        store.memory_MH = self.memory_MH.index_select(0, torch.from_numpy(positions_M).to(device))
        store.used, store.positions = len(rows.places_R), len(positions_M)
        rows.places_R, rows.starts_R = np.arange(store.used, dtype=np.int64), moved[numbers_R]
