"""The training objective: cross-entropy over the target vocabulary, computed in slices.

A batch's logits [tokens, vocabulary] are the largest array of a training step, and writing them to memory several
times costs more than the matrix products. Here each slice of tokens goes through projection, loss and gradient while
it is in the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_TOKENS_A_SLICE = {"cpu": 256, "cuda": 4096}


class _SlicedCrossEntropy(torch.autograd.Function):
    """Forward computes the gradients too, so that no logits have to wait for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        features_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor,
        targets_N: Tensor,
        label_smoothing: float,
        compute_dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        tokens = features_NH.shape[0]
        vocabulary_size = weight_VH.shape[0]
        features = features_NH.to(compute_dtype)
        weight = weight_VH.to(compute_dtype)
        features_gradient = torch.empty_like(features)
        weight_gradient = torch.zeros_like(weight_VH)
        bias_gradient = torch.zeros_like(bias_V)
        smoothed_loss = bias_V.new_zeros(())
        negative_log_likelihood = bias_V.new_zeros(())
        step = _TOKENS_A_SLICE.get(features.device.type, 1024)
        for start in range(0, tokens, step):
            rows = features[start : start + step]
            targets_N1 = targets_N[start : start + step, None]
            logits = functional.linear(rows, weight).to(bias_V.dtype).add_(bias_V)
            log_normaliser_N1 = torch.logsumexp(logits, dim=1, keepdim=True)
            target_loss = (log_normaliser_N1 - logits.gather(1, targets_N1)).sum()
            negative_log_likelihood += target_loss
            smoothed_loss += (1 - label_smoothing) * target_loss
            if label_smoothing:
                smoothed_loss += label_smoothing * (log_normaliser_N1 - logits.mean(1, keepdim=True)).sum()
            # d loss / d logits = softmax − smoothed target distribution, written over the logits themselves.
            gradient = logits.sub_(log_normaliser_N1).exp_()
            if label_smoothing:
                gradient.sub_(label_smoothing / vocabulary_size)
            gradient.scatter_add_(1, targets_N1, gradient.new_full(targets_N1.shape, label_smoothing - 1.0))
            bias_gradient += gradient.sum(0)
            gradient = gradient.to(compute_dtype)
            torch.mm(gradient, weight, out=features_gradient[start : start + step])
            weight_gradient += gradient.t() @ rows
        ctx.save_for_backward(features_gradient.to(features_NH.dtype), weight_gradient, bias_gradient)
        ctx.mark_non_differentiable(negative_log_likelihood)
        return smoothed_loss, negative_log_likelihood

    @staticmethod
    def backward(ctx: Any, smoothed_gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias = ctx.saved_tensors
        return (
            features * smoothed_gradient.to(features.dtype),
            weight.mul_(smoothed_gradient),
            bias.mul_(smoothed_gradient),
            None,
            None,
            None,
        )


def cross_entropy_sum(
    features_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor,
    targets_N: Tensor,
    *,
    label_smoothing: float = 0.0,
    compute_dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy of `targets_N` (int64 [tokens]) under softmax(features · weightᵀ + bias), in nats.

    Label smoothing spreads that share of the target's mass evenly over the vocabulary (Szegedy et al. 2016, section 7).
    Matrix products run in `compute_dtype`, sums in the weights' own type. Returns the smoothed sum, which has
    gradients, and the plain negative log-likelihood, which has none. The gradients may be taken once.
    """
    smoothed, plain = _SlicedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        features_NH, weight_VH, bias_V, targets_N, label_smoothing, compute_dtype
    )
    return smoothed, plain
