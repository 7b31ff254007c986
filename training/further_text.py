"""Text of one language, for a teacher to translate: what the corpus does not have yet, each sentence once.

Of the source language it makes pairs whose targets are a teacher's (self-training: He et al. 2020), of the target
language pairs whose sources are (back-translation: Sennrich, Haddow & Birch 2016, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cleaning import first_occurrences, tidy
from training.errors import InputError
from training.prepared import Prepared
from training.prepared_texts import Side, side_texts
from training.splitting import comparison_key, digests
from training.text_files import read_lines
from translator.segmentation import is_blank


class FurtherText:
    """The sentences of text files, a line each, that no part of the corpus has; they are held in memory.

    Sentences are the same that differ in case, punctuation and spacing alone, as between train, dev and test; and from
    those of train, where the vocabulary does not know all of their words, in unknown words alone.

    Attributes:
        order: int64 [sentences], their numbers.
        left_out: how many of the lines that are not empty are not there, by reason.
    """

    def __init__(self, files: Sequence[Path], prepared: Prepared, side: Side) -> None:
        """Raises `InputError` where a file cannot be read, or has nothing that is not in the corpus."""
        vocabulary, limit = prepared.vocabularies[side], prepared.record.corpus.maximum_length
        lines = list(_sentences(files))
        encoded = vocabulary.encode_batch(lines)
        blank = np.array([is_blank(line) for line in lines], dtype=bool)
        long = np.array([len(tokens) > limit for tokens in encoded], dtype=bool) & ~blank
        keys = comparison_digests(lines)
        as_prepared = keys if vocabulary.lossless else comparison_digests(map(vocabulary.decode, encoded))
        known = np.isin(as_prepared, comparison_digests(side_texts(prepared, side, "train")))
        for part in ("dev", "test"):
            known |= np.isin(keys, comparison_digests(side_texts(prepared, side, part)))
        usable = ~blank & ~long
        repeated = usable & ~first_occurrences(keys)
        chosen = usable & ~repeated & ~known
        self.left_out = {
            reason: int(np.count_nonzero(which))
            for reason, which in (
                ("without a word", blank),
                ("too long", long),
                ("repeated", repeated),
                ("in the corpus", usable & ~repeated & known),
            )
        }
        self._sentences = [lines[number] for number in np.flatnonzero(chosen)]
        self.order: NDArray[np.int64] = np.arange(len(self._sentences))
        if not self._sentences:
            raise InputError(f"{', '.join(map(str, files))}: no sentence that the corpus does not have")

    def sentence(self, number: int) -> str:
        """The sentence of this number."""
        return self._sentences[number]


def comparison_digests(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Digests of texts without case, punctuation and spacing, uint64 [texts]."""
    return digests(map(comparison_key, texts))


def _sentences(files: Sequence[Path]) -> Iterator[str]:
    for file in files:
        yield from filter(None, map(tidy, read_lines(file)))
