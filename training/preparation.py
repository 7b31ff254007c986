"""From a recipe's corpus to a prepared folder: read, clean, split, learn subwords, encode, lay out."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from training.cleaning import Cleaner, tidy
from training.corpus import Corpus, open_corpus, read_lines
from training.errors import InputError
from training.folders import written_whole
from training.prepared import RECORD_FILE, SIDES, Prepared, PreparedRecord, load_prepared, read_record
from training.recipe import Recipe
from training.splitting import Pair, comparison_key, hold_out
from training.subwords import train_vocabulary
from translator.files import sha256_of
from translator.vocabulary import Vocabulary

# The split and the vocabularies do not follow the recipe's seed, so that models of different seeds can be compared.
_SEED = 1
_CHUNK_PAIRS = 10_000


def prepare(recipe: Recipe, destination: Path, *, console: Console) -> Prepared:
    """Prepares the recipe's corpus in the folder `destination`, whole or not at all, and opens it.

    Raises:
        InputError: the corpus cannot be had or used, or `destination` holds something else.
    """
    console.print(f"Preparing {recipe.name} in {destination}", highlight=False)
    with written_whole(destination, record=RECORD_FILE) as folder:
        corpus = open_corpus(recipe)
        record = _write(recipe, corpus, folder, console)
        (folder / RECORD_FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _report(record, console)
    return load_prepared(destination)


def prepare_or_reuse(recipe: Recipe, *, console: Console) -> Prepared:
    """The recipe's folder under prepared/, made now unless it was made from the same settings and the same files.

    Raises:
        InputError: as `prepare`.
    """
    folder = recipe.prepared_directory
    if _is_current(recipe, folder):
        console.print(f"Using {folder}, prepared before from the same corpus and settings", highlight=False)
        return load_prepared(folder)
    return prepare(recipe, folder, console=console)


def open_prepared(recipe: Recipe, folder: Path | None, *, console: Console) -> Prepared:
    """The prepared folder that a user has named, or else the recipe's own, made where it has to be.

    Raises:
        InputError: as `load_prepared` and `prepare`.
    """
    return load_prepared(folder) if folder is not None else prepare_or_reuse(recipe, console=console)


def _is_current(recipe: Recipe, folder: Path) -> bool:
    try:
        record = read_record(folder)
    except InputError:
        return False
    if (record.corpus, record.subwords) != (recipe.corpus, recipe.subwords):
        return False
    # What comes from the hub or from Debian is the same text under the same name.
    return recipe.corpus.kind in ("hub", "libreoffice-help") or record.sha256 == _checksums(open_corpus(recipe))


def _checksums(corpus: Corpus) -> dict[str, str]:
    return {file.name: sha256_of(file) for file in corpus.files}


def _write(recipe: Recipe, corpus: Corpus, folder: Path, console: Console) -> PreparedRecord:
    """Writes all files but the record, which it returns."""
    cleaner = Cleaner(recipe.corpus.maximum_length, recipe.corpus.maximum_ratio)
    notices = _write_parts(recipe, corpus, cleaner, folder) + _overlaps(folder)
    vocabularies = []
    for side in SIDES:
        with console.status(f"Learning the {side} vocabulary"):
            vocabulary, remarks = _learn_vocabulary(recipe, folder, side)
        (folder / f"{side}.model").write_bytes(vocabulary.model_bytes)
        vocabularies.append(vocabulary)
        notices += [f"{side}: {remark}" for remark in remarks]
    pairs: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for name in ("train", "dev"):
        encoder = _Encoder(folder, name, vocabularies)
        with console.status(f"Encoding {name}"):
            encoder.write(cleaner if name == "train" else None)
        pairs[name] = encoder.pairs
        for side, count, unknown in zip(SIDES, encoder.tokens, encoder.unknown, strict=True):
            tokens[f"{name}.{side}"] = count
            if unknown:
                notices.append(f"{name}: {unknown / count:.2%} of the {side} tokens are unknown")
    if not pairs["train"]:
        raise InputError(f"{corpus.name}: cleaning left no training pair; raise corpus.maximum_length or maximum_ratio")
    pairs["test"] = sum(1 for _ in _read_pairs(folder, "test"))
    # A data set of the hub has no files of its own here: its training text stands for it.
    sha256 = _checksums(corpus) or {f"train.{side}": sha256_of(folder / f"train.{side}.txt") for side in SIDES}
    for side in SIDES:
        (folder / f"train.{side}.txt").unlink()
    return PreparedRecord(
        corpus=recipe.corpus,
        subwords=recipe.subwords,
        corpus_name=corpus.name,
        sha256=sha256,
        pairs=pairs,
        tokens=tokens,
        removed=cleaner.removed,
        notices=notices,
    )


def _write_parts(recipe: Recipe, corpus: Corpus, cleaner: Cleaner, folder: Path) -> list[str]:
    """Writes train, dev and test as text, held out of train where the corpus does not bring them. Returns notices."""
    parts: dict[str, Iterable[Pair]] = {
        name: _tidied(corpus.parts[name]) for name in ("dev", "test") if name in corpus.parts
    }
    parts["train"] = cleaner.clean_text(corpus.parts["train"])
    missing = [name for name in ("dev", "test") if name not in parts]
    notices = []
    if missing:
        count = recipe.corpus.held_out_pairs
        dev, test = (count if name in missing else 0 for name in ("dev", "test"))
        split = hold_out(list(parts["train"]), dev=dev, test=test, seed=_SEED)
        parts["train"] = split.train
        parts |= {name: split.dev if name == "dev" else split.test for name in missing}
        notices.append(
            f"the corpus brings no {' and no '.join(missing)}: {count:,} pairs were held out of train for each"
        )
    for name, part in parts.items():
        if not _write_text(folder, name, part):
            raise InputError(f"{corpus.name}: {name} holds no sentence pair")
    return notices


def _learn_vocabulary(recipe: Recipe, folder: Path, side: str) -> tuple[Vocabulary, list[str]]:
    section = recipe.subwords
    size = section.source_vocabulary_size if side == "source" else section.target_vocabulary_size
    texts = read_lines(folder / f"train.{side}.txt")
    try:
        return train_vocabulary(texts, size=size, model_type=section.model_type, seed=_SEED)
    except ValueError as error:
        raise InputError(f"the {side} side of the corpus: {error}") from error


def _tidied(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Pairs to measure with: all that have text on both sides, so that the score is of the whole set."""
    tidied = ((tidy(source), tidy(target)) for source, target in pairs)
    return (pair for pair in tidied if all(pair))


