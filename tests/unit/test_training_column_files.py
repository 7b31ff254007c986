"""Sentence pairs from JSON Lines and Parquet, and what is said of files that cannot be used."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from training.corpus import Corpus, open_corpus
from training.errors import InputError
from training.recipe import Recipe

PAIRS = [("Où ?", "Where?"), ("Ça va \u2028 bien.", "I'm fine."), ("", "Nothing.")]


def opened(kind: str, path: Path | str) -> Corpus:
    corpus = {"kind": kind, "path": path, "source_language": "fr", "target_language": "en"}
    return open_corpus(Recipe.model_validate({"name": "mine", "corpus": corpus}))


def read(kind: str, path: Path | str) -> dict[str, list[tuple[str, str]]]:
    return {name: list(part) for name, part in opened(kind, path).parts.items()}


def rows(shape: str, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Rows as people write them: with a further column, and null for what is missing."""
    languages = [{"en": english, "fr": french or None} for french, english in pairs]
    if shape == "columns":
        return [{"id": number, **row} for number, row in enumerate(languages)]
    return [{"id": number, "translation": row} for number, row in enumerate(languages)]


def write(path: Path, shape: str = "columns", pairs: list[tuple[str, str]] = PAIRS) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows(shape, pairs)), path, row_group_size=2)
    else:
        text = "".join(json.dumps(row, ensure_ascii=row["id"] % 2 == 0) + "\n" for row in rows(shape, pairs)).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("shape", ["columns", "translation"])
