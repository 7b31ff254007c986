"""What the three peers have in common: a virtual environment, a small model, and a decoding that is checked."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.text import VOCABULARY_SIZE, Text
from tests.benchmarks.peers.training_task import TrainingSpeed, TrainingTask

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
TORCH = "torch==2.13.0"
LONGEST_SECONDS = 3600
_LOOK_SECONDS = 1.0
UPDATES = 12
ENDLESS = 999_999  # updates; a multiple of JoeyNMT's interval of logging
TRAINING_BATCH_SIZE = 16


class PeerError(Exception):
    """A peer could not be installed or run, or did other work than asked; the message is one line."""


FAILURES = (PeerError, OSError)
"""What ends one contender's part in the benchmark, and not the benchmark."""


@dataclass(frozen=True)
class Task:
    """One decoding: how many sentences go through the model at once, and how long and wide the search is."""

    batch_size: int
    beam: int = 5
    tokens: int = 24
    """Target tokens a sentence, no fewer and no more."""
    threads: int = 2


@dataclass(frozen=True)
class Report:
    """What is known of a decoding beside the translations."""

    seconds: float
    batch_sizes: list[int] | None
    """Sentences in each call of the search, or None where the peer cannot be watched."""
    columns: int
    """The target vocabulary's size, as the output layer has it."""


def run(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed, which is kept in `log` too; PeerError if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        try:
            status = subprocess.run(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                timeout=LONGEST_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"it took more than {LONGEST_SECONDS} s; see {os.path.relpath(log)}") from error
    printed = log.read_text(encoding="utf-8", errors="replace")
    if status:
        raise PeerError(_last_words(printed, status, log))
    return printed


def run_until(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str], enough: Callable[[str], bool]
) -> None:
    """Run a command that has no end until what it has printed into `log` is `enough`; PeerError if it ends before."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    end = time.monotonic() + LONGEST_SECONDS
    try:
        while not enough(log.read_text(encoding="utf-8", errors="replace")):
            if process.poll() is not None:
                printed = log.read_text(encoding="utf-8", errors="replace")
                raise PeerError(_last_words(printed, process.returncode, log))
            if time.monotonic() > end:
                raise PeerError(f"it took more than {LONGEST_SECONDS} s; see {os.path.relpath(log)}")
            time.sleep(_LOOK_SECONDS)
    finally:
        process.kill()
        process.wait()


def _last_words(printed: str, status: int, log: Path) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    last = lines[-1] if lines else "it printed nothing"
    return f"{last} (exit status {status}; see {os.path.relpath(log)})"


def on_threads(threads: int) -> dict[str, str]:
    """The environment variables that set the number of threads of PyTorch and of what it is built on."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def read_speed(report: Path) -> TrainingSpeed:
    """What a stopwatch has written; PeerError where there is nothing."""
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PeerError("training ended before enough updates had been counted") from error
    return TrainingSpeed(
        updates=int(content["updates"]),
        target_tokens=int(content["target_tokens"]),
        seconds=float(content["seconds"]),
    )


