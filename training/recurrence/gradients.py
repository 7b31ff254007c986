"""How far back a gradient reaches: ‖∂h_T/∂h_t‖ against the lag T − t (Bengio et al. 1994; Pascanu et al. 2013).

The derivative is the product of the steps' Jacobians. Where each shortens a vector, what happened long ago has no
gradient left: a plain recurrence forgets. A gated cell's c_t is carried over by a gate near one, and its part of the
state keeps its length. So there are two norms: of h alone, as the lecture writes it, and of the whole state (h and c).

The task is to say, at the end, what the first symbol was.

B batch, T time, I input, S numbers of the whole state.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from training.recurrence.small_models import CELLS, NO_TARGET, Task, predictions, scaled, small_model, train
from translator.cells import CellState, Stepper
from translator.language_model import RecurrentLanguageModel

LONGEST_LAG = 40
_SYMBOLS = 8
_HIDDEN = 32
_UPDATES = 1500
_BATCH = 64
_LEARNING_RATE = 0.005
_SEQUENCES = 16
_TESTED = 256


class GradientReach(BaseModel):
    """Of one cell. Norms are spectral, geometric means over sequences, by lag from 0 on."""

    cell: str
    parameters: int
    hidden_at_start: list[float]
    state_at_start: list[float]
    hidden_after_training: list[float]
    state_after_training: list[float]
    recall: dict[int, float]
    """Share of first symbols that are told right after training, by lag; one in eight by chance."""
    loss: float
    """Mean of the last tenth of the updates, nats."""


def gradient_norms(step: Stepper, inputs_BTI: Tensor, first: CellState) -> tuple[Tensor, Tensor]:
    """Spectral norms of ∂h_T/∂h_t and of ∂s_T/∂s_t, s being all states side by side: two of [batch, T + 1].

    Column k is of lag k: the last state by the one k steps before it. `first` is the state before the first input.
    """
    sizes = [part.shape[1] for part in first]

    def advance(inputs_I: Tensor, state_S: Tensor) -> tuple[Tensor, Tensor]:
        _, after = step(inputs_I[None], tuple(part[None] for part in torch.split(state_S, sizes)))
        following_S = torch.cat([part[0] for part in after])
        return following_S, following_S

    jacobian = torch.vmap(torch.func.jacrev(advance, argnums=1, has_aux=True))
    state_BS = torch.cat(first, dim=1)
    jacobians = []
    for inputs_BI in inputs_BTI.unbind(1):
        jacobian_BSS, state_BS = jacobian(inputs_BI, state_BS)
        jacobians.append(jacobian_BSS.detach())
    product_BSS = torch.eye(sum(sizes), dtype=state_BS.dtype).expand(len(state_BS), -1, -1)
    hidden, whole = [], []
    for jacobian_BSS in (*reversed(jacobians), None):
        hidden.append(torch.linalg.matrix_norm(product_BSS[:, : sizes[0], : sizes[0]], ord=2))
        whole.append(torch.linalg.matrix_norm(product_BSS, ord=2))
        if jacobian_BSS is not None:
            product_BSS = product_BSS @ jacobian_BSS
    return torch.stack(hidden, dim=1), torch.stack(whole, dim=1)


def recall_task(lag: int, count: int, generator: np.random.Generator) -> Task:
    """A symbol, `lag` others of another alphabet, and a question mark, at which the first symbol is wanted.

    Inputs and targets, int64 [count, lag + 2].
    """
    first = generator.integers(0, _SYMBOLS, (count, 1))
    others = generator.integers(_SYMBOLS, 2 * _SYMBOLS, (count, lag))
    question = np.full((count, 1), 2 * _SYMBOLS)
    inputs = np.concatenate([first, others, question], axis=1)
    targets = np.full_like(inputs, NO_TARGET)
    targets[:, -1] = first[:, 0]
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def measure_gradients(*, seed: int, share: float = 1.0) -> Iterator[GradientReach]:
    """Train each cell, `share` of the usual number of updates, and measure it before and after."""
    for cell in CELLS:
        model = small_model(cell, 2 * _SYMBOLS + 1, _HIDDEN, seed=seed)
        generator = np.random.default_rng(seed)
        inputs_BT, _ = recall_task(LONGEST_LAG, _SEQUENCES, generator)
        before = _means(model, inputs_BT)
        updates = scaled(_UPDATES, share)
        tasks = (recall_task(int(generator.integers(1, LONGEST_LAG + 1)), _BATCH, generator) for _ in range(updates))
        losses = train(model, tasks, learning_rate=_LEARNING_RATE)
        after = _means(model, inputs_BT)
        yield GradientReach(
            cell=cell,
            parameters=model.parameter_count(),
            hidden_at_start=before[0].tolist(),
            state_at_start=before[1].tolist(),
            hidden_after_training=after[0].tolist(),
            state_after_training=after[1].tolist(),
            recall={lag: _recall(model, lag, generator) for lag in range(5, LONGEST_LAG + 1, 5)},
            loss=float(np.mean(losses[-max(1, updates // 10) :])),
        )


def _means(model: RecurrentLanguageModel, inputs_BT: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Geometric means over the sequences, float64 [lags]."""
    exact = copy.deepcopy(model).double()
    (cell,) = exact.stack.cells()
    with torch.no_grad():
        inputs_BTI = exact.embedding(inputs_BT)
    norms = gradient_norms(cell.stepper(), inputs_BTI, cell.zero_state(inputs_BTI))
    logarithms = (np.log(np.maximum(each[:, : LONGEST_LAG + 1].numpy(), 1e-300)) for each in norms)
    hidden, whole = (np.exp(each.mean(axis=0)) for each in logarithms)
    return hidden, whole


def _recall(model: RecurrentLanguageModel, lag: int, generator: np.random.Generator) -> float:
    inputs_BT, targets_BT = recall_task(lag, _TESTED, generator)
    found_B = predictions(model, inputs_BT)[:, -1].argmax(dim=1)
    return float((found_B == targets_BT[:, -1]).double().mean())
