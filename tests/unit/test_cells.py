"""The cells against the lecture's equations, written out in numpy in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from translator.cells import CELLS, Cell, make_cell
from translator.config import CellName

Floats = NDArray[np.float64]
Weights = dict[str, Floats]
States = tuple[Floats, ...]

NAMES: tuple[CellName, ...] = get_args(CellName)
KERNELS: tuple[CellName, ...] = ("rnn", "lstm", "cudnn-gru")
INPUT, HIDDEN = 3, 4


def cell(name: CellName, input_size: int = INPUT, seed: int = 5) -> Cell:
    made = make_cell(name, input_size, HIDDEN).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.uniform_(-0.9, 0.9, generator=generator)
    return made


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def rows(matrix: Floats, block: int) -> Floats:
    """The rows of one gate."""
    return matrix[block * HIDDEN : (block + 1) * HIDDEN]


def rnn(w: Weights, x: Floats, before: States) -> tuple[Floats, States]:
    (h,) = before
    h = np.tanh(w["weight_hh_l0"] @ h + w["weight_ih_l0"] @ x + w["bias_ih_l0"] + w["bias_hh_l0"])
    return h, (h,)


def simplified_gru(w: Weights, x: Floats, before: States) -> tuple[Floats, States]:
    h, c = before
    w_ux, w_hx = rows(w["weight_ih"], 0), rows(w["weight_ih"], 1)
    w_uh, w_hh = rows(w["weight_hh"], 0), rows(w["weight_hh"], 1)
    b_u, b_h = rows(w["bias"], 0), rows(w["bias"], 1)
    update = sigmoid(w_ux @ x + w_uh @ h + b_u)
    h = np.tanh(w_hx @ x + w_hh @ h + b_h)
    c = (1 - update) * c + update * h
    return np.concatenate([c, h]), (h, c)


def gru(w: Weights, x: Floats, before: States) -> tuple[Floats, States]:
    h, c = before
    w_ux, w_rx, w_hx = (rows(w["weight_ih"], block) for block in range(3))
    w_uh, w_rh, w_hh = (rows(w["weight_hh"], block) for block in range(3))
    b_u, b_r, b_h = (rows(w["bias"], block) for block in range(3))
    update = sigmoid(w_ux @ x + w_uh @ h + b_u)
    reset = sigmoid(w_rx @ x + w_rh @ h + b_r)
    h = np.tanh(w_hx @ x + w_hh @ (reset * h) + b_h)
    c = (1 - update) * c + update * h
    return np.concatenate([c, h]), (h, c)


def cudnn_gru(w: Weights, x: Floats, before: States) -> tuple[Floats, States]:
    (h,) = before
    w_rx, w_zx, w_nx = (rows(w["weight_ih_l0"], block) for block in range(3))
    w_rh, w_zh, w_nh = (rows(w["weight_hh_l0"], block) for block in range(3))
    b_r, b_z, b_n = (rows(w["bias_ih_l0"], block) for block in range(3))
    d_r, d_z, d_n = (rows(w["bias_hh_l0"], block) for block in range(3))
    reset = sigmoid(w_rx @ x + b_r + w_rh @ h + d_r)
    keep = sigmoid(w_zx @ x + b_z + w_zh @ h + d_z)
    new = np.tanh(w_nx @ x + b_n + reset * (w_nh @ h + d_n))
    h = (1 - keep) * new + keep * h
    return h, (h,)


def lstm(w: Weights, x: Floats, before: States) -> tuple[Floats, States]:
    h, c = before
    bias = w["bias_ih_l0"] + w["bias_hh_l0"]
    i, f, candidate, o = (
        rows(w["weight_ih_l0"], block) @ x + rows(w["weight_hh_l0"], block) @ h + rows(bias, block)
        for block in range(4)
    )
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


EQUATIONS: dict[CellName, Callable[[Weights, Floats, States], tuple[Floats, States]]] = {
    "rnn": rnn,
    "simplified-gru": simplified_gru,
    "gru": gru,
    "cudnn-gru": cudnn_gru,
    "lstm": lstm,
}


def test_every_name_has_its_cell_and_its_equation() -> None:
    assert set(CELLS) == set(EQUATIONS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by", ["step", "unroll"])
def test_a_cell_is_its_equation(name: CellName, by: str) -> None:
    tested = cell(name)
    weights = {key: parameter.detach().numpy() for key, parameter in tested.named_parameters()}
    inputs_BTI = numbers(2, 5, INPUT)
    first = tuple(numbers(2, HIDDEN, seed=index) for index in range(tested.states))
    if by == "unroll":
        outputs_BTO, last = tested.unroll(inputs_BTI, first)
    else:
        outputs, last = [], first
        for inputs_BI in inputs_BTI.unbind(1):
            outputs_BO, last = tested.step(inputs_BI, last)
            outputs.append(outputs_BO)
        outputs_BTO = torch.stack(outputs, dim=1)
    assert outputs_BTO.shape == (2, 5, tested.output_size)
    for row in range(2):
        states = tuple(part[row].numpy() for part in first)
        for position in range(5):
            expected, states = EQUATIONS[name](weights, inputs_BTI[row, position].numpy(), states)
            np.testing.assert_allclose(outputs_BTO[row, position].detach().numpy(), expected, rtol=0, atol=1e-13)
        for found, state in zip(last, states, strict=True):
            np.testing.assert_allclose(found[row].detach().numpy(), state, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_state_it_begins_with_zeros(name: CellName) -> None:
    tested = cell(name)
    inputs_BTI = numbers(2, 3, INPUT)
    zeros = tuple(torch.zeros(2, HIDDEN, dtype=torch.float64) for _ in range(tested.states))
    for found, expected in (
        (tested.unroll(inputs_BTI), tested.unroll(inputs_BTI, zeros)),
        (tested.step(inputs_BTI[:, 0]), tested.step(inputs_BTI[:, 0], zeros)),
    ):
        assert torch.equal(found[0], expected[0])
        assert all(torch.equal(*pair) for pair in zip(found[1], expected[1], strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by", ["step", "unroll"])
def test_gradients_are_those_of_finite_differences(name: CellName, by: str) -> None:
    """With respect to the inputs, the first state and every parameter."""
    tested = cell(name)
    names = [key for key, _ in tested.named_parameters()]
    parameters = [parameter.detach().clone().requires_grad_() for parameter in tested.parameters()]
    inputs_BTI = numbers(2, 3, INPUT).requires_grad_()
    first = [numbers(2, HIDDEN, seed=index).requires_grad_() for index in range(tested.states)]

    class Run(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = tested

        def forward(self, inputs_BTI: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            if by == "unroll":
                outputs, last = self.cell.unroll(inputs_BTI, state)
                return outputs, *last
            outputs_BO, last = inputs_BTI[:, 0], state
            for inputs_BI in inputs_BTI.unbind(1):
                outputs_BO, last = self.cell.step(inputs_BI, last)
            return outputs_BO, *last

    run = Run()

    def outputs(inputs_BTI: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        given = {f"cell.{key}": value for key, value in zip(names, others[tested.states :], strict=True)}
        found: tuple[Tensor, ...] = torch.func.functional_call(run, given, (inputs_BTI, *others[: tested.states]))
        return found

    assert torch.autograd.gradcheck(outputs, (inputs_BTI, *first, *parameters), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_two_cells_stacked_by_hand_are_two_layers(name: CellName) -> None:
    """y₁ = rnn₁.step(x), y₂ = rnn₂.step(y₁), against one layer after the other over the whole sequence."""
    lower = cell(name)
    upper = cell(name, input_size=lower.output_size, seed=6)
    inputs_BTI = numbers(3, 6, INPUT)
    lower_state = upper_state = None
    found = []
    for inputs_BI in inputs_BTI.unbind(1):
        y_1, lower_state = lower.step(inputs_BI, lower_state)
        y_2, upper_state = upper.step(y_1, upper_state)
        found.append(y_2)
    assert lower_state is not None
    assert upper_state is not None
    between_BTO, last_lower = lower.unroll(inputs_BTI)
    expected_BTO, last_upper = upper.unroll(between_BTO)
    torch.testing.assert_close(torch.stack(found, dim=1), expected_BTO, rtol=0, atol=1e-13)
    for one, other in zip((*lower_state, *upper_state), (*last_lower, *last_upper), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", KERNELS)
def test_the_kernel_gives_the_gradients_of_the_plain_path(name: CellName) -> None:
    inputs_BTI = numbers(2, 7, INPUT)
    gradients = []
    for by_kernel in (True, False):
        tested = cell(name)
        if by_kernel:
            outputs_BTO, _ = tested.unroll(inputs_BTI)
        else:
            step, state = tested.stepper(), tested.zero_state(inputs_BTI)
            outputs = []
            for inputs_BI in inputs_BTI.unbind(1):
                outputs_BO, state = step(inputs_BI, state)
                outputs.append(outputs_BO)
            outputs_BTO = torch.stack(outputs, dim=1)
        (outputs_BTO * numbers(*outputs_BTO.shape, seed=9)).sum().backward()
        gradients.append({key: parameter.grad for key, parameter in tested.named_parameters()})
    for key, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], expected, rtol=0, atol=1e-12)


def test_the_lectures_gru_is_not_cudnns() -> None:
    """Where the reset gate is shut, the lecture's h_t forgets all before it; in cuDNN's the hidden bias stays."""
    lecture, other = cell("gru"), cell("cudnn-gru")
    with torch.no_grad():
        lecture.get_parameter("bias")[HIDDEN : 2 * HIDDEN] = -100.0
        other.get_parameter("bias_ih_l0")[:HIDDEN] = 100.0
        other.get_parameter("bias_ih_l0")[HIDDEN : 2 * HIDDEN] = -100.0
    x = numbers(1, INPUT)
    states = [(numbers(1, HIDDEN, seed=seed), numbers(1, HIDDEN, seed=seed + 1)) for seed in (3, 8)]
    hidden = [lecture.step(x, state)[1][0] for state in states]
    torch.testing.assert_close(hidden[0], hidden[1], rtol=0, atol=1e-12)
    # Open, and with z at 0: the bias inside the reset product counts in full.
    one = other.step(x, states[0][:1])[0]
    with torch.no_grad():
        other.get_parameter("bias_hh_l0")[2 * HIDDEN :] += 0.5
    assert (other.step(x, states[0][:1])[0] - one).abs().min() > 1e-3
