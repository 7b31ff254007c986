"""A preparation in several real processes that is killed or interrupted: nothing half-written, nobody left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
def running(command: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A preparation that has started its processes and written the first of its text."""
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
        while not any(file.stat().st_size for file in tmp_path.glob("out/.here-*/train.source.txt")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        yield process
    finally:
        for member in group(process.pid):
            os.kill(member, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


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
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    output, _ = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "Traceback" not in output
    assert output.rstrip().endswith("Aborted!")
    wait_until_gone(running.pid)
    assert list((tmp_path / "out").iterdir()) == []
