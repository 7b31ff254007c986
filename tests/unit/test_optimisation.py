"""Schedules and clipping against the paper's words (section 3.4)."""

from __future__ import annotations

import pytest
import torch

from training.optimisation import clip_gradient, learning_rate, make_optimiser
from training.recipe import OptimisationSection


def test_the_papers_schedule() -> None:
    """0.7 for 5 epochs, then halved every half epoch, 7.5 epochs in all."""
    paper = OptimisationSection()
    assert (paper.optimiser, paper.learning_rate, paper.epochs, paper.batch_sentences) == ("sgd", 0.7, 7.5, 128)
    rates = [learning_rate(paper, update, 10) for update in range(75)]
    assert rates[:50] == [0.7] * 50
    for half_epoch in range(5):
        expected = 0.7 * 0.5 ** (half_epoch + 1)
        assert rates[50 + 5 * half_epoch : 55 + 5 * half_epoch] == pytest.approx([expected] * 5)


def test_linear_decay_and_warm_up() -> None:
    options = OptimisationSection(optimiser="adam", learning_rate=1.0, schedule="linear", epochs=2, warmup_updates=4)
    rates = [learning_rate(options, update, 10) for update in range(20)]
    assert rates[:3] == pytest.approx([0.25, 0.5 * 0.95, 0.75 * 0.9])
    assert rates[10] == pytest.approx(0.5)
    assert rates[19] == pytest.approx(0.05)
    constant = options.model_copy(update={"schedule": "constant", "warmup_updates": 0})
    assert {learning_rate(constant, update, 10) for update in range(20)} == {1.0}


def test_clipping_scales_the_gradient_to_the_norm() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([6.0, 8.0])
    assert float(clip_gradient([parameter], 5.0)) == pytest.approx(10.0)
    torch.testing.assert_close(parameter.grad, torch.tensor([3.0, 4.0]), rtol=1e-5, atol=0)
    clip_gradient([parameter], 50.0)
    torch.testing.assert_close(parameter.grad, torch.tensor([3.0, 4.0]), rtol=1e-5, atol=0)


def test_sgd_has_no_momentum() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    optimiser = make_optimiser([parameter], OptimisationSection())
    for _ in range(3):
        parameter.grad = torch.ones(1)
        optimiser.step()
    assert parameter.item() == pytest.approx(1 - 3 * 0.7)
