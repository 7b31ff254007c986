"""Where a training run stands, and the folder that keeps it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from training.errors import InputError


@dataclass
class Position:
    """Where the run stands; with the weights, the optimiser and the generators this is all there is to resume."""

    update: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    target_tokens: int = 0
    best_bleu: float = -1.0
    best_perplexity: float = math.inf  # of the model with that BLEU
    best_update: int = 0
    validations_without_gain: int = 0
    roll_backs: int = 0


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def checkpoint(self) -> Path:
        return self.path / "state" / "checkpoint.pt"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder for this run, and clear away what a run that was killed has left half-written.

        Raises:
            InputError: another process trains in it.
        """
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.checkpoint.with_name("lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{self.path}: another process is training here; wait for it, stop it, or choose another place with "
                "--set output.directory=DIR"
            ) from None
        try:
            for left_over in self.path.glob(".model-*"):
                shutil.rmtree(left_over)
            yield
        finally:
            lock.release()
