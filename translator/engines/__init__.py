"""How one decoder step is computed. Every engine gives the same answers; `reference` is the one the others are held
to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from translator.engines.reference import ReferenceEngine

__all__ = ["Engine", "ReferenceEngine"]

Rows = TypeVar("Rows")


class Engine(Protocol[Rows]):
    """What the search needs of a model. `Rows` is the engine's own record of R live hypotheses."""

    eos_id: int
    vocabulary_size: int

    def encode(self, sources: Sequence[Sequence[int]]) -> Rows:
        """One row for each source sentence, given as token ids in reading order without `<EOS>`."""

    def step(self, rows: Rows, tokens_R: Tensor) -> tuple[Tensor, Rows]:
        """Feed each row its last token (int64 [R]); returns log-probabilities [R, V] of the next one, and the new
        rows.
        """

    def take(self, rows: Rows, indices: Tensor) -> Rows:
        """The rows at `indices` (int64 [any]), in that order; an index may repeat."""

    def append(self, rows: Rows, others: Rows) -> Rows:
        """`rows`, and after them `others`."""
