"""What a worker does: it loads the model once and translates one shard after the other."""

from __future__ import annotations

from collections import Counter

import torch

from translator.corpus.inputs import CorpusError, Cut, format_of
from translator.corpus.manifest import Shard, model_digests
from translator.corpus.work import Outcome, Work
from translator.files import written_file
from translator.pipeline import Translator
from translator.ticket import DecodingError


class ShardTranslator:
    """Translates shards, one after the other. The model is loaded for the first one."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._translator: Translator | None = None

    def __call__(self, shard: Shard) -> Outcome:
        """Write the shard's file, whole or not at all. What a person can put right is the outcome's error."""
        try:
            return self._written(shard)
        except (ValueError, DecodingError) as error:
            return Outcome(shard.number, error=str(error))
        except OSError as error:
            return Outcome(shard.number, error=f"{error.filename or self._work.output}: {error.strerror or error}")

    def _written(self, shard: Shard) -> Outcome:
        manifest, settings = self._work.manifest, self._work.manifest.settings
        target = manifest.path(self._work.output, shard)
        if target.exists():  # a worker wrote it whose word of it was lost
            return Outcome(shard.number, shard.rows)
        if self._translator is None:
            self._translator = self._loaded()
        form, file = format_of(settings.kind), self._work.files[shard.file]
        if file.stat().st_size != manifest.input[shard.file].bytes:
            raise CorpusError(f"{file}: is not the file that the run was begun with; mend it and start again")
        texts, rest = form.read(file, Cut(shard.position, shard.rows), settings.columns)
        # A null is no text; all texts of a shard are given at once, so that batches are of sentences of like length.
        found = iter(self._translator.translate([text for text in texts if text is not None], settings.search))
        translations = [None if text is None else next(found) for text in texts]
        warnings = Counter(
            code
            for translation in translations
            if translation is not None
            for code in {warning.partition(":")[0] for warning in translation.warnings}
        )
        with written_file(target) as stream:
            form.write(
                stream,
                rest,
                settings.columns,
                shard.first_row,
                [None if translation is None else translation.text for translation in translations],
            )
        return Outcome(shard.number, shard.rows, dict(warnings))

    def _loaded(self) -> Translator:
        settings = self._work.manifest.settings
        if model_digests(self._work.models) != settings.models:
            raise CorpusError(f"{', '.join(self._work.models)}: not the model that the run was begun with")
        if settings.device == "cpu":
            torch.set_num_threads(1)  # there is a worker for each core
        return Translator.load(
            self._work.models, device=settings.device, engine=settings.engine, combination=settings.combination
        )
