"""Holding out dev and test so that none of their sentences was seen in training, in either language.

One sentence often has several translations, and each of these several sources: sentences that translate each other
form a graph. Dev and test take whole connected components of it, so that no source sentence and no target sentence of
theirs stands in train or in one another, even when case, punctuation and spacing are ignored.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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


def comparison_key(sentence: str) -> str:
    """`sentence` without case, punctuation and spacing; a sentence of nothing else is its own key."""
    return _IGNORED.sub("", unicodedata.normalize("NFC", sentence).casefold()) or sentence.strip()


def connected_components(pairs: Sequence[Pair]) -> list[list[int]]:
    """Indices of `pairs`, grouped: two pairs are together where they share a source or a target, directly or by others.

    Components come in the order of their first pair.
    """
    parents = list(range(len(pairs)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    first_with: dict[tuple[int, str], int] = {}
    for index, pair in enumerate(pairs):
        for side, sentence in enumerate(pair):
            other = first_with.setdefault((side, comparison_key(sentence)), index)
            parents[root(index)] = root(other)
    components: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(len(pairs)):
        components[root(index)].append(index)
    return list(components.values())


def hold_out(pairs: Sequence[Pair], *, dev: int, test: int, seed: int) -> Split:
    """Draws `dev` and `test` components of `pairs` by `seed` and takes one pair of each; the rest of them is left out.

    Raises:
        InputError: `pairs` has too few small components for it, or less would remain for training than is held out.
    """
    components = connected_components(pairs)
    small = [component for component in components if len(component) <= _LARGEST_COMPONENT]
    random.Random(seed).shuffle(small)
    drawn = small[: dev + test]
    left_out = {index for component in drawn for index in component}
    train = [pair for index, pair in enumerate(pairs) if index not in left_out]
    if len(drawn) < dev + test or len(train) < dev + test:
        raise InputError(
            f"{len(pairs):,} sentence pairs ({len(components):,} of them independent of each other) are too few to "
            f"hold out {dev + test:,} for dev and test; bring dev and test files, or hold out fewer, such as "
            f"--set corpus.held_out_pairs={max(1, len(small) // 20)}"
        )
    held_out = [pairs[component[0]] for component in drawn]
    return Split(train=train, dev=held_out[:dev], test=held_out[dev:])
