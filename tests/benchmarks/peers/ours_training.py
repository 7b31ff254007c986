"""Our own trainer, for the comparison with the peers; it runs in a fresh process for every measurement.

As a command it reads one request from standard input, a JSON object of `measure`'s arguments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.peers.drivers.stopwatch import Stopwatch
from tests.benchmarks.peers.ours import REPOSITORY
from tests.benchmarks.peers.pairs import Pairs
from tests.benchmarks.peers.peer import LONGEST_SECONDS, PeerError, on_threads, read_speed
from tests.benchmarks.peers.training_task import TrainingSpeed, TrainingTask
from tests.benchmarks.training_pieces import make_recipe, run_trainer
from translator.model import Seq2Seq


def measure(
    pairs: str,
    report: str,
    directory: str,
    attention: bool,
    precision: str,
    batch_size: int,
    threads: int,
    warm_up_seconds: float,
    seconds: float,
    seed: int,
) -> None:
    """Train in `directory` until enough updates have been counted; does not return."""
    torch.set_num_threads(threads)
    loaded = Pairs.load(Path(pairs))
    padding = loaded.vocabulary.pad_id
    stopwatch = Stopwatch(Path(report), warm_up_seconds=warm_up_seconds, seconds=seconds)
    forward = Seq2Seq.forward

    def watched(model: Seq2Seq, source_BS: torch.Tensor, target_inputs_BT: torch.Tensor, *rest: Any) -> torch.Tensor:
        # As many tokens are predicted as are read: <EOS> stands before what is read and after what is predicted.
        stopwatch.update(lambda: int((target_inputs_BT != padding).sum()))
        return forward(model, source_BS, target_inputs_BT, *rest)

    Seq2Seq.forward = watched  # type: ignore[assignment, method-assign]
    recipe = make_recipe(
        attention=attention, precision=precision, batch_sentences=batch_size, seed=seed, directory=Path(directory)
    )
    run_trainer(recipe, loaded.encoded, loaded.vocabulary)


@dataclass(frozen=True)
class OurTraining:
    """One way to train with our own trainer."""

    precision: str
    attention: bool

    @property
    def title(self) -> str:
        name = {"bfloat16": "bf16", "float32": "fp32"}[self.precision]
        return f"ours, {name}{', attention' if self.attention else ''}"

    def train(self, pairs: Path, task: TrainingTask) -> TrainingSpeed:
        """Train in a process of its own; PeerError if it fails."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            request = {
                "pairs": str(pairs),
                "report": str(report),
                "directory": str(Path(folder) / "run"),
                "attention": self.attention,
                "precision": self.precision,
                **asdict(task),
            }
            finished = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.peers.ours_training"],
                input=json.dumps(request),
                cwd=REPOSITORY,
                env={**os.environ, **on_threads(task.threads)},
                capture_output=True,
                text=True,
                timeout=LONGEST_SECONDS,
                check=False,
            )
            if finished.returncode:
                raise PeerError(finished.stderr.strip().rpartition("\n")[2] or f"exit status {finished.returncode}")
            return read_speed(report)


if __name__ == "__main__":
    measure(**json.load(sys.stdin))
