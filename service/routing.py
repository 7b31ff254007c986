"""The way of a text from one language into another: by one model, or by two with a third language between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from service.batching import Batcher
from service.jobs import DrainingError
from service.languages import describe
from service.models import Models, Pair
from translator.config import SearchOptions
from translator.texts import Draft
from translator.translation import SentenceTranslation, Translation, assemble

Answer = TypeVar("Answer")


class Route:
    """Translates from one language into another. Has the two methods of a `Batcher` by which requests use it."""

    def __init__(self, models: Models, source: str, target: str) -> None:
        """Both are served, see `Languages.check_pair`."""
        self._models = models
        pivot = models.current.languages.pivot(source, target)
        self._pairs: list[Pair] = [(source, target)] if pivot is None else [(source, pivot), (pivot, target)]
        self._warnings = () if pivot is None else (f"pivot: translated by way of {describe(pivot)}",)

    def translate(self, texts: Sequence[str], options: SearchOptions, *, seconds: float) -> list[Translation]:
        """See `Batcher.translate`."""
        deadline = time.monotonic() + seconds
        first = self._on(0, lambda batcher: batcher.translate(texts, self._options(0, options), seconds=seconds))
        if len(self._pairs) == 1:
            return first
        sentences = [sentence for translation in first for sentence in translation.sentences]
        onward = iter(self._onward(sentences, options, deadline))
        return [
            assemble(text, [next(onward) for _ in translation.sentences])
            for text, translation in zip(texts, first, strict=True)
        ]

    def stream(
        self, texts: Sequence[str], options: SearchOptions, *, seconds: float
    ) -> Iterator[tuple[int, Draft, Translation | str]]:
        """See `Batcher.stream`; by way of a third language nothing is certain before a sentence is translated."""
        deadline = time.monotonic() + seconds
        pieces = self._streamed(texts, self._options(0, options), seconds)
        if len(self._pairs) == 1:
            yield from pieces
            return
        for number, draft, part in pieces:
            assert isinstance(part, Translation), "the first leg is not asked for prefixes"
            onward = self._onward(part.sentences, options, deadline)
            yield number, draft, assemble(part.sentences[0].source, onward)

    def _streamed(
        self, texts: Sequence[str], options: SearchOptions, seconds: float
    ) -> Iterator[tuple[int, Draft, Translation | str]]:
        """The first leg's sentences. A model that takes in nothing any more says so before it gives the first."""

        def begin(batcher: Batcher) -> Iterator[tuple[int, Draft, Translation | str]]:
            pieces = batcher.stream(texts, options, seconds=seconds)
            first = next(pieces, None)
            return iter(()) if first is None else _after(first, pieces)

        return self._on(0, begin)

    def _onward(
        self, sentences: Sequence[SentenceTranslation], options: SearchOptions, deadline: float
    ) -> list[SentenceTranslation]:
        """The sentences' translations out of the language between, in the places of the sentences themselves."""
        found: list[Translation] = []
        options = options.model_copy(update={"prefixes": False})
        most = self._models.texts_at_once
        for first in range(0, len(sentences), most):
            texts = [sentence.text for sentence in sentences[first : first + most]]
            left = max(0.0, deadline - time.monotonic())
            found += self._on(1, partial(_translated, texts, options, left))
        return [
            replace(
                sentence,
                text=translation.text,
                score=sentence.score + translation.score,
                log_probability=sentence.log_probability + sum(one.log_probability for one in translation.sentences),
                alternatives=translation.alternatives,
                warnings=tuple(dict.fromkeys((*self._warnings, *sentence.warnings, *translation.warnings))),
                target_tokens=(),
                pieces=tuple(piece for one in translation.sentences for piece in one.pieces),
            )
            for sentence, translation in zip(sentences, found, strict=True)
        ]

    def _options(self, leg: int, options: SearchOptions) -> SearchOptions:
        """Alternatives, and what else is said of a translation, come from the last leg alone."""
        if leg == len(self._pairs) - 1:
            return options
        return options.model_copy(update={"alternatives": 0, "probabilities": False, "prefixes": False})

    def _on(self, leg: int, work: Callable[[Batcher], Answer]) -> Answer:
        """Have the model of this leg work; another one, where it has been exchanged a moment ago and ended since."""
        while True:
            model = self._models.current.models.get(self._pairs[leg])
            if model is None:  # taken away a moment ago
                raise DrainingError
            try:
                return work(model.batcher)
            except DrainingError:
                if self._models.draining or self._models.current.models.get(self._pairs[leg]) is model:
                    raise


def _translated(texts: list[str], options: SearchOptions, seconds: float, batcher: Batcher) -> list[Translation]:
    return batcher.translate(texts, options, seconds=seconds)


def _after(first: Answer, others: Iterator[Answer]) -> Iterator[Answer]:
    yield first
    yield from others
