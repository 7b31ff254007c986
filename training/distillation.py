"""`python -m training distill`: a teacher's translations as the text that a student learns from.

Sequence-level knowledge distillation (Kim & Rush 2016, section 3.2): every source of the training pairs gets what the
teacher's beam search finds for it, in place of its reference. Or, of the hypotheses in the beam, the one with the best
sentence BLEU (section 3.3, sequence-level interpolation).

What is written is a corpus folder of kind `moses`: train is the teacher's, dev and test are the real ones. While the
teacher works it holds the shards that are done, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import InputError
from training.folders import written_whole
from training.n_best import Candidate
from training.prepared import SIDES, Prepared, PreparedRecord
from training.prepared_texts import TrainingTexts
from training.rescoring import oracle
from training.splitting import Pair
from translator.config import SearchOptions
from translator.description import WEIGHTS_FILE
from translator.pipeline import Translator
from translator.translation import Translation

RECORD_FILE = "distillation.json"
_SHARDS = "shards"


class Settings(BaseModel):
    """What the text follows from; a run goes on only where all of it is the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str = Field(description="Its name, from the card.")
    weights_sha256: list[str] = Field(description="Of each model of the teacher.")
    combination: str = Field(description="How an ensemble's distributions become one.")
    precision: str = Field(description="Number format that the teacher computed in.")
    beam_size: int
    length_penalty: float
    nearest_reference: bool = Field(description="Whether the best of the beam by sentence BLEU was taken.")
    mixed: bool = Field(description="Whether the original pairs stand behind the teacher's.")
    corpus: PreparedRecord = Field(description="The prepared corpus whose training pairs these are.")
    shard_pairs: int


class DistillationRecord(BaseModel):
    """`distillation.json`: how the folder came about."""

    model_config = ConfigDict(extra="forbid")

    settings: Settings
    finished: bool = False
    pairs: dict[str, int] = Field(default_factory=dict, description="Of train: the teacher's, and the original ones.")
    left_out: dict[str, int] = Field(default_factory=dict, description="Training pairs that are not there, by reason.")


def settings_of(
    translator: Translator,
    prepared: Prepared,
    options: SearchOptions,
    *,
    nearest_reference: bool,
    mixed: bool,
    shard_pairs: int,
) -> Settings:
    """What the text will follow from. Raises `InputError` where the teacher translates other languages."""
    card, corpus = translator.card, prepared.record.corpus
    teachers, wanted = (f"{each.source_language} to {each.target_language}" for each in (card, corpus))
    if teachers != wanted:
        raise InputError(f"{card.name} translates {teachers}, and the corpus is {wanted}; name another teacher")
    return Settings(
        teacher=card.name,
        weights_sha256=[member.card.files[WEIGHTS_FILE].sha256 for member in translator.members],
        combination=translator.combination,
        precision=translator.engine.precision,
        beam_size=options.beam_size,
        length_penalty=card.length_penalty if options.length_penalty is None else options.length_penalty,
        nearest_reference=nearest_reference,
        mixed=mixed,
        # How long the preparation took, and with how many processes, is of no interest.
        corpus=prepared.record.model_copy(update={"seconds": {}, "processes": 1}),
        shard_pairs=shard_pairs,
    )


class Distillation:
    """Fills one folder.

    Attributes:
        texts: the training pairs.
        done: how many of them have been translated, by runs before this one too.
    """

    def __init__(self, folder: Path, prepared: Prepared, settings: Settings) -> None:
        """Raises `InputError` where `folder` holds something else."""
        self.folder = folder
        self.settings = settings
        self._prepared = prepared
        self._check()
        self.texts = TrainingTexts(prepared)
        if not len(self.texts.order):
            raise InputError(f"{prepared.path}: every source has a word that the vocabulary does not know")
        self.done = sum(len(numbers) for index, numbers in self._shards() if self._shard(index).exists())

    @property
    def finished(self) -> bool:
        """Whether the folder is complete."""
        record = _read_record(self.folder)
        return record is not None and record.finished

    def run(self, translator: Translator, advance: Callable[[int], None]) -> DistillationRecord:
        """Translates what is left and completes the folder. `advance` is told of the pairs as they are done.

        Raises:
            InputError: another process works on the same folder, or it cannot be written.
        """
        try:
            with self._held():
                self._translate(translator, advance)
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
            raise InputError(
                f"{self.folder}: was begun with another {', '.join(differing)}; name another folder with --output, or "
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

    def _translate(self, translator: Translator, advance: Callable[[int], None]) -> None:
        options = SearchOptions(
            beam_size=self.settings.beam_size,
            length_penalty=self.settings.length_penalty,
            alternatives=self.settings.beam_size - 1 if self.settings.nearest_reference else 0,
        )
        for index, numbers in self._shards():
            if self._shard(index).exists():
                continue
            sources = [self.texts.source(number) for number in numbers]
            translations = translator.translate(sources, options, split_sentences=False, progress=advance)
            lines = self._chosen(translations, numbers)
            _write(self._shard(index), "".join(f"{line}\n" for line in lines))
            self.done += len(numbers)

    def _chosen(self, translations: Sequence[Translation], numbers: Sequence[int]) -> list[str]:
        """The target of each pair; nothing where the teacher found no end, so that no student learns to have none."""
        if self.settings.nearest_reference:
            beams = [
                [Candidate(best.text, best.score), *(Candidate(other.text, other.score) for other in best.alternatives)]
                for best in translations
            ]
            targets = oracle(beams, [self.texts.reference(number) for number in numbers])
        else:
            targets = [translation.text for translation in translations]
        cut = [any(warning.startswith("truncated") for warning in each.warnings) for each in translations]
        return ["" if is_cut else target for target, is_cut in zip(targets, cut, strict=True)]

    def _complete(self) -> DistillationRecord:
        """Exchanges the folder of shards for the finished corpus."""
        languages = (self._prepared.record.corpus.source_language, self._prepared.record.corpus.target_language)
        counts = {"teacher": 0, "original": 0}
        left_out = {"unknown words": self.texts.unknown, "no translation": 0, "duplicates": 0}
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
                for source, target in self.texts.originals() if self.settings.mixed else ():
                    sources.write(f"{source}\n")
                    targets.write(f"{target}\n")
                    counts["original"] += 1
            if not counts["teacher"]:
                raise InputError(f"{self.settings.teacher} has no translation for any source; train it further")
            for name in ("dev", "test"):
                for side, language in zip(SIDES, languages, strict=True):
                    shutil.copyfile(self._prepared.path / f"{name}.{side}.txt", written / f"{name}.{language}")
            record = DistillationRecord(settings=self.settings, finished=True, pairs=counts, left_out=left_out)
            (written / RECORD_FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return record

    def _pairs(self, left_out: dict[str, int]) -> Iterator[Pair]:
        """The teacher's pairs, each once; counts those that are left out."""
        current = ""
        seen: set[str] = set()
        for index, numbers in self._shards():
            lines = self._shard(index).read_text(encoding="utf-8").split("\n")[:-1]
            if len(lines) != len(numbers):
                raise InputError(f"{self._shard(index)}: damaged; remove it and run the same command again")
            for number, target in zip(numbers, lines, strict=True):
                source = self.texts.source(number)
                if source != current:
                    current, seen = source, set()
                if not target or target in seen:
                    left_out["duplicates" if target else "no translation"] += 1
                    continue
                seen.add(target)
                yield source, target


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
