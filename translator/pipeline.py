"""Text in, translation out: the one entrance for the command line, the service, the evaluation and other programs.

A text becomes a draft: it is split into sentences, sentences too long for the model are divided, and every distinct
sentence becomes a query for the decoder. What the decoder finds is put back where the sentences stood.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import torch

from translator.card import Card
from translator.config import ModelConfig, SearchOptions
from translator.decoder import ContinuousDecoder
from translator.directory import LoadedModel, load_model
from translator.engines import Engine, make_engine
from translator.search import Hypothesis, Query
from translator.segmentation import Segments
from translator.translation import Alternative, SentenceTranslation, Translation
from translator.vocabulary import Vocabulary

SHIPPED_MODELS = Path(__file__).parent / "pretrained"

# Where the card does not say how long the training sentences were, and for models that saw nothing but very short ones.
_DEFAULT_LONGEST_SOURCE = 256
_SMALLEST_LONGEST_SOURCE = 16
_DEFAULT_OPTIONS = SearchOptions()
_LINE_BREAKS = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+")


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


@dataclass(frozen=True)
class _Decoded:
    """What the search found for one sentence: at least one candidate, best first, distinct as text."""

    candidates: tuple[Alternative, ...]
    warnings: tuple[str, ...]

    def candidate(self, rank: int) -> Alternative:
        return self.candidates[rank if rank < len(self.candidates) else 0]


class _Encoded(dict[str, list[int]]):
    """The subwords of sentences, found once for each."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def __missing__(self, sentence: str) -> list[int]:
        self[sentence] = self._vocabulary.encode(sentence)
        return self[sentence]


