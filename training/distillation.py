"""`python -m training distill`: a teacher's translations as the text that a student learns from.

Sequence-level knowledge distillation (Kim & Rush 2016, section 3.2): every source of the training pairs gets what the
teacher's beam search finds for it, in place of its reference. Or, of the hypotheses in the beam, the one with the best
sentence BLEU (section 3.3, sequence-level interpolation). Or the teacher translates text of one language that has no
translation: of the source language, or, the teacher being one of the other direction, of the target language.

What is written is a corpus folder of kind `moses`: train is the teacher's, dev and test are the real ones; of text of
one language there is train alone, which stands beside the corpus. While the teacher works the folder holds the shards
that are done, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.distillation_settings import SPOKEN, Settings
from training.errors import InputError
from training.folders import written_whole
from training.further_text import FurtherText, comparison_digests
from training.n_best import Candidate
from training.prepared import Prepared
from training.prepared_texts import Side, TrainingTexts, side_texts
from training.rescoring import EVEN, choose, model_scores, oracle
from training.splitting import Pair, comparison_key, digest
from translator.config import SearchOptions
from translator.pipeline import Translator
from translator.translation import Translation
from translator.vocabulary import SIDES

RECORD_FILE = "distillation.json"
_SHARDS = "shards"


class DistillationRecord(BaseModel):
    """`distillation.json`: how the folder came about."""

    model_config = ConfigDict(extra="forbid")

    settings: Settings
    finished: bool = False
    pairs: dict[str, int] = Field(default_factory=dict, description="Of train: the teacher's, and the original ones.")
    left_out: dict[str, int] = Field(default_factory=dict, description="What is not there, by reason.")


class Distillation:
    """Fills one folder.

    Attributes:
        texts: what the teacher translates.
        done: how many of these have been translated, by runs before this one too.
    """

    def __init__(self, folder: Path, prepared: Prepared, settings: Settings, text_files: Sequence[Path] = ()) -> None:
        """`settings` are of the same `text_files`.

        Raises:
            InputError: `folder` holds something else, or there is nothing to translate.
        """
        assert bool(text_files) == bool(settings.text_sha256), "the settings are of other text"
        self.folder = folder
        self.settings = settings
        self._prepared = prepared
        self._check()
        self._training = TrainingTexts(prepared) if not text_files else None
        self.texts = self._training or FurtherText(text_files, prepared, settings.text_side)
        if not len(self.texts.order):
            raise InputError(f"{prepared.path}: every source has a word that the vocabulary does not know")
        self.done = sum(len(numbers) for index, numbers in self._shards() if self._shard(index).exists())

    @property
    def finished(self) -> bool:
        """Whether the folder is complete."""
        record = _read_record(self.folder)
        return record is not None and record.finished

    def run(
        self, translator: Translator, advance: Callable[[int], None], *, reverse: Translator | None = None
    ) -> DistillationRecord:
        """Translates what is left and completes the folder. `advance` is told of the pairs as they are done.

        Args:
            reverse: a model of the other direction. Of the beam is taken what is best by the even average of the
                teacher's log p(hypothesis | text) and its log p(text | hypothesis), the channel model of Yee, Dauphin &
                Auli 2019. It is there where the settings were made with it.

        Raises:
            InputError: another process works on the same folder, or it cannot be written.
        """
        assert (reverse is None) == (not self.settings.reverse_weights_sha256), "the settings are of another reverse"
        try:
            with self._held():
                self._translate(translator, reverse, advance)
                return self._complete()
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be written: {error.strerror or error}; what was translated is kept: make room "
                "and run the same command again"
            ) from error

    def _check(self) -> None:
        record = _read_record(self.folder)
        if record is None:
            if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
                raise InputError(f"{self.folder}: holds something else; name another folder with --output")
            return
        differing = [name for name, value in self.settings if getattr(record.settings, name) != value]
        if differing:
            spoken = dict.fromkeys(SPOKEN.get(name, f"--{name.replace('_', '-')}") for name in differing)
            raise InputError(
                f"{self.folder}: was begun with another {', '.join(spoken)}; name another folder with --output, or "
                "remove this one"
            )

    @contextmanager
    def _held(self) -> Iterator[None]:
        shards = self.folder / _SHARDS
        shards.mkdir(parents=True, exist_ok=True)
        lock = FileLock(shards / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(f"{self.folder}: another process works on it; wait for it, or stop it") from None
        try:
            record = DistillationRecord(settings=self.settings)
            _write(self.folder / RECORD_FILE, record.model_dump_json(indent=2) + "\n")
            yield
        finally:
            lock.release()

    def _shards(self) -> Iterator[tuple[int, list[int]]]:
        """Number and pairs of each shard."""
        size = self.settings.shard_pairs
        for index, start in enumerate(range(0, len(self.texts.order), size)):
            yield index, self.texts.order[start : start + size].tolist()

    def _shard(self, index: int) -> Path:
        return self.folder / _SHARDS / f"{index:06}.txt"

    def _translate(self, translator: Translator, reverse: Translator | None, advance: Callable[[int], None]) -> None:
        chooses = self.settings.nearest_reference or reverse is not None
        options = SearchOptions(
            beam_size=self.settings.beam_size,
            length_penalty=self.settings.length_penalty,
            alternatives=self.settings.beam_size - 1 if chooses else 0,
        )
        for index, numbers in self._shards():
            if self._shard(index).exists():
                continue
            sentences = [self.texts.sentence(number) for number in numbers]
            # Where another model reads what was translated, that takes most of the time.
            progress = advance if reverse is None else None
            translations = translator.translate(sentences, options, split_sentences=False, progress=progress)
            cut = [any(warning.startswith("truncated") for warning in each.warnings) for each in translations]
            if reverse is not None:
                lines = _likeliest(reverse, sentences, _beams(translations), advance)
            elif self.settings.nearest_reference:
                lines = self._nearest(_beams(translations), numbers)
            else:
                lines = [translation.text for translation in translations]
            # Nothing where the teacher found no end, so that no student learns to have none.
            lines = ["" if is_cut else line for line, is_cut in zip(lines, cut, strict=True)]
            _write(self._shard(index), "".join(f"{line}\n" for line in lines))
            self.done += len(numbers)

    def _nearest(self, beams: Sequence[Sequence[Candidate]], numbers: Sequence[int]) -> list[str]:
        assert self._training is not None  # text of one language has no references
        return oracle(beams, [self._training.reference(number) for number in numbers])

    def _complete(self) -> DistillationRecord:
        """Exchanges the folder of shards for the finished corpus."""
        languages = (self._prepared.record.corpus.source_language, self._prepared.record.corpus.target_language)
        counts = {"teacher": 0, "original": 0}
        left_out = self.texts.left_out | {"no translation": 0}
        with written_whole(self.folder, record=RECORD_FILE) as written:
            source_file, target_file = (written / f"train.{language}" for language in languages)
            with (
                source_file.open("w", encoding="utf-8", newline="\n") as sources,
                target_file.open("w", encoding="utf-8", newline="\n") as targets,
            ):
                for source, target in self._pairs(left_out):
                    sources.write(f"{source}\n")
                    targets.write(f"{target}\n")
                    counts["teacher"] += 1
                for source, target in self._training.originals() if self._training and self.settings.mixed else ():
                    sources.write(f"{source}\n")
                    targets.write(f"{target}\n")
                    counts["original"] += 1
            if not counts["teacher"]:
                raise InputError(f"{self.settings.teacher} has no translation for any source; train it further")
            for name in ("dev", "test") if self._training else ():
                for side, language in zip(SIDES, languages, strict=True):
                    shutil.copyfile(self._prepared.path / f"{name}.{side}.txt", written / f"{name}.{language}")
            record = DistillationRecord(settings=self.settings, finished=True, pairs=counts, left_out=left_out)
            (written / RECORD_FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return record

    def _pairs(self, left_out: dict[str, int]) -> Iterator[Pair]:
        """The teacher's pairs, each once; counts those that are left out."""
        backward = self.settings.text_side == "target"
        held_out = self._held_out()
        least = self._least()
        current = ""
        seen: set[str] = set()
        for number, translation, agreement in self._translated():
            sentence = self.texts.sentence(number)
            if sentence != current:
                current, seen = sentence, set()
            reason = (
                "no translation" if not translation
                else "duplicates" if translation in seen
                else "held out" if digest(comparison_key(translation)) in held_out
                else "improbable" if agreement < least
                else None
            )  # fmt: skip
            if reason is not None:
                left_out[reason] = left_out.get(reason, 0) + 1
                continue
            seen.add(translation)
            yield (translation, sentence) if backward else (sentence, translation)

    def _translated(self) -> Iterator[tuple[int, str, float]]:
        """Number, translation and agreement (0 where no model of the other direction was asked) of all, by shards."""
        for index, numbers in self._shards():
            lines = self._shard(index).read_text(encoding="utf-8").split("\n")[:-1]
            if len(lines) != len(numbers):
                raise InputError(f"{self._shard(index)}: damaged; remove it and run the same command again")
            for number, line in zip(numbers, lines, strict=True):
                target, _, agreement = line.partition("\t")
                yield number, target, float(agreement or 0)

    def _least(self) -> float:
        """The agreement that a pair needs for the share that is kept."""
        if self.settings.kept_share == 1:
            return -math.inf
        agreements = [agreement for _, target, agreement in self._translated() if target]
        return float(np.quantile(agreements, 1 - self.settings.kept_share, method="higher")) if agreements else 0.0

    def _held_out(self) -> frozenset[bytes]:
        """What dev and test have where the teacher's translations will stand, for text that is not the corpus's."""
        if self._training:
            return frozenset()
        side: Side = "source" if self.settings.text_side == "target" else "target"
        found = (comparison_digests(side_texts(self._prepared, side, part)) for part in ("dev", "test"))
        return frozenset(key.tobytes() for keys in found for key in keys)


