"""Every command block of README.md, executed in order as a reader would, in a copy of the repository.

The copy shares `.venv`, so that nothing is installed twice. Three things differ from a reader's session: training is
scaled down by TRAIN_FLAGS, the service listens on a free port, and `make test`, which runs these tests, is not run.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.support import ENGLISH, FRENCH, unused_port

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")

TINY = (
    "model.embedding_size=16",
    "model.hidden_size=16",
    "model.num_layers=2",
    "optimisation.epochs=0.05",
    "corpus.held_out_pairs=40",
    "evaluation.bleu_sentences=8",
    "evaluation.beam_size=1",
)
READERS_CORPUS = ("corpus.kind=moses", "corpus.path=corpora/mine", "corpus.name=", "corpus.configuration=")
SCALE = {
    "make train": TINY,
    "make train RECIPE=mine.toml": TINY,
    # The network is the included model's.
    "make train RECIPE=adapted.toml": ("optimisation.epochs=0.05", "evaluation.bleu_sentences=8"),
    # The hub's corpus is out of reach; the vocabularies become as large as the reader's corpus allows, with a notice.
    "make train RECIPE=sutskever2014-wmt14-en-fr": (*TINY, *READERS_CORPUS),
}


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line in README.md."""

    language: str
    text: str
    line: int

    @property
    def commands(self) -> list[str]:
        return self.text.replace("\\\n", " ").splitlines()


def find_blocks() -> list[Block]:
    return [
        Block(match[1], match[2], README[: match.start(2)].count("\n") + 1)
        for match in re.finditer(r"^```([^\n]*)\n(.*?)\n```$", README, flags=re.MULTILINE | re.DOTALL)
    ]


BLOCKS = find_blocks()

# Run by the leader of a new session: only when the terminal is its own does Ctrl-C become a signal.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


class Service:
    """`make run` on a terminal of its own."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self._output = bytearray()
        self._terminal, other_end = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, "bash", "-c", f"exec {command}"],
            cwd=folder,
            env=environment,
            stdin=other_end,
            stdout=other_end,
            stderr=other_end,
            start_new_session=True,
        )
        os.close(other_end)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._output += os.read(self._terminal, 65_536)
            except OSError:  # the other end is closed: nobody writes any more
                return

    @property
    def output(self) -> str:
        return self._output.decode(errors="replace")

    def wait_until_ready(self, port: int) -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                    return
            except OSError:  # not listening, or 503 because the model is being loaded
                time.sleep(0.2)
        pytest.fail(f"make run is not ready. It printed:\n{self.output}")

    def press_ctrl_c(self) -> int:
        """Ends it as a person at the terminal does; returns make's exit status."""
        os.write(self._terminal, b"\x03")
        try:
            status = self._process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            # All that has this terminal, make's children included: they have a process group of their own.
            subprocess.run(["pkill", "-KILL", "--session", str(self._process.pid)], check=False)
            self._process.wait()
            pytest.fail(f"make run goes on after Ctrl-C. It printed:\n{self.output}")
        self._reader.join(timeout=10)
        os.close(self._terminal)
        return status


