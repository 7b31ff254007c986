"""The prepared folder: what goes in comes out, nothing is half-written, and damage is noticed."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from training.corpus import Corpus, open_corpus
from training.errors import InputError
from training.preparation import SAMPLE_PAIRS, prepare, prepare_or_reuse
from training.prepared import Prepared, load_prepared
from training.recipe import Recipe, load_recipe
from training.subwords import train_vocabulary
from training.train_text import TrainText
from training.workers import Workers

SMOKE = Path(__file__).parent.parent / "fixtures" / "smoke"
QUIET = Console(quiet=True)


def smoke(*overrides: str, path: Path = SMOKE) -> Recipe:
    return load_recipe("smoke", [f"corpus.path={path}", *overrides])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(smoke(), tmp_path_factory.mktemp("prepared") / "smoke", console=QUIET)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A copy of the tiny corpus that a test may spoil."""
    return Path(shutil.copytree(SMOKE, tmp_path / "corpus"))


def test_the_encoded_sentences_are_the_corpus_s(prepared: Prepared) -> None:
    sources, targets = ((SMOKE / f"train.{code}").read_text(encoding="utf-8").splitlines() for code in ("en", "fr"))
    assert len(prepared.train) == len(sources) == prepared.record.pairs["train"]
    for index in (0, 1, 299, 599):
        assert prepared.source_vocabulary.decode(prepared.train.source(index).tolist()) == sources[index]
        assert prepared.target_vocabulary.decode(prepared.train.target(index).tolist()) == targets[index]


def test_arrays_are_mapped_and_without_ends_of_sentence(prepared: Prepared) -> None:
    train = prepared.train
    assert train.source_tokens.dtype == np.dtype(np.int32)
    assert train.target_offsets.dtype == np.dtype(np.int64)
    assert isinstance(train.source_tokens, np.memmap)
    assert not np.any(train.target_tokens == prepared.target_vocabulary.eos_id)
    assert train.source_lengths.sum() == len(train.source_tokens) == prepared.record.tokens["train.source"]
    assert train.target_lengths.tolist() == [len(train.target(index)) for index in range(len(train))]


def test_dev_and_test_are_kept_as_text(prepared: Prepared) -> None:
    assert prepared.dev_source == (SMOKE / "dev.en").read_text(encoding="utf-8").splitlines()
    assert len(prepared.dev) == len(prepared.dev_target) == 40
    assert (prepared.path / "test.target.txt").read_bytes() == (SMOKE / "test.fr").read_bytes()


def test_the_record_says_what_it_was_made_from(prepared: Prepared) -> None:
    record = prepared.record
    expected = hashlib.sha256((SMOKE / "train.en").read_bytes()).hexdigest()
    assert (record.sha256["train.en"], record.corpus_name) == (expected, "smoke")
    assert record.removed == {"empty": 0, "duplicates": 0, "too long": 0, "ratio": 0}
    assert (record.corpus, record.subwords) == (smoke().corpus, smoke().subwords)


def test_what_cleaning_leaves_out_is_counted_and_printed(corpus: Path, tmp_path: Path) -> None:
    with (corpus / "train.en").open("a") as english, (corpus / "train.fr").open("a") as french:
        english.write("\nThe cat.\nThe cat.\nThe cat.\n" + "The cat sees. " * 30 + "\n")
        french.write(
            "Rien.\nLe chat.\nLe chat.\nLe chat voit le chat, le chat, le chat.\n" + "Le chat voit. " * 30 + "\n"
        )
    printed = io.StringIO()
    recipe = smoke("corpus.maximum_length=50", "corpus.maximum_ratio=3", path=corpus)
    result = prepare(recipe, tmp_path / "prepared", console=Console(file=printed, width=120))
    assert result.record.removed == {"empty": 1, "duplicates": 1, "too long": 1, "ratio": 1}
    assert len(result.train) == 601
    assert "Left out of train: 1 empty, 1 duplicates, 1 too long, 1 ratio" in printed.getvalue()


