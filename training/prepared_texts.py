"""The training pairs of a prepared corpus as text again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.prepared import Prepared
from training.splitting import Pair, digests
from training.text_files import read_lines

Side = Literal["source", "target"]


def side_texts(prepared: Prepared, side: Side, part: str) -> Iterator[str]:
    """The sentences on one side of train, dev or test; in train, what the vocabulary does not know is `<unk>`."""
    if part != "train":
        yield from read_lines(prepared.path / f"{part}.{side}.txt")
        return
    vocabulary = prepared.vocabularies[side]
    sentence = prepared.train.source if side == "source" else prepared.train.target
    for number in range(len(prepared.train)):
        yield vocabulary.decode(sentence(number).tolist())


class TrainingTexts:
    """The training pairs of a prepared corpus as text again, those of the same source one after the other.

    Sources stand in the order in which they first occur.

    Attributes:
        order: int64 [pairs], the pairs' numbers.
        left_out: how many pairs are not there, by reason: a source with words that the vocabulary does not know cannot
            be had back.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        vocabulary, numbers = prepared.source_vocabulary, range(len(prepared.train))
        known = [n for n in numbers if vocabulary.lossless or vocabulary.unk_id not in prepared.train.source(n)]
        self.left_out = {"unknown words": len(numbers) - len(known)}
        keys = digests(self.sentence(number) for number in known)
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        self.order: NDArray[np.int64] = np.array(known, dtype=np.int64)[np.argsort(first[inverse], kind="stable")]

    def sentence(self, number: int) -> str:
        """The source sentence of a pair."""
        return self._prepared.source_vocabulary.decode(self._prepared.train.source(number).tolist())

    def reference(self, number: int) -> str:
        """The target sentence of a pair; what the vocabulary does not know is `<unk>`."""
        return self._prepared.target_vocabulary.decode(self._prepared.train.target(number).tolist())

    def originals(self) -> Iterator[Pair]:
        """The pairs as they were, without those that have an unknown word on either side."""
        vocabulary = self._prepared.target_vocabulary
        for number in np.sort(self.order).tolist():
            if vocabulary.lossless or vocabulary.unk_id not in self._prepared.train.target(number):
                yield self.sentence(number), self.reference(number)