def _write_text(folder: Path, name: str, pairs: Iterable[Pair]) -> int:
    count = 0
    source, target = (folder / f"{name}.{side}.txt" for side in SIDES)
    with (
        source.open("w", encoding="utf-8", newline="\n") as sources,
        target.open("w", encoding="utf-8", newline="\n") as targets,
    ):
        for source_text, target_text in pairs:
            sources.write(f"{source_text}\n")
            targets.write(f"{target_text}\n")
            count += 1
    return count


def _read_pairs(folder: Path, name: str) -> Iterator[Pair]:
    return zip(*(read_lines(folder / f"{name}.{side}.txt") for side in SIDES), strict=True)


def _overlaps(folder: Path) -> list[str]:
    """Notices of dev and test pairs that also stand in train, ignoring case, punctuation and spacing."""

    def key(pair: Pair) -> Pair:
        return comparison_key(pair[0]), comparison_key(pair[1])

    held_out = {name: {key(pair) for pair in _read_pairs(folder, name)} for name in ("dev", "test")}
    either = held_out["dev"] | held_out["test"]
    seen = {found for found in map(key, _read_pairs(folder, "train")) if found in either}
    return [
        f"{len(keys & seen):,} of {len(keys):,} {name} pairs also stand in train, which makes scores on {name} too good"
        for name, keys in held_out.items()
        if keys & seen
    ]


class _Encoder:
    """Writes the token files of one part, a chunk of pairs at a time, so that no corpus is too large for memory."""

    def __init__(self, folder: Path, name: str, vocabularies: Sequence[Vocabulary]) -> None:
        self._folder = folder
        self._name = name
        self._vocabularies = vocabularies
        self._offsets = (array("q", [0]), array("q", [0]))
        self.tokens = [0, 0]
        self.unknown = [0, 0]

    @property
    def pairs(self) -> int:
        return len(self._offsets[0]) - 1

    def write(self, cleaner: Cleaner | None) -> None:
        """Encodes the text files; `cleaner`, if any, decides by their lengths which pairs are kept."""
        raw = [self._folder / f"{self._name}.{side}.raw" for side in SIDES]
        pairs = _read_pairs(self._folder, self._name)
        with raw[0].open("wb") as sources, raw[1].open("wb") as targets:
            while chunk := list(islice(pairs, _CHUNK_PAIRS)):
                encoded = [
                    vocabulary.encode_batch([pair[side] for pair in chunk])
                    for side, vocabulary in enumerate(self._vocabularies)
                ]
                for source, target in zip(*encoded, strict=True):
                    if cleaner is None or cleaner.accepts(len(source), len(target)):
                        self._add(0, source).tofile(sources)
                        self._add(1, target).tofile(targets)
        for side, file, offsets in zip(SIDES, raw, self._offsets, strict=True):
            stem = self._folder / f"{self._name}.{side}"
            tokens = np.memmap(file, dtype=np.int32, mode="r") if offsets[-1] else np.empty(0, dtype=np.int32)
            np.save(stem.with_name(f"{stem.name}.tokens.npy"), tokens)
            np.save(stem.with_name(f"{stem.name}.offsets.npy"), np.frombuffer(offsets, dtype=np.int64))
            file.unlink()

    def _add(self, side: int, sentence: list[int]) -> array[int]:
        self.tokens[side] += len(sentence)
        self.unknown[side] += sentence.count(self._vocabularies[side].unk_id)
        self._offsets[side].append(self.tokens[side])
        return array("i", sentence)


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
