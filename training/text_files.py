"""Sentence pairs in files of lines, plain or gzipped: two files in Moses' manner, or one of tab-separated columns."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from training.errors import InputError
from training.splitting import Pair


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, plain or gzipped, without their ends. Only LF ends a line, as in Moses and `wc -l`.

    Raises:
        InputError: the file cannot be read, or a line is not UTF-8; the line's number is named.
    """
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                text = line.decode("utf-8").removesuffix("\n").removesuffix("\r")
                yield text.removeprefix("\ufeff") if number == 1 else text
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {number}: not UTF-8 (byte {error.object[error.start]:#04x}); "
            f"convert the file, for example with: iconv -f LATIN1 -t UTF-8"
        ) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); copy it again") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class MosesPairs:
    """Two files of which line n of one translates line n of the other."""

    source: Path
    target: Path

    def __iter__(self) -> Iterator[Pair]:
        sources, targets = read_lines(self.source), read_lines(self.target)
        for lines, (source, target) in enumerate(zip_longest(sources, targets)):
            if source is None or target is None:
                rest = 1 + sum(1 for _ in (targets if source is None else sources))
                counts = (lines, lines + rest) if source is None else (lines + rest, lines)
                raise InputError(
                    f"{self.source} has {counts[0]:,} lines and {self.target} {counts[1]:,}; "
                    "line n of one must translate line n of the other"
                )
            yield source, target


@dataclass(frozen=True)
class TabSeparatedPairs:
    """A file of one pair a line; further columns (an attribution, such as manythings' files have) are passed over.

    Columns are counted from 1.
    """

    path: Path
    source_column: int
    target_column: int

    def __iter__(self) -> Iterator[Pair]:
        for number, line in enumerate(read_lines(self.path), start=1):
            columns = line.split("\t")
            if not line.strip():
                continue
            if len(columns) < max(self.source_column, self.target_column):
                raise InputError(
                    f"{self.path}, line {number}: has {len(columns)} columns; expected sentences in columns "
                    f"{self.source_column} and {self.target_column}, with tabs between the columns"
                )
            yield columns[self.source_column - 1], columns[self.target_column - 1]
