"""Text in, translation out: the one entrance for the command line, the service, the evaluation and other programs.

A text is split into sentences, sentences too long for the model are divided, every distinct sentence of a call is decoded
once, in batches of about equal length, and the translations are put back where the sentences stood.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from translator.card import Card
from translator.config import ModelConfig, SearchOptions
from translator.directory import LoadedModel, load_model
from translator.engines.reference import ReferenceEngine
from translator.search import Engine, Hypothesis, search
from translator.segmentation import Segments

SHIPPED_MODELS = Path(__file__).parent / "pretrained"

# One call of the search holds at most this many hypotheses and this many source tokens.
_ROWS_PER_BATCH = 640
_TOKENS_PER_BATCH = 8192
# Where the card does not say how long the training sentences were, and for models that saw nothing but very short ones.
_DEFAULT_LONGEST_SOURCE = 256
_SMALLEST_LONGEST_SOURCE = 16
_LINE_BREAKS = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True)
class Alternative:
    """One way to say it. `log_probability` is natural, `score` is it with the length penalty; both are sums over sentences."""

    text: str
    score: float
    log_probability: float


@dataclass(frozen=True)
class SentenceTranslation:
    """One sentence, or one part of a sentence too long for the model.

    `source_start` and `source_end` are character offsets into the text, `target_start` and `target_end` into its translation.
    `alternatives` are the next best, best first, without the translation itself.
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


@dataclass(frozen=True)
class Translation:
    """A translated text. Its score is the sum of its sentences' scores; a text without sentences is itself, with score 0.

    The k-th of `alternatives` joins the k-th alternative of every sentence (the last that it has, where it has fewer).
    `warnings` begin with a code and a colon: "split", "long", "truncated", "unknown" or "empty".
    """

    text: str
    score: float
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    sentences: tuple[SentenceTranslation, ...]
