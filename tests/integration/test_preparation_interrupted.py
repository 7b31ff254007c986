"""A preparation in several real processes that is killed or interrupted: nothing half-written, nobody left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from training.prepared import load_prepared

ROOT = Path(__file__).parents[2]
PAIRS = 60_000


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "corpus").mkdir()
    for code in ("en", "fr"):
        text = "".join(f"sentence {number} in {code}, {number * number}\n" for number in range(PAIRS))
        (tmp_path / "corpus" / f"train.{code}").write_text(text)
    sets = ("corpus.path=corpus", "subwords.model_type=char", "corpus.held_out_pairs=100")
    settings = [argument for value in sets for argument in ("--set", value)]
    return [sys.executable, "-m", "training", "prepare", "smoke", *settings, "--processes", "2", "--output", "out/here"]


@pytest.fixture
def started(command: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A preparation that has only just begun to start its processes."""
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(process, lambda: len(group(process.pid)) > 1)
        yield process
    finally:
        for member in group(process.pid):
            os.kill(member, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def running(started: subprocess.Popen[str], tmp_path: Path) -> subprocess.Popen[str]:
    """A preparation that has started its processes and written the first of its text."""
    texts = "out/.here-*/train.source.txt"
    wait_for(started, lambda: any(file.stat().st_size for file in tmp_path.glob(texts)))
    return started


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def group(leader: int) -> list[int]:
    """Living processes of a process group."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z" and int(fields[2]) == leader:
                members.append(int(entry.name))
    return members


def wait_until_gone(leader: int) -> None:
    deadline = time.monotonic() + 30
    while group(leader):
        assert time.monotonic() < deadline, "processes are left over"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_after_a_kill_nobody_is_left_and_the_next_one_tidies_up(
    running: subprocess.Popen[str], command: list[str], tmp_path: Path
) -> None:
    assert len(group(running.pid)) >= 3
    running.kill()
    running.communicate()
    wait_until_gone(running.pid)
    assert not (tmp_path / "out" / "here").exists()
    assert len(list((tmp_path / "out").iterdir())) == 1  # what it was writing
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["here"]
    assert load_prepared(tmp_path / "out" / "here").record.pairs == {"train": PAIRS - 200, "dev": 100, "test": 100}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_leaves_nothing(running: subprocess.Popen[str], tmp_path: Path) -> None:
    assert_interrupted(running, tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_ctrl_c_while_the_processes_start(started: subprocess.Popen[str], tmp_path: Path, seconds: float) -> None:
    time.sleep(seconds)
    assert_interrupted(started, tmp_path)


def assert_interrupted(process: subprocess.Popen[str], folder: Path) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert output.rstrip().endswith("Aborted!")
    wait_until_gone(process.pid)
    assert list((folder / "out").iterdir()) == []
