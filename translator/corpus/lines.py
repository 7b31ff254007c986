"""JSON Lines and plain text, plain or gzipped. Positions are bytes of the unpacked file. Loads no torch.

Only a line feed ends a line. What is written is JSON Lines in both cases. A JSON object is written as it was read,
character for character, so that numbers, dates and the order of its members stay what they were.
"""

from __future__ import annotations

import gzip
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

from translator.corpus.inputs import Columns, CorpusError, Cut

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _LinesFormat(ABC):
    suffix = ".jsonl"

    @abstractmethod
    def parsed(self, line: str, columns: Columns) -> tuple[str, str | None] | None:
        """The members of the row's JSON object without its braces, and its text; None for a line without a row.

        Raises `ValueError` saying what is wrong.
        """

    def cuts(self, file: Path, columns: Columns, rows_per_shard: int) -> Iterator[Cut]:
        start = position = rows = 0
        with _opened(file) as stream:
            for number, line in enumerate(stream, 1):
                rows += self._row(line, position == 0, columns, f"{file}, line {number}") is not None
                position += len(line)
                if rows == rows_per_shard:
                    yield Cut(start, rows)
                    start, rows = position, 0
        if rows:
            yield Cut(start, rows)

    def read(self, file: Path, cut: Cut, columns: Columns) -> tuple[list[str | None], Any]:
        rows: list[tuple[str, str | None]] = []
        position = cut.position
        with _opened(file) as stream:
            stream.seek(position)
            for line in stream:
                row = self._row(line, position == 0, columns, str(file))
                position += len(line)
                if row is not None:
                    rows.append(row)
                if len(rows) == cut.rows:
                    return [text for _, text in rows], [members for members, _ in rows]
        raise CorpusError(f"{file}: was changed while it was translated; begin again with another --output")

    def write(
        self, target: IO[bytes], rest: Any, columns: Columns, first_row: int, translations: Sequence[str | None]
    ) -> None:
        row_name, translation_name = (_json(name) for name in (columns.row, columns.translation))
        for row, (members, translation) in enumerate(zip(rest, translations, strict=True), first_row):
            line = f"{{{row_name}: {row}, {members}, {translation_name}: {_json(translation)}}}\n"
            target.write(line.encode())

    def _row(self, line: bytes, is_first: bool, columns: Columns, where: str) -> tuple[str, str | None] | None:
        try:
            text = (line.removeprefix(_BYTE_ORDER_MARK) if is_first else line).decode("utf-8")
            return self.parsed(text.removesuffix("\n").removesuffix("\r"), columns)
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{where}: not UTF-8 (byte {error.object[error.start]:#04x}); convert the file, for example with iconv"
            ) from error
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{where}: {error}") from error


class TextFormat(_LinesFormat):
    """A text on each line, which becomes the column `text`."""

    def parsed(self, line: str, columns: Columns) -> tuple[str, str | None] | None:
        return f"{_json(columns.text)}: {_json(line)}", line


class JsonLinesFormat(_LinesFormat):
    """A JSON object on each line; empty lines are passed over, and a null has no translation."""

    def parsed(self, line: str, columns: Columns) -> tuple[str, str | None] | None:
        line = line.strip()
        if not line:
            return None
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON ({error.msg} at column {error.colno}); a line is one JSON object") from error
        if not isinstance(row, dict):
            raise ValueError(f'not a JSON object; a line looks like {{"{columns.text}": "Hello."}}')
        text = _checked_text(row, columns)
        if text is not None and "\\u" in line:
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                half = f"\\u{ord(text[error.start]):04x}"
                raise ValueError(f"{half} is half a character, which is no valid Unicode text; mend it") from error
        return line[1:-1].strip(), text


def _checked_text(row: dict[str, Any], columns: Columns) -> str | None:
    if columns.text not in row:
        raise ValueError(f"has no '{columns.text}', only {', '.join(row) or 'nothing'}; name the text with --column")
    for option, name in (("--translation-column", columns.translation), ("--row-column", columns.row)):
        if name in row:
            raise ValueError(f"has a '{name}' already; choose another name for what is added with {option}")
    text = row[columns.text]
    if text is not None and not isinstance(text, str):
        raise ValueError(f"'{columns.text}' is a {type(text).__name__}, not text")
    return text


def _json(value: str | None) -> str:
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def _opened(file: Path) -> Iterator[BufferedIOBase]:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            yield stream
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CorpusError(f"{file}: damaged gzip file ({error}); copy it again") from error
    except OSError as error:
        raise CorpusError(f"{file}: {error.strerror or error}") from error