def test_dev_and_test_are_held_out_where_they_are_missing(corpus: Path, tmp_path: Path) -> None:
    for name in ("dev.en", "dev.fr", "test.en", "test.fr"):
        (corpus / name).unlink()
    result = prepare(smoke("corpus.held_out_pairs=30", path=corpus), tmp_path / "prepared", console=QUIET)
    assert result.record.pairs["dev"] == result.record.pairs["test"] == 30
    assert result.record.pairs["train"] <= 540
    trained = {
        result.source_vocabulary.decode(result.train.source(index).tolist()) for index in range(len(result.train))
    }
    assert not trained & set(result.dev_source)
    assert any("brings no dev and no test" in notice for notice in result.record.notices)


def test_held_out_pairs_that_stand_in_train_are_told(corpus: Path, tmp_path: Path) -> None:
    for code in ("en", "fr"):
        seen = (corpus / f"train.{code}").read_text(encoding="utf-8").splitlines()[:3]
        with (corpus / f"test.{code}").open("a", encoding="utf-8") as file:
            file.write("".join(f"{line.upper()}\n" for line in seen))
    notices = prepare(smoke(path=corpus), tmp_path / "prepared", console=QUIET).record.notices
    assert [notice for notice in notices if notice.startswith("3 of 43 test pairs also stand in train")]


def test_unknown_words_are_told(tmp_path: Path) -> None:
    recipe = smoke("subwords.model_type=word", "subwords.source_vocabulary_size=20")
    notices = prepare(recipe, tmp_path / "prepared", console=QUIET).record.notices
    assert any(notice.startswith("train: ") and "source tokens are unknown" in notice for notice in notices)


