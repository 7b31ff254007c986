"""Sentence pairs that say nothing: lengths of real ones, and words drawn independently by Zipf's law."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.prepared import EncodedPairs

_SPECIAL_SYMBOLS = 3
_WORDS_AT_A_TIME = 1 << 22


def synthetic_pairs(
    lengths: NDArray[np.int64], source_vocabulary: int, target_vocabulary: int, seed: int
) -> EncodedPairs:
    """Pairs of the source and target `lengths` [pairs, 2], in words.

    The word of rank r is r times rarer than the first; all words of a vocabulary can occur, its special symbols cannot.
    """
    generator = np.random.default_rng(seed)
    source_offsets, target_offsets = (np.concatenate([[0], np.cumsum(lengths[:, side])]) for side in (0, 1))
    return EncodedPairs(
        _zipf(int(source_offsets[-1]), source_vocabulary, generator),
        source_offsets,
        _zipf(int(target_offsets[-1]), target_vocabulary, generator),
        target_offsets,
    )


def _zipf(count: int, vocabulary: int, generator: np.random.Generator) -> NDArray[np.int32]:
    cumulative = np.cumsum(1.0 / np.arange(1, vocabulary - _SPECIAL_SYMBOLS + 1))
    words = np.empty(count, dtype=np.int32)
    for start in range(0, count, _WORDS_AT_A_TIME):
        stretch = words[start : start + _WORDS_AT_A_TIME]
        drawn = generator.random(len(stretch)) * cumulative[-1]
        stretch[:] = np.minimum(np.searchsorted(cumulative, drawn), len(cumulative) - 1) + _SPECIAL_SYMBOLS
    return words
