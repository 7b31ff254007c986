"""Sentence pairs from files, from the Hugging Face hub and from Debian's LibreOffice help."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from training.column_files import SPLIT_NAMES, JsonLinesPairs, ParquetPairs, find_column_files
from training.errors import InputError
from training.libreoffice import build_corpus
from training.recipe import CorpusSection, Recipe
from training.splitting import Pair
from training.text_files import MosesPairs, TabSeparatedPairs
from translator.files import sha256_of

if TYPE_CHECKING:
    import datasets

_HUB_ADDRESS = "https://huggingface.co"
_PROBE_SECONDS = 8.0
_SHOW_FILES = (
    "sentence pairs in files need no network: "
    "--set corpus.kind=moses --set corpus.path=FOLDER, with train.{source}, train.{target}, dev.{source} … in FOLDER"
)


@dataclass(frozen=True)
class Corpus:
    """A corpus, opened. The parts may be iterated over again and again; dev or test may be missing.

    Attributes:
        name: what it is called on a model's card.
        parts: pairs of "train" and, where the corpus brings them, "dev" and "test".
        files: the files that it was read from; none for a data set of the hub.
        fingerprints: of a data set of the hub, what `datasets` tells the content of each part by.
    """

    name: str
    parts: Mapping[str, Iterable[Pair]]
    files: tuple[Path, ...]
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def checksums(self) -> dict[str, str]:
        """SHA-256 of the files' bytes, read now, by their names; shards of several folders have the folder with it.

        Raises:
            InputError: a file cannot be read.
        """
        if not self.files:
            return {}
        folder = os.path.commonpath([file.parent.absolute() for file in self.files])
        return {Path(os.path.relpath(file, folder)).as_posix(): _checksum(file) for file in self.files}


def open_corpus(recipe: Recipe) -> Corpus:
    """Finds the recipe's corpus, and downloads it where it has to. Sentences are read when the parts are iterated over.

    Raises:
        InputError: it is not there, or cannot be had from this machine. Iterating raises it for unequal line counts,
            text that is not UTF-8, lines that are no JSON, and damaged files.
    """
    section = recipe.corpus
    if section.kind == "hub":
        return _open_hub(recipe)
    if section.kind == "tsv":
        return _open_tab_separated(recipe)
    if section.kind in ("jsonl", "parquet"):
        return _open_columns(recipe)
    if section.kind == "libreoffice-help":
        build_corpus(
            recipe.corpus_path,
            section.source_language,
            section.target_language,
            held_out_pairs=section.held_out_pairs,
        )
    return _open_moses(recipe)


@dataclass(frozen=True)
class HubPairs:
    """One part of a data set that has a column `translation` or a column for each language."""

    rows: datasets.Dataset
    source_language: str
    target_language: str

    def __iter__(self) -> Iterator[Pair]:
        languages = (self.source_language, self.target_language)
        for batch in self.rows.iter(batch_size=1000):
            if "translation" in batch:
                sources, targets = ([row[language] for row in batch["translation"]] for language in languages)
            else:
                sources, targets = (batch[language] for language in languages)
            yield from ((source or "", target or "") for source, target in zip(sources, targets, strict=True))


@dataclass(frozen=True)
class InTurn:
    """A pair of each of several texts in turn, as long as they last, so that a beginning has something of all."""

    texts: tuple[Iterable[Pair], ...]

    def __iter__(self) -> Iterator[Pair]:
        for pairs in zip_longest(*self.texts):
            yield from (pair for pair in pairs if pair is not None)


def _checksum(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error


def _open_moses(recipe: Recipe) -> Corpus:
    folders = (recipe.corpus_path, *recipe.corpus.further_paths)
    found = [_moses_parts(folder, recipe.corpus) for folder in folders]
    files = tuple(file for parts in found for pairs in parts.values() for file in (pairs.source, pairs.target))
    joined = {name: tuple(parts[name] for parts in found if name in parts) for name in SPLIT_NAMES}
    return Corpus(
        " + ".join(folder.resolve().name for folder in folders),
        {name: texts[0] if len(texts) == 1 else InTurn(texts) for name, texts in joined.items() if texts},
        files,
    )


def _moses_parts(folder: Path, section: CorpusSection) -> dict[str, MosesPairs]:
    """The parts that a folder has, train among them."""
    source_language, target_language = section.source_language, section.target_language
    if not folder.is_dir():
        raise InputError(
            f"{folder}: there is no such corpus folder; put train.{source_language} and train.{target_language} there "
            f"(dev and test too, if there are), or name another with --set corpus.path=FOLDER"
        )
    parts: dict[str, MosesPairs] = {}
    for name in SPLIT_NAMES:
        source, target = (_plain_or_gzipped(folder / f"{name}.{code}") for code in (source_language, target_language))
        if source is not None and target is not None:
            parts[name] = MosesPairs(source, target)
        elif source is not None or target is not None or name == "train":
            missing = f"{name}.{source_language}" if source is None else f"{name}.{target_language}"
            raise InputError(
                f"{folder / missing}: missing (plain or .gz); a corpus folder holds train, dev and test "
                "in two files each, named by language"
            )
    return parts


def _plain_or_gzipped(path: Path) -> Path | None:
    return next((file for file in (path, path.with_name(f"{path.name}.gz")) if file.is_file()), None)


def _open_tab_separated(recipe: Recipe) -> Corpus:
    path = recipe.corpus_path
    if not path.is_file():
        raise InputError(f"{path}: there is no such file of tab-separated pairs; name one with --set corpus.path=FILE")
    return Corpus(path.name, {"train": TabSeparatedPairs(path, *recipe.corpus.columns)}, (path,))


def _open_columns(recipe: Recipe) -> Corpus:
    section = recipe.corpus
    languages = (section.source_language, section.target_language)
    files = find_column_files(recipe.corpus_path, "parquet" if section.kind == "parquet" else "jsonl")
    reader = ParquetPairs if section.kind == "parquet" else JsonLinesPairs
    parts = {part: reader(tuple(found), *languages) for part, found in files.items()}
    every = tuple(file for found in files.values() for file in found)
    return Corpus(recipe.corpus_path.resolve().name, parts, every)


def _open_hub(recipe: Recipe) -> Corpus:
    section = recipe.corpus
    assert section.name is not None  # checked by the recipe
    show_files = _SHOW_FILES.format(source=section.source_language, target=section.target_language)
    is_local = Path(section.name).exists()
    if not is_local and not _hub_answers():
        # What has been downloaded before is found without a network, and anything else fails at once, without retries.
        os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    try:
        loaded = datasets.load_dataset(section.name, section.configuration)
    except Exception as error:  # the library raises whatever its many parts do
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if os.environ.get("HF_HUB_OFFLINE") == "1" and not is_local:
            reason = f"the hub cannot be reached and the data set is not in the cache ({reason})"
        raise InputError(f"{section.name}: {reason}; {show_files}") from error
    parts = {}
    fingerprints = {}
    for name, candidates in SPLIT_NAMES.items():
        found = next((candidate for candidate in candidates if candidate in loaded), None)
        if found is not None:
            _check_columns(recipe, loaded[found])
            parts[name] = HubPairs(loaded[found], section.source_language, section.target_language)
            fingerprints[name] = loaded[found]._fingerprint
    if "train" not in parts:
        raise InputError(f"{section.name}: has no part named train, only {', '.join(loaded)}; {show_files}")
    return Corpus(section.name, parts, (), fingerprints)


def _check_columns(recipe: Recipe, rows: datasets.Dataset) -> None:
    features = rows.features
    pairs = getattr(features.get("translation"), "languages", None) or features.get("translation") or features
    for language in (recipe.corpus.source_language, recipe.corpus.target_language):
        if language not in pairs:
            raise InputError(
                f"{recipe.corpus.name}: has no sentences in '{language}', only columns {', '.join(pairs)}; "
                "set corpus.configuration, corpus.source_language and corpus.target_language to what it has"
            )


def _hub_answers() -> bool:
    """Whether anything answers at the hub's address, by the proxy where one is set, within a few seconds."""
    answers = []

    def ask() -> None:
        request = urllib.request.Request(os.environ.get("HF_ENDPOINT", _HUB_ADDRESS), method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=_PROBE_SECONDS) as answer:
                answers.append(answer.status)
        except urllib.error.HTTPError as error:
            answers.append(error.code)
        except (OSError, ValueError):
            return

    # In a thread, because looking up a name may take longer than any time-out that can be set for it.
    probe = threading.Thread(target=ask, daemon=True)
    probe.start()
    probe.join(_PROBE_SECONDS)
    return bool(answers)
