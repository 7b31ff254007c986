"""Parquet files. Positions are rows of the file. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow
from pyarrow import parquet

from translator.corpus.inputs import Columns, CorpusError, Cut

_ROWS_A_BATCH = 1000
_BUFFER_BYTES = 1 << 20  # without a buffer, whole columns of a row group are read at once


class ParquetFormat:
    """A text in one column; all other columns stay as they are, and a null has no translation."""

    suffix = ".parquet"

    def cuts(self, file: Path, columns: Columns, rows_per_shard: int) -> Iterator[Cut]:
        with _opened(file) as opened:
            _check_schema(opened.schema_arrow, file, columns)
            rows = 0
            for batch in opened.iter_batches(_ROWS_A_BATCH, columns=[columns.text]):
                try:
                    batch.validate(full=True)
                except pyarrow.ArrowInvalid as error:
                    raise CorpusError(
                        f"{file}, after row {rows}: text that is not UTF-8; write the file again with text as UTF-8"
                    ) from error
                rows += batch.num_rows
        for start in range(0, rows, rows_per_shard):
            yield Cut(start, min(rows_per_shard, rows - start))

    def read(self, file: Path, cut: Cut, columns: Columns) -> tuple[list[str | None], Any]:
        start, stop = cut.position, cut.position + cut.rows
        with _opened(file) as opened:
            groups, position = _row_groups(opened.metadata, start, stop)
            parts = []
            for batch in opened.iter_batches(_ROWS_A_BATCH, row_groups=groups):
                low, high = max(start - position, 0), min(stop - position, batch.num_rows)
                if low < high:
                    parts.append(batch.slice(low, high - low))
                position += batch.num_rows
                if position >= stop:
                    break
            schema = parts[0].schema if parts else opened.schema_arrow
        table = pyarrow.Table.from_batches(parts, schema)
        if table.num_rows != cut.rows:
            raise CorpusError(f"{file}: was changed while it was translated; begin again with another --output")
        return table.column(columns.text).to_pylist(), table

    def write(
        self, target: IO[bytes], rest: Any, columns: Columns, first_row: int, translations: Sequence[str | None]
    ) -> None:
        numbers = pyarrow.array(range(first_row, first_row + rest.num_rows), pyarrow.int64())
        table = rest.add_column(0, columns.row, numbers)
        table = table.append_column(columns.translation, pyarrow.array(translations, pyarrow.string()))
        # What pandas and `datasets` note down there would be wrong of a table with two columns more.
        parquet.write_table(table.replace_schema_metadata(None), target, compression="zstd")


def _check_schema(schema: pyarrow.Schema, file: Path, columns: Columns) -> None:
    if columns.text not in schema.names:
        raise CorpusError(
            f"{file}: has no column '{columns.text}', only {', '.join(schema.names)}; name the text with --column"
        )
    if schema.names.count(columns.text) > 1:
        raise CorpusError(f"{file}: has several columns '{columns.text}'; write the file again with one of them")
    for option, name in (("--translation-column", columns.translation), ("--row-column", columns.row)):
        if name in schema.names:
            raise CorpusError(
                f"{file}: has a column '{name}' already; choose another name for what is added with {option}"
            )
    kind = schema.field(columns.text).type
    if not _is_text(kind):
        raise CorpusError(f"{file}: '{columns.text}' holds {kind}, not text; write the column as strings")


def _is_text(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _row_groups(metadata: Any, start: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold rows from `start` to before `stop`, and the first row of the first of them."""
    groups: list[int] = []
    first = first_of_all = 0
    for number in range(metadata.num_row_groups):
        after = first + metadata.row_group(number).num_rows
        if first < stop and after > start:
            if not groups:
                first_of_all = first
            groups.append(number)
        first = after
    return groups, first_of_all


@contextmanager
def _opened(file: Path) -> Iterator[parquet.ParquetFile]:
    try:
        with parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES) as opened:
            yield opened
    except (pyarrow.ArrowException, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise CorpusError(f"{file}: not a Parquet file, or a damaged one ({reason}); copy it again") from error
