"""What a text is translated into."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alternative:
    """One way to say it.

    `log_probability` is in nats, `score` is it with the length penalty; those of a text are sums over its sentences.
    """

    text: str
    score: float
    log_probability: float


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


@dataclass(frozen=True)
class Translation:
    """A translated text; one without sentences is itself, with score 0.

    The k-th of `alternatives` joins the k-th alternative of every sentence (its translation, where it has fewer).
    `warnings` begin with a code and a colon: "split", "long", "truncated", "unknown" or "empty".
    """

    text: str
    score: float
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    sentences: tuple[SentenceTranslation, ...]
