"""`POST /translate` without HTTP: a checked request becomes the members of its answer, or a stream of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from service.faithful import Faithful
from service.inline import Document, Joined
from service.languages import AUTO, Guess, Languages
from service.markup import escape, tokens, visible_text
from service.problems import bad_request
from service.protection import Protection
from service.routing import Route
from service.schemas import TranslateRequest
from translator.config import SearchOptions
from translator.translation import Piece, SentenceTranslation, Translation, assemble


@dataclass(frozen=True)
class _Answer:
    """What is said about one text of a request."""

    text: str
    alternatives: tuple[str, ...]
    alternative_scores: tuple[float, ...]
    score: float
    sentences: tuple[SentenceTranslation, ...]
    warnings: tuple[str, ...]

    @property
    def pieces(self) -> list[dict[str, object]]:
        """The translation in pieces with their probabilities; None stands for what is not the model's own words."""
        pieces: list[Piece | tuple[str, None]] = []
        position = 0
        for sentence in self.sentences:
            pieces.append((self.text[position : sentence.target_start], None))
            written = "".join(piece.text for piece in sentence.pieces)
            pieces += sentence.pieces if written == sentence.text else [(sentence.text, None)]
            position = sentence.target_end
        pieces.append((self.text[position:], None))
        each = [(piece.text, piece.probability) if isinstance(piece, Piece) else piece for piece in pieces]
        return [{"text": text, "probability": probability} for text, probability in each if text]

    @classmethod
    def unchanged(cls, text: str) -> _Answer:
        """A text that is its own translation: it is in the target language already."""
        return cls(text, (), (), 0.0, (), ())

    @classmethod
    def of(cls, found: Translation | Joined) -> _Answer:
        if isinstance(found, Joined):
            return cls(found.text, found.alternatives, (), found.score, (), found.warnings)
        others = tuple(other.text for other in found.alternatives)
        scores = tuple(other.score for other in found.alternatives)
        return cls(found.text, others, scores, found.score, found.sentences, found.warnings)


@dataclass(frozen=True)
class _Beginning:
    """What the translation of the sentence that begins at `source_start` is certain to begin with."""

    source_start: int
    text: str


Decode = Callable[[Sequence[str], SearchOptions], list[Translation]]


class Desk:
    """Translates texts and documents of one language for one request; what is protected in them comes through."""

    def __init__(self, decode: Decode, options: SearchOptions, protection: Protection, *, language: str) -> None:
        """`decode` translates what is not protected; `language` is that of the texts."""
        self._decode = decode
        self._options = options
        # As many hypotheses as the beam holds anyway, where others than the best may be of use.
        self._generous = options.model_copy(update={"alternatives": max(options.alternatives, options.beam_size - 1)})
        self._language = language
        self._protection = protection
        self._faithful = Faithful(protection, lambda texts: decode(texts, self._generous))

    def document(self, html: str) -> Document:
        return Document(tokens(html), language=self._language, escape=escape)

    def translate(self, documents: Sequence[str | Document]) -> list[Translation | Joined]:
        """The translations of texts (`str`) and of documents."""
        pieces = [piece for document in documents for piece in pieces_of(document)]
        tagged = any(isinstance(document, Document) and document.tagged for document in documents)
        decoded = self._decode(pieces, self._generous if tagged else self.options_for(pieces))
        found = dict(zip(pieces, self._faithful.repaired(list(zip(pieces, decoded, strict=True))), strict=True))
        return [document.join(found) if isinstance(document, Document) else found[document] for document in documents]

    def options_for(self, texts: Sequence[str]) -> SearchOptions:
        """How they are best decoded: with alternatives, where one of these may have what the best hypothesis lacks."""
        return self._options if all(map(self.leaves_alone, texts)) else self._generous

    def sentence(self, source: str, start: int, part: Translation) -> SentenceTranslation:
        """The translation of the sentence that begins at `start` in its text, which was decoded as `part`."""
        (whole,) = self._faithful.repaired([(source, part)])
        return replace(whole.sentences[0], source_start=start, source_end=start + len(source))

    def leaves_alone(self, source: str) -> bool:
        """Whether the translation of a sentence stays as it is decoded, because nothing in it is protected."""
        return not self._protection.find(source)

    def completed(self, text: str, sentences: Sequence[SentenceTranslation]) -> Translation:
        """The translation of a text whose sentences were streamed."""
        return self._faithful.repaired([(text, assemble(text, sentences))])[0]


