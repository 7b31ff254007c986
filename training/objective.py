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

_TOKENS_A_SLICE = {"cpu": 512, "cuda": 4096}
# Gradients of logits that are kept for one product with the features: adding up the weight's gradient slice by slice
# would read and write it as often.
_BYTES_A_GROUP = 1 << 26


def tokens_at_a_time(device_type: str, vocabulary_size: int, compute_dtype: torch.dtype) -> tuple[int, int]:
    """Of how many tokens there are logits at one time, and of how many their gradients in `compute_dtype`."""
    tokens = _TOKENS_A_SLICE.get(device_type, 1024)
    return tokens, max(1, _BYTES_A_GROUP // (tokens * vocabulary_size * compute_dtype.itemsize)) * tokens


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
        step, group = tokens_at_a_time(features.device.type, vocabulary_size, compute_dtype)
        kept = features.new_empty((min(group, tokens), vocabulary_size))
        for first in range(0, tokens, group):
            end = min(first + group, tokens)
            for start in range(first, end, step):
                rows = slice(start, min(start + step, end))
                targets_N1 = targets_N[rows, None]
                logits = functional.linear(features[rows], weight).to(bias_V.dtype).add_(bias_V)
                log_probabilities = torch.log_softmax(logits, dim=1)
                target_loss = -log_probabilities.gather(1, targets_N1).sum()
                negative_log_likelihood += target_loss
                smoothed_loss += (1 - label_smoothing) * target_loss
                if label_smoothing:
                    smoothed_loss -= label_smoothing * log_probabilities.mean(1).sum()
                # d loss / d logits = softmax − smoothed target distribution, written over the log-probabilities.
                gradient = log_probabilities.exp_()
                if label_smoothing:
                    gradient.sub_(label_smoothing / vocabulary_size)
                gradient.scatter_add_(1, targets_N1, gradient.new_full(targets_N1.shape, label_smoothing - 1.0))
                bias_gradient += gradient.sum(0)
                low = kept[start - first : rows.stop - first].copy_(gradient)
                torch.mm(low, weight, out=features_gradient[rows])
            weight_gradient += kept[: end - first].t() @ features[first:end]
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
