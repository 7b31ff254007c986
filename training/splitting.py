"""Holding out dev and test so that none of their sentences was seen in training, in either language.

One sentence often has several translations, and each of these several sources: sentences that translate each other
form a graph. Dev and test take whole connected components of it, so that no source sentence and no target sentence of
theirs stands in train or in one another, even when case, punctuation and spacing are ignored.

Sentences are known here by digests of 64 bits, so that no text is held in memory: two different ones have the same
digest with a probability below 1 in 10,000 among 40 million. `draw` needs at most 100 bytes of memory for each pair,
its arguments' 16 included.
"""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import InputError

Pair = tuple[str, str]

# Components larger than this stay in train: one pair of each is used, the others would be lost.
_LARGEST_COMPONENT = 8
_IGNORED = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Split:
    """Sentence pairs (source, target) of the three parts."""

    train: list[Pair]
    dev: list[Pair]
    test: list[Pair]


@dataclass(frozen=True)
class Draw:
    """Which pairs stand where, by their numbers.

    Attributes:
        dev, test: numbers of the pairs held out, in the order in which they were drawn.
        train: bool [pairs], the pairs that are left to learn from.
    """

    dev: list[int]
    test: list[int]
    train: NDArray[np.bool_]


def comparison_key(sentence: str) -> str:
    """`sentence` without case, punctuation and spacing; a sentence of nothing else is its own key."""
    return _IGNORED.sub("", unicodedata.normalize("NFC", sentence).casefold()) or sentence.strip()


def digest(text: str) -> bytes:
    """BLAKE2b of `text`: 8 bytes, the same in every process and on every machine."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def digests(texts: Iterable[str]) -> NDArray[np.uint64]:
    """The digests of `texts` as numbers, uint64 [texts]."""
    return np.frombuffer(b"".join(map(digest, texts)), dtype="<u8")


def connected_components(source_keys: NDArray[np.uint64], target_keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The component of each pair, int64 [pairs], named by the number of its first pair.

    Two pairs are together where they share a source or a target, directly or by others. `source_keys` and
    `target_keys`, uint64 [pairs], are equal where the sentences are.
    """
    labels = np.arange(len(source_keys))
    if not len(labels):
        return labels
    sides = [_grouped(source_keys), _grouped(target_keys)]
    while True:
        before = labels
        for order, starts in sides:
            smallest = np.minimum.reduceat(labels[order], starts)
            labels = np.empty_like(before)
            labels[order] = np.repeat(smallest, np.diff(starts, append=len(order)))
        # A label is the number of an earlier pair of the same component, which may have met a smaller one by now.
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels


def _grouped(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs sorted by key, int64 [pairs], and where in this order each key's pairs begin, int64 [keys]."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    return order, np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))


def draw(source_keys: NDArray[np.uint64], target_keys: NDArray[np.uint64], *, dev: int, test: int, seed: int) -> Draw:
    """Draws `dev` and `test` components by `seed` and takes the first pair of each; the rest of them is left out.

    Args:
        source_keys: uint64 [pairs], `digests` of the source sentences' comparison keys.
        target_keys: uint64 [pairs], the same of the target sentences.

    Raises:
        InputError: there are too few small components for it, or less would remain for training than is held out.
    """
    labels = connected_components(source_keys, target_keys)
    sizes = np.bincount(labels, minlength=len(labels))
    components = int(np.count_nonzero(sizes))
    small = array("q", np.flatnonzero((sizes > 0) & (sizes <= _LARGEST_COMPONENT)).tobytes())
    del sizes
    random.Random(seed).shuffle(small)
    drawn = small[: dev + test]
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[drawn] = True
    train = ~held_out[labels]
    if len(drawn) < dev + test or np.count_nonzero(train) < dev + test:
        raise InputError(
            f"{len(labels):,} sentence pairs ({components:,} of them independent of each other) are too few to "
            f"hold out {dev + test:,} for dev and test; bring dev and test files, or hold out fewer, such as "
            f"--set corpus.held_out_pairs={max(1, len(small) // 20)}"
        )
    return Draw(list(drawn[:dev]), list(drawn[dev:]), train)


def hold_out(pairs: Sequence[Pair], *, dev: int, test: int, seed: int) -> Split:
    """`draw` for pairs that fit into memory. Raises InputError as it does."""
    keys = [digests(comparison_key(pair[side]) for pair in pairs) for side in (0, 1)]
    drawn = draw(keys[0], keys[1], dev=dev, test=test, seed=seed)
    return Split(
        train=[pair for pair, kept in zip(pairs, drawn.train.tolist(), strict=True) if kept],
        dev=[pairs[index] for index in drawn.dev],
        test=[pairs[index] for index in drawn.test],
    )
