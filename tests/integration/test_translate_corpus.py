"""`python -m translator translate-corpus`: every row once, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from tests.support import ENGLISH
from translator import SearchOptions, Translator
from translator.__main__ import main
from translator.corpus.manifest import Shard
from translator.corpus.work import Outcome, Work

PATIENCE = 120.0
MANY = ("--rows-per-shard", "1")
"""So many shards that one can be in time to kill what makes them."""
TEXTS = [None if number % 11 == 5 else f"{ENGLISH[number % 12]} {ENGLISH[number % 7]}" for number in range(40)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two Parquet files of 25 and 15 rows."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    table = pyarrow.table({"id": [f"id-{number}" for number in range(40)], "source": TEXTS})
    parquet.write_table(table.slice(0, 25), folder / "a.parquet")
    parquet.write_table(table.slice(25), folder / "b.parquet")
    return folder


@pytest.fixture
def command(tiny_model_directory: Path, corpus: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The arguments of `python -m translator`; further options come after those that they replace."""

    def arguments(*options: str | Path, output: str = "out") -> list[str]:
        given = ["translate-corpus", "--model", tiny_model_directory, "--input", f"parquet:{corpus}/*.parquet"]
        given += ["--column", "source", "--output", tmp_path / output, "--rows-per-shard", "4", "--workers", "1"]
        return [*map(str, given), *map(str, options)]

    return arguments


def run(arguments: list[str], status: int = 0) -> str:
    """What it says on standard error."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    return result.stderr


def files(output: Path) -> dict[str, bytes]:
    """The files of the output but for the manifest."""
    return {path.name: path.read_bytes() for path in sorted(output.iterdir()) if path.name != "_manifest.json"}


def start(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "translator", *arguments], start_new_session=True, **options)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes] | None = None) -> Any:
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end
        assert process is None or process.poll() is None, "it ended too early"
        time.sleep(0.01)
    return value


def test_rows_come_in_order_with_all_their_columns(
    command: Callable[..., list[str]], tiny_model_directory: Path, tmp_path: Path
) -> None:
    said = run(command("--beam-size", "3"))
    assert "40 rows in 11 files" in said
    names = list(files(tmp_path / "out"))
    assert names == [f"part-{number:06}-of-000011.parquet" for number in range(11)]
    read = pyarrow.concat_tables(parquet.read_table(tmp_path / "out" / name) for name in names).to_pydict()
    translated = Translator.load(tiny_model_directory).translate(
        [text for text in TEXTS if text is not None], SearchOptions(beam_size=3)
    )
    found = iter(translated)
    assert read == {
        "row": list(range(40)),
        "id": [f"id-{number}" for number in range(40)],
        "source": TEXTS,
        "translation": [None if text is None else next(found).text for text in TEXTS],
    }


def test_a_library_of_data_sets_reads_what_was_written(command: Callable[..., list[str]], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    run(command())
    loaded = datasets.load_dataset(
        "parquet", data_files=f"{tmp_path}/out/*.parquet", split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded["row"][:] == list(range(40))


@pytest.mark.parametrize("kind", ["jsonl", "text"])
def test_lines_give_the_same_translations_in_any_cut(kind: str, tiny_model_directory: Path, tmp_path: Path) -> None:
    texts = [text for text in TEXTS if text is not None] + ["", "  ", "😀"]
    lines = [json.dumps({"text": text}) if kind == "jsonl" else text for text in texts]
    (tmp_path / "corpus").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    written = []
    for rows in ("5", "1000"):
        output = tmp_path / rows
        options = ["--model", tiny_model_directory, "--input", f"{kind}:{tmp_path / 'corpus'}", "--output", output]
        run([str(each) for each in ("translate-corpus", *options, "--workers", "1", "--rows-per-shard", rows)])
        written.append(b"".join(files(output).values()))
    assert written[0] == written[1]
    rows_read = [json.loads(line) for line in written[0].decode().splitlines()]
    expected = Translator.load(tiny_model_directory).translate(texts)
    assert [row["translation"] for row in rows_read] == [translation.text for translation in expected]


def test_it_goes_on_after_its_processes_were_killed(command: Callable[..., list[str]], tmp_path: Path) -> None:
    run(command(*MANY, output="whole"))
    expected = files(tmp_path / "whole")
    output = tmp_path / "out"
    process = start(command(*MANY, "--workers", "2"), stderr=subprocess.DEVNULL)
    wait_for(lambda: output.is_dir() and len(list(output.glob("part-*"))) >= 2, process)
    os.kill(process.pid, signal.SIGKILL)  # the command alone: its workers end by themselves
    process.wait(PATIENCE)
    wait_for(lambda: not _group(process.pid))
    made = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert made
    (output / ".part-000039-of-000040.parquet-x.unfinished").write_bytes(b"half")
    said = run(command(*MANY))
    assert "40 rows in 40 files" in said
    assert files(output) == expected
    assert {path: path.stat().st_mtime_ns for path in made} == made, "what was finished is not made again"
    assert "(40 were there already)" in run(command(*MANY))


def _group(leader: int) -> dict[int, int]:
    """The processes of a group that still live, each with its parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader and fields[0] != "Z":
                found[int(entry.name)] = int(fields[1])
    return found