@dataclass
class Reader:
    """Someone who follows the README: a folder, an environment, perhaps a service that is up."""

    folder: Path
    environment: dict[str, str]
    port: int
    service: Service | None = None
    last_output: str = ""

    def run(self, block: Block) -> None:
        commands = block.commands
        if commands[-1].startswith("make run"):
            self.shell("\n".join(commands[:-1]))
            self.serve(commands[-1])
        else:
            assert not any(command.startswith("make run") for command in commands), "what follows is never reached"
            self.shell(block.text)

    def shell(self, text: str) -> None:
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text.replace("localhost:8000", f"localhost:{self.port}")],
            cwd=self.folder,
            env=self.environment | {"TRAIN_FLAGS": train_flags(text)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"exit status {run.returncode}\n{run.stdout}\n{run.stderr}"
        self.last_output = run.stdout

    def serve(self, command: str) -> None:
        self.stop()
        self.service = Service(command, self.folder, self.environment | {"PORT": str(self.port)})
        self.service.wait_until_ready(self.port)

    def stop(self) -> None:
        if self.service is not None:
            service, self.service = self.service, None
            status = service.press_ctrl_c()
            assert status == 0, f"make run ended with status {status}. It printed:\n{service.output}"


def train_flags(commands: str) -> str:
    overrides = [SCALE[command] for command in commands.splitlines() if command in SCALE]
    return " ".join(f"--set {override}" for override in (overrides[0] if overrides else ()))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader") / "repository"
    if not (REPOSITORY / ".venv" / ".dev").exists():
        pytest.skip("there is no .venv made by `make test`, and these tests install nothing")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    if subprocess.run(["make", "--question", ".venv/.serve", ".venv/.train"], cwd=folder, check=False).returncode:
        pytest.skip(".venv is older than what it is made from: `make test` renews it")
    write_readers_corpus(folder / "corpora" / "mine")
    write_readers_further_text(folder)

    home = tmp_path_factory.mktemp("home")
    (home / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TRANSLATE_", "MAKE", "MFLAGS"))
    }
    reader = Reader(folder, environment | {"CURL_HOME": str(home)}, port=unused_port())
    yield reader
    reader.stop()


def write_readers_corpus(folder: Path) -> None:
    """What the README asks its reader for: train, dev and test in two languages, no sentence in two of them."""
    folder.mkdir(parents=True)
    for split, numbers in {"train": range(40), "dev": range(40, 42), "test": range(42, 44)}.items():
        for language, sentences in {"en": ENGLISH, "fr": FRENCH}.items():
            lines = [f"{number}. {sentence}\n" for number in numbers for sentence in sentences]
            (folder / f"{split}.{language}").write_text("".join(lines), encoding="utf-8")


def write_readers_further_text(folder: Path) -> None:
    """Sentences of each language that the reader's corpus does not have."""
    for language, sentences in {"en": ENGLISH, "fr": FRENCH}.items():
        lines = [f"{number}. {sentence}\n" for number in range(44, 48) for sentence in sentences]
        (folder / f"more.{language}").write_text("".join(lines), encoding="utf-8")


def skip_without_libreoffice_help(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("there is no apt here to fetch the LibreOffice help with")
    download = subprocess.run(
        ["apt-get", "download", "libreoffice-help-fr"], cwd=folder, capture_output=True, text=True, check=False
    )
    if download.returncode:
        pytest.skip(f"apt cannot fetch the LibreOffice help: {download.stderr.strip().splitlines()[-1:]}")


def test_no_block_escapes_these_tests() -> None:
    fences = [line for line in README.splitlines() if re.match(r"\s*(```|~~~)", line)]
    assert len(fences) == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} <= {"sh", "python", "toml", "json"}


def test_the_first_two_commands_are_make_run_and_make_test() -> None:
    assert [block.text for block in BLOCKS[:2]] == ["make run", "make test"]


def test_every_scaled_command_stands_in_the_readme() -> None:
    assert set(SCALE) == {line for block in BLOCKS for line in block.commands if line.startswith("make train")}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}, {block.text.splitlines()[0]}")
def test_block(block: Block, reader: Reader, tmp_path: Path) -> None:
    if block.text == "make test":
        plan = subprocess.run(
            ["make", "--dry-run", "test"], cwd=reader.folder, capture_output=True, text=True, check=True
        )
        assert "-m pytest" in plan.stdout
    elif block.language == "toml":
        name = block.text.splitlines()[0].removeprefix("# ")
        assert name.endswith(".toml"), "the first line of a TOML block names its file: # mine.toml"
        (reader.folder / name).write_text(block.text, encoding="utf-8")
    elif block.language == "json":
        # French sets several kinds of space before a question mark, which look alike on a page.
        answer, expected = (re.sub(r"[\u00a0\u202f]", " ", text) for text in (reader.last_output, block.text))
        assert json.loads(answer) == json.loads(expected)
    elif block.language == "python":
        program = tmp_path / "program.py"
        program.write_text(block.text, encoding="utf-8")
        reader.shell(f".venv/bin/python {program}")
        assert reader.last_output.strip()
    else:
        if block.text == "make train":
            skip_without_libreoffice_help(tmp_path)
        reader.run(block)


def test_the_service_says_where_it_is_and_stops_on_ctrl_c(reader: Reader) -> None:
    assert reader.service is not None
    printed = reader.service.output
    assert f"http://127.0.0.1:{reader.port}" in printed
    assert "mine" in printed
    assert f"curl -X POST http://127.0.0.1:{reader.port}/translate" in printed
    reader.stop()


def test_what_the_blocks_promise_is_there(reader: Reader) -> None:
    english = (reader.folder / "english.txt").read_text(encoding="utf-8").splitlines()
    french = (reader.folder / "french.txt").read_text(encoding="utf-8").splitlines()
    assert len(french) == len(english) == 2
    assert all(french)
    scores = json.loads((reader.folder / "scores.json").read_text(encoding="utf-8"))
    assert scores
    assert (reader.folder / "scores.png").read_bytes().startswith(b"\x89PNG")
    for name in ("scores.txt", "rescored.txt"):
        assert len((reader.folder / name).read_text(encoding="utf-8").splitlines()) == 24
    assert len(np.load(reader.folder / "vectors.npy")) == 24
    assert "BLEU" in (reader.folder / "comparison.html").read_text(encoding="utf-8")
    for name in ("mine", "adapted", "sutskever2014-wmt14-en-fr"):
        assert (reader.folder / "runs" / name / "model" / "card.json").is_file()
