"""Optimiser, learning-rate schedule and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.recipe import OptimisationSection
from translator.model import Seq2Seq


def make_optimiser(
    parameters: Iterable[nn.Parameter], options: OptimisationSection, *, sparse: bool = False
) -> torch.optim.Optimizer:
    """SGD without momentum (section 3.4), or Adam (Kingma & Ba 2015) with its usual constants.

    `sparse` says that some gradients are; SGD can do with that.
    """
    if options.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=options.learning_rate, fused=True)
    if sparse:
        return torch.optim.SGD(parameters, lr=options.learning_rate, foreach=True)
    return torch.optim.SGD(parameters, lr=options.learning_rate, fused=True)


def is_of_optimiser(state: Mapping[str, Any], optimiser: torch.optim.Optimizer) -> bool:
    """Whether a state is that of the same kind of optimiser: PyTorch takes any, and fails at the next update."""
    saved, own = state["param_groups"][0], optimiser.param_groups[0]
    return ("betas" in saved) == ("betas" in own)  # Adam has them, SGD has none


def make_embeddings_sparse(model: Seq2Seq) -> None:
    """Have the embeddings' gradients hold the rows that a batch uses, and no others.

    The other rows' gradient is zero, and SGD leaves them alone, so that no result changes. Adam moves every row at
    every update, by its moments.
    """
    model.encoder.embedding.sparse = True
    model.decoder.embedding.sparse = not model.config.tie_target_embedding


def learning_rate(options: OptimisationSection, update: int, updates_an_epoch: int) -> float:
    """The rate of update number `update`, counted from 0.

    `paper`: halved for the first time after `halve_after_epochs`, then every `halve_every_epochs` (section 3.4).
    `linear`: falls in a straight line to zero at the end of the last epoch. Warm-up multiplies either.
    """
    rate = options.learning_rate
    epoch = update / updates_an_epoch
    if options.schedule == "paper" and epoch >= options.halve_after_epochs:
        halvings = 1 + math.floor((epoch - options.halve_after_epochs) / options.halve_every_epochs + 1e-9)
        rate *= 0.5**halvings
    elif options.schedule == "linear":
        rate *= max(0.0, 1.0 - epoch / options.epochs)
    if update < options.warmup_updates:
        rate *= (update + 1) / options.warmup_updates
    return rate


def clip_gradient(parameters: Iterable[nn.Parameter], maximum_norm: float) -> Tensor:
    """Scale the gradient g to `maximum_norm` · g ÷ s where s = ‖g‖₂ is larger (section 3.4). Returns s, a scalar
    tensor. Nothing waits for the device.
    """
    dense: list[nn.Parameter] = []
    gradients: list[Tensor] = []
    sparse: list[Tensor] = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = _with_rows_summed(parameter.grad)
            sparse.append(parameter.grad._values())
        elif parameter.grad is not None:
            dense.append(parameter)
            gradients.append(parameter.grad)
    norm: Tensor = nn.utils.get_total_norm(gradients + sparse)
    nn.utils.clip_grads_with_norm_(dense, maximum_norm, norm)
    factor = (maximum_norm / (norm + 1e-6)).clamp(max=1.0)  # as PyTorch has it
    for values in sparse:
        values.mul_(factor)
    return norm


def _with_rows_summed(gradient: Tensor) -> Tensor:
    """The same sparse gradient with the rows of one index summed; as many rows as before, those to spare are zero.

    `coalesce` would do it with fewer rows, but the program would have to wait for the GPU to know how many.
    """
    indices_N, order_N = gradient._indices()[0].sort()
    values_NE = gradient._values()
    is_new_N = torch.ones_like(indices_N)
    is_new_N[1:] = indices_N[1:] != indices_N[:-1]
    places_N = is_new_N.cumsum(0) - 1
    summed_NE = torch.zeros_like(values_NE).index_add_(0, places_N, values_NE[order_N])
    rows_N = torch.zeros_like(indices_N).scatter_(0, places_N, indices_N)
    return torch.sparse_coo_tensor(rows_N[None], summed_NE, gradient.shape, check_invariants=False)
