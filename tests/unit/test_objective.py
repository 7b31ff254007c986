"""The sliced cross-entropy against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from training import objective
from training.objective import cross_entropy_sum


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tokens", [1, 7, 8, 20])
def test_loss_and_gradients_equal_the_plain_ones(
    tokens: int, label_smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(objective._TOKENS_A_SLICE, "cpu", 4)
    monkeypatch.setattr(objective, "_BYTES_A_GROUP", 8 * 11 * 8)  # gradients of eight tokens
    generator = torch.Generator().manual_seed(tokens)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()

    features, weight, bias = draw(tokens, 5), draw(11, 5), draw(11)
    targets = torch.randint(0, 11, (tokens,), generator=generator)
    smoothed, plain = cross_entropy_sum(
        features, weight, bias, targets, label_smoothing=label_smoothing, compute_dtype=torch.float64
    )
    gradients = torch.autograd.grad(smoothed / 3, (features, weight, bias))
    logits = functional.linear(features, weight, bias)
    expected = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing)
    expected_gradients = torch.autograd.grad(expected / 3, (features, weight, bias), retain_graph=True)
    torch.testing.assert_close(smoothed.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        plain.double(), functional.cross_entropy(logits, targets, reduction="sum"), rtol=1e-6, atol=1e-6
    )
    for one, two in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-10)


def test_bfloat16_is_close() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(300, 32, generator=generator).bfloat16().requires_grad_()
    weight, bias = (torch.randn(40, 32, generator=generator) / 6).requires_grad_(), torch.zeros(40, requires_grad=True)
    targets = torch.randint(0, 40, (300,), generator=generator)
    low, _ = cross_entropy_sum(features, weight, bias, targets, compute_dtype=torch.bfloat16)
    (gradient,) = torch.autograd.grad(low, weight)
    high, _ = cross_entropy_sum(features.float(), weight, bias, targets)
    (expected,) = torch.autograd.grad(high, weight)
    assert low.item() == pytest.approx(high.item(), rel=0.01)
    assert (gradient - expected).norm() < 0.02 * expected.norm()