def test_a_failure_leaves_the_old_folder_and_nothing_else(corpus: Path, tmp_path: Path) -> None:
    destination = tmp_path / "here" / "prepared"
    prepare(smoke(path=corpus), destination, console=QUIET)
    before = {file.name: file.read_bytes() for file in destination.iterdir()}
    (corpus / "test.fr").write_text("one line\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"test\.en has 40 lines"):
        prepare(smoke(path=corpus), destination, console=QUIET)
    assert {file.name: file.read_bytes() for file in destination.iterdir()} == before
    assert [path.name for path in destination.parent.iterdir()] == ["prepared"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"holds something else"):
        prepare(smoke(), tmp_path, console=QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_unchanged_corpus_is_not_prepared_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = (prepare_or_reuse(smoke(path=corpus), console=QUIET).path / "prepared.json").stat().st_ino

    def inode(*overrides: str) -> int:
        return (prepare_or_reuse(smoke(*overrides, path=corpus), console=QUIET).path / "prepared.json").stat().st_ino

    assert inode() == made
    assert inode("optimisation.epochs=9", "model.dropout=0.5") == made
    changed = inode("subwords.source_vocabulary_size=400")
    assert changed != made
    with (corpus / "train.en").open("a") as english, (corpus / "train.fr").open("a") as french:
        english.write("A new sentence.\n")
        french.write("Une nouvelle phrase.\n")
    assert inode("subwords.source_vocabulary_size=400") != changed


def test_a_changed_file_of_the_same_size_and_time_is_noticed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = prepare_or_reuse(smoke(path=corpus), console=QUIET).record
    file = corpus / "train.en"
    status, text = file.stat(), file.read_bytes()
    file.write_bytes(text.replace(b"cat", b"cow", 1))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = prepare_or_reuse(smoke(path=corpus), console=QUIET).record
    assert after.sha256["train.en"] == hashlib.sha256(file.read_bytes()).hexdigest() != before.sha256["train.en"]


def test_what_an_older_program_prepared_is_prepared_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = prepare_or_reuse(smoke(path=corpus), console=QUIET)
    record = json.loads((made.path / "prepared.json").read_text())
    del record["preparation_version"]  # as in the first version's folders
    (made.path / "prepared.json").write_text(json.dumps(record))
    assert load_prepared(made.path).record.preparation_version == 1
    assert prepare_or_reuse(smoke(path=corpus), console=QUIET).record.preparation_version > 1


def test_a_data_set_of_the_hub_is_known_by_its_fingerprint(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fingerprint, reachable = "first", True

    def open_fake(recipe: Recipe) -> Corpus:
        if not reachable:
            raise InputError("owner/name: the hub cannot be reached")
        return replace(open_corpus(smoke(path=corpus)), files=(), fingerprints={"train": fingerprint})

    monkeypatch.setattr("training.preparation.open_corpus", open_fake)
    recipe = smoke("corpus.kind=hub", "corpus.name=owner/name")
    record = prepare_or_reuse(recipe, console=QUIET).record
    assert record.sha256["train.source"] == hashlib.sha256((SMOKE / "train.en").read_bytes()).hexdigest()
    inode = (tmp_path / "prepared" / "smoke" / "prepared.json").stat().st_ino

    def is_reused() -> bool:
        return (prepare_or_reuse(recipe, console=QUIET).path / "prepared.json").stat().st_ino == inode

    assert is_reused()
    reachable = False
    assert is_reused()
    reachable, fingerprint = True, "second"
    assert not is_reused()


@pytest.mark.parametrize("held_out", [False, True])
def test_the_number_of_processes_changes_no_byte(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_out: bool
) -> None:
    monkeypatch.setattr("training.train_text.CHUNK_PAIRS", 40)  # enough of them for other processes to be started
    for code in ("en", "fr"):
        if held_out:
            (corpus / f"dev.{code}").unlink()
        lines = (corpus / f"train.{code}").read_text(encoding="utf-8")
        (corpus / f"train.{code}").write_text(f"{lines}\n{lines}", encoding="utf-8")
    recipe = smoke("corpus.maximum_length=8", "corpus.held_out_pairs=30", path=corpus)
    made = [prepare(recipe, tmp_path / str(count), console=QUIET, processes=count) for count in (1, 2)]
    for file in sorted(made[0].path.iterdir()):
        if file.name != "prepared.json":
            assert file.read_bytes() == (made[1].path / file.name).read_bytes(), file.name
    first, second = (prepared.record.model_dump(exclude={"seconds", "processes"}) for prepared in made)
    assert first == second
    assert (first["removed"]["empty"], first["pairs_read"]) == (1, 1201)
    assert first["removed"]["duplicates"] == 600
    assert first["removed"]["too long"] > 0
    assert first["pairs"]["dev"] == (30 if held_out else 40)


def test_the_rate_is_kept_and_printed(corpus: Path, tmp_path: Path) -> None:
    printed = io.StringIO()
    record = prepare(smoke(path=corpus), tmp_path / "prepared", console=Console(file=printed, width=200)).record
    assert (record.pairs_read, record.processes) == (600, 1)
    assert set(record.seconds) == {"cleaning", "splitting", "vocabularies", "encoding"}
    assert record.pairs_per_second == pytest.approx(600 / sum(record.seconds.values()))
    assert f"600 pairs read, {record.pairs_per_second:,.0f} pairs/s in all" in printed.getvalue()


def test_a_large_corpus_s_vocabularies_are_learnt_from_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: dict[str, list[str]] = {}

    def learn(texts: Any, **options: Any) -> Any:
        learnt["source" if not learnt else "target"] = list(texts)
        return train_vocabulary(texts, **options)

    monkeypatch.setattr("training.preparation.train_vocabulary", learn)
    monkeypatch.setitem(SAMPLE_PAIRS, "bpe", 500)
    record = prepare(smoke(), tmp_path / "prepared", console=QUIET).record
    assert "the vocabularies were learnt from 500 of 600 pairs" in record.notices
    pairs = list(
        zip(*((SMOKE / f"train.{code}").read_text("utf-8").splitlines() for code in ("en", "fr")), strict=True)
    )
    drawn = list(zip(learnt["source"], learnt["target"], strict=True))
    assert len(set(drawn)) == 500
    assert drawn == [pair for pair in pairs if pair in set(drawn)]  # the same pairs on both sides, in their order
    first = dict(learnt)
    learnt.clear()
    prepare(smoke(), tmp_path / "again", console=QUIET)
    assert learnt == first


def test_memory_for_a_pair_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text of 800 bytes a pair, and of that nothing in memory but the digests."""
    monkeypatch.setattr("training.train_text.CHUNK_PAIRS", 200)
    peaks = []
    for pairs in (10_000, 30_000):
        folder = tmp_path / str(pairs)
        folder.mkdir()
        tracemalloc.start()
        try:
            text = TrainText(
                folder, ((f"{n} " + "a" * 400, f"{n} " + "b" * 400) for n in range(pairs)), Workers(1), lambda _: None
            )
            text.hold_out(dev=10, test=10, seed=1)
            assert sum(len(source) for source, _ in text.chunks()) > 400 * len(text)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 20_000 <= 120


def test_what_a_killed_preparation_left_is_removed(tmp_path: Path) -> None:
    left, other, mine = (tmp_path / f".prepared-{name}" for name in ("abcd_123", "efgh5678", "mybackup"))
    for folder in (left, other, mine):
        folder.mkdir()
        (folder / "train.source.txt").write_text("text")
    (left / ".unfinished").touch()
    (other / ".unfinished").touch()
    lock = os.open(other, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a preparation that is still at work
        prepare(smoke(), tmp_path / "prepared", console=QUIET)
    finally:
        os.close(lock)
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, mine.name, "prepared"]
    assert not (tmp_path / "prepared" / ".unfinished").exists()


def test_an_empty_corpus_is_refused(corpus: Path, tmp_path: Path) -> None:
    for code in ("en", "fr"):
        (corpus / f"train.{code}").write_text("\n\n")
    with pytest.raises(InputError, match="train holds no sentence pair"):
        prepare(smoke(path=corpus), tmp_path / "prepared", console=QUIET)
    with pytest.raises(InputError, match="cleaning left no training pair"):
        prepare(smoke("corpus.maximum_length=1"), tmp_path / "prepared", console=QUIET)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.source.tokens.npy", b"\x93NUMPY"),
        ("train.source.tokens.npy", None),
        ("dev.target.offsets.npy", b"no array"),
        ("dev.target.txt", b"one line\n"),
        ("dev.source.txt", None),
        ("source.model", b"no model"),
        ("target.model", None),
        ("prepared.json", b"{}"),
    ],
)
def test_a_damaged_folder_is_named(prepared: Prepared, tmp_path: Path, name: str, content: bytes | None) -> None:
    copy = shutil.copytree(prepared.path, tmp_path / "copy")
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=name.removesuffix(".tokens.npy")):
        load_prepared(copy)


def test_arrays_that_do_not_fit_the_record_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    copy = shutil.copytree(prepared.path, tmp_path / "copy")
    np.save(copy / "train.source.offsets.npy", np.array([0, 1], dtype=np.int64))
    with pytest.raises(InputError, match=r"train\.source"):
        load_prepared(copy)
    np.save(copy / "train.source.offsets.npy", prepared.train.source_offsets.astype(np.int32))
    with pytest.raises(InputError, match="not a row of int64"):
        load_prepared(copy)


def test_a_newer_folder_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    copy = shutil.copytree(prepared.path, tmp_path / "copy")
    record = json.loads((copy / "prepared.json").read_text())
    (copy / "prepared.json").write_text(json.dumps(record | {"format_version": 2}))
    with pytest.raises(InputError, match="format version 2"):
        load_prepared(copy)


def test_a_folder_that_is_none_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="python -m training prepare RECIPE"):
        load_prepared(tmp_path)
