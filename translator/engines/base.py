"""What the search asks of an engine and what it gets back.

N sentences, R rows (live hypotheses), K the widest beam, V target vocabulary, D rows that are drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from translator.config import ModelConfig

Rows = TypeVar("Rows")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Beams:
    """The live hypotheses that a step extends. The rows of a sentence stand together, the sentences one after another.

    `tokens_R` int64 [R]: the last token of each. `scores_R` float32 [R]: log p of each so far, in nats. `widths_N`
    int32 [N]: rows of each sentence. `beam_sizes_N` int32 [N]: how many extensions each sentence wants, 0 for none.
    `drawn_D` int64 [D]: rows whose whole distribution is wanted, ascending.
    """

    tokens_R: Integers
    scores_R: npt.NDArray[np.float32]
    widths_N: npt.NDArray[np.int32]
    beam_sizes_N: npt.NDArray[np.int32]
    drawn_D: Integers


@dataclass(frozen=True)
class Extensions:
    """The best hypotheses that are one token longer.

    All one-token extensions of a sentence's rows are ranked by log p (of equal ones the earlier row first). Those
    among the best `beam_size` that end in `<EOS>` are finished: `ended_R` float32 [R] has log p of the row and
    `<EOS>`, or -inf. The best others are open: `scores_NK` float32, `parents_NK` int64 (row numbers) and `tokens_NK`
    int64, best first, with score -inf where a sentence has fewer than K. `log_probabilities_DV` float32 [D, V] are
    the whole distributions of the next token for the rows in `Beams.drawn_D`.
    """

    scores_NK: npt.NDArray[np.float32]
    parents_NK: Integers
    tokens_NK: Integers
    ended_R: npt.NDArray[np.float32]
    log_probabilities_DV: npt.NDArray[np.float32]


class Engine(Protocol[Rows]):
    """How one decoder step is computed. `Rows` is the engine's own record of R live hypotheses.

    Rows that are handed to `step`, `take` or `append` are used up: go on with those that come back.
    """

    eos_id: int
    vocabulary_size: int

    @property
    def precision(self) -> str:
        """Number format of the products: int8, bfloat16, float32 …"""

    def encode(self, sources: Sequence[Sequence[int]]) -> Rows:
        """One row for each source sentence, given as token ids in reading order without `<EOS>`."""

    def step(self, rows: Rows, beams: Beams) -> tuple[Extensions, Rows]:
        """Feed each row its last token; returns the best extensions, and the new rows in the same order."""

    def take(self, rows: Rows, indices: Integers) -> Rows:
        """The rows at `indices`, in that order; an index may repeat."""

    def append(self, rows: Rows, others: Rows) -> Rows:
        """`rows`, and after them `others`."""

    def describe(self) -> str:
        """How it computes, for people: device, number format, instruction set, threads."""


def beyond_packed_engines(config: ModelConfig) -> str | None:
    """What of this architecture the engines cpu and cuda cannot compute, in words; None where they can.

    They are made for LSTMs with dot attention or none.
    """
    beyond = [
        *([f"the cell {config.cell}"] if config.cell != "lstm" else []),
        *([f"{config.attention} attention"] if config.attention not in ("none", "dot") else []),
        *(["input feeding"] if config.input_feeding else []),
    ]
    return " and ".join(beyond) or None


def refuse_what_is_beyond(engine: str, config: ModelConfig) -> None:
    """Raise `ValueError` where this packed engine cannot compute the architecture."""
    beyond = beyond_packed_engines(config)
    if beyond is not None:
        raise ValueError(f"the {engine} engine does not compute {beyond}; use engine=reference, or auto, which does")
