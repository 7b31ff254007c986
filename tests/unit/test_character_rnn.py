"""A character-level RNN in plain numpy, its gradients by hand, and the cell that must agree with it.

The program is the lecture's exercise: predict every next character of a text, add up the cross-entropy, go back through
time with the chain rule alone, and cut every element of the gradient to at most 5 in magnitude.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from translator.cells import VanillaRNN

Floats = NDArray[np.float64]
Parameters = dict[str, Floats]

TEXT = "the quick brown fox jumps over the lazy dog"
HIDDEN = 16
LIMIT = 5.0


def drawn(characters: int, scale: float) -> Parameters:
    generator = np.random.default_rng(4)
    shapes = {
        "W_hx": (HIDDEN, characters),
        "W_hh": (HIDDEN, HIDDEN),
        "W_yh": (characters, HIDDEN),
        "b_h": (HIDDEN,),
        "b_y": (characters,),
    }
    return {name: scale * generator.standard_normal(shape) for name, shape in shapes.items()}


def loss_and_gradients(p: Parameters, ids: list[int], h_first: Floats) -> tuple[float, Parameters, Floats]:
    """Summed cross-entropy in nats of ids[1:] given what stands before, its clipped gradients, and the last h."""
    inputs, targets = ids[:-1], ids[1:]
    h, probability = {-1: h_first}, {}
    loss = 0.0
    for t, character in enumerate(inputs):
        # A one-hot x_t picks a column of W_hx.
        h[t] = np.tanh(p["W_hx"][:, character] + p["W_hh"] @ h[t - 1] + p["b_h"])
        scores = p["W_yh"] @ h[t] + p["b_y"]
        weights = np.exp(scores - scores.max())
        probability[t] = weights / weights.sum()
        loss -= float(np.log(probability[t][targets[t]]))
    gradient = {name: np.zeros_like(value) for name, value in p.items()}
    from_future = np.zeros(HIDDEN)
    for t in reversed(range(len(inputs))):
        d_scores = probability[t].copy()
        d_scores[targets[t]] -= 1
        gradient["W_yh"] += np.outer(d_scores, h[t])
        gradient["b_y"] += d_scores
        d_h = p["W_yh"].T @ d_scores + from_future
        d_sum = (1 - h[t] ** 2) * d_h
        gradient["b_h"] += d_sum
        gradient["W_hx"][:, inputs[t]] += d_sum
        gradient["W_hh"] += np.outer(d_sum, h[t - 1])
        from_future = p["W_hh"].T @ d_sum
    clipped = {name: np.clip(value, -LIMIT, LIMIT) for name, value in gradient.items()}
    return loss, clipped, h[len(inputs) - 1]


def encoded() -> tuple[list[int], int]:
    alphabet = sorted(set(TEXT))
    return [alphabet.index(character) for character in TEXT], len(alphabet)


@pytest.mark.parametrize(("length", "scale", "clips"), [(8, 0.1, False), (len(TEXT), 0.3, True)])
def test_the_cell_agrees_with_the_lectures_program(length: int, scale: float, clips: bool) -> None:
    ids, characters = encoded()
    ids = ids[:length]
    parameters = drawn(characters, scale)
    h_first = np.random.default_rng(5).standard_normal(HIDDEN)
    loss, gradients, h_last = loss_and_gradients(parameters, ids, h_first)

    cell = VanillaRNN(characters, HIDDEN).double()
    with torch.no_grad():
        cell.get_parameter("weight_ih_l0").copy_(torch.from_numpy(parameters["W_hx"]))
        cell.get_parameter("weight_hh_l0").copy_(torch.from_numpy(parameters["W_hh"]))
        cell.get_parameter("bias_ih_l0").copy_(torch.from_numpy(parameters["b_h"]))
        cell.get_parameter("bias_hh_l0").zero_()
    weight = torch.from_numpy(parameters["W_yh"]).requires_grad_()
    bias = torch.from_numpy(parameters["b_y"]).requires_grad_()
    inputs = functional.one_hot(torch.tensor([ids[:-1]]), characters).double()
    outputs, (last,) = cell.unroll(inputs, (torch.from_numpy(h_first).unsqueeze(0),))
    torch_loss = functional.cross_entropy(
        functional.linear(outputs[0], weight, bias), torch.tensor(ids[1:]), reduction="sum"
    )
    torch_loss.backward()
    found = {
        "W_hx": cell.get_parameter("weight_ih_l0"),
        "W_hh": cell.get_parameter("weight_hh_l0"),
        "W_yh": weight,
        "b_h": cell.get_parameter("bias_ih_l0"),
        "b_y": bias,
    }
    reaches_limit = any(bool((parameter.grad.abs() > LIMIT).any()) for parameter in found.values())
    assert reaches_limit == clips
    torch.nn.utils.clip_grad_value_(found.values(), LIMIT)

    assert torch_loss.item() == pytest.approx(loss, abs=1e-10)
    np.testing.assert_allclose(last[0].detach().numpy(), h_last, rtol=0, atol=1e-10)
    for name, parameter in found.items():
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[name], rtol=0, atol=1e-10, err_msg=name)


def test_the_hand_written_gradient_is_that_of_finite_differences() -> None:
    ids, characters = encoded()
    parameters = drawn(characters, 0.1)
    h_first = np.zeros(HIDDEN)
    _, gradients, _ = loss_and_gradients(parameters, ids, h_first)
    generator = np.random.default_rng(6)
    for name, value in parameters.items():
        for flat in generator.integers(0, value.size, 5):
            place = np.unravel_index(flat, value.shape)
            losses = []
            for change in (1e-5, -1e-5):
                value[place] += change
                losses.append(loss_and_gradients(parameters, ids, h_first)[0])
                value[place] -= change
            assert gradients[name][place] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-6)
