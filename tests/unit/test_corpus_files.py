"""A corpus is cut into shards that hold every row once, and what is written is what was read and two columns more."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from translator.corpus.inputs import Columns, CorpusError, Format, find_files, format_of

COLUMNS = Columns("text", "translation", "row")


def shouted(form: Format, file: Path, rows_per_shard: int, columns: Columns = COLUMNS) -> list[bytes]:
    """The files of the output, capitals being the translation."""
    written = []
    row = 0
    for cut in form.cuts(file, columns, rows_per_shard):
        assert 0 < cut.rows <= rows_per_shard
        texts, rest = form.read(file, cut, columns)
        stream = io.BytesIO()
        form.write(stream, rest, columns, row, [None if text is None else text.upper() for text in texts])
        written.append(stream.getvalue())
        row += cut.rows
    return written


def json_rows(parts: list[bytes]) -> list[Any]:
    return [json.loads(line) for part in parts for line in part.decode().split("\n")[:-1]]


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=8), max_size=12),
    rows_per_shard=st.integers(1, 5),
    ends_in_a_line_feed=st.booleans(),
    zipped=st.booleans(),
)
def test_every_line_of_a_text_is_there_once_and_in_order(
    texts: list[str],
    rows_per_shard: int,
    ends_in_a_line_feed: bool,
    zipped: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = "\n".join(texts) + ("\n" if ends_in_a_line_feed and texts else "")
    lines = content.removeprefix("\ufeff").split("\n")
    if lines[-1] == "":  # what stands after the last line feed is no line
        lines.pop()
    file = tmp_path_factory.mktemp("corpus") / ("corpus.gz" if zipped else "corpus.txt")
    file.write_bytes(gzip.compress(content.encode()) if zipped else content.encode())
    expected = [
        {"row": row, "text": line.removesuffix("\r"), "translation": line.removesuffix("\r").upper()}
        for row, line in enumerate(lines)
    ]
    parts = shouted(format_of("text"), file, rows_per_shard)
    assert json_rows(parts) == expected
    assert len(parts) == -(-len(lines) // rows_per_shard)


def test_a_json_object_stays_as_it_is_to_the_letter(tmp_path: Path) -> None:
    objects = [
        '{"id": 12345678901234567890, "text": "a\\u0301\\nb", "day": "2026-01-02", "weight": 1.50e+03}',
        '{"text":null,"nested":{"list":[1,{"x":null}]}, "half": "\\ud800"}',
        '  { "text" : "é" }  ',
    ]
    file = tmp_path / "corpus.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n\n".join(objects).encode())
    parts = shouted(format_of("jsonl"), file, 2)
    assert [part.decode() for part in parts] == [
        f'{{"row": 0, {objects[0][1:-1]}, "translation": "A\u0301\\nB"}}\n'
        f'{{"row": 1, {objects[1][1:-1]}, "translation": null}}\n',
        '{"row": 2, "text" : "é", "translation": "É"}\n',
    ]


@pytest.mark.parametrize("rows_per_shard", [1, 3, 4, 10, 100])
@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_parquet_keeps_all_columns_across_row_groups(kind: str, rows_per_shard: int, tmp_path: Path) -> None:
    texts = [None if number % 7 == 3 else f"text {number}" for number in range(10)]
    types = {"string": pyarrow.string(), "large_string": pyarrow.large_string()}
    column = pyarrow.array(texts, types.get(kind, pyarrow.string()))
    table = pyarrow.table(
        {
            "id": pyarrow.array(range(100, 110), pyarrow.int16()),
            "text": column.dictionary_encode() if kind == "dictionary" else column,
            "labels": pyarrow.array([["a"] * (number % 3) for number in range(10)]),
        }
    )
    file = tmp_path / "corpus.parquet"
    parquet.write_table(table.replace_schema_metadata({"huggingface": "{}"}), file, row_group_size=4)
    parts = shouted(format_of("parquet"), file, rows_per_shard)
    assert len(parts) == -(-10 // rows_per_shard)
    read = pyarrow.concat_tables(parquet.read_table(io.BytesIO(part)) for part in parts)
    assert read.column_names == ["row", "id", "text", "labels", "translation"]
    assert read.schema.field("id").type == pyarrow.int16()
    assert read.select(["id", "labels"]).equals(table.select(["id", "labels"]))
    assert read.column("text").to_pylist() == texts
    assert read.column("row").to_pylist() == list(range(10))
    assert read.column("translation").to_pylist() == [None if text is None else text.upper() for text in texts]
    assert not read.schema.metadata


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"text": "a"', "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        ('{"source": "a"}', "line 2: has no 'text', only source; name the text with --column"),
        ('{"text": 5}', "line 2: 'text' is a int, not text"),
        ('{"text": "a", "translation": "b"}', "line 2: has a 'translation' already; .* --translation-column"),
        ('{"text": "a", "row": 1}', "line 2: has a 'row' already; .* --row-column"),
        ('{"text": "a\\ud800"}', r"line 2: \\ud800 is half a character"),
        ('{"text": "\udcff"}', "line 2: not UTF-8 .byte 0xff"),
        ('{"text": ' + "[" * 100_000, "line 2: "),
    ],
)
def test_a_bad_line_is_named(line: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "corpus.jsonl"
    file.write_bytes(b'{"text": "good"}\n' + line.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(CorpusError, match=complaint):
        list(format_of("jsonl").cuts(file, COLUMNS, 1))


def test_parquet_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "corpus.parquet"

    def complaint() -> str:
        with pytest.raises(CorpusError) as raised:
            list(format_of("parquet").cuts(file, COLUMNS, 5))
        return str(raised.value)

    file.write_bytes(b"PAR1 and nothing else")
    assert "not a Parquet file, or a damaged one" in complaint()
    for columns, said in (
        ({"source": ["a"]}, "has no column 'text', only source"),
        ({"text": [1]}, "'text' holds int64, not text"),
        ({"text": ["a"], "row": [1]}, "has a column 'row' already"),
    ):
        parquet.write_table(pyarrow.table(columns), file)
        assert said in complaint()
    twice = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"])
    parquet.write_table(twice, file)
    assert "has several columns 'text'" in complaint()
    spoilt = pyarrow.array([b"\xff\xfe"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": spoilt}), file)
    assert "text that is not UTF-8" in complaint()


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "corpus.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:-10])
    with pytest.raises(CorpusError, match="damaged gzip file"):
        list(format_of("jsonl").cuts(file, COLUMNS, 5))


def test_files_are_found_in_the_order_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.jsonl", "a.jsonl", "c.txt", "odd[1].txt"):
        Path(name).touch()
    assert find_files("jsonl:*.jsonl") == ("jsonl", (tmp_path / "a.jsonl", tmp_path / "b.jsonl"))
    assert find_files("text:odd[1].txt") == ("text", (tmp_path / "odd[1].txt",))
    for given_input, complaint in (
        ("a.jsonl", "say what the files are"),
        ("csv:a.jsonl", "say what the files are"),
        ("jsonl:", "say what the files are"),
        ("jsonl:none*", "there is no such file"),
        (f"text:{tmp_path}", "is a folder; name its files by a pattern"),
    ):
        with pytest.raises(CorpusError, match=complaint):
            find_files(given_input)


def test_three_columns_have_three_names() -> None:
    with pytest.raises(CorpusError, match="three different names"):
        Columns("text", "text", "row")
