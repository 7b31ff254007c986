"""Signs that a translation is not to be trusted: it goes round in circles, or nobody measured sentences so long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from translator.card import Card

_LONGEST_PHRASE = 8
# How often a phrase must follow itself to count: a single token more often than longer ones ("very, very, very good").
_TIMES = {1: 4, 2: 3}
_TIMES_OF_LONGER = 2
# The fewest tokens that a repeated phrase of at least three may cover altogether.
_COVERED = 8
# A length counts as tested from this share of the test sentences on.
_TESTED_SHARE = 0.01


def repeated(tokens: Sequence[int], source: Sequence[int]) -> tuple[int, ...]:
    """The shortest phrase that follows itself again and again in `tokens`; () where none does.

    A source sentence that itself repeats a phrase may be translated in the same manner.
    """
    phrase = _loop(tokens)
    return () if phrase and _loop(source) else phrase


def _loop(tokens: Sequence[int]) -> tuple[int, ...]:
    for length in range(1, min(_LONGEST_PHRASE, len(tokens) // 2) + 1):
        times = _TIMES.get(length, max(_TIMES_OF_LONGER, -(-_COVERED // length)))
        equal = 0  # so many tokens in a row are those `length` before them
        for position in range(length, len(tokens)):
            equal = equal + 1 if tokens[position] == tokens[position - length] else 0
            if equal >= length * (times - 1):
                return tuple(tokens[position - length + 1 : position + 1])
    return ()


def untested(card: Card, sentence: str) -> Iterator[str]:
    """A warning, where `sentence` has more words than the lengths at which the card's BLEU was measured."""
    lengths = sorted(card.bleu_by_length, key=lambda part: part.minimum)
    total = sum(part.sentences for part in lengths)
    tested = [part for part in lengths if part.sentences >= _TESTED_SHARE * total]
    if not tested or tested[-1].maximum is None:
        return
    words = len(sentence.split())
    if words > tested[-1].maximum:
        here = [part for part in lengths if part.minimum <= words and (part.maximum is None or words <= part.maximum)]
        few = f"{here[0].sentences} such, with BLEU {here[0].bleu:.1f}" if here and here[0].sentences else "none such"
        yield (
            f"untested: a sentence of {words} words; of {total:,} test sentences the model had {few}, "
            f"and BLEU {tested[-1].bleu:.1f} at {tested[-1].minimum} to {tested[-1].maximum} words"
        )