def test_the_shard_of_a_killed_worker_is_done_again(command: Callable[..., list[str]], tmp_path: Path) -> None:
    run(command(*MANY, output="whole"))
    output = tmp_path / "out"
    process = start(command(*MANY, "--workers", "2"), stderr=subprocess.PIPE)
    wait_for(lambda: output.is_dir() and list(output.glob("part-*")), process)
    group = _group(process.pid)
    workers = [pid for pid, parent in group.items() if parent != process.pid and parent in group]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert files(output) == files(tmp_path / "whole")


def test_ctrl_c_ends_it_at_once_and_it_goes_on(command: Callable[..., list[str]], tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(command(*MANY), stderr=subprocess.PIPE)
    wait_for(lambda: output.is_dir() and list(output.glob("part-*")), process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.decode().strip() == "Aborted!"
    assert not list(output.glob(".*.unfinished"))
    assert "40 rows in 40 files" in run(command(*MANY))


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_ctrl_c_while_the_processes_start(command: Callable[..., list[str]], tmp_path: Path, seconds: float) -> None:
    process = start(command(*MANY, "--workers", "2"), stderr=subprocess.PIPE)
    wait_for(lambda: len(_group(process.pid)) > 1, process)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.decode().strip() == "Aborted!"
    assert "40 rows in 40 files" in run(command(*MANY))


def test_two_runs_do_not_write_into_one_folder(command: Callable[..., list[str]], tmp_path: Path) -> None:
    process = start(command(*MANY), stderr=subprocess.PIPE)
    try:
        wait_for(lambda: (tmp_path / "out" / "_manifest.json").is_file(), process)
        assert "another run is writing there" in run(command(), status=2)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def test_what_does_not_belong_to_the_folder_is_refused(
    command: Callable[..., list[str]], corpus: Path, second_model_directory: Path, tmp_path: Path
) -> None:
    run(command())
    before = files(tmp_path / "out")
    for options, complaint in (
        (["--model", second_model_directory], "was begun with another model"),
        (["--beam-size", "2"], 'was begun with search {}, now it is {"beam_size":2}'),
        (["--rows-per-shard", "5"], "was begun with rows_per_shard 4, now it is 5"),
        (["--input", f"parquet:{corpus}/a.parquet"], "it had 2 files, now 1"),
    ):
        assert complaint in run(command(*options), status=2)
    parquet.write_table(pyarrow.table({"source": ["another"]}), corpus / "b.parquet")
    assert "was begun with another input (b.parquet was another)" in run(command(), status=2)
    assert files(tmp_path / "out") == before


def test_a_folder_of_something_else_is_left_alone(command: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert "holds something else" in run(command(), status=2)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "thesis.txt"]


def test_bad_input_is_refused_before_anything_is_translated(
    command: Callable[..., list[str]], corpus: Path, tmp_path: Path
) -> None:
    assert "has no column 'target', only id, source" in run(command("--column", "target"), status=2)
    assert "has a column 'id' already" in run(command("--row-column", "id"), status=2)
    assert "no such model directory" in run(command("--model", tmp_path / "none", "--model", tmp_path), status=2)
    for name in ("a", "b"):
        parquet.write_table(pyarrow.table({"source": pyarrow.array([], pyarrow.string())}), corpus / f"{name}.parquet")
    assert "there is nothing to translate" in run(command(), status=2)
    assert files(tmp_path / "out") == {}


def test_what_a_worker_cannot_do_is_said_in_one_line(command: Callable[..., list[str]]) -> None:
    said = run(command("--engine", "abacus"), status=2)
    assert said.startswith("Error: there is no engine abacus")
    assert len(said.splitlines()) == 1
    run(command())  # a mistake does not spoil the folder


def test_hidden_files_are_no_input(command: Callable[..., list[str]], corpus: Path, tmp_path: Path) -> None:
    (corpus / ".a.parquet.swp").write_text("no Parquet", encoding="utf-8")
    assert "40 rows in 11 files" in run(command("--input", f"parquet:{corpus}/*"))
    # Its own output may be input, but for the record that it keeps.
    again = command("--input", f"parquet:{tmp_path}/out/*", "--column", "translation", output="again")
    assert "40 rows in " in run([*again, "--translation-column", "back", "--row-column", "again"])


def test_what_is_written_elsewhere_is_missed(
    command: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when --output is a folder of that name on each node, and not one that they share."""

    def written_elsewhere(work: Work, shards: Sequence[Shard], *_: Any) -> Generator[Outcome]:
        yield from (Outcome(shard.number, shard.rows) for shard in shards)

    monkeypatch.setattr("translator.corpus.local.translate_locally", written_elsewhere)
    assert "11 of 11 files are written and not there; is it a folder that all nodes share?" in run(command(), status=2)


def test_without_ray_the_extra_is_named(command: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'seq2seq-translator[cluster]'" in run(command("--ray", "auto"), status=2)


def test_nothing_large_is_loaded_before_it_is_needed() -> None:
    check = "import sys, translator.__main__; print(sorted({'ray', 'pyarrow', 'torch'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