class Translator:
    """A model with its vocabularies and its engine.

    One thread at a time may call `translate`. `draft` and `finish` may be called from any thread beside it; they are
    for programs that run a `ContinuousDecoder` of their own over `engine`, as the service does.
    """

    def __init__(self, loaded: LoadedModel, *, engine: Engine[Any] | None = None) -> None:
        """`engine` computes the decoder's steps; the default is the best one for the model's device."""
        self.loaded = loaded
        self.card: Card = loaded.card
        self.model_config: ModelConfig = loaded.config
        self._source_vocabulary = loaded.source_vocabulary
        self._target_vocabulary = loaded.target_vocabulary
        self.engine: Engine[Any] = engine or make_engine(
            loaded.model,
            source_eos_id=loaded.source_vocabulary.eos_id,
            target_eos_id=loaded.target_vocabulary.eos_id,
            forbidden=(loaded.target_vocabulary.pad_id,),
        )

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", engine: str = "auto") -> Translator:
        """The translator of a model directory, or of a model that comes with this package ("en-fr").

        `engine` is one of `translator.engines.ENGINES`, "auto" being the environment variable ENGINE or else the best
        one for the device. Raises `ModelDirectoryError` where the directory cannot be used, or another `ValueError`
        where there is no such device or engine; the message says what to do.
        """
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"device {device} cannot be used here: {str(error).splitlines()[0]}") from error
        loaded = load_model(model_path(path), device)
        return cls(
            loaded,
            engine=make_engine(
                loaded.model,
                source_eos_id=loaded.source_vocabulary.eos_id,
                target_eos_id=loaded.target_vocabulary.eos_id,
                forbidden=(loaded.target_vocabulary.pad_id,),
                name=engine,
            ),
        )

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

    @overload
    def translate(  # type: ignore[overload-overlap]  # a str is a sequence of str, too
        self,
        texts: str,
        options: SearchOptions = ...,
        *,
        split_sentences: bool = ...,
        progress: Callable[[int], None] | None = ...,
    ) -> Translation: ...

    @overload
    def translate(
        self,
        texts: Sequence[str],
        options: SearchOptions = ...,
        *,
        split_sentences: bool = ...,
        progress: Callable[[int], None] | None = ...,
    ) -> list[Translation]: ...

    def translate(
        self,
        texts: str | Sequence[str],
        options: SearchOptions = _DEFAULT_OPTIONS,
        *,
        split_sentences: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> Translation | list[Translation]:
        """Translate a text, or each text of a sequence; the answer to a text does not depend on the others.

        What is no sentence (white space, line breaks, list markers, emoji, punctuation alone) comes back as it is and
        never reaches the model. With `split_sentences=False` each text is one sentence. `progress` is called with the
        number of texts that have been finished since its last call.

        Alternatives are distinct as text, so that there may be fewer than `options.alternatives`. Asking for fewer of
        them than the beam is wide does not change the translation; asking for more widens the beam.

        Raises `ValueError` for a text with a lone surrogate, `TypeError` for one that is no string.
        """
        if isinstance(texts, str):
            return self._translate([texts], options, split_sentences, progress)[0]
        return self._translate(texts, options, split_sentences, progress)

    def _translate(
        self,
        texts: Sequence[str],
        options: SearchOptions,
        split_sentences: bool,
        progress: Callable[[int], None] | None,
    ) -> list[Translation]:
        drafts = self._drafts(texts, options, split_sentences)
        # A sentence that occurs twice is decoded once, under sampling too: its generator follows from its own tokens.
        texts_of: dict[str, list[int]] = {}
        queries: dict[str, Query] = {}
        for number, draft in enumerate(drafts):
            for sentence, query in zip(draft.sentences, draft.queries, strict=True):
                texts_of.setdefault(sentence, []).append(number)
                queries[sentence] = query
        missing = [len(draft.sentences) for draft in drafts]
        if progress and missing.count(0):
            progress(missing.count(0))
        # Sentences of like length are read together; the longest first, so that the last steps are not theirs alone.
        order = sorted(queries, key=lambda sentence: (-len(queries[sentence].source), sentence))
        decoder = ContinuousDecoder(self.engine)
        tickets = {decoder.submit(queries[sentence]): sentence for sentence in order}
        found: dict[str, list[Hypothesis]] = {}
        while not decoder.idle:
            for ticket in decoder.step():
                found[tickets[ticket]] = ticket.result()
                finished = 0
                for number in texts_of[tickets[ticket]]:
                    missing[number] -= 1
                    finished += missing[number] == 0
                if progress and finished:
                    progress(finished)
        return [self.finish(draft, [found[sentence] for sentence in draft.sentences]) for draft in drafts]

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
            ).divide(self.longest_source, lambda sentence: len(encoded[_normalised(sentence)]))
            number_of: dict[str, int] = {}
            places = [number_of.setdefault(_normalised(text), len(number_of)) for text in segments.sentences]
            queries = [Query(tuple(encoded[sentence]), options, length_penalty, count) for sentence in number_of]
            drafts.append(
                Draft(segments, cut, options.alternatives + 1, tuple(number_of), tuple(queries), tuple(places))
            )
        return drafts

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
            candidates.setdefault(_read(text), Alternative(text, hypothesis.score, hypothesis.log_probability))
        return _Decoded(tuple(candidates.values())[:wanted], tuple(self._warnings(query.source, hypotheses[0])))

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
        if not best.tokens:
            yield "empty: the model has no translation for a sentence"

    def _assemble(self, draft: Draft, found: Sequence[_Decoded]) -> Translation:
        """Put the translations, and each rank of alternatives, where the sentences stood."""
        segments = draft.segments
        ranks = max((len(sentence.candidates) for sentence in found), default=1)
        wholes: dict[str, Alternative] = {}
        for rank in range(ranks):
            chosen = [sentence.candidate(rank) for sentence in found]
            text, _ = segments.join([candidate.text for candidate in chosen])
            score = math.fsum(candidate.score for candidate in chosen)
            log_probability = math.fsum(candidate.log_probability for candidate in chosen)
            wholes.setdefault(_read(text), Alternative(text, score, log_probability))
        best, *others = wholes.values()
        _, target_spans = segments.join([sentence.candidates[0].text for sentence in found])
        sentences = []
        for index, (sentence, (start, end), (target_start, target_end)) in enumerate(
            zip(found, segments.spans, target_spans, strict=True)
        ):
            warnings = sentence.warnings
            if index in draft.cut:
                parts = f"parts of at most {self.longest_source}"
                split = f"split: a sentence of {draft.cut[index]} tokens was translated in {parts}"
                warnings = (split, *(warning for warning in warnings if not warning.startswith("long:")))
            translation, *alternatives = sentence.candidates
            sentences.append(
                SentenceTranslation(
                    start, end, target_start, target_end, segments.text[start:end],
                    translation.text, translation.score, translation.log_probability, tuple(alternatives), warnings,
                )
            )  # fmt: skip
        warnings = tuple(dict.fromkeys(warning for sentence in sentences for warning in sentence.warnings))
        return Translation(best.text, best.score, tuple(others), warnings, tuple(sentences))


def model_path(path: str | Path) -> Path:
    """`path` itself where it is a directory, else that of the shipped model of this name."""
    shipped = SHIPPED_MODELS / path
    return shipped if not Path(path).is_dir() and shipped.is_dir() else Path(path)


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


def _normalised(sentence: str) -> str:
    """What the model reads: NFC, as composed letters are what its training text has."""
    return unicodedata.normalize("NFC", sentence)


def _read(text: str) -> str:
    """What a reader sees: texts that differ in the kind of their spaces alone are the same, as "gare ?" with U+00A0."""
    return " ".join(text.split())


def _one_line(translation: str) -> str:
    """Without what byte pieces may have added: only the source's own line breaks stand in a translated text."""
    return _LINE_BREAKS.sub(" ", translation).strip()
