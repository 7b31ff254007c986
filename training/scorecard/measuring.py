"""What is measured of each model and ensemble, kept beside it, so that it is measured once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import InputError
from training.folders import write_file
from training.n_best import Candidate
from training.parallel_text import ParallelText
from training.rescoring import model_scores
from training.target_positions import encoded, token_scores
from translator.config import SearchOptions
from translator.engines import best_engine
from translator.pipeline import Translator

BEAMS = (1, 2, 12)
"""The paper's, in Tables 1 and 2."""

_Kept = TypeVar("_Kept", bound=BaseModel)


class Translated(BaseModel):
    """The test set's translations by one beam; `seconds` is processor time on a CPU, wall-clock time on a GPU."""

    model_config = ConfigDict(frozen=True)

    texts: list[str]
    seconds: float


class Measurement(BaseModel):
    """One model or ensemble on the test set. Ensembles have translations alone.

    `log_probabilities` and `hits` have a list for each sentence, with a number for each target token and `<EOS>`;
    `without_source` is the log-probability of a sentence given the source of the next one, in nats.
    """

    model_config = ConfigDict(frozen=True)

    key: str = Field(description="Of the weights and the text; another one means that it has to be measured again.")
    engine: str
    beams: dict[int, Translated]
    log_probabilities: list[list[float]] = []
    hits: list[list[bool]] = []
    without_source: list[float] = []


class RescoredList(BaseModel):
    """The n-best list of one model with its scores, and log p of every candidate by other systems."""

    model_config = ConfigDict(frozen=True)

    key: str
    texts: list[list[str]]
    scores: list[list[float]]
    by_system: dict[str, list[list[float]]]

    def candidates(self) -> list[list[Candidate]]:
        return [
            [Candidate(text, score) for text, score in zip(texts, scores, strict=True)]
            for texts, scores in zip(self.texts, self.scores, strict=True)
        ]

    def model_scores(self, system: str) -> list[NDArray[np.float64]]:
        return [np.array(each) for each in self.by_system[system]]


@dataclass(frozen=True)
class Bench:
    """The test set, and the device that everything is measured on."""

    text: ParallelText
    device: torch.device

    def load(self, paths: Sequence[Path]) -> Translator:
        """A model or an ensemble, computed in float32. Raises InputError."""
        try:
            translator = Translator.load(paths, device=str(self.device), engine="reference")
            name = best_engine(self.device.type, full_precision=True, config=translator.loaded.config)
            return Translator(*translator.members, engine=translator.another_engine(name))
        except ValueError as error:
            raise InputError(str(error)) from error

    def measure(self, paths: Sequence[Path], file: Path) -> Measurement:
        """The measurement of the model, or the ensemble, at `paths`, which is kept in `file`. Raises InputError."""
        key = self._key(paths, f"beams {BEAMS}")
        kept = _read(file, Measurement)
        if kept is not None and kept.key == key:
            return kept
        translator = self.load(paths)
        beams = {beam: self._translate(translator, beam) for beam in BEAMS}
        measurement = Measurement(key=key, engine=translator.engine.describe(), beams=beams)
        if len(paths) == 1:
            measurement = measurement.model_copy(update=self._forced(translator))
        write_file(file, measurement.model_dump_json() + "\n")
        return measurement

    def rescore(
        self, paths: Sequence[Path], systems: dict[str, Sequence[Path]], n_best: int, file: Path
    ) -> RescoredList:
        """The n-best list of the model at `paths`, scored by each of `systems`; kept in `file`. Raises InputError."""
        key = self._key([*paths, *(path for each in systems.values() for path in each)], f"{n_best} {list(systems)}")
        kept = _read(file, RescoredList)
        if kept is not None and kept.key == key:
            return kept
        options = SearchOptions(beam_size=n_best, alternatives=n_best - 1, length_penalty=0.0)
        translations = self.load(paths).translate(self.text.sources, options, split_sentences=False)
        lists = [
            [(each.text, each.score), *((other.text, other.score) for other in each.alternatives)]
            for each in translations
        ]
        rescored = RescoredList(
            key=key,
            texts=[[text for text, _ in each] for each in lists],
            scores=[[score for _, score in each] for each in lists],
            by_system={},
        )
        candidates = rescored.candidates()
        by_system = {
            name: [scores.tolist() for scores in model_scores(self.load(each), self.text.sources, candidates)]
            for name, each in systems.items()
        }
        rescored = rescored.model_copy(update={"by_system": by_system})
        write_file(file, rescored.model_dump_json() + "\n")
        return rescored

    def _key(self, paths: Sequence[Path], settings: str) -> str:
        weights = [json.loads((path / "card.json").read_text(encoding="utf-8"))["files"] for path in paths]
        document = [weights, self.text.sources, self.text.references, settings]
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def _translate(self, translator: Translator, beam: int) -> Translated:
        options = SearchOptions(beam_size=beam, length_penalty=0.0)
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        started = clock()
        translations = translator.translate(self.text.sources, options, split_sentences=False)
        return Translated(texts=[each.text for each in translations], seconds=clock() - started)

    def _forced(self, translator: Translator) -> dict[str, object]:
        """Teacher forcing, with the right sources and with those of the next sentences."""
        loaded = translator.loaded
        sources, references = self.text.sources, self.text.references
        scores = token_scores(loaded, encoded(loaded, sources, references))
        others = token_scores(loaded, encoded(loaded, [*sources[1:], sources[0]], references))
        return {
            "log_probabilities": [each.log_probabilities.round(5).tolist() for each in scores],
            "hits": [each.hits.tolist() for each in scores],
            "without_source": [float(each.log_probabilities.sum()) for each in others],
        }


def _read(file: Path, kind: type[_Kept]) -> _Kept | None:
    """What is kept in `file`; None where that is missing or damaged, for it can be measured again."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
