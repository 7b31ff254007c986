"""The network against the paper's figures and equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from translator.config import ModelConfig
from translator.model import Seq2Seq
from translator.stack import State, locked_dropout

EOS = 2


def _small(**options: object) -> Seq2Seq:
    sizes = {
        "source_vocabulary_size": 11,
        "target_vocabulary_size": 13,
        "embedding_size": 6,
        "hidden_size": 6,
        "num_layers": 3,
    }
    model = Seq2Seq(ModelConfig.model_validate(sizes | options)).double()
    model.initialise(seed=3, initial_range=0.5)
    return model.eval()


def test_the_papers_network_has_384_million_parameters() -> None:
    with torch.device("meta"):
        model = Seq2Seq(ModelConfig.sutskever2014())
    assert model.parameter_count(biases=False) == 384_000_000
    recurrent = [parameter for name, parameter in model.named_parameters() if ".weight_" in name]
    assert sum(parameter.numel() for parameter in recurrent) == 64_000_000
    # Two bias vectors for each of 4 gates · 1000 cells · 8 layers, and one for the 80,000 outputs.
    assert model.parameter_count() == 384_000_000 + 64_000 + 80_000


def test_the_preset_uses_nothing_beside_the_paper() -> None:
    preset = ModelConfig.sutskever2014()
    assert (preset.num_layers, preset.hidden_size, preset.embedding_size, preset.reverse_source) == (
        4,
        1000,
        1000,
        True,
    )
    assert (preset.residual, preset.feed_context, preset.tie_target_embedding) == (False, False, False)
    assert preset.attention == "none"


def test_every_parameter_starts_within_the_papers_range() -> None:
    model = Seq2Seq(
        ModelConfig(source_vocabulary_size=50, target_vocabulary_size=40, embedding_size=32, hidden_size=32)
    )
    model.initialise(seed=1)
    for name, parameter in model.named_parameters():
        assert parameter.abs().max() <= 0.08, name
        assert parameter.abs().max() > 0.05, name
    again = Seq2Seq(model.config)
    again.initialise(seed=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def _numpy_step(
    layer: torch.nn.LSTM, x: NDArray[np.float64], h: NDArray[np.float64], c: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The LSTM of Graves 2013 without peepholes, written out."""
    weights = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    gates = weights["weight_ih_l0"] @ x + weights["weight_hh_l0"] @ h + weights["bias_ih_l0"] + weights["bias_hh_l0"]
    i, f, g, o = np.split(gates, 4)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("feed_context", [False, True])
@pytest.mark.parametrize("reverse_source", [False, True])
def test_the_network_is_its_equations(residual: bool, feed_context: bool, reverse_source: bool) -> None:
    model = _small(residual=residual, feed_context=feed_context, reverse_source=reverse_source)
    source, target = [5, 3, 7, 4], [6, 9, 12]
    read = [*(reversed(source) if reverse_source else source), EOS]
    states = [(np.zeros(6), np.zeros(6)) for _ in range(3)]

    def run(stack: torch.nn.Module, x: NDArray[np.float64]) -> NDArray[np.float64]:
        for index, layer in enumerate(stack.lstm_layers()):
            states[index] = _numpy_step(layer, x, *states[index])
            x = states[index][0] + x if residual and index else states[index][0]
        return x

    for token in read:
        context = run(model.encoder.stack, model.encoder.embedding.weight[token].detach().numpy())
    logits = []
    for token in [EOS, *target]:
        x = model.decoder.embedding.weight[token].detach().numpy()
        top = run(model.decoder.stack, np.concatenate([x, context]) if feed_context else x)
        logits.append(model.decoder.output.weight.detach().numpy() @ top + model.decoder.output.bias.detach().numpy())
    features = model(torch.tensor([source]), torch.tensor([[EOS, *target]]), EOS)
    np.testing.assert_allclose(model.logits(features)[0].detach().numpy(), np.stack(logits), atol=1e-12)


def test_all_layers_hand_their_states_over() -> None:
    """h(x) is 2 · layers · hidden numbers (section 3.4), and each of them reaches the output."""
    model = _small()
    source = torch.tensor([[5, 3, 7]])
    encoded = model.encoder(source, EOS)
    assert encoded.state.hidden_LBH.numel() + encoded.state.cell_LBH.numel() == 2 * 3 * 6
    hidden, cell = encoded.state.hidden_LBH.detach().requires_grad_(), encoded.state.cell_LBH.detach().requires_grad_()
    state = State((hidden, cell))
    outputs, _ = model.decoder(torch.tensor([[EOS, 4]]), encoded, state)
    outputs.sum().backward()
    assert hidden.grad is not None
    assert cell.grad is not None
    assert (hidden.grad.abs() > 0).all()
    assert (cell.grad.abs() > 0).all()


def test_dot_attention_is_its_equations() -> None:
    model = _small(attention="dot")
    encoded = model.encoder(torch.tensor([[5, 3, 7]]), EOS)
    outputs, _ = model.decoder.stack(model.decoder.embedding(torch.tensor([[EOS, 4]])), encoded.state)
    attention = model.decoder.attention
    assert attention is not None
    memory = encoded.memory_BSO[0].detach().numpy()
    combine = attention.combine.weight.detach().numpy()
    found, _ = attention(outputs, attention.remember(encoded.memory_BSO))
    for position in range(2):
        query = outputs[0, position].detach().numpy()
        scores = np.exp(memory @ query)
        attended = (scores / scores.sum()) @ memory
        expected = np.tanh(combine @ np.concatenate([attended, query]))
        np.testing.assert_allclose(found[0, position].detach().numpy(), expected, atol=1e-12)


def test_a_tied_embedding_is_the_output_layer() -> None:
    model = _small(tie_target_embedding=True)
    assert model.decoder.output.weight is model.decoder.embedding.weight
    untied = _small()
    assert untied.parameter_count() - model.parameter_count() == 13 * 6
    with pytest.raises(ValueError, match="embedding_size equal to hidden_size"):
        ModelConfig(
            source_vocabulary_size=9,
            target_vocabulary_size=9,
            embedding_size=4,
            hidden_size=8,
            tie_target_embedding=True,
        )


def test_dropout_is_one_mask_a_sentence_and_keeps_the_mean() -> None:
    torch.manual_seed(1)
    dropped = locked_dropout(torch.ones(200, 5, 50), 0.3)
    assert torch.equal(dropped, dropped[:, :1].expand(-1, 5, -1))
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="hiden_size"):
        ModelConfig.model_validate({"source_vocabulary_size": 9, "target_vocabulary_size": 9, "hiden_size": 4})