class Peer(ABC):
    """A toolkit in a virtual environment of its own, `directory/name`, with its model in `directory/work/name`."""

    name: str
    """As on the command line, and of the list of requirements."""
    title: str
    """As its makers write it, with the version."""
    note: str
    """What a reader has to know in order to compare its numbers with ours."""
    needs_torch = True

    def __init__(self, directory: Path) -> None:
        self.environment = directory / self.name
        self.work = directory / "work" / self.name
        self.report = self.work / "report.json"
        self.python = self.environment / "bin" / "python"

    def install(self, torch_index: str | None = None) -> None:
        """Make the virtual environment, which takes minutes; after that, a stamp file makes this return at once.

        Every package is pinned, and `--no-deps` keeps pip from insisting on what the peers ask for and is no longer to
        be had, such as old releases of PyTorch. PyTorch itself comes first, with what its build needs, or from an index
        of its own.
        """
        requirements = HERE / "requirements" / f"{self.name}.txt"
        stamp = self.environment / "installed"
        state = hashlib.sha256(requirements.read_bytes()).hexdigest()
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
            return
        log = self.work / "install.log"
        run([sys.executable, "-m", "venv", "--clear", self.environment], log)
        pip: list[str | Path] = [self.python, "-m", "pip", "--disable-pip-version-check", "install"]
        if self.needs_torch:
            source = ["--no-deps", "--index-url", torch_index] if torch_index else ["--constraint", str(requirements)]
            run([*pip, *source, TORCH], log)
        run([*pip, "--no-deps", "--requirement", requirements], log)
        stamp.write_text(state, encoding="utf-8")

    @abstractmethod
    def prepare(self, text: Text, threads: int) -> None:
        """Train a model for a dozen updates: its weights are of no use, its shape is what is measured."""

    @abstractmethod
    def train(self, text: Text, task: TrainingTask) -> TrainingSpeed:
        """Train on the text's pairs, with the peer's own trainer, until enough updates have been counted."""

    @abstractmethod
    def _decode(self, source: Path, output: Path, task: Task) -> Report:
        """Translate `source` into `output`, a sentence a line, with the peer's own decoder."""

    def decode(self, sentences: Sequence[str], task: Task) -> float:
        """Translate the sentences; the seconds that decoding took, without start-up and loading.

        PeerError if the peer did not do the work that it was asked for: every sentence, all its tokens, in batches of
        the size asked for, with the whole vocabulary to choose from.
        """
        source, output = self.work / "source.txt", self.work / "output.txt"
        source.write_text("".join(f"{sentence}\n" for sentence in sentences), encoding="utf-8")
        for leftover in (output, self.report):
            leftover.unlink(missing_ok=True)
        report = self._decode(source, output, task)
        lengths = [len(line.split()) for line in output.read_text(encoding="utf-8").splitlines()]
        if len(lengths) != len(sentences):
            raise PeerError(f"it wrote {len(lengths)} translations of {len(sentences)} sentences")
        if wrong := [length for length in lengths if length != task.tokens]:
            raise PeerError(f"{len(wrong)} translations are not of {task.tokens} tokens but of {sorted(set(wrong))}")
        expected = [
            len(sentences[start : start + task.batch_size]) for start in range(0, len(sentences), task.batch_size)
        ]
        if report.batch_sizes is not None and report.batch_sizes != expected:
            raise PeerError(f"it decoded batches of {report.batch_sizes} sentences instead of {expected}")
        if report.columns != VOCABULARY_SIZE:
            raise PeerError(f"its output layer has {report.columns} columns instead of {VOCABULARY_SIZE}")
        return report.seconds

    def drive(self, *arguments: str | Path, log: str, environment: Mapping[str, str]) -> str:
        """Run this peer's driver, the script in `drivers` that bears its name, in its virtual environment."""
        driver = DRIVERS / f"drive_{self.name}.py"
        return run([self.python, driver, *arguments], self.work / log, environment)

    def measure_training(self, *arguments: str | Path, task: TrainingTask) -> TrainingSpeed:
        """Run the driver's `measure`; PeerError if it ends without a report."""
        report = self.work / "training" / "report.json"
        report.unlink(missing_ok=True)
        times = (str(task.warm_up_seconds), str(task.seconds))
        self.drive(
            "measure", report, *times, *arguments, log="training/train.log", environment=on_threads(task.threads)
        )
        return read_speed(report)

    def read_report(self, seconds: float | None = None) -> Report:
        """What the driver wrote down; `seconds` are given where the peer itself says how long it took."""
        content = json.loads(self.report.read_text(encoding="utf-8"))
        taken = float(content["seconds"]) if seconds is None else seconds
        return Report(seconds=taken, batch_sizes=content["batch_sizes"], columns=int(content["columns"]))

    def write(self, name: str, lines: Sequence[str]) -> Path:
        """Write a file of the working folder, and return where it is."""
        file = self.work / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return file
