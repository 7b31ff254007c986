"""Optimiser, learning-rate schedule and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from training.recipe import OptimisationSection


def make_optimiser(parameters: Iterable[nn.Parameter], options: OptimisationSection) -> torch.optim.Optimizer:
    """SGD without momentum (section 3.4), or Adam (Kingma & Ba 2015) with its usual constants."""
    if options.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=options.learning_rate, fused=True)
    return torch.optim.Adam(parameters, lr=options.learning_rate, fused=True)


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
    tensor.
    """
    norm: Tensor = nn.utils.clip_grad_norm_(parameters, maximum_norm)
    return norm
