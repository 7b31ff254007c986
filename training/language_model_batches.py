"""Batches of texts for a language model, cut into windows over which the gradient goes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.language_model_recipe import LanguageModelRecipe
from training.language_text import LanguageData

# Texts of like length are sought within so many batches.
_BATCHES_A_POOL = 50
_NO_TARGET = -1


@dataclass(frozen=True)
class Window:
    """A stretch of a batch: `inputs_BT` and `targets_BT` int64, −1 where a text is over; `first` begins the texts."""

    inputs_BT: Tensor
    targets_BT: Tensor
    first: bool


class TextBatches:
    """Every text once an epoch, in an order that follows the seed and the epoch."""

    def __init__(self, data: LanguageData, first_ids: Sequence[int], recipe: LanguageModelRecipe) -> None:
        """`first_ids` are what the texts begin with: `<EOS>`, or a label's id."""
        self._texts = data.train
        self._first_ids = first_ids
        self._eos_id = data.vocabulary.eos_id
        self._window = recipe.training.window
        self._seed = recipe.optimisation.seed
        size = recipe.optimisation.batch_sentences
        generator = np.random.default_rng(self._seed)
        order = generator.permutation(len(self._texts))
        lengths = np.array([len(text) for text in self._texts])
        pools = np.split(order, range(size * _BATCHES_A_POOL, len(order), size * _BATCHES_A_POOL))
        self._batches = [
            batch
            for pool in pools
            for batch in np.array_split(pool[np.argsort(lengths[pool], kind="stable")], range(size, len(pool), size))
        ]
        self._windows = [-(-(int(lengths[batch].max()) + 1) // self._window) for batch in self._batches]

    @property
    def updates_an_epoch(self) -> int:
        """Windows of all batches, each of which is one update."""
        return sum(self._windows)

    def epoch(self, number: int) -> list[npt.NDArray[np.int64]]:
        """The batches of this epoch: indices of texts."""
        order = np.random.default_rng([self._seed, number]).permutation(len(self._batches))
        return [self._batches[index] for index in order]

    def windows(self, batch: npt.NDArray[np.int64]) -> Iterator[Window]:
        """The stretches of a batch, one after the other."""
        longest = max(len(self._texts[index]) for index in batch) + 1
        inputs_BT = torch.full((len(batch), longest), self._eos_id)
        targets_BT = torch.full((len(batch), longest), _NO_TARGET)
        for row, index in enumerate(batch.tolist()):
            text = torch.from_numpy(self._texts[index].astype(np.int64))
            inputs_BT[row, 0] = self._first_ids[index]
            inputs_BT[row, 1 : len(text) + 1] = text
            targets_BT[row, : len(text)] = text
            targets_BT[row, len(text)] = self._eos_id
        for start in range(0, longest, self._window):
            stretch = slice(start, start + self._window)
            yield Window(inputs_BT[:, stretch], targets_BT[:, stretch], first=start == 0)
