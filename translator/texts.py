"""A text becomes queries for a decoder, and what that finds becomes a translation. Loads no torch.

A text becomes a draft: it is split into sentences, sentences too long for the model are divided, and every distinct
sentence becomes a query for the decoder. What the decoder finds is put back where the sentences stood.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from translator.card import Card
from translator.config import ModelConfig, SearchOptions
from translator.description import read_description
from translator.ensemble import ensemble_card, model_paths
from translator.search import Hypothesis, Query, Reading
from translator.segmentation import Segments
from translator.symptoms import repeated, untested
from translator.translation import Alternative, Piece, SentenceTranslation, Translation, as_read, assemble
from translator.vocabulary import Vocabulary

# Where the card does not say how long the training sentences were, and for models that saw nothing but very short ones.
_DEFAULT_LONGEST_SOURCE = 256
_SMALLEST_LONGEST_SOURCE = 16
_DEFAULT_OPTIONS = SearchOptions()
# Soft hyphens, zero-width spaces, marks of direction and byte order marks (not the joiners of emoji and some scripts),
# and the spaces of printers (not those of French punctuation, which models know).
_INVISIBLE = (0x00AD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF)
_FINE_SPACES = (0x1680, *range(0x2000, 0x200B), 0x205F)
_UNSEEN: dict[int, str | None] = dict.fromkeys(_INVISIBLE) | dict.fromkeys(_FINE_SPACES, " ")
_LINE_BREAKS = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+")
_UNDECIDED = re.compile(r"[\s\ue000]+$")  # an escape may be half written, see translator.vocabulary


@dataclass(frozen=True)
class Draft:
    """A text on its way: `queries` are its distinct sentences for the decoder, the k-th sentence being the one with
    number `places[k]`.
    """

    segments: Segments
    cut: dict[int, int]
    wanted: int
    sentences: tuple[str, ...]
    queries: tuple[Query, ...]
    places: tuple[int, ...]

    def parts(self) -> list[Draft]:
        """A draft for each sentence of the text by itself, in order."""
        return [
            Draft(
                Segments(self.segments.text[start:end], ((0, end - start),)),
                {0: self.cut[index]} if index in self.cut else {},
                self.wanted,
                (self.sentences[place],),
                (self.queries[place],),
                (0,),
            )
            for index, ((start, end), place) in enumerate(zip(self.segments.spans, self.places, strict=True))
        ]


@dataclass(frozen=True)
class _Decoded:
    """What the search found for one sentence: at least one candidate, best first, distinct as text."""

    candidates: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    source_tokens: tuple[int, ...]
    target_tokens: tuple[int, ...]
    pieces: tuple[Piece, ...]


class _Encoded(dict[str, list[int]]):
    """The subwords of sentences, found once for each."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def __missing__(self, sentence: str) -> list[int]:
        self[sentence] = self._vocabulary.encode(sentence)
        return self[sentence]


