"""Sentence pairs in files that name their columns: JSON Lines, plain or gzipped, and Parquet.

A row holds the two languages either as columns of their own, {"en": …, "fr": …}, or in a column `translation` that
holds both, {"translation": {"en": …, "fr": …}}, as data sets of the Hugging Face hub do. A null is an empty sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from training.errors import InputError
from training.splitting import Pair
from training.text_files import read_lines

if TYPE_CHECKING:
    import pyarrow

Kind = Literal["jsonl", "parquet"]

TRANSLATION = "translation"
#: What the parts are called in files and in data sets, the likeliest name first.
SPLIT_NAMES = {"train": ("train",), "dev": ("validation", "dev", "valid"), "test": ("test",)}
_SUFFIXES = {"jsonl": r"\.jsonl(\.gz)?", "parquet": r"\.parquet"}
_ROWS_A_BATCH = 1000
_BUFFER_BYTES = 1 << 20  # without a buffer, whole columns of a row group are read at once
_PATTERN = re.compile(r"[*?\[]")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def find_column_files(path: Path, kind: Kind) -> dict[str, list[Path]]:
    """The files of train, dev and test, each part's in the order of their names.

    Args:
        path: one file or a pattern of files, such as part-*.parquet: all of them are train. Or a folder of files whose
            names begin with the part's: train.jsonl, train-00000-of-00002.jsonl, validation.jsonl.gz …

    Raises:
        InputError: nothing is there.
    """
    if path.is_file():
        return {"train": [path]}
    if path.is_dir():
        found: dict[str, list[Path]] = {}
        for part, names in SPLIT_NAMES.items():
            pattern = re.compile(rf"({'|'.join(names)})([-_.].*)?{_SUFFIXES[kind]}")
            files = sorted(file for file in path.iterdir() if pattern.fullmatch(file.name) and file.is_file())
            if files:
                found[part] = files
        if "train" not in found:
            raise InputError(
                f"{path}: holds no train.{kind}; a corpus folder holds train.{kind} or shards such as "
                f"train-00000.{kind} (dev and test too, if there are), or name files with --set corpus.path='PATTERN*'"
            )
        return found
    if not _PATTERN.search(str(path)):
        raise InputError(
            f"{path}: there is no such file or folder; name a {kind} file, a folder with train.{kind} in it, or files "
            f"by a pattern, with --set corpus.path='part-*.{kind}'"
        )
    files = sorted(file for file in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if file.is_file())
    if not files:
        raise InputError(f"{path}: no file has such a name; quote the pattern and look from where it is relative to")
    return {"train": files}


@dataclass(frozen=True)
class JsonLinesPairs:
    """Files of one JSON object a line, one file after the other; empty lines are passed over."""

    files: tuple[Path, ...]
    source_language: str
    target_language: str

    def __iter__(self) -> Iterator[Pair]:
        for file in self.files:
            for number, line in enumerate(read_lines(file), start=1):
                if line and not line.isspace():
                    yield self._pair(line, file, number)

    def _pair(self, line: str, file: Path, number: int) -> Pair:
        where = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise InputError(f"{where}: not JSON ({reason}); each line must be one whole JSON object") from error
        if not isinstance(row, dict):
            raise InputError(f'{where}: not a JSON object; a line looks like {{"en": "Hello.", "fr": "Bonjour."}}')
        pair = row.get(TRANSLATION, row)
        if not isinstance(pair, dict):
            raise InputError(f'{where}: \'{TRANSLATION}\' is not an object of languages, such as {{"en": …, "fr": …}}')
        source, target = (_text(pair, language, where) for language in (self.source_language, self.target_language))
        if _SURROGATE.search(line):
            _refuse_surrogates((source, target), where)
        return source, target


def _text(pair: dict[str, Any], language: str, where: str) -> str:
    if language not in pair:
        raise InputError(missing_language(where, language, pair))
    text = pair[language]
    if text is None:
        return ""
    if not isinstance(text, str):
        raise InputError(f"{where}: '{language}' is a {type(text).__name__}, not text; put the sentence in quotes")
    return text


def _refuse_surrogates(pair: Pair, where: str) -> None:
    for text in pair:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"{where}: \\u{ord(text[error.start]):04x} is half a character, which is no valid Unicode text; "
                "write the file again as UTF-8, or take the line out"
            ) from error


@dataclass(frozen=True)
class ParquetPairs:
    """Parquet files, one after the other, of which a few row groups' pages at a time are in memory.

    Raises:
        InputError: when it is made: a file is no Parquet file, or has no text in one of the languages.
    """

    files: tuple[Path, ...]
    source_language: str
    target_language: str

    def __post_init__(self) -> None:
        for file in self.files:
            _check_schema(file, (self.source_language, self.target_language))

    def __iter__(self) -> Iterator[Pair]:
        for file in self.files:
            yield from self._read(file)

    def _read(self, file: Path) -> Iterator[Pair]:
        import pyarrow
        from pyarrow import parquet

        rows = 0
        languages = (self.source_language, self.target_language)
        try:
            with parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES) as opened:
                nested = TRANSLATION in opened.schema_arrow.names
                columns = [f"{TRANSLATION}.{language}" for language in languages] if nested else list(languages)
                for batch in opened.iter_batches(_ROWS_A_BATCH, columns=columns):
                    table = batch.column(TRANSLATION).flatten() if nested else batch.columns
                    names = batch.schema.field(TRANSLATION).type.names if nested else batch.schema.names
                    texts = [table[names.index(language)].to_pylist() for language in languages]
                    for source, target in zip(*texts, strict=True):
                        yield source or "", target or ""
                    rows += batch.num_rows
        except UnicodeDecodeError as error:
            raise InputError(
                f"{file}, after row {rows}: text that is not UTF-8; write the file again with text as UTF-8"
            ) from error
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{file}, after row {rows}: damaged ({_first_line(error)}); copy it again") from error


def _check_schema(file: Path, languages: tuple[str, str]) -> None:
    import pyarrow
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"{file}: not a Parquet file, or a damaged one ({_first_line(error)}); copy it again"
        ) from error
    fields = {field.name: field.type for field in schema}
    if TRANSLATION in fields:
        if not pyarrow.types.is_struct(fields[TRANSLATION]):
            raise InputError(f"{file}: '{TRANSLATION}' holds {fields[TRANSLATION]}, not a struct of languages")
        fields = {field.name: field.type for field in fields[TRANSLATION]}
    for language in languages:
        if language not in fields:
            raise InputError(missing_language(str(file), language, fields))
        if not _is_text(fields[language]):
            raise InputError(f"{file}: '{language}' holds {fields[language]}, not text; write the column as strings")


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow

    if pyarrow.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(
        pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind)
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def missing_language(where: str, language: str, columns: Any) -> str:
    """What is said where a language has no column; `columns` are the names that there are."""
    return (
        f"{where}: has no sentences in '{language}', only columns {', '.join(map(str, columns))}; "
        "set corpus.source_language and corpus.target_language to what it has"
    )