def pieces_of(document: str | Document) -> list[str]:
    """The texts of a document that go through the translator."""
    return document.texts if isinstance(document, Document) else [document]


class Translating:
    """The work on one request."""

    def __init__(
        self,
        request: TranslateRequest,
        *,
        route: Callable[[str, str], Route],
        languages: Languages,
        most_pieces: int,
        seconds_left: Callable[[], float],
    ) -> None:
        """`most_pieces` bounds the pieces of text that the HTML documents may have together.

        Raises `Problem` (400): the pair of languages is not served, or there are too many pieces.
        """
        self._request = request
        self._guesses: list[Guess] = []
        if request.source == AUTO:
            plain = visible_text if request.format == "html" else str
            self._guesses = [languages.source_of(plain(text), request.target) for text in request.texts]
        else:
            languages.check_pair(request.source, request.target)
        self._sources = [guess.language for guess in self._guesses] or [request.source] * len(request.texts)
        protection = Protection(request.do_not_translate, request.glossary)
        self._options = search_options(request)
        self._seconds_left = seconds_left
        self._routes = {source: route(source, request.target) for source in self._sources if source != request.target}
        self._desks = {
            source: Desk(partial(self._decoded, source), self._options, protection, language=source)
            for source in self._routes
        }
        self._documents: list[str | Document | None] = [
            None
            if source == request.target
            else self._desks[source].document(text)
            if request.format == "html"
            else text
            for text, source in zip(request.texts, self._sources, strict=True)
        ]
        pieces = sum(len(pieces_of(document)) for document in self._documents if document is not None)
        if pieces > most_pieces:
            raise bad_request(f"The HTML has {pieces:,} separate pieces of text; at most {most_pieces:,} are allowed.")

    def answer(self) -> dict[str, Any]:
        """The members of the answer.

        Raises `QueueFullError`, `DrainingError`, `DeadlineError`, `TranslationFailedError`: see `Batcher.translate`.
        """
        sourced = list(zip(self._sources, self._documents, strict=True))
        found = {
            source: iter(
                desk.translate([document for one, document in sourced if one == source and document is not None])
            )
            for source, desk in self._desks.items()
        }
        answers = [
            _Answer.unchanged(text) if document is None else _Answer.of(next(found[source]))
            for text, (source, document) in zip(self._request.texts, sourced, strict=True)
        ]
        return self._members(answers)

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """A "sentence" for each sentence as it is found, an HTML document being one; before it, where they are asked
        for, a "prefix" whenever more of it has become certain; in the end "done" with the answer.

        Raises as `answer` does.
        """
        places = [index for index, document in enumerate(self._documents) if isinstance(document, str)]
        answers: list[_Answer] = []
        sentences: list[SentenceTranslation] = []  # of the text that is under way
        for index, sentence, last in self._streamed(places):
            text = self._request.texts[index]
            while len(answers) < index:
                yield "sentence", self._at_once(answers)
            separator = text[sentences[-1].source_end if sentences else 0 : sentence.source_start]
            if isinstance(sentence, _Beginning):
                yield "prefix", {"index": index, "separator": separator, "text": sentence.text}
                continue
            rest = text[sentence.source_end :] if last else ""
            yield "sentence", _event(index, separator, rest, sentence)
            sentences.append(sentence)
            if last:
                answers.append(_Answer.of(self._desks[self._sources[index]].completed(text, sentences)))
                sentences = []
        while len(answers) < len(self._documents):
            yield "sentence", self._at_once(answers)
        yield "done", self._members(answers)

    def _decoded(self, source: str, texts: Sequence[str], options: SearchOptions) -> list[Translation]:
        return self._routes[source].translate(texts, options, seconds=self._seconds_left())

    def _streamed(self, places: Sequence[int]) -> Iterator[tuple[int, SentenceTranslation | _Beginning, bool]]:
        """The sentences of the texts at `places` in order, as soon as each is found: which text it is of, and if it is
        its last. Before a sentence come beginnings of it, if they are asked for. Texts of one language that follow one
        another are translated together.
        """
        for source, group in groupby(places, key=self._sources.__getitem__):
            own = list(group)
            texts = [self._request.texts[place] for place in own]
            position = 0
            options = self._desks[source].options_for(texts)
            options = options.model_copy(update={"prefixes": self._request.stream == "tokens"})
            for number, draft, part in self._routes[source].stream(texts, options, seconds=self._seconds_left()):
                spans = draft.segments.spans
                start, end = spans[position]
                text = draft.segments.text[start:end]
                if isinstance(part, str):
                    if self._desks[source].leaves_alone(text):
                        yield own[number], _Beginning(start, part), False
                    continue
                position = (position + 1) % len(spans)
                sentence = self._desks[source].sentence(text, start, part)
                yield own[number], sentence, position == 0

    def _at_once(self, answers: list[_Answer]) -> dict[str, Any]:
        """The event of the next text, as one that is no row of sentences; its answer is added to `answers`."""
        index = len(answers)
        text, document = self._request.texts[index], self._documents[index]
        if isinstance(document, Document):
            answers.append(_Answer.of(self._desks[self._sources[index]].translate([document])[0]))
        else:
            answers.append(_Answer.unchanged(text))
        answer = answers[-1]
        whole = SentenceTranslation(
            0, len(text), 0, 0, text, answer.text, answer.score, answer.score, (), answer.warnings
        )
        return _event(index, "", "", whole)

    def _members(self, answers: Sequence[_Answer]) -> dict[str, Any]:
        """One value each for a request of one text, lists for a request that sent a list."""
        request = self._request
        members: dict[str, list[Any]] = {"translatedText": [answer.text for answer in answers]}
        if self._guesses:
            members["detectedLanguage"] = [guess.document() for guess in self._guesses]
        if "alternatives" in request.model_fields_set and request.alternatives:
            members["alternatives"] = [list(answer.alternatives[: request.alternatives]) for answer in answers]
        if request.scores:
            members["scores"] = [answer.score for answer in answers]
            if "alternatives" in members and request.format == "text":
                members["alternativeScores"] = [
                    list(answer.alternative_scores[: request.alternatives]) for answer in answers
                ]
        if request.sentences:
            members["sentences"] = [list(map(_spans, answer.sentences)) for answer in answers]
        if request.probabilities:
            members["probabilities"] = [answer.pieces for answer in answers]
        if any(answer.warnings for answer in answers):
            members["warnings"] = [list(answer.warnings) for answer in answers]
        return {name: values[0] if isinstance(request.q, str) else values for name, values in members.items()}


def search_options(request: TranslateRequest) -> SearchOptions:
    given = {
        name: value
        for name in ("beam_size", "length_penalty", "max_length", "alternatives", "probabilities")
        if (value := getattr(request, name)) is not None
    }
    return SearchOptions(**given)


def _spans(sentence: SentenceTranslation) -> dict[str, object]:
    return {
        "source": {"start": sentence.source_start, "end": sentence.source_end},
        "target": {"start": sentence.target_start, "end": sentence.target_end},
        "score": sentence.score,
    }


def _event(index: int, separator: str, rest: str, sentence: SentenceTranslation) -> dict[str, Any]:
    return {
        "index": index,
        "separator": separator,
        "text": sentence.text,
        "rest": rest,
        "source": {"start": sentence.source_start, "end": sentence.source_end},
        "score": sentence.score,
        "warnings": list(sentence.warnings),
    }
