"""Sentences to token ids, a chunk of pairs at a time, and the files of arrays that a prepared folder holds them in."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, compress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from training.cleaning import LengthLimits
from translator.vocabulary import SIDES, Vocabulary


@dataclass(frozen=True)
class EncodedSide:
    """One side of a chunk: int32 token ids [tokens] of all sentences, tokens of each [pairs], how many are unknown."""

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int64]
    unknown: int


@dataclass(frozen=True)
class EncodedChunk:
    """A chunk's pairs as token ids, and how many pairs the limits left out, by reason."""

    sides: tuple[EncodedSide, EncodedSide]
    removed: dict[str, int]


def encode_chunk(texts: tuple[bytes, bytes], *, folder: Path, limits: LengthLimits | None) -> EncodedChunk:
    """Encodes a chunk with the vocabularies of `folder`.

    Args:
        texts: source and target as UTF-8, one sentence a line.
        limits: what keeps a pair; None keeps all.
    """
    encoded = [
        vocabulary.encode_batch(text.decode().split("\n")[:-1], threads=1)
        for vocabulary, text in zip(_vocabularies(folder), texts, strict=True)
    ]
    lengths = [np.fromiter(map(len, sentences), np.int64, len(sentences)) for sentences in encoded]
    kept, removed = limits.judge(lengths[0], lengths[1]) if limits is not None else (np.full(len(lengths[0]), True), {})
    source, target = (
        _encoded_side(compress(sentences, kept.tolist()), counts[kept], vocabulary.unk_id)
        for sentences, counts, vocabulary in zip(encoded, lengths, _vocabularies(folder), strict=True)
    )
    return EncodedChunk((source, target), removed)


def _encoded_side(sentences: Iterable[Sequence[int]], lengths: NDArray[np.int64], unknown: int) -> EncodedSide:
    tokens = np.frombuffer(array("i", chain.from_iterable(sentences)), dtype=np.int32)
    return EncodedSide(tokens, lengths, int(np.count_nonzero(tokens == unknown)))


@lru_cache(maxsize=1)
def _vocabularies(folder: Path) -> tuple[Vocabulary, Vocabulary]:
    """Read once by each process: they are megabytes."""
    source, target = (Vocabulary.load(folder / f"{side}.model") for side in SIDES)
    return source, target


class EncodedWriter:
    """Writes one side's `tokens.npy` and `offsets.npy` as the chunks come; in memory is nothing but the chunk."""

    def __init__(self, folder: Path, name: str) -> None:
        """`name` is that of a part and a side, such as "train.source"."""
        self.pairs = self.tokens = self.unknown = 0
        self._tokens = _ArrayFile(folder / f"{name}.tokens.npy", np.dtype(np.int32))
        self._offsets = _ArrayFile(folder / f"{name}.offsets.npy", np.dtype(np.int64))
        self._offsets.append(np.zeros(1, dtype=np.int64))

    def append(self, side: EncodedSide) -> None:
        self._tokens.append(side.tokens)
        self._offsets.append(self.tokens + np.cumsum(side.lengths))
        self.pairs += len(side.lengths)
        self.tokens += len(side.tokens)
        self.unknown += side.unknown

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tokens.close()
        self._offsets.close()


class _ArrayFile:
    """A row of numbers of a length that is known at the end, in NumPy's format, whose header leaves room for it."""

    def __init__(self, path: Path, dtype: np.dtype[np.int32] | np.dtype[np.int64]) -> None:
        self._file: BinaryIO = path.open("wb")
        self._dtype = dtype
        self._length = 0
        self._write_header()

    def append(self, numbers: NDArray[np.int32] | NDArray[np.int64]) -> None:
        self._file.write(numbers.astype(self._dtype, copy=False).tobytes())
        self._length += len(numbers)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        description = npy.dtype_to_descr(self._dtype)
        npy.write_array_header_1_0(self._file, {"descr": description, "fortran_order": False, "shape": (self._length,)})
