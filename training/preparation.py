"""From a recipe's corpus to a prepared folder: read, clean, split, learn subwords, encode, lay out.

A corpus may be larger than the memory. In memory are at most 120 bytes for each training pair (digests, while
duplicates and pairs to hold out are looked for), a few chunks of text for each process, and the sentences that the
subwords are learnt from, of which there are at most `SAMPLE_PAIRS`. On disk, the text of train stands beside the token
files until these are complete. The files written are the same whatever the number of processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.cleaning import LengthLimits, tidy
from training.corpus import Corpus, open_corpus
from training.encoding import EncodedWriter, encode_chunk
from training.errors import InputError
from training.folders import written_whole
from training.initial_model import initial_vocabularies
from training.prepared import (
    PREPARATION_VERSION,
    RECORD_FILE,
    Prepared,
    PreparedRecord,
    checksums_of_vocabularies,
    load_prepared,
    read_record,
)
from training.recipe import Recipe, SubwordsSection
from training.splitting import Pair
from training.stages import Stages
from training.subwords import train_vocabulary
from training.text_files import MosesPairs
from training.train_text import MaskedLines, TrainText, in_chunks
from training.workers import Workers, usable_processes
from translator.files import sha256_of
from translator.vocabulary import SIDES

# The split and the vocabularies do not follow the recipe's seed, so that models of different seeds can be compared.
_SEED = 1
#: Pairs that a vocabulary is learnt from; of a larger corpus, a sample. SentencePiece holds them in memory: for
#: `unigram` some 20 bytes a character (2.4 GiB for a million sentences of 115 characters), for the others some 3.
SAMPLE_PAIRS = {"unigram": 1_000_000, "bpe": 5_000_000, "char": 5_000_000, "word": 5_000_000}


def prepare(recipe: Recipe, destination: Path, *, console: Console, processes: int = 1) -> Prepared:
    """Prepares the recipe's corpus in the folder `destination`, whole or not at all, and opens it.

    Args:
        processes: how many clean and encode. More than one are started anew (`multiprocessing`'s "spawn"), so that a
            script that asks for them must not do its work when it is imported.

    Raises:
        InputError: the corpus cannot be had or used, or `destination` holds something else.
    """
    console.print(f"Preparing {recipe.name} in {destination}", highlight=False)
    with written_whole(destination, record=RECORD_FILE) as folder:
        with Workers(processes) as workers:
            record = _Preparation(recipe, open_corpus(recipe), folder, workers, Stages(console)).write()
        (folder / RECORD_FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _report(record, console)
    return load_prepared(destination)


def prepare_or_reuse(recipe: Recipe, *, console: Console, processes: int = 1) -> Prepared:
    """The recipe's folder under prepared/, made now unless it was made from the same text by the same settings.

    It is the same text if the SHA-256 of all its files is the same, whatever their time and size; of a data set of the
    hub, if its fingerprint is. The settings are the section `corpus`, the SHA-256 of those vocabularies that are
    an initial model's, `subwords` where others are learnt, and what the program itself makes of all this
    (`training.prepared.PREPARATION_VERSION`).

    Raises:
        InputError: as `prepare`.
    """
    folder = recipe.prepared_directory
    if _is_current(recipe, folder, console):
        console.print(f"Using {folder}, prepared before from the same corpus and settings", highlight=False)
        return load_prepared(folder)
    return prepare(recipe, folder, console=console, processes=processes)


def open_prepared(recipe: Recipe, folder: Path | None, *, console: Console) -> Prepared:
    """The prepared folder that a user has named, or else the recipe's own, made where it has to be.

    Raises:
        InputError: as `load_prepared` and `prepare`, or the folder is one of other languages.
    """
    if folder is not None:
        prepared = load_prepared(folder)
        held, wanted = (
            f"{each.source_language} to {each.target_language}" for each in (prepared.record.corpus, recipe.corpus)
        )
        if held != wanted:
            raise InputError(f"{folder}: was prepared for {held}, and the recipe's corpus is {wanted}")
        return prepared
    return prepare_or_reuse(recipe, console=console, processes=usable_processes())


def _is_current(recipe: Recipe, folder: Path, console: Console) -> bool:
    try:
        record = read_record(folder)
    except InputError:
        return False
    if (record.corpus, record.preparation_version) != (recipe.corpus, PREPARATION_VERSION):
        return False
    given = checksums_of_vocabularies(initial_vocabularies(recipe))
    if len(given) < len(SIDES) and record.subwords != recipe.subwords:
        return False
    # That of an initial model may have been learnt here, from the same text.
    if not given.keys() >= record.vocabularies_sha256.keys() or not given.items() <= _checksums_in(folder).items():
        return False
    if recipe.corpus.kind == "libreoffice-help" and not recipe.corpus_path.exists():
        return True  # what Debian has is the same text under the same name
    try:
        corpus = open_corpus(recipe)
    except (InputError, ModuleNotFoundError) as error:
        if recipe.corpus.kind != "hub":
            raise
        console.print(
            f"Note: {recipe.corpus.name} cannot be looked at for changes ({error})", markup=False, highlight=False
        )
        return True
    if corpus.fingerprints:
        return record.fingerprints == corpus.fingerprints
    return record.sha256 == corpus.checksums()


def _checksums_in(folder: Path) -> dict[str, str]:
    """Of the vocabularies in a prepared folder, by side; none where they cannot be read."""
    try:
        return {side: sha256_of(folder / f"{side}.model") for side in SIDES}
    except OSError:
        return {}


class _Preparation:
    """Writes all files of a prepared folder but the record, which it returns."""

    def __init__(self, recipe: Recipe, corpus: Corpus, folder: Path, workers: Workers, stages: Stages) -> None:
        self._recipe = recipe
        self._corpus = corpus
        self._folder = folder
        self._workers = workers
        self._stages = stages
        self._notices: list[str] = []
        self._pairs: dict[str, int] = {}
        self._tokens: dict[str, int] = {}

    def write(self) -> PreparedRecord:
        # Before the text is read: of a file that changes meanwhile, this is not the checksum the next time.
        with self._stages.stage("cleaning", "Reading the checksums"):
            sha256 = self._corpus.checksums()
        train = self._write_text()
        given = initial_vocabularies(self._recipe)
        learnt = [side for side in SIDES if side not in given]
        with self._stages.stage("vocabularies", "Learning the vocabularies" if learnt else "Copying the vocabularies"):
            for side, vocabulary in given.items():
                (self._folder / f"{side}.model").write_bytes(vocabulary.model_bytes)
            if learnt:
                self._learn_vocabularies(train, learnt)
        section = self._recipe.corpus
        limits = LengthLimits(section.maximum_length, section.maximum_ratio)
        removed = {"empty": train.empty, "duplicates": train.duplicates} | self._encode(
            "train", train.chunks(), limits, len(train)
        )
        self._encode("dev", _text_chunks(self._held_out("dev")), None, self._pairs["dev"])
        if not self._pairs["train"]:
            raise InputError(
                f"{self._corpus.name}: cleaning left no training pair; raise corpus.maximum_length or maximum_ratio"
            )
        # A data set of the hub has no files of its own here: its training text stands for it.
        sha256 = sha256 or _checksums_of_text(train)
        for file in train.files:
            file.unlink()
        return PreparedRecord(
            preparation_version=PREPARATION_VERSION,
            corpus=self._recipe.corpus,
            subwords=self._recipe.subwords,
            corpus_name=self._corpus.name,
            sha256=sha256,
            vocabularies_sha256=checksums_of_vocabularies(given),
            fingerprints=dict(self._corpus.fingerprints),
            pairs={name: self._pairs[name] for name in ("train", "dev", "test")},
            tokens=self._tokens,
            removed=removed,
            notices=self._notices,
            pairs_read=train.read,
            processes=self._workers.processes,
            seconds=self._stages.seconds,
        )

    def _write_text(self) -> TrainText:
        """Writes dev and test, held out of train where the corpus does not bring them, and train's text."""
        for name in ("dev", "test"):
            if name in self._corpus.parts:
                self._write_held_out(name, self._corpus.parts[name])
        with self._stages.stage("cleaning", "Reading and cleaning") as advance:
            train = TrainText(self._folder, self._corpus.parts["train"], self._workers, advance)
        self._require(len(train), "train")
        missing = [name for name in ("dev", "test") if name not in self._corpus.parts]
        with self._stages.stage("splitting", "Looking for sentences in several parts"):
            if missing:
                count = self._recipe.corpus.held_out_pairs
                drawn = train.hold_out(
                    **{name: count if name in missing else 0 for name in ("dev", "test")}, seed=_SEED
                )
                for name, part in zip(("dev", "test"), drawn, strict=True):
                    if name in missing:
                        self._write_held_out(name, part)
                self._notices.append(
                    f"the corpus brings no {' and no '.join(missing)}: {count:,} pairs were held out of train for each"
                )
            for name in ("dev", "test"):
                pairs, seen = train.overlap(self._held_out(name))
                if seen:
                    self._notices.append(
                        f"{seen:,} of {pairs:,} {name} pairs also stand in train, which makes scores on {name} too good"
                    )
        return train

    def _write_held_out(self, name: str, pairs: Iterable[Pair]) -> None:
        """Writes pairs to measure with: all that have text on both sides, so that the score is of the whole set."""
        count = 0
        source, target = (self._folder / f"{name}.{side}.txt" for side in SIDES)
        with (
            source.open("w", encoding="utf-8", newline="\n") as sources,
            target.open("w", encoding="utf-8", newline="\n") as targets,
        ):
            for pair in pairs:
                source_text, target_text = map(tidy, pair)
                if source_text and target_text:
                    sources.write(f"{source_text}\n")
                    targets.write(f"{target_text}\n")
                    count += 1
        self._require(count, name)
        self._pairs[name] = count

    def _require(self, pairs: int, name: str) -> None:
        if not pairs:
            raise InputError(f"{self._corpus.name}: {name} holds no sentence pair")

    def _held_out(self, name: str) -> Iterable[Pair]:
        source, target = (self._folder / f"{name}.{side}.txt" for side in SIDES)
        return MosesPairs(source, target)

    def _learn_vocabularies(self, train: TrainText, sides: Sequence[str]) -> None:
        most = SAMPLE_PAIRS[self._recipe.subwords.model_type]
        mask = train.sample(most, seed=_SEED)
        if mask is not train.kept:
            self._notices.append(f"the vocabularies were learnt from {most:,} of {len(train):,} pairs")
        files = dict(zip(SIDES, train.files, strict=True))
        texts = {side: MaskedLines(files[side], mask) for side in sides}
        learnt = self._workers.map(partial(_learn_vocabulary, self._recipe.subwords), texts.items())
        for side, (model, remarks) in zip(sides, learnt, strict=True):
            (self._folder / f"{side}.model").write_bytes(model)
            self._notices += [f"{side}: {remark}" for remark in remarks]

    def _encode(
        self, name: str, chunks: Iterable[tuple[bytes, bytes]], limits: LengthLimits | None, pairs: int
    ) -> dict[str, int]:
        """Writes the token files of a part of so many `pairs`; returns how many pairs `limits` left out, by reason."""
        removed: dict[str, int] = {}
        encode = partial(encode_chunk, folder=self._folder, limits=limits)
        names = [f"{name}.{side}" for side in SIDES]
        with (
            self._stages.stage("encoding", f"Encoding {name}", total=pairs) as advance,
            EncodedWriter(self._folder, names[0]) as source,
            EncodedWriter(self._folder, names[1]) as target,
        ):
            for chunk in self._workers.map(encode, chunks):
                source.append(chunk.sides[0])
                target.append(chunk.sides[1])
                removed = {reason: removed.get(reason, 0) + count for reason, count in chunk.removed.items()}
                advance(len(chunk.sides[0].lengths) + sum(chunk.removed.values()))
        self._pairs[name] = source.pairs
        for side, writer in zip(SIDES, (source, target), strict=True):
            self._tokens[f"{name}.{side}"] = writer.tokens
            if writer.unknown:
                share = writer.unknown / writer.tokens
                self._notices.append(f"{name}: {share:.2%} of the {side} tokens are unknown")
        return removed


def _learn_vocabulary(section: SubwordsSection, side_and_texts: tuple[str, MaskedLines]) -> tuple[bytes, list[str]]:
    side, texts = side_and_texts
    size = section.source_vocabulary_size if side == "source" else section.target_vocabulary_size
    try:
        vocabulary, remarks = train_vocabulary(texts, size=size, model_type=section.model_type, seed=_SEED)
    except ValueError as error:
        raise InputError(f"the {side} side of the corpus: {error}") from error
    return vocabulary.model_bytes, remarks


def _text_chunks(pairs: Iterable[Pair]) -> Iterator[tuple[bytes, bytes]]:
    for chunk in in_chunks(pairs):
        source, target = ("".join(f"{pair[side]}\n" for pair in chunk).encode() for side in (0, 1))
        yield source, target


def _checksums_of_text(train: TrainText) -> dict[str, str]:
    hashes = [hashlib.sha256() for _ in SIDES]
    for texts in train.chunks():
        for running, text in zip(hashes, texts, strict=True):
            running.update(text)
    return {f"train.{side}": running.hexdigest() for side, running in zip(SIDES, hashes, strict=True)}


def _report(record: PreparedRecord, console: Console) -> None:
    table = Table("", "pairs", "source tokens", "target tokens", "tokens a sentence")
    for name, pairs in record.pairs.items():
        counts = [record.tokens.get(f"{name}.{side}") for side in SIDES]
        known = [count for count in counts if count is not None]
        means = " / ".join(f"{count / pairs:.1f}" for count in known)
        table.add_row(name, f"{pairs:,}", *(f"{count:,}" if count is not None else "" for count in counts), means)
    console.print(table)
    removed = ", ".join(f"{count:,} {reason}" for reason, count in record.removed.items())
    console.print(f"Left out of train: {removed}", highlight=False)
    for notice in record.notices:
        console.print(f"Note: {notice}", highlight=False, markup=False)
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record.seconds.items())
    console.print(
        f"{record.pairs_read:,} pairs read, {record.pairs_per_second:,.0f} pairs/s in all "
        f"with up to {record.processes} processes ({stages})",
        highlight=False,
    )