@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz", "all.parquet"])
def test_one_file_is_train(tmp_path: Path, name: str, shape: str) -> None:
    file = write(tmp_path / name, shape)
    corpus = opened("parquet" if name.endswith("parquet") else "jsonl", file)
    assert {part: list(pairs) for part, pairs in corpus.parts.items()} == {"train": PAIRS}
    assert list(corpus.parts["train"]) == PAIRS  # may be read again
    assert (corpus.name, corpus.files) == (name, (file,))


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
def test_a_folder_has_parts_in_shards(tmp_path: Path, suffix: str) -> None:
    pairs = [[(f"f{part}{number}", "e") for number in range(3)] for part in range(4)]
    write(tmp_path / "mine" / f"train-00001-of-00002.{suffix}", pairs=pairs[1])
    write(tmp_path / "mine" / f"train-00000-of-00002.{suffix}", pairs=pairs[0])
    write(tmp_path / "mine" / f"validation.{suffix}", pairs=pairs[2])
    write(tmp_path / "mine" / f"test.en-fr.{suffix}", pairs=pairs[3])
    write(tmp_path / "mine" / f"training-notes.{suffix}")  # no part's name
    (tmp_path / "mine" / "README.md").write_text("mine")
    kind = suffix.removesuffix(".gz")
    assert read(kind, tmp_path / "mine") == {"train": pairs[0] + pairs[1], "dev": pairs[2], "test": pairs[3]}
    assert len(opened(kind, tmp_path / "mine").files) == 4


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_pattern_is_train_in_the_order_of_names(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (2, 0, 1):
        write(tmp_path / f"part{number}" / f"pairs.{suffix}", pairs=[(str(number), "e")])
    expected = {"train": [("0", "e"), ("1", "e"), ("2", "e")]}
    assert read(suffix, tmp_path / "part?" / f"*.{suffix}") == expected
    monkeypatch.chdir(tmp_path)
    assert read(suffix, f"part*/pairs.{suffix}") == expected
    corpus = opened(suffix, f"**/pairs.{suffix}")
    assert list(corpus.checksums()) == [f"part{number}/pairs.{suffix}" for number in range(3)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_missing_files_are_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match=rf"nowhere: there is no such file or folder; .*part-\*\.{kind}"):
        opened(kind, tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no\*: no file has such a name"):
        opened(kind, tmp_path / "no*")
    write(tmp_path / "mine" / f"test.{kind}")
    with pytest.raises(InputError, match=rf"mine: holds no train\.{kind}"):
        opened(kind, tmp_path / "mine")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"fr": "a", "en": }', r"line 3: not JSON \(Expecting value at column 19\)"),
        ('{"fr": "a",', "line 3: not JSON"),
        ("[" * 100_000, "line 3: not JSON"),
        ('["a", "b"]', "line 3: not a JSON object; a line looks like"),
        ('{"de": "a", "en": "b"}', "line 3: has no sentences in 'fr', only columns de, en; set corpus.source_language"),
        ('{"translation": {"fr": "a"}}', "line 3: has no sentences in 'en', only columns fr"),
        ('{"translation": "a"}', "line 3: 'translation' is not an object of languages"),
        ('{"fr": "a", "en": 5}', "line 3: 'en' is a int, not text"),
        ('{"fr": "a \\ud83d", "en": "b"}', r"line 3: \\ud83d is half a character"),
        ('{"fr": "caf\udce9", "en": "b"}', r"line 3: not UTF-8 \(byte 0xe9\)"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "mine.jsonl"
    text = '{"fr": "whole \\ud83d\\ude00", "en": "c"}\n\n' + line + "\n"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    pairs = iter(opened("jsonl", file).parts["train"])
    assert next(pairs) == ("whole 😀", "c")
    with pytest.raises(InputError, match=rf"mine\.jsonl, {message}"):
        next(pairs)


@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
def test_text_may_be_stored_in_any_way(tmp_path: Path, kind: pyarrow.DataType) -> None:
    columns = {"fr": pyarrow.array(["a", None, "b"], kind), "en": pyarrow.array(["A", "B", "C"])}
    parquet.write_table(pyarrow.table(columns), tmp_path / "mine.parquet")
    assert read("parquet", tmp_path / "mine.parquet") == {"train": [("a", "A"), ("", "B"), ("b", "C")]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"fr": "a"}, "has no sentences in 'en', only columns fr; set corpus.source_language"),
        ({"translation": {"en": "a", "de": "b"}}, "has no sentences in 'fr', only columns en, de"),
        ({"translation": "a"}, "'translation' holds string, not a struct of languages"),
        ({"fr": "a", "en": 5}, "'en' holds int64, not text"),
    ],
)
def test_columns_that_do_not_fit_are_told_before_anything_is_read(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "mine.parquet")
    with pytest.raises(InputError, match=rf"mine\.parquet: {message}"):
        opened("parquet", tmp_path / "mine.parquet")


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.parquet"
    file.write_bytes(b"no Parquet at all")
    with pytest.raises(InputError, match=r"mine\.parquet: not a Parquet file, or a damaged one \(.*\); copy it again"):
        opened("parquet", file)
    write(file, pairs=[(f"source {number}", f"target {number}") for number in range(1000)])
    content = bytearray(file.read_bytes())
    content[100:3000] = bytes(2900)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"mine\.parquet, after row \d+: damaged"):
        read("parquet", file)


def test_text_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    latin = pyarrow.array([b"caf\xe9"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"fr": latin, "en": ["coffee"]}), tmp_path / "mine.parquet")
    with pytest.raises(InputError, match=r"mine\.parquet, after row 0: text that is not UTF-8"):
        read("parquet", tmp_path / "mine.parquet")


def test_files_are_read_a_little_at_a_time(tmp_path: Path) -> None:
    """The first pairs of a file of 130 MB are read by a process whose memory grows by much less."""
    file = tmp_path / "large.parquet"
    column = pyarrow.array([f"{number} " * 20 for number in range(500_000)])
    table = pyarrow.table({"fr": column, "en": column})
    parquet.write_table(table, file, row_group_size=20_000, compression="none", use_dictionary=False)
    assert table.nbytes > 120e6
    script = (
        "import resource, sys; from pathlib import Path; import pyarrow.parquet\n"
        "from training.column_files import ParquetPairs\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); pairs = sum(1 for _ in ParquetPairs((Path(sys.argv[1]),), 'fr', 'en'))\n"
        "print(pairs, peak() - before)"
    )
    result = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True, check=True)
    pairs, kibibytes = map(int, result.stdout.split())
    assert pairs == 500_000
    assert kibibytes < 40_000
