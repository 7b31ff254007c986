"""What was there before recurrent networks: n-grams (by nltk.lm) and a hidden Markov model (by hmmlearn) of characters.

Bits per character are counted as `translator.generation.Prediction` counts them: every text has an end, which counts as
a character and has to be predicted, too.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence

import numpy as np

from training.errors import InputError

END = "\n"
_START = "\x02"
_PACKAGES = ("hmmlearn", "nltk")


def require_packages() -> None:
    """Raises `InputError` where one of the two packages is missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"missing: {', '.join(missing)}; install them: pip install '.[plots]'")


def characters(texts: Sequence[str]) -> int:
    """Unicode characters of all texts, their ends included."""
    return sum(len(text) + 1 for text in texts)


def n_gram_bits(train: Sequence[str], tested: Sequence[str], order: int) -> float:
    """Bits per character of `tested` by n-grams of `train` with n up to `order`.

    Counts of each order are interpolated with those of the order below (Witten & Bell 1991); single characters are
    not smoothed. Raises `InputError` where a character of `tested` does not occur in `train`.
    """
    from nltk.lm import WittenBellInterpolated

    _check(train, tested)
    model = WittenBellInterpolated(order)
    model.fit(_n_grams(train, order), vocabulary_text=[*sorted(set("".join(train))), END])
    bits = 0.0
    known: dict[tuple[str, ...], float] = {}  # a few contexts are most of them, and nltk is slow
    for text in tested:
        padded = [_START] * (order - 1) + [*text, END]
        for position in range(order - 1, len(padded)):
            n_gram = tuple(padded[position - order + 1 : position + 1])
            if n_gram not in known:
                known[n_gram] = -model.logscore(n_gram[-1], n_gram[:-1])
            bits += known[n_gram]
    return bits / characters(tested)


def _n_grams(texts: Sequence[str], order: int) -> Iterator[list[tuple[str, ...]]]:
    """Of each text the n-grams that end in one of its characters or in its end; none ends in the padding before it."""
    for text in texts:
        padded = [_START] * (order - 1) + [*text, END]
        yield [
            tuple(padded[position - length + 1 : position + 1])
            for position in range(order - 1, len(padded))
            for length in range(1, order + 1)
        ]


def hidden_markov_bits(
    train: Sequence[str], tested: Sequence[str], states: int, *, iterations: int, seed: int
) -> float:
    """Bits per character of `tested` by a hidden Markov model of so many states, fitted to `train` by Baum-Welch.

    Raises `InputError` where a character of `tested` does not occur in `train`.
    """
    from hmmlearn.hmm import CategoricalHMM

    _check(train, tested)
    number_of = {symbol: number for number, symbol in enumerate(sorted({*"".join(train), END}))}

    def observed(texts: Sequence[str]) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], list[int]]:
        numbers = [number_of[symbol] for text in texts for symbol in (*text, END)]
        return np.array(numbers)[:, None], [len(text) + 1 for text in texts]

    model = CategoricalHMM(states, n_features=len(number_of), n_iter=iterations, tol=0.0, random_state=seed)
    model.fit(*observed(train))
    return -float(model.score(*observed(tested))) / math.log(2) / characters(tested)


def _check(train: Sequence[str], tested: Sequence[str]) -> None:
    unknown = set("".join(tested)) - set("".join(train))
    if unknown:
        raise InputError(f"the character {min(unknown)!r} of the held-out text does not occur in the training text")
