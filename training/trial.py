"""Updates that are made to learn something and thrown away: nothing is written, and the trainer goes with them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from training.cost import Work
from training.distributed import World
from training.hardware import keep_memory_steady
from training.prepared import Prepared
from training.recipe import Recipe
from training.trainer import Trainer


@dataclass(frozen=True)
class TrialUpdate:
    """One update: nats a target token, and the seconds it took, reading the batch and waiting for the device
    included."""

    loss: float
    seconds: float


class Trial:
    """A trainer of the recipe, from which nobody will have a model."""

    def __init__(self, recipe: Recipe, prepared: Prepared) -> None:
        keep_memory_steady()
        self._trainer = Trainer(recipe, prepared, world=World.alone(), console=Console(quiet=True))
        self._learning_rate: float | None = None
        # The rate is set after the trainer's own schedule has set it, and before it is used.
        self._trainer.updater.optimiser.register_step_pre_hook(self._set_learning_rate)
        self.prepared = prepared
        self.device = self._trainer.world.device
        self.low_precision = self._trainer.updater.low_precision
        self.updates = self._trainer.updates

    def epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of an epoch, in a random order, as indices of pairs."""
        return self._trainer.sampler.epoch(epoch)

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """The batches of all epochs, without an end."""
        for epoch in count():
            yield from self.epoch(epoch)

    def work(self, indices: NDArray[np.int64]) -> Work:
        """What the batch of these pairs, all of one source length, asks of the network."""
        return self._trainer.sampler.work(indices)

    def update(self, indices: NDArray[np.int64], learning_rate: float | None = None) -> TrialUpdate:
        """Make one update; `learning_rate` takes the place of the recipe's schedule."""
        self._learning_rate = learning_rate
        started = time.perf_counter()
        outcome = self._trainer.update(indices)
        loss = float(outcome.negative_log_likelihood) / self.work(indices).target_tokens  # waits for the device
        return TrialUpdate(loss if math.isfinite(loss) else math.nan, time.perf_counter() - started)

    def _set_learning_rate(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        if self._learning_rate is not None:
            for group in optimiser.param_groups:
                group["lr"] = self._learning_rate
