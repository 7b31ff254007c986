"""Text in, translation out: the one entrance for the command line, the evaluation and other programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import torch

from translator.alignment import align
from translator.config import SearchOptions
from translator.decoder import ContinuousDecoder
from translator.description import model_path
from translator.directory import LoadedModel, load_model
from translator.engines import Engine, make_engine
from translator.search import Hypothesis, Query
from translator.texts import Texts
from translator.translation import Translation

_DEFAULT_OPTIONS = SearchOptions()


class Translator(Texts):
    """A model with its vocabularies and its engine.

    One thread at a time may call `translate`. `draft` and `finish` may be called from any thread beside it; they are
    for programs that run a `ContinuousDecoder` of their own over `engine`.
    """

    def __init__(self, loaded: LoadedModel, *, engine: Engine[Any] | None = None) -> None:
        """`engine` computes the decoder's steps; the default is the best one for the model's device."""
        super().__init__(loaded.card, loaded.config, loaded.source_vocabulary, loaded.target_vocabulary)
        self.loaded = loaded
        self.engine: Engine[Any] = engine or _engine(loaded, "auto")

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
        return cls(loaded, engine=_engine(loaded, engine))

    def another_engine(self, engine: str = "auto") -> Engine[Any]:
        """An engine of the same model, for another thread; the names are those of `load`."""
        return _engine(self.loaded, engine)

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


def _engine(loaded: LoadedModel, name: str) -> Engine[Any]:
    return make_engine(
        loaded.model,
        source_eos_id=loaded.source_vocabulary.eos_id,
        target_eos_id=loaded.target_vocabulary.eos_id,
        forbidden=(loaded.target_vocabulary.pad_id,),
        name=name,
    )
