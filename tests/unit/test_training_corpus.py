"""Sentence pairs from files, and what is said of files that cannot be used."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from training.corpus import open_corpus
from training.errors import InputError
from training.recipe import Recipe
from training.text_files import MosesPairs, read_lines


def recipe(kind: str, path: Path, **corpus: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "mine",
            "corpus": {"kind": kind, "path": path, "source_language": "en", "target_language": "fr", **corpus},
        }
    )


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")


def test_a_moses_folder_gives_its_parts(tmp_path: Path) -> None:
    write(tmp_path, train_en="a\nb\n", train_fr="A\nB\n", dev_en="c\n", dev_fr="C\n")
    corpus = open_corpus(recipe("moses", tmp_path))
    assert {name: list(part) for name, part in corpus.parts.items()} == {
        "train": [("a", "A"), ("b", "B")],
        "dev": [("c", "C")],
    }
    assert list(corpus.parts["train"]) == list(corpus.parts["train"])  # may be read again
    assert {file.name for file in corpus.files} == {"train.en", "train.fr", "dev.en", "dev.fr"}


def test_gzipped_and_plain_files_read_alike(tmp_path: Path) -> None:
    text = "Où ?\nÀ \u2028 droite\n"
    (tmp_path / "plain").write_text(text, encoding="utf-8")
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(text.encode()))
    assert (
        list(read_lines(tmp_path / "zipped.gz")) == list(read_lines(tmp_path / "plain")) == ["Où ?", "À \u2028 droite"]
    )


def test_files_of_windows_read_as_others(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("\ufeffun\r\ndeux\r\n".encode())
    assert list(read_lines(tmp_path / "file")) == ["un", "deux"]


@pytest.mark.parametrize(("source", "target", "counts"), [(5, 3, "5 lines and .* 3;"), (0, 2, "0 lines and .* 2;")])
def test_unequal_line_counts_are_told(tmp_path: Path, source: int, target: int, counts: str) -> None:
    write(tmp_path, train_en="a\n" * source, train_fr="b\n" * target)
    with pytest.raises(InputError, match=rf"train\.en has {counts}"):
        list(MosesPairs(tmp_path / "train.en", tmp_path / "train.fr"))


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.en").write_bytes("one\ntwo\ncafé\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"train\.en, line 3: not UTF-8 \(byte 0xe9\).*iconv"):
        list(read_lines(tmp_path / "train.en"))


@pytest.mark.parametrize(
    "content", [b"no gzip at all", gzip.compress(b"text\n" * 1000, mtime=0)[:-20]], ids=["no gzip at all", "cut off"]
)
def test_a_damaged_gzip_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.en.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"train\.en\.gz: damaged gzip file"):
        list(read_lines(tmp_path / "train.en.gz"))


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: .*put train\.en and train\.fr there.*--set corpus\.path"):
        open_corpus(recipe("moses", tmp_path / "nowhere"))
    write(tmp_path, train_en="a\n", train_fr="A\n", test_en="b\n")
    with pytest.raises(InputError, match=r"test\.fr: missing"):
        open_corpus(recipe("moses", tmp_path))
    with pytest.raises(InputError, match=r"nowhere\.tsv: .*no such file"):
        open_corpus(recipe("tsv", tmp_path / "nowhere.tsv"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, train_en="a\n", train_fr="A\n")
    corpus = open_corpus(recipe("moses", tmp_path))
    (tmp_path / "train.fr").unlink()
    with pytest.raises(InputError, match=r"train\.fr: cannot be read: No such file"):
        corpus.checksums()


def test_tab_separated_pairs_with_an_attribution_column(tmp_path: Path) -> None:
    file = tmp_path / "fra.txt"
    file.write_text("Go.\tVa !\tCC-BY 2.0 #1 & #2\nHi.\tSalut !\n\n", encoding="utf-8")
    assert list(open_corpus(recipe("tsv", file)).parts["train"]) == [("Go.", "Va !"), ("Hi.", "Salut !")]
    swapped = open_corpus(recipe("tsv", file, columns=(2, 1)))
    assert list(swapped.parts["train"]) == [("Va !", "Go."), ("Salut !", "Hi.")]


def test_a_line_without_a_tab_is_named(tmp_path: Path) -> None:
    file = tmp_path / "fra.txt"
    file.write_text("Go.\tVa !\nHi. Salut !\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"fra\.txt, line 2: has 1 columns"):
        list(open_corpus(recipe("tsv", file)).parts["train"])


def test_several_folders_are_one_corpus_a_pair_of_each_in_turn(tmp_path: Path) -> None:
    write(tmp_path / "everyday", train_en="a\nb\nc\n", train_fr="A\nB\nC\n", dev_en="d\ne\n", dev_fr="D\nE\n")
    write(tmp_path / "help", train_en="x\n", train_fr="X\n", dev_en="y\n", dev_fr="Y\n", test_en="z\n", test_fr="Z\n")
    corpus = open_corpus(recipe("moses", tmp_path / "everyday", further_paths=[tmp_path / "help"]))
    assert corpus.name == "everyday + help"
    assert {name: list(part) for name, part in corpus.parts.items()} == {
        "train": [("a", "A"), ("x", "X"), ("b", "B"), ("c", "C")],
        "dev": [("d", "D"), ("y", "Y"), ("e", "E")],
        "test": [("z", "Z")],
    }
    assert list(corpus.parts["dev"]) == list(corpus.parts["dev"])
    assert set(corpus.checksums()) == {
        *(f"everyday/{part}.{code}" for part in ("train", "dev") for code in ("en", "fr")),
        *(f"help/{part}.{code}" for part in ("train", "dev", "test") for code in ("en", "fr")),
    }


def test_folders_may_be_named_in_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One from here on, the other from the root; the names on record do not tell."""
    for folder in ("one", "two"):
        write(tmp_path / folder, train_en=f"{folder}\n", train_fr="A\n")
    monkeypatch.chdir(tmp_path)
    checksums = [
        open_corpus(recipe("moses", Path(path), further_paths=[further])).checksums()
        for path, further in (("one", tmp_path / "two"), (tmp_path / "one", "two"), ("one", "two"))
    ]
    assert checksums[0] == checksums[1] == checksums[2]
    assert "two/train.fr" in checksums[0]


def test_a_further_folder_that_is_missing_or_of_another_kind_is_named(tmp_path: Path) -> None:
    write(tmp_path / "everyday", train_en="a\n", train_fr="A\n")
    with pytest.raises(InputError, match="nowhere: there is no such corpus folder"):
        open_corpus(recipe("moses", tmp_path / "everyday", further_paths=[tmp_path / "nowhere"]))
    with pytest.raises(ValueError, match='further_paths are folders of kind = "moses", and not of "tsv"'):
        recipe("tsv", tmp_path / "fra.txt", further_paths=[tmp_path / "everyday"])


def test_a_folder_is_read_in_either_direction(tmp_path: Path) -> None:
    write(tmp_path, train_en="a\n", train_fr="A\n")
    back = recipe("moses", tmp_path, source_language="fr", target_language="en")
    assert list(open_corpus(back).parts["train"]) == [("A", "a")]
