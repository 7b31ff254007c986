"""The training pairs as text on disk, and in memory what tells which of them are learnt from.

In memory are 17 bytes for each pair, two digests and whether it is kept, and while the text is read and looked through
for duplicates 50. Holding pairs out takes up to 100 more (see `training.splitting`). The text itself is read line by
line.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cleaning import clean_chunk, first_occurrences
from training.splitting import Draw, Pair, comparison_key, digests, draw
from training.workers import Workers
from translator.vocabulary import SIDES

CHUNK_PAIRS = 5_000
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing


@dataclass(frozen=True)
class MaskedLines:
    """The lines of a UTF-8 file that a mask keeps, without their ends; may be iterated over again and again."""

    file: Path
    mask: NDArray[np.bool_]

    def __iter__(self) -> Iterator[str]:
        with self.file.open(encoding="utf-8", newline="\n") as lines:
            for line in compress(lines, self.mask.data):
                yield line.removesuffix("\n")


class TrainText:
    """Tidied training pairs in `train.source.txt` and `train.target.txt` of a folder.

    Attributes:
        kept: bool [pairs], the pairs to learn from; the others stand in the files, too.
        read, empty, duplicates: pairs of the corpus, those of them with an empty side, those that stood there before.
    """

    def __init__(self, folder: Path, pairs: Iterable[Pair], workers: Workers, advance: Callable[[int], None]) -> None:
        """Reads, tidies and writes `pairs`; `advance` is told of the pairs as they are done."""
        self.files = [folder / f"train.{side}.txt" for side in SIDES]
        self.read = self.empty = 0
        keys = (array("Q"), array("Q"), array("Q"))
        with ExitStack() as stack:
            outputs = [stack.enter_context(file.open("wb")) for file in self.files]
            for chunk in workers.map(clean_chunk, in_chunks(pairs)):
                for output, text in zip(outputs, chunk.texts, strict=True):
                    output.write(text)
                for numbers, more in zip(keys, (chunk.pairs, chunk.source_keys, chunk.target_keys), strict=True):
                    numbers.frombytes(more.tobytes())
                self.read += len(chunk.pairs) + chunk.empty
                self.empty += chunk.empty
                advance(len(chunk.pairs) + chunk.empty)
        self.kept = first_occurrences(np.frombuffer(keys[0], dtype=np.uint64))
        self.duplicates = len(self.kept) - len(self)
        self._keys = tuple(np.frombuffer(numbers, dtype=np.uint64) for numbers in keys[1:])

    def __len__(self) -> int:
        """Pairs that are kept."""
        return int(np.count_nonzero(self.kept))

    def hold_out(self, *, dev: int, test: int, seed: int) -> tuple[list[Pair], list[Pair]]:
        """Takes pairs out for dev and test, and with them all that share a sentence with them. Raises InputError."""
        drawn: Draw = draw(self._keys[0][self.kept], self._keys[1][self.kept], dev=dev, test=test, seed=seed)
        numbers = np.flatnonzero(self.kept)
        wanted = np.zeros(len(self.kept), dtype=bool)
        wanted[numbers[drawn.dev + drawn.test]] = True
        found = dict(zip(np.flatnonzero(wanted).tolist(), self._pairs(wanted), strict=True))
        self.kept[numbers] = drawn.train
        dev_pairs, test_pairs = ([found[int(numbers[number])] for number in part] for part in (drawn.dev, drawn.test))
        return dev_pairs, test_pairs

    def overlap(self, pairs: Iterable[Pair]) -> tuple[int, int]:
        """How many different `pairs` there are, and how many of them are kept to learn from.

        Case, punctuation and spacing are ignored.
        """
        keys = [(comparison_key(source), comparison_key(target)) for source, target in pairs]
        sought = np.unique(_mixed(*(digests(key[side] for key in keys) for side in (0, 1))))
        known = _mixed(self._keys[0][self.kept], self._keys[1][self.kept])
        places = np.minimum(np.searchsorted(sought, known), len(sought) - 1)
        return len(sought), len(np.unique(places[sought[places] == known]))

    def sample(self, pairs: int, *, seed: int) -> NDArray[np.bool_]:
        """All kept pairs, or so many of them drawn by `seed`: a mask, bool [pairs]."""
        if len(self) <= pairs:
            return self.kept
        mask = np.zeros(len(self.kept), dtype=bool)
        mask[np.random.default_rng(seed).choice(np.flatnonzero(self.kept), pairs, replace=False, shuffle=False)] = True
        return mask

    def chunks(self) -> Iterator[tuple[bytes, bytes]]:
        """The kept pairs as UTF-8, source and target, one sentence a line, `CHUNK_PAIRS` at a time."""
        with ExitStack() as stack:
            sources, targets = (compress(stack.enter_context(file.open("rb")), self.kept.data) for file in self.files)
            while source := b"".join(islice(sources, CHUNK_PAIRS)):
                yield source, b"".join(islice(targets, CHUNK_PAIRS))

    def _pairs(self, mask: NDArray[np.bool_]) -> Iterator[Pair]:
        return zip(*(MaskedLines(file, mask) for file in self.files), strict=True)


def _mixed(source_keys: NDArray[np.uint64], target_keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One number for each pair, uint64 [pairs], of its two."""
    return source_keys * _MIXER + target_keys


def in_chunks(pairs: Iterable[Pair]) -> Iterator[Sequence[Pair]]:
    """`pairs`, `CHUNK_PAIRS` at a time."""
    iterator = iter(pairs)
    while chunk := list(islice(iterator, CHUNK_PAIRS)):
        yield chunk
