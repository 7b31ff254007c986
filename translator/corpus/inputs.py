"""The files of a corpus: which there are, and how each kind of them is cut, read and written. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol, get_args

Kind = Literal["parquet", "jsonl", "text"]


class CorpusError(ValueError):
    """A corpus, a folder or a cluster that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Columns:
    """Names of columns: of the text that is translated, and of what is written beside the columns of the input."""

    text: str
    translation: str
    row: str

    def __post_init__(self) -> None:
        if len({self.text, self.translation, self.row}) < 3:
            raise CorpusError("the columns of the text, the translation and the row number need three different names")


@dataclass(frozen=True)
class Cut:
    """A part of a file: `rows` rows from `position` on, which each kind of file counts in its own way."""

    position: int
    rows: int


class Format(Protocol):
    """A kind of file. What is left of the rows beside their texts passes from `read` to `write` as it is."""

    suffix: str
    """Of the files that are written."""

    def cuts(self, file: Path, columns: Columns, rows_per_shard: int) -> Iterator[Cut]:
        """The parts of a file, in order; every row of it is looked at. Raises `CorpusError` where one is no good."""
        ...

    def read(self, file: Path, cut: Cut, columns: Columns) -> tuple[list[str | None], Any]:
        """The texts of a part, and the rest of its rows. Raises `CorpusError` where the file is not as it was cut."""
        ...

    def write(
        self, target: IO[bytes], rest: Any, columns: Columns, first_row: int, translations: Sequence[str | None]
    ) -> None:
        """Write the rows as they were, with their numbers from `first_row` on and their translations."""
        ...


def format_of(kind: Kind) -> Format:
    """How files of this kind are read. Raises `CorpusError` where what reads them is not installed."""
    if kind == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise CorpusError(
                "Parquet needs the package pyarrow; install it: pip install 'seq2seq-translator[cluster]'"
            ) from error
        from translator.corpus.parquet import ParquetFormat

        return ParquetFormat()
    from translator.corpus.lines import JsonLinesFormat, TextFormat

    return JsonLinesFormat() if kind == "jsonl" else TextFormat()


def find_files(given: str) -> tuple[Kind, tuple[Path, ...]]:
    """Kind and files of an input such as "parquet:crawl/part-*.parquet", the files in the order of their names.

    Raises:
        CorpusError: it names no kind, or no file.
    """
    kind, colon, pattern = given.partition(":")
    if not colon or kind not in get_args(Kind) or not pattern:
        raise CorpusError(
            f"--input {given}: say what the files are, and which: parquet:FILES, jsonl:FILES or text:FILES, "
            "FILES being one file or a pattern such as 'part-*'"
        )
    try:
        return kind, _found(kind, pattern)  # type: ignore[return-value]  # it is one of Kind's
    except OSError as error:
        raise CorpusError(f"{error.filename or pattern}: {error.strerror or error}") from error


def _found(kind: str, pattern: str) -> tuple[Path, ...]:
    if Path(pattern).is_dir():
        raise CorpusError(f"{pattern}: is a folder; name its files by a pattern, such as '{kind}:{pattern}/*'")
    if Path(pattern).is_file():
        return (Path(pattern).absolute(),)
    path = Path(pattern).absolute()
    found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    # What editors and systems put beside data, and this command's own record, unless it is asked for.
    aside = () if path.name.startswith((".", "_")) else (".", "_")
    files = tuple(sorted(file for file in found if file.is_file() and not file.name.startswith(aside)))
    if not files:
        raise CorpusError(f"{pattern}: there is no such file; a pattern is quoted and seen from the working directory")
    return files
