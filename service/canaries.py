"""Sentences that a model has to translate before it serves: the examples of its card, and those in its canaries.json.

canaries.json is an object of source sentences and the translations that are expected, such as {"Hello.": "Bonjour."}.
Whoever makes a model may put it into the directory; training writes none.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from service.batching import Batcher
from service.jobs import QueueFullError, TranslationFailedError
from translator.card import Card
from translator.config import SearchOptions
from translator.ticket import DeadlineError

CANARIES_FILE = "canaries.json"

_SECONDS = 300.0
_MOST_EXAMPLES = 5
_LAST_RESORT = "1 2 3"  # for a card without examples


class CanaryError(ValueError):
    """A sentence that a model does not translate as it should."""


@dataclass(frozen=True)
class Canary:
    """A sentence, and what the running and the new model make of it."""

    source: str
    before: str | None
    after: str

    def document(self) -> dict[str, object]:
        return {"source": self.source, "before": self.before, "after": self.after}


def read_canaries(directory: Path) -> dict[str, str]:
    """Those of a model directory, none where it has no such file. Raises `CanaryError`."""
    file = directory / CANARIES_FILE
    if not file.is_file():
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CanaryError(f"{file}: cannot be read as JSON ({error})") from None
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise CanaryError(f"{file}: must be an object of sentences and their translations")
    return document


def checked_canaries(card: Card, expected: dict[str, str], batcher: Batcher, running: Batcher | None) -> list[Canary]:
    """The canaries and what becomes of them.

    Raises `CanaryError`: a translation is empty where the source is not, has a score that is not finite, or is another
    than is expected.
    """
    sentences = list(dict.fromkeys([*card.examples[:_MOST_EXAMPLES], *expected])) or [_LAST_RESORT]
    try:
        found = batcher.translate(sentences, SearchOptions(), seconds=_SECONDS)
    except DeadlineError:
        raise CanaryError(f"the model took more than {_SECONDS:g} seconds for {len(sentences)} sentences") from None
    except TranslationFailedError as error:
        raise CanaryError(f"the model cannot translate ({error.__cause__})") from error
    for sentence, translation in zip(sentences, found, strict=True):
        if not math.isfinite(translation.score):
            raise CanaryError(f"the score of {sentence!r} is {translation.score}")
        if sentence.strip() and not translation.text.strip():
            raise CanaryError(f"the translation of {sentence!r} is empty")
        if translation.text != expected.get(sentence, translation.text):
            raise CanaryError(
                f"{sentence!r} becomes {translation.text!r}, where {CANARIES_FILE} expects {expected[sentence]!r}"
            )
    before: list[str | None] = [None] * len(sentences)
    if running is not None:
        # It is good to know, and no more.
        with contextlib.suppress(DeadlineError, TranslationFailedError, QueueFullError):
            before = [one.text for one in running.translate(sentences, SearchOptions(), seconds=_SECONDS)]
    return [Canary(*each) for each in zip(sentences, before, (one.text for one in found), strict=True)]
