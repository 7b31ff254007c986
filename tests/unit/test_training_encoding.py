"""Sentences as token ids: what a chunk becomes, and the files that it is written to."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.support import ENGLISH, FRENCH
from training.cleaning import LengthLimits
from training.encoding import EncodedSide, EncodedWriter, encode_chunk
from training.subwords import train_vocabulary
from translator.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabularies")
    for side, texts in (("source", ENGLISH), ("target", FRENCH)):
        vocabulary, _ = train_vocabulary(texts, size=30, model_type="word", seed=1)
        (folder / f"{side}.model").write_bytes(vocabulary.model_bytes)
    return folder


def lines(texts: tuple[str, ...]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def sentences(side: EncodedSide) -> list[list[int]]:
    return [part.tolist() for part in np.split(side.tokens, np.cumsum(side.lengths)[:-1])]


def test_a_chunk_is_encoded_sentence_by_sentence(folder: Path) -> None:
    chunk = encode_chunk((lines(ENGLISH), lines(FRENCH)), folder=folder, limits=None)
    for encoded, name, texts in zip(chunk.sides, ("source", "target"), (ENGLISH, FRENCH), strict=True):
        vocabulary = Vocabulary.load(folder / f"{name}.model")
        expected = [vocabulary.encode(text) for text in texts]
        assert sentences(encoded) == expected
        assert encoded.unknown == sum(ids.count(vocabulary.unk_id) for ids in expected) > 0
    assert chunk.removed == {}


def test_pairs_outside_the_limits_are_left_out_on_both_sides(folder: Path) -> None:
    limits = LengthLimits(maximum_length=7, maximum_ratio=1.25)
    lengths = [
        tuple(
            len(Vocabulary.load(folder / f"{side}.model").encode(text))
            for side, text in zip(("source", "target"), pair, strict=True)
        )
        for pair in zip(ENGLISH, FRENCH, strict=True)
    ]
    kept = [pair for pair in lengths if max(pair) <= 7 and max(pair) <= 1.25 * min(pair)]
    assert 0 < len(kept) < len(lengths)
    chunk = encode_chunk((lines(ENGLISH), lines(FRENCH)), folder=folder, limits=limits)
    assert list(zip(*(side.lengths.tolist() for side in chunk.sides), strict=True)) == kept
    assert sum(chunk.removed.values()) == len(lengths) - len(kept)


@pytest.mark.parametrize("chunks", [[], [[[]]], [[[3, 4], [], [5]], [[6]], [], [[7] * 1000]]])
def test_the_files_are_those_that_numpy_writes(tmp_path: Path, chunks: list[list[list[int]]]) -> None:
    with EncodedWriter(tmp_path, "train.source") as writer:
        for chunk in chunks:
            tokens = np.array([token for sentence in chunk for token in sentence], dtype=np.int32)
            writer.append(EncodedSide(tokens, np.array([len(s) for s in chunk], dtype=np.int64), 1))
    every = [sentence for chunk in chunks for sentence in chunk]
    tokens = np.array([token for sentence in every for token in sentence], dtype=np.int32)
    offsets = np.cumsum([0, *map(len, every)], dtype=np.int64)
    assert (writer.pairs, writer.tokens, writer.unknown) == (len(every), len(tokens), len(chunks))
    for name, array in (("tokens", tokens), ("offsets", offsets)):
        expected = io.BytesIO()
        np.save(expected, array)
        assert (tmp_path / f"train.source.{name}.npy").read_bytes() == expected.getvalue()
