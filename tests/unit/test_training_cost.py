"""Operations, parameters and memory of an update, against counts that know nothing of the formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from training.cost import (
    BatchShape,
    Work,
    forward_flops,
    parameter_count,
    parameters_by_part,
    training_flops,
    training_memory,
)
from training.objective import cross_entropy_sum
from training.optimisation import make_embeddings_sparse, make_optimiser
from training.recipe import OptimisationSection
from translator.config import ModelConfig
from translator.model import Seq2Seq

SHAPES: list[dict[str, Any]] = [
    {},
    {"num_layers": 1, "residual": True, "feed_context": True},
    {"attention": "dot"},
    {"attention": "dot", "embedding_size": 12, "tie_target_embedding": True, "feed_context": True},
]


def small(**options: Any) -> ModelConfig:
    sizes = {"embedding_size": 10, "hidden_size": 12, "num_layers": 3}
    return ModelConfig(source_vocabulary_size=23, target_vocabulary_size=31, **(sizes | options))


def random_batch(sentences: int, source: int, target: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(23, (sentences, source)), torch.randint(31, (sentences, target))


@pytest.mark.parametrize("options", [*SHAPES, {"attention": "general"}, {"attention": "additive"}], ids=str)
def test_operations_are_those_that_pytorch_counts(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without oneDNN an LSTM is made of products that PyTorch's counter sees."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    config = small(**options)
    model = Seq2Seq(config)
    model.initialise(seed=1)
    sentences, source, target = 5, 7, 6
    source_BS, inputs_BT = random_batch(sentences, source, target)
    work = Work(sentences * (source + 1), sentences * target, attended_pairs=sentences * target * (source + 1))
    with FlopCounterMode(display=False) as counter:
        features = model(source_BS, inputs_BT, 2)
        model.logits(features)
    assert counter.get_total_flops() == forward_flops(config, work)
    with FlopCounterMode(display=False) as counter:
        features = model(source_BS, inputs_BT, 2)
        output = model.decoder.output
        loss, _ = cross_entropy_sum(features.flatten(0, 1), output.weight, output.bias, inputs_BT.flatten())
        loss.backward()
    # The encoder's first hidden state is zero and has no gradient.
    never_made = sentences * config.num_layers * 8 * config.hidden_size**2
    assert counter.get_total_flops() == training_flops(config, work) - never_made


def test_the_papers_network_needs_what_is_known_of_it() -> None:
    """32 million operations, times two, for a word of either LSTM; 80 million, times two, for a word of the output."""
    config = ModelConfig.sutskever2014()
    assert forward_flops(config, Work(source_tokens=1)) == 2 * 32_000_000
    assert forward_flops(config, Work(target_tokens=1)) == 2 * (32_000_000 + 80_000_000)
    assert parameter_count(config) == 384_000_000 + 64_000 + 80_000


@pytest.mark.parametrize("options", [*SHAPES, {"cell": "gru"}, {"bidirectional": True}], ids=str)
def test_parameters_are_those_of_the_network(options: dict[str, Any]) -> None:
    config = small(**options)
    model = Seq2Seq(config)
    assert parameter_count(config) == model.parameter_count()
    assert sum(parameters_by_part(config).values()) == model.parameter_count()


def test_parameters_of_the_papers_parts() -> None:
    """Four layers of four gates that read 1,000 inputs, 1,000 states and two biases."""
    layers = 4 * 4 * 1000 * (1000 + 1000 + 2)
    assert parameters_by_part(ModelConfig.sutskever2014()) == {
        "source embedding": 160_000_000,
        "target embedding": 80_000_000,
        "encoder": layers,
        "decoder": layers,
        "output layer": 80_080_000,
    }


numbers = st.integers(0, 1000)


@given(st.lists(st.builds(Work, numbers, numbers, numbers), max_size=5))
def test_operations_add_up(works: list[Work]) -> None:
    config = small(attention="dot")
    assert sum(training_flops(config, work) for work in works) == training_flops(config, sum(works, Work()))


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_memory_of_weights_gradients_and_optimiser_is_the_sum_of_their_tensors(optimiser: str) -> None:
    config = small(attention="dot")
    options = OptimisationSection(optimiser=optimiser)  # type: ignore[arg-type]
    model = Seq2Seq(config)
    if optimiser == "sgd":
        make_embeddings_sparse(model)
    made = make_optimiser(model.parameters(), options, sparse=optimiser == "sgd")
    model.logits(model(*random_batch(2, 3, 4), 2)).sum().backward()
    made.step()
    estimate = training_memory(config, options, BatchShape(2, 4, 4), low_precision=False)
    assert estimate.weights == sum(parameter.nbytes for parameter in model.parameters())
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    values = [gradient._values() if gradient.is_sparse else gradient for gradient in gradients]
    assert estimate.gradients == sum(gradient.nbytes for gradient in values)
    states = [tensor for state in made.state.values() for name, tensor in state.items() if name != "step"]
    assert estimate.optimiser == sum(tensor.nbytes for tensor in states if isinstance(tensor, torch.Tensor))
    assert estimate.total == sum(vars(estimate).values())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_activations_are_what_the_backward_pass_keeps(
    options: dict[str, Any], dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tensors that autograd saves, weights left out, each storage counted once."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    sizes = {"embedding_size": 96, "hidden_size": 96}
    config = small(**(options | sizes))
    model = Seq2Seq(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}
    tensors = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.is_floating_point() and storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            tensors.append(tensor)  # so that no storage is used twice
        return tensor

    sentences, source, target = 16, 20, 24
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(*random_batch(sentences, source, target), 2, dropout)
    estimate = training_memory(
        config,
        OptimisationSection(),
        BatchShape(sentences, source + 1, target),
        low_precision=False,
    )
    # The masks of dropout are one row a sentence, and left out of the estimate.
    assert estimate.activations == pytest.approx(sum(kept.values()), rel=0.02 if dropout else 0.0)


def test_what_saves_memory_is_seen_in_the_estimate() -> None:
    config = ModelConfig.sutskever2014()
    shape = BatchShape(128, 26, 30)

    def estimate(low_precision: bool = False, **options: Any) -> Any:
        return training_memory(config, OptimisationSection(**options), shape, low_precision=low_precision)

    plain, low = estimate(), estimate(low_precision=True)
    assert low.activations == plain.activations / 2
    assert low.weights == plain.weights
    every_row = estimate(optimiser="adam")
    assert every_row.gradients - plain.gradients == 4 * 1000 * (240_000 - 128 * (26 + 30))
    assert estimate(weight_average=0.99).total == plain.total + plain.weights
    assert math.isclose(plain.weights, 4 * 384e6, rel_tol=0.001)
