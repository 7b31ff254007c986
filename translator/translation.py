"""What a text is translated into."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Alternative:
    """One way to say it.

    `log_probability` is in nats, `score` is it with the length penalty; those of a text are sums over its sentences.
    """

    text: str
    score: float
    log_probability: float


@dataclass(frozen=True)
class Piece:
    """Some characters of a translation, and how probable the model found them, given all before them."""

    text: str
    probability: float


@dataclass(frozen=True)
class Alignment:
    """Where the attention looked: `weights[t][s]` is the share of source piece s when target piece t was written.

    `source` and `target` are the subwords in reading order, `</s>` (the paper's `<EOS>`) at the end of both; every row
    of weights has the sum 1.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class SentenceTranslation:
    """One sentence, or one part of a sentence too long for the model.

    `source_start` and `source_end` are character offsets into the text, `target_start` and `target_end` into its
    translation. `alternatives` are the next best, best first, without the translation itself. `source_tokens` and
    `target_tokens` are what the model read and wrote, as ids without `<EOS>`; `alignment` is there on request
    (`Translator.aligned`).

    `pieces`, joined, are `text`; they are there where `SearchOptions.probabilities` asked for them.
    """

    source_start: int
    source_end: int
    target_start: int
    target_end: int
    source: str
    text: str
    score: float
    log_probability: float
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    source_tokens: tuple[int, ...] = ()
    target_tokens: tuple[int, ...] = ()
    alignment: Alignment | None = None
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Translation:
    """A translated text; one without sentences is itself, with score 0.

    The k-th of `alternatives` joins the k-th alternative of every sentence (its translation, where it has fewer).
    `warnings` begin with a code and a colon: "split", "long", "untested", "truncated", "repetition", "unknown" or
    "empty".
    """

    text: str
    score: float
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    sentences: tuple[SentenceTranslation, ...]


def assemble(text: str, sentences: Sequence[SentenceTranslation]) -> Translation:
    """The translation of `text` with what was found for its sentences, which are in the order of the text.

    What stands between the sentences is taken from `text`, character for character. The target offsets are set anew.
    """
    ranks = max((1 + len(sentence.alternatives) for sentence in sentences), default=1)
    wholes: dict[str, Alternative] = {}
    for rank in range(ranks):
        chosen = [_candidate(sentence, rank) for sentence in sentences]
        whole = _joined(text, sentences, [candidate.text for candidate in chosen])
        score = math.fsum(candidate.score for candidate in chosen)
        log_probability = math.fsum(candidate.log_probability for candidate in chosen)
        wholes.setdefault(as_read(whole), Alternative(whole, score, log_probability))
    best, *others = wholes.values()
    placed = []
    shift = 0  # how much further right the target stands than the source
    for sentence in sentences:
        start = sentence.source_start + shift
        placed.append(replace(sentence, target_start=start, target_end=start + len(sentence.text)))
        shift = start + len(sentence.text) - sentence.source_end
    warnings = tuple(dict.fromkeys(warning for sentence in sentences for warning in sentence.warnings))
    return Translation(best.text, best.score, tuple(others), warnings, tuple(placed))


def as_read(text: str) -> str:
    """What a reader sees: texts that differ in the kind of their spaces alone are the same, as "gare ?" with U+00A0."""
    return " ".join(text.split())


def _candidate(sentence: SentenceTranslation, rank: int) -> Alternative:
    """The sentence's candidate of this rank, its translation being the first; that one, where it has fewer."""
    if 1 <= rank <= len(sentence.alternatives):
        return sentence.alternatives[rank - 1]
    return Alternative(sentence.text, sentence.score, sentence.log_probability)


def _joined(text: str, sentences: Sequence[SentenceTranslation], translations: Sequence[str]) -> str:
    parts = []
    position = 0
    for sentence, translation in zip(sentences, translations, strict=True):
        parts += [text[position : sentence.source_start], translation]
        position = sentence.source_end
    return "".join([*parts, text[position:]])
