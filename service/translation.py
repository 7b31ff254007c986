"""`POST /translate` without HTTP: a checked request becomes the members of its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.batching import Batcher
from service.languages import AUTO, Guess, Languages
from service.markup import Markup
from service.problems import bad_request
from service.schemas import TranslateRequest
from translator.config import SearchOptions
from translator.translation import SentenceTranslation, Translation


@dataclass
class _Answer:
    """What is said about one text of a request."""

    text: str
    alternatives: list[str]
    score: float
    sentences: list[dict[str, object]]
    warnings: list[str]

    @classmethod
    def unchanged(cls, text: str) -> _Answer:
        """A text that is its own translation: it is in the target language already."""
        return cls(text, [], 0.0, [], [])


def translate(
    request: TranslateRequest,
    *,
    batcher: Batcher,
    languages: Languages,
    most_pieces: int,
    seconds_left: Callable[[], float],
) -> dict[str, Any]:
    """The members of the answer to `request`.

    `most_pieces` bounds the pieces of text that its HTML documents may have together.

    Raises:
        Problem: 400, the pair of languages is not served, or there are too many pieces.
        QueueFullError, DrainingError, DeadlineError, TranslationFailedError: see `Batcher.translate`.
    """
    guesses: list[Guess] = []
    if request.source == AUTO:
        guesses = [languages.source_of(text, request.target) for text in request.texts]
    else:
        languages.check_pair(request.source, request.target)
    sources = [guess.language for guess in guesses] or [request.source] * len(request.texts)

    documents = [
        None if source == request.target else Markup(text) if request.format == "html" else text
        for text, source in zip(request.texts, sources, strict=True)
    ]
    pieces = [piece for document in documents for piece in _pieces(document)]
    if len(pieces) > most_pieces:
        raise bad_request(f"The HTML has {len(pieces):,} separate pieces of text; at most {most_pieces:,} are allowed.")
    translated = iter(batcher.translate(pieces, search_options(request), seconds=seconds_left()))
    answers = []
    for text, document in zip(request.texts, documents, strict=True):
        parts = [next(translated) for _ in _pieces(document)]
        if document is None:
            answers.append(_Answer.unchanged(text))
        elif isinstance(document, Markup):
            answers.append(_from_markup(document, parts))
        else:
            answers.append(_from_text(parts[0]))
    return _document(request, answers, guesses)


def search_options(request: TranslateRequest) -> SearchOptions:
    given = {
        name: value
        for name in ("beam_size", "length_penalty", "max_length", "alternatives")
        if (value := getattr(request, name)) is not None
    }
    return SearchOptions(**given)


def _pieces(document: str | Markup | None) -> list[str]:
    """The texts of a document that go through the translator."""
    if document is None:
        return []
    return document.texts if isinstance(document, Markup) else [document]


def _from_text(translation: Translation) -> _Answer:
    return _Answer(
        translation.text,
        [alternative.text for alternative in translation.alternatives],
        translation.score,
        [_sentence(sentence) for sentence in translation.sentences],
        list(translation.warnings),
    )


def _from_markup(document: Markup, parts: list[Translation]) -> _Answer:
    """The k-th alternative of a document takes the k-th of every piece, or the last that it has."""
    text = document.join([part.text for part in parts])
    alternatives: list[str] = []
    for rank in range(max((len(part.alternatives) for part in parts), default=0)):
        chosen = [
            part.alternatives[min(rank, len(part.alternatives) - 1)].text if part.alternatives else part.text
            for part in parts
        ]
        alternative = document.join(chosen)
        if alternative not in (text, *alternatives):
            alternatives.append(alternative)
    warnings = list(dict.fromkeys(warning for part in parts for warning in part.warnings))
    return _Answer(text, alternatives, sum(part.score for part in parts), [], warnings)


def _sentence(sentence: SentenceTranslation) -> dict[str, object]:
    return {
        "source": {"start": sentence.source_start, "end": sentence.source_end},
        "target": {"start": sentence.target_start, "end": sentence.target_end},
        "score": sentence.score,
    }


def _document(request: TranslateRequest, answers: list[_Answer], guesses: list[Guess]) -> dict[str, Any]:
    """One value each for a request of one text, lists for a request that sent a list."""
    members: dict[str, list[Any]] = {"translatedText": [answer.text for answer in answers]}
    if guesses:
        members["detectedLanguage"] = [guess.document() for guess in guesses]
    if "alternatives" in request.model_fields_set and request.alternatives:
        members["alternatives"] = [answer.alternatives for answer in answers]
    if request.scores:
        members["scores"] = [answer.score for answer in answers]
    if request.sentences:
        members["sentences"] = [answer.sentences for answer in answers]
    if any(answer.warnings for answer in answers):
        members["warnings"] = [answer.warnings for answer in answers]
    return {name: values[0] if isinstance(request.q, str) else values for name, values in members.items()}
