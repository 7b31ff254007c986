"""Real sentence pairs for the comparison of trainers: cut into subwords of one joint vocabulary, for all contenders.

A subword is written as the word "w" with its number, so that every toolkit splits the text at blanks and none at
anything else.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.peers.text import SPECIAL_COUNT, VOCABULARY_SIZE, Text
from training.prepared import EncodedPairs
from training.subwords import train_vocabulary
from translator.vocabulary import Vocabulary

_MOST_TOKENS = 98
"""Longer sentences are left out: the peers' limit is 100 with the symbols at the ends."""
_SEED = 1


@dataclass(frozen=True)
class Pairs:
    """Encoded pairs, and the vocabulary of both sides."""

    encoded: EncodedPairs
    vocabulary: Vocabulary

    def text(self) -> Text:
        """What the peers read. Words that do not occur are left out of the list, fillers take their places."""
        encoded = self.encoded
        used = np.unique(np.concatenate([encoded.source_tokens, encoded.target_tokens]))
        assert len(used) <= VOCABULARY_SIZE - SPECIAL_COUNT
        source = [_words(encoded.source(number)) for number in range(len(encoded))]
        target = [_words(encoded.target(number)) for number in range(len(encoded))]
        return Text([f"w{number}" for number in used], source, target, [])

    def save(self, file: Path) -> None:
        """Write them for `load`, in a process of its own."""
        encoded = self.encoded
        np.savez(
            file,
            source_tokens=encoded.source_tokens,
            source_offsets=encoded.source_offsets,
            target_tokens=encoded.target_tokens,
            target_offsets=encoded.target_offsets,
            vocabulary=np.frombuffer(self.vocabulary.model_bytes, dtype=np.uint8),
        )

    @classmethod
    def load(cls, file: Path) -> Pairs:
        with np.load(file) as archive:
            encoded = EncodedPairs(
                archive["source_tokens"], archive["source_offsets"], archive["target_tokens"], archive["target_offsets"]
            )
            return cls(encoded, Vocabulary(archive["vocabulary"].tobytes()))


def read_pairs(folder: Path) -> Pairs:
    """The training pairs of a corpus; `folder` holds two files `train.LANGUAGE`, of which the first by name is the
    source, gzipped or not.

    Raises ValueError if there are not two such files of equal length, or not enough text for the vocabulary.
    """
    files = sorted(folder.glob("train.*"))
    if len(files) != 2:
        raise ValueError(f"{folder} should hold two files named train.LANGUAGE, and holds {len(files)}.")
    sides = [_read(file) for file in files]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"{files[0]} and {files[1]} have {len(sides[0])} and {len(sides[1])} lines.")
    vocabulary, _ = train_vocabulary([*sides[0], *sides[1]], size=VOCABULARY_SIZE, model_type="unigram", seed=_SEED)
    if vocabulary.size != VOCABULARY_SIZE:
        raise ValueError(f"{folder} holds too little text for a vocabulary of {VOCABULARY_SIZE}.")
    source, target = (vocabulary.encode_batch(side) for side in sides)
    kept = [
        (one, other)
        for one, other in zip(source, target, strict=True)
        if 0 < len(one) <= _MOST_TOKENS and 0 < len(other) <= _MOST_TOKENS
    ]
    return Pairs(encode_pairs(kept), vocabulary)


def encode_pairs(pairs: Iterable[tuple[list[int], list[int]]]) -> EncodedPairs:
    """Lay pairs of token ids out as training reads them."""
    listed = list(pairs)
    source, target = (_lay_out([pair[side] for pair in listed]) for side in (0, 1))
    return EncodedPairs(*source, *target)


def _lay_out(sentences: list[list[int]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    tokens = np.array([token for sentence in sentences for token in sentence], dtype=np.int32)
    return tokens, np.cumsum([0, *(len(sentence) for sentence in sentences)], dtype=np.int64)


def _read(file: Path) -> list[str]:
    content = file.read_bytes()
    if file.suffix == ".gz":
        content = gzip.decompress(content)
    return content.decode("utf-8").removesuffix("\n").split("\n")


def _words(tokens: NDArray[np.int32]) -> str:
    return " ".join(f"w{token}" for token in tokens)
