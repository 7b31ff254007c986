"""Text in, translation out: the one entrance for the command line, the evaluation and other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import torch

from translator.alignment import align
from translator.config import Combination, SearchOptions
from translator.decoder import ContinuousDecoder
from translator.directory import LoadedModel, load_model
from translator.engines import Engine, EnsembleEngine, make_engine
from translator.ensemble import ensemble_card, model_paths
from translator.search import Hypothesis, Query
from translator.texts import Texts
from translator.translation import Translation

_DEFAULT_OPTIONS = SearchOptions()


class Translator(Texts):
    """A model, or an ensemble of several, with its vocabularies and its engine.

    `members` are the models; an ensemble's have the same vocabularies. One thread at a time may call `translate`.
    `draft` and `finish` may be called from any thread beside it; they are for programs that run a `ContinuousDecoder`
    of their own over `engine`.
    """

    def __init__(
        self,
        *members: LoadedModel,
        engine: Engine[Any] | None = None,
        combination: Combination = "average",
    ) -> None:
        """`engine` computes the decoder's steps; the default is the best one for the models' device.

        `combination` says how an ensemble's distributions become one. Raises `ModelDirectoryError` where the members
        do not fit together.
        """
        first = members[0]
        super().__init__(ensemble_card(members), first.config, first.source_vocabulary, first.target_vocabulary)
        self.members = members
        self.combination = combination
        self.engine: Engine[Any] = engine or self.another_engine()

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        *,
        device: str = "cpu",
        engine: str = "auto",
        combination: Combination = "average",
    ) -> Translator:
        """The translator of a model directory, or of a model that comes with this package ("en-fr").

        Several paths, or one string with commas between them, make an ensemble: every member makes each step, and
        their probabilities are averaged, or combined log-linearly. `engine` is one of `translator.engines.ENGINES`,
        "auto" being the environment variable ENGINE or else the best one for the device.

        Raises `ModelDirectoryError` where a directory cannot be used or the models do not fit together, or another
        `ValueError` where there is no such device or engine; the message says what to do.
        """
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"device {device} cannot be used here: {str(error).splitlines()[0]}") from error
        members = [load_model(each, device) for each in model_paths(path)]
        ensemble_card(members)  # that they fit together is found out before their weights are packed
        return cls(*members, engine=_engine(members, engine, combination), combination=combination)

    @property
    def loaded(self) -> LoadedModel:
        """The model, or the first of the ensemble."""
        return self.members[0]

    def another_engine(self, engine: str = "auto") -> Engine[Any]:
        """An engine of the same models, for another thread; the names are those of `load`."""
        return _engine(self.members, engine, self.combination)

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
        texts: Iterable[str],
        options: SearchOptions = ...,
        *,
        split_sentences: bool = ...,
        progress: Callable[[int], None] | None = ...,
    ) -> list[Translation]: ...

    def translate(
        self,
        texts: str | Iterable[str],
        options: SearchOptions = _DEFAULT_OPTIONS,
        *,
        split_sentences: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> Translation | list[Translation]:
        """Translate a text, or each of several texts; the answer to a text does not depend on the others.

        What is no sentence (white space, line breaks, list markers, emoji, punctuation and numbers alone) comes back as
        it is and never reaches the model. With `split_sentences=False` each text is one sentence. `progress` is called
        with the number of texts that have been finished since its last call.

        Alternatives are distinct as text, so that there may be fewer than `options.alternatives`. Asking for fewer of
        them than the beam is wide does not change the translation; asking for more widens the beam.

        Raises `ValueError` for a text with a lone surrogate, `TypeError` for one that is no string.
        """
        if isinstance(texts, str):
            return self._translate([texts], options, split_sentences, progress)[0]
        return self._translate(list(texts), options, split_sentences, progress)

    def aligned(self, translation: Translation) -> Translation:
        """A translation of this model with what its attention looked at: `sentences[i].alignment`.

        It takes a second pass over the sentences. Raises `ValueError` for a model without attention.
        """
        return align(self.loaded, translation)

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


def _engine(members: Sequence[LoadedModel], name: str, combination: Combination) -> Engine[Any]:
    engines = [
        make_engine(
            loaded.model,
            source_eos_id=loaded.source_vocabulary.eos_id,
            target_eos_id=loaded.target_vocabulary.eos_id,
            forbidden=(loaded.target_vocabulary.pad_id,),
            name=name,
        )
        for loaded in members
    ]
    return engines[0] if len(engines) == 1 else EnsembleEngine(engines, combination=combination)