def _likeliest(
    reverse: Translator,
    sentences: Sequence[str],
    beams: Sequence[Sequence[Candidate]],
    advance: Callable[[int], None],
) -> list[str]:
    """The best of each beam by both directions, and behind a tab its agreement: log p(sentence | it) a character."""
    ends = np.cumsum([len({candidate.text for candidate in beam}) for beam in beams])
    scored = 0

    def scored_more(candidates: int) -> None:
        nonlocal scored
        before = np.searchsorted(ends, scored, side="right")
        scored += candidates
        advance(int(np.searchsorted(ends, scored, side="right") - before))

    scores = model_scores(reverse, sentences, beams, reverse=True, progress=scored_more)
    lines = []
    for sentence, beam, score, text in zip(sentences, beams, scores, choose(beams, scores, EVEN), strict=True):
        chosen = [candidate.text for candidate in beam].index(text)
        lines.append(f"{text}\t{score[chosen] / len(sentence):.6f}")
    return lines


def _beams(translations: Sequence[Translation]) -> list[list[Candidate]]:
    """The hypotheses with their log-probabilities, which are of one kind with those of a model that reads them."""
    return [
        [
            Candidate(best.text, math.fsum(sentence.log_probability for sentence in best.sentences)),
            *(Candidate(other.text, other.log_probability) for other in best.alternatives),
        ]
        for best in translations
    ]


def _read_record(folder: Path) -> DistillationRecord | None:
    file = folder / RECORD_FILE
    try:
        return DistillationRecord.model_validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        raise InputError(f"{file}: damaged or of another version; name another folder, or remove this one") from error


def _write(file: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="\n") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(file)