class Texts:
    """A model's vocabularies and card, without its network. Many threads may use it at once.

    For programs that have a `ContinuousDecoder` of their own, here or in another process, as the service has.
    """

    def __init__(
        self, card: Card, model_config: ModelConfig, source_vocabulary: Vocabulary, target_vocabulary: Vocabulary
    ) -> None:
        self.card = card
        self.model_config = model_config
        self._source_vocabulary = source_vocabulary
        self._target_vocabulary = target_vocabulary

    @classmethod
    def read(cls, path: str | Path | Sequence[str | Path]) -> Self:
        """Those of a model directory, of a shipped model or of an ensemble, named as for `Translator.load`.

        Raises `ModelDirectoryError`.
        """
        members = [read_description(each) for each in model_paths(path)]
        first = members[0]
        return cls(ensemble_card(members), first.config, first.source_vocabulary, first.target_vocabulary)

    @property
    def longest_source(self) -> int:
        """Tokens beyond which a sentence is translated in parts, because h(x) seldom or never had to hold as many.

        A quarter more than 99 % of the training sentences have, and no more than the longest of them.
        """
        lengths = self.card.training_lengths
        if lengths is None:
            return _DEFAULT_LONGEST_SOURCE
        # Measured with a Tatoeba model (dev BLEU 38; 99 % of its training sentences have at most 19 tokens): the 30
        # dev and test sentences of at least 20 tokens have chrF 33.5 as wholes and 34.0 in parts of at most 24 tokens.
        longest = min(lengths.source_99th_percentile * 5 // 4, lengths.source_maximum)
        return max(longest, _SMALLEST_LONGEST_SOURCE)

    def draft(self, text: str, options: SearchOptions = _DEFAULT_OPTIONS, *, split_sentences: bool = True) -> Draft:
        """Prepare a text for the decoder. Raises as `translate` does."""
        return self._drafts([text], options, split_sentences)[0]

    def _drafts(self, texts: Sequence[str], options: SearchOptions, split_sentences: bool) -> list[Draft]:
        for number, text in enumerate(texts, 1):
            _check_text(text, number)
        length_penalty = self.card.length_penalty if options.length_penalty is None else options.length_penalty
        count = options.alternatives + 1
        if options.method == "beam" and options.alternatives:
            count = max(count, options.beam_size)  # some to spare, for those that differ only in their subwords
        encoded = _Encoded(self._source_vocabulary)
        drafts = []
        for text in texts:
            segments, cut = Segments.of(
                text, language=self.card.source_language, split_sentences=split_sentences
            ).divide(self.longest_source, lambda sentence: len(encoded[normalised(sentence)]))
            number_of: dict[str, int] = {}
            places = [number_of.setdefault(normalised(text), len(number_of)) for text in segments.sentences]
            queries = [Query(tuple(encoded[sentence]), options, length_penalty, count) for sentence in number_of]
            drafts.append(
                Draft(segments, cut, options.alternatives + 1, tuple(number_of), tuple(queries), tuple(places))
            )
        return drafts

    def reading(self, text: str) -> Draft:
        """Prepare a text, as one sentence, for its vector h(x). Raises as `translate` does."""
        _check_text(text, 1)
        query = Reading(tuple(self._source_vocabulary.encode(normalised(text.strip()))), SearchOptions(beam_size=1))
        return Draft(Segments(text, ((0, len(text)),)), {}, 1, (text,), (query,), (0,))

    def beginning(self, tokens: Sequence[int]) -> str:
        """What a translation says that begins with these target tokens, as far as no further tokens can change it.

        That is without bytes that may be half a character, and without white space at the end.
        """
        certain = self._target_vocabulary.without_last_bytes(tokens)
        return _UNDECIDED.sub("", _one_line(self._target_vocabulary.decode(certain)))

    def finish(self, draft: Draft, found: Sequence[Sequence[Hypothesis]]) -> Translation:
        """The translation, from the hypotheses of each of `draft.queries`, best first and at least one."""
        decoded = [
            self._describe(query, hypotheses, draft.wanted)
            for query, hypotheses in zip(draft.queries, found, strict=True)
        ]
        return self._assemble(draft, [decoded[place] for place in draft.places])

    def _describe(self, query: Query, hypotheses: Sequence[Hypothesis], wanted: int) -> _Decoded:
        candidates: dict[str, Alternative] = {}
        for hypothesis in hypotheses:
            text = _one_line(self._target_vocabulary.decode(hypothesis.tokens))
            candidates.setdefault(as_read(text), Alternative(text, hypothesis.score, hypothesis.log_probability))
        warnings = tuple(self._warnings(query.source, hypotheses[0]))
        pieces = tuple(self._pieces(hypotheses[0])) if hypotheses[0].log_probabilities else ()
        return _Decoded(tuple(candidates.values())[:wanted], warnings, query.source, hypotheses[0].tokens, pieces)

    def _pieces(self, best: Hypothesis) -> Iterator[Piece]:
        """The pieces of a translation; tokens that show nothing by themselves, such as bytes, belong to the next."""
        text = _one_line(self._target_vocabulary.decode(best.tokens))
        written, probability = 0, 1.0
        for count, each in enumerate(best.log_probabilities[: len(best.tokens)], 1):
            probability *= math.exp(each)
            last = count == len(best.tokens)
            end = len(text) if last else len(self.beginning(best.tokens[:count]))
            if end > written:
                yield Piece(text[written:end], probability)
                written, probability = end, 1.0

    def _warnings(self, source: Sequence[int], best: Hypothesis) -> Iterator[str]:
        lengths = self.card.training_lengths
        if lengths is not None and len(source) > lengths.source_99th_percentile:
            yield (
                f"long: a sentence of {len(source)} tokens; 99 % of the training sentences "
                f"have at most {lengths.source_99th_percentile}"
            )
        unknown = source.count(self._source_vocabulary.unk_id)
        if unknown:
            yield f"unknown: {unknown} of {len(source)} source tokens are not in the vocabulary"
        if self._target_vocabulary.unk_id in best.tokens:
            yield "unknown: the translation has a word that is not in the vocabulary"
        if not best.finished:
            yield f"truncated: the translation of a sentence was cut after {len(best.tokens)} tokens"
        phrase = repeated(best.tokens, source)
        if phrase:
            words = as_read(self._target_vocabulary.decode(phrase))
            yield f"repetition: the translation says '{words}' again and again"
        if not best.tokens:
            yield "empty: the model has no translation for a sentence"

    def _assemble(self, draft: Draft, found: Sequence[_Decoded]) -> Translation:
        """Put the translations, and each rank of alternatives, where the sentences stood."""
        text = draft.segments.text
        sentences = []
        for index, (sentence, (start, end)) in enumerate(zip(found, draft.segments.spans, strict=True)):
            warnings = sentence.warnings
            if index in draft.cut:
                parts = f"parts of at most {self.longest_source}"
                split = f"split: a sentence of {draft.cut[index]} tokens was translated in {parts}"
                warnings = (split, *(warning for warning in warnings if not warning.startswith("long:")))
            warnings += tuple(untested(self.card, text[start:end]))
            best, *others = sentence.candidates
            sentences.append(
                SentenceTranslation(
                    start, end, 0, 0, text[start:end],
                    best.text, best.score, best.log_probability, tuple(others), warnings,
                    sentence.source_tokens, sentence.target_tokens, None, sentence.pieces,
                )
            )  # fmt: skip
        return assemble(text, sentences)


def _check_text(text: object, number: int) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text {number} is a {type(text).__name__}, not a string")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        surrogate = f"U+{ord(text[error.start]):04X}"
        raise ValueError(
            f"text {number} is no valid Unicode: character {error.start + 1} is a lone surrogate ({surrogate})"
        ) from error


def normalised(sentence: str) -> str:
    """What the model reads: NFC, as composed letters are what its training text has, without what nobody sees."""
    return unicodedata.normalize("NFC", sentence).translate(_UNSEEN)


def _one_line(translation: str) -> str:
    """Without what byte pieces may have added: only the source's own line breaks stand in a translated text."""
    return _LINE_BREAKS.sub(" ", translation).strip()
