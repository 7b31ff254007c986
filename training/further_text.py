"""Text of one language, for a teacher to translate: what the corpus does not have yet, each sentence once.

Of the source language it makes pairs whose targets are a teacher's (self-training: He et al. 2020), of the target
language pairs whose sources are (back-translation: Sennrich, Haddow & Birch 2016, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cleaning import first_occurrences, tidy
from training.errors import InputError
from training.prepared import Prepared
from training.prepared_texts import Side, side_texts
from training.splitting import comparison_key, digests
from training.text_files import read_lines


class FurtherText:
    """The sentences of text files, a line each, that no part of the corpus has; all of them are held in memory.

    Sentences are the same that differ in case, punctuation and spacing alone, as between train, dev and test.

    Attributes:
        order: int64 [sentences], their numbers: those of the lines that are not empty.
        left_out: how many of these lines are no sentences of it, by reason.
    """

    def __init__(self, files: Sequence[Path], prepared: Prepared, side: Side) -> None:
        """Raises `InputError` where a file cannot be read, or has nothing that is not in the corpus."""
        self._lines = list(_sentences(files))
        keys = digests(comparison_key(line) for line in self._lines)
        first = first_occurrences(keys)
        known = np.isin(keys, comparison_keys(prepared, side, ("train", "dev", "test")))
        self.left_out = {
            "repeated": int(np.count_nonzero(~first)),
            "in the corpus": int(np.count_nonzero(first & known)),
        }
        self.order: NDArray[np.int64] = np.flatnonzero(first & ~known)
        if not len(self.order):
            raise InputError(f"{', '.join(map(str, files))}: no sentence that the corpus does not have")

    def source(self, number: int) -> str:
        """The sentence of this number."""
        return self._lines[number]


def comparison_keys(prepared: Prepared, side: Side, parts: Sequence[str]) -> NDArray[np.uint64]:
    """Digests of the sentences on one side of some parts, without case, punctuation and spacing."""
    return np.concatenate(
        [digests(comparison_key(text) for text in side_texts(prepared, side, part)) for part in parts]
    )


def _sentences(files: Sequence[Path]) -> Iterator[str]:
    for file in files:
        yield from filter(None, map(tidy, read_lines(file)))
