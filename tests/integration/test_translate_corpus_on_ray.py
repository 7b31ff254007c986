"""A corpus on a Ray cluster of two nodes, each with the processes that a machine of its own would have."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import ENGLISH, unused_port

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs Ray: pip install '.[cluster]'", allow_module_level=True)

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 240.0
ROWS, ROWS_PER_SHARD = 1_500, 10
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0"}


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


class Node:
    """`ray start --block` with one core, and all processes that it starts."""

    def __init__(self, log: Path, *options: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1", *options]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--object-store-memory", "100000000"],
                env=ENVIRONMENT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: b"This command will now block forever" in log.read_bytes() or self._process.poll())
        assert self._process.poll() is None, log.read_text()

    def workers(self) -> list[str]:
        """The names of those of its processes that translate."""
        names = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                names += process.cmdline()[:1]
            except psutil.Error:
                continue
        return [name for name in names if name.startswith("ray::MapWorker")]

    def kill(self) -> None:
        """As if the power had failed."""
        if self._process.poll() is None:
            processes = psutil.Process(self._process.pid).children(recursive=True)
            for process in (psutil.Process(self._process.pid), *processes):
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
        self._process.wait(PATIENCE)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, Node]]:
    """The address of a cluster of two nodes, and the one of them that is not its head."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # pytest's own are too long for the names of sockets
    address = f"127.0.0.1:{unused_port()}"
    options = ["--port", address.rpartition(":")[2], "--include-dashboard", "false", "--temp-dir", folder]
    nodes = [Node(tmp_path / "head.log", "--head", *options)]
    try:
        nodes.append(Node(tmp_path / "node.log", "--address", address))
        yield address, nodes[1]
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_row_is_there_once_though_a_node_is_lost(
    cluster: tuple[str, Node], tiny_model_directory: Path, tmp_path: Path
) -> None:
    address, node = cluster
    corpus = tmp_path / "corpus.txt"
    lines = [f"{ENGLISH[number % 12]} {number} {ENGLISH[number % 7]}\n" for number in range(ROWS)]
    corpus.write_text("".join(lines), encoding="utf-8")

    def command(output: str, *options: str) -> list[str]:
        arguments = ["--model", str(tiny_model_directory), "--input", f"text:{corpus}", "--output", output, *options]
        arguments += ["--rows-per-shard", str(ROWS_PER_SHARD)]
        return [sys.executable, "-m", "translator", "translate-corpus", *arguments]

    def files(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "_manifest.json"}

    def run(output: str, *options: str) -> None:
        subprocess.run(command(output, *options), cwd=tmp_path, env=ENVIRONMENT, check=True, timeout=PATIENCE)

    refused = command("refused", "--ray", address, "--engine", "abacus")
    done = subprocess.run(refused, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert re.search(r"^Error: on \S+: there is no engine abacus", done.stderr, flags=re.MULTILINE), done.stderr

    process = subprocess.Popen(command("there", "--ray", address), cwd=tmp_path, env=ENVIRONMENT)
    try:
        wait_for(lambda: node.workers() or process.poll() is not None)
        before = len(list((tmp_path / "there").glob("part-*")))
        wait_for(lambda: len(list((tmp_path / "there").glob("part-*"))) >= before + 4 or process.poll() is not None)
        assert process.poll() is None, "there was nothing left to lose"
        node.kill()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    run("here", "--workers", "1")
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert len(files(tmp_path / "here")) == ROWS // ROWS_PER_SHARD
    # What a run on the cluster has left is gone on with here.
    for number in (3, 77):
        next((tmp_path / "there").glob(f"part-{number:06}-*")).unlink()
    run("there", "--workers", "1")
    assert files(tmp_path / "there") == files(tmp_path / "here")
