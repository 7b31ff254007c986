"""Small networks on small tasks: what the demonstrations share. Tasks are drawn anew for every update.

B batch, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from translator.language_model import LanguageModelConfig, RecurrentLanguageModel

LectureCell = Literal["rnn", "simplified-gru", "gru", "lstm"]
CELLS: tuple[LectureCell, ...] = ("rnn", "simplified-gru", "gru", "lstm")
"""The four recurrences that the lecture compares, in its order."""

NO_TARGET = -1
_CLIP_NORM = 1.0

Task = tuple[Tensor, Tensor]
"""Inputs and targets, int64 [batch, positions]; a target of `NO_TARGET` does not count."""


def scaled(number: int, share: float) -> int:
    """That share of a budget, and one at least."""
    return max(1, round(number * share))


def small_model(
    cell: LectureCell, vocabulary_size: int, hidden_size: int, *, seed: int, embedding_size: int | None = None
) -> RecurrentLanguageModel:
    """One layer, with PyTorch's own initial values: U[−1/√H, 1/√H] in the recurrence."""
    torch.manual_seed(seed)
    return RecurrentLanguageModel(
        LanguageModelConfig(
            vocabulary_size=vocabulary_size,
            cell=cell,
            embedding_size=embedding_size or hidden_size,
            hidden_size=hidden_size,
            num_layers=1,
        )
    )


def train(model: RecurrentLanguageModel, tasks: Iterable[Task], *, learning_rate: float) -> list[float]:
    """One update of Adam for each task, the rate falling to zero from the middle on; returns the losses in nats."""
    batches = list(tasks)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    losses = []
    for number, (inputs_BT, targets_BT) in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, 2 * (1 - number / len(batches)))
        features_BTO, _ = model(inputs_BT)
        loss = functional.cross_entropy(
            model.logits(features_BTO).flatten(0, 1), targets_BT.flatten(), ignore_index=NO_TARGET
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP_NORM)
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@torch.inference_mode()
def predictions(model: RecurrentLanguageModel, inputs_BT: Tensor) -> Tensor:
    """Logits [batch, positions, V] of what follows each input."""
    features_BTO, _ = model(inputs_BT)
    return model.logits(features_BTO)
