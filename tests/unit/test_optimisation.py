"""Schedules and clipping against the paper's words (section 3.4)."""

from __future__ import annotations

import pytest
import torch

from training.optimisation import clip_gradient, learning_rate, make_embeddings_sparse, make_optimiser
from training.recipe import OptimisationSection
from translator.config import ModelConfig
from translator.model import Seq2Seq


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


def _model(**options: bool) -> Seq2Seq:
    model = Seq2Seq(
        ModelConfig(
            source_vocabulary_size=11,
            target_vocabulary_size=9,
            embedding_size=4,
            hidden_size=4,
            num_layers=1,
            **options,
        )
    )
    model.initialise(seed=1)
    return model


def _step(model: Seq2Seq, optimiser: torch.optim.Optimizer, seed: int, maximum_norm: float) -> float:
    """An update on random pairs in which words occur more than once; returns the gradient's norm."""
    generator = torch.Generator().manual_seed(seed)
    sources, targets = (torch.randint(size, (3, 5), generator=generator) for size in (11, 9))
    optimiser.zero_grad()
    model.logits(model(sources, targets, 1)).square().sum().backward()
    norm = float(clip_gradient(model.parameters(), maximum_norm))
    optimiser.step()
    return norm


def test_sgd_has_no_momentum() -> None:
    model = _model()
    optimiser = make_optimiser(model.parameters(), OptimisationSection())
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 3 * 0.7)


@pytest.mark.parametrize("maximum_norm", [1e-3, 1e3])
@pytest.mark.parametrize("tied", [False, True])
def test_gradients_by_row_change_no_result(tied: bool, maximum_norm: float) -> None:
    options = OptimisationSection(learning_rate=0.1)
    dense, sparse = _model(tie_target_embedding=tied), _model(tie_target_embedding=tied)
    make_embeddings_sparse(sparse)
    optimisers = [
        make_optimiser(model.parameters(), options, sparse=is_sparse)
        for model, is_sparse in ((dense, False), (sparse, True))
    ]
    for seed in range(4):
        norms = [
            _step(model, optimiser, seed, maximum_norm)
            for model, optimiser in zip((dense, sparse), optimisers, strict=True)
        ]
        assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    gradient = sparse.encoder.embedding.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    for (name, one), other in zip(dense.named_parameters(), sparse.parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
