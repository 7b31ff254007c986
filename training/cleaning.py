"""Leaving out what no translator should learn from, and counting it, a chunk of pairs at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.splitting import Pair, comparison_key, digests

# Everything that ends a line somewhere (`str.splitlines`), and the tab: sentences are stored one a line.
_LINE_BREAKS = re.compile(r"[\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")


def tidy(sentence: str) -> str:
    """`sentence` on one line: tabs and line breaks become a space, white space at its ends goes, the rest stays."""
    return _LINE_BREAKS.sub(" ", sentence).strip()


@dataclass(frozen=True)
class CleanChunk:
    """The tidied pairs of a chunk of which neither side is empty, in their order.

    Attributes:
        texts: source and target as UTF-8, one sentence a line.
        pairs: uint64 [pairs], digests by which a pair is found again.
        source_keys, target_keys: uint64 [pairs], digests of the sentences without case, punctuation and spacing.
        empty: how many pairs were left out.
    """

    texts: tuple[bytes, bytes]
    pairs: NDArray[np.uint64]
    source_keys: NDArray[np.uint64]
    target_keys: NDArray[np.uint64]
    empty: int


def clean_chunk(pairs: Sequence[Pair]) -> CleanChunk:
    """Tidies a chunk of pairs. It knows nothing of other chunks, so that several can be tidied at once."""
    tidied = [pair for pair in ((tidy(source), tidy(target)) for source, target in pairs) if all(pair)]
    source, target = ("".join(f"{pair[side]}\n" for pair in tidied).encode() for side in (0, 1))
    return CleanChunk(
        texts=(source, target),
        pairs=digests(f"{pair[0]}\n{pair[1]}" for pair in tidied),
        source_keys=digests(comparison_key(pair[0]) for pair in tidied),
        target_keys=digests(comparison_key(pair[1]) for pair in tidied),
        empty=len(pairs) - len(tidied),
    )


def first_occurrences(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `keys`, [pairs], stands there for the first time: bool [pairs]."""
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


@dataclass(frozen=True)
class LengthLimits:
    """Which training pairs are kept by their lengths.

    Attributes:
        maximum_length: tokens that either side may have.
        maximum_ratio: how many times the shorter side's tokens the longer side may have; None: any number.
    """

    maximum_length: int
    maximum_ratio: float | None

    def judge(
        self, source_lengths: NDArray[np.int64], target_lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], dict[str, int]]:
        """Which pairs of these lengths in tokens, [pairs], are kept, bool [pairs]; how many are not, by reason."""
        longer, shorter = np.maximum(source_lengths, target_lengths), np.minimum(source_lengths, target_lengths)
        too_long = longer > self.maximum_length
        uneven = ~too_long & (longer > self.maximum_ratio * shorter if self.maximum_ratio is not None else False)
        removed = {"too long": int(np.count_nonzero(too_long)), "ratio": int(np.count_nonzero(uneven))}
        return ~(too_long | uneven), removed
