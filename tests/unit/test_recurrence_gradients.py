"""How far gradients reach: against recurrences whose derivatives are known, and against autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training.recurrence.gradients import gradient_norms, measure_gradients, recall_task
from training.recurrence.small_models import CELLS, NO_TARGET, LectureCell, small_model, train
from translator.cells import CellState, make_cell


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", [1, 2])
def test_of_a_linear_recurrence_it_is_the_norm_of_the_weight_s_power(seed: int) -> None:
    weight = numbers(5, 5, seed=seed)

    def step(inputs_BI: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        hidden = state[0] @ weight.T + inputs_BI
        return hidden, (hidden,)

    hidden, whole = gradient_norms(step, numbers(2, 9, 5), (numbers(2, 5),))
    expected = [np.linalg.norm(np.linalg.matrix_power(weight.numpy(), lag), ord=2) for lag in range(10)]
    np.testing.assert_allclose(hidden.numpy(), [expected] * 2, rtol=1e-10)
    torch.testing.assert_close(whole, hidden)


def test_an_lstm_keeps_what_its_forget_gate_lets_through() -> None:
    """Without weights, c_T = F^k c_t at c = 0, and h_T = O tanh(c_T) with O = ½, whatever h_t was."""
    cell = make_cell("lstm", 3, 4).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.get_parameter("bias_ih_l0")[4:8] = 3.0
    inputs = numbers(1, 30, 3)
    hidden, whole = gradient_norms(cell.stepper(), inputs, cell.zero_state(inputs))
    forget = 1 / (1 + math.exp(-3.0))
    expected = [1.0, *(math.sqrt(1.25) * forget**lag for lag in range(1, 31))]
    np.testing.assert_allclose(whole[0].numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(hidden[0].numpy(), [1.0] + [0.0] * 30, atol=1e-15)


@pytest.mark.parametrize("name", CELLS)
def test_it_is_what_autograd_finds_through_the_whole_sequence(name: LectureCell) -> None:
    cell = make_cell(name, 3, 4).double()
    inputs = numbers(1, 6, 3)
    first = tuple(0.5 * numbers(1, 4, seed=index) for index in range(cell.states))
    hidden, whole = gradient_norms(cell.stepper(), inputs, first)
    step = cell.stepper()
    state = first
    for lag in range(6, -1, -1):

        def run(*parts: Tensor, lag: int = lag) -> Tensor:
            after: CellState = parts
            for inputs_BI in inputs[:, 6 - lag :].unbind(1):
                _, after = step(inputs_BI, after)
            return torch.cat(after, dim=1)[0]

        jacobian = torch.cat([part[:, 0] for part in torch.autograd.functional.jacobian(run, state)], dim=1)
        assert float(whole[0, lag]) == pytest.approx(float(torch.linalg.matrix_norm(jacobian, ord=2)), rel=1e-9)
        part = torch.linalg.matrix_norm(jacobian[:4, :4], ord=2)
        assert float(hidden[0, lag]) == pytest.approx(float(part), rel=1e-9)
        if lag:
            _, state = step(inputs[:, 6 - lag], state)


def test_the_first_symbol_is_wanted_at_the_end_and_nothing_else() -> None:
    inputs, targets = recall_task(7, 20, np.random.default_rng(1))
    assert inputs.shape == targets.shape == (20, 9)
    assert torch.equal(targets[:, -1], inputs[:, 0])
    assert bool((targets[:, :-1] == NO_TARGET).all())
    assert not set(inputs[:, 0].tolist()) & set(inputs[:, 1:].flatten().tolist())
    assert len(set(inputs[:, 0].tolist())) > 1


def test_training_learns_what_a_cell_can_hold() -> None:
    generator = np.random.default_rng(1)
    model = small_model("lstm", 17, 16, seed=1)
    losses = train(model, [recall_task(2, 32, generator) for _ in range(150)], learning_rate=0.02)
    assert np.mean(losses[:5]) > 2.0  # ln 8 = 2.08
    assert np.mean(losses[-10:]) < 0.2


def test_all_four_cells_are_measured_and_a_plain_recurrence_has_forgotten_soonest() -> None:
    reaches = {reach.cell: reach for reach in measure_gradients(seed=1, share=0.002)}
    assert tuple(reaches) == CELLS
    for reach in reaches.values():
        assert len(reach.state_at_start) == len(reach.hidden_after_training) == 41
        assert reach.state_at_start[0] == pytest.approx(1.0)
        assert all(0 <= share <= 1 for share in reach.recall.values())
    # PyTorch's initial values have spectral radius 1/√3; half of every gate's c passes on.
    assert reaches["rnn"].state_at_start[30] < 1e-5
    assert reaches["rnn"].hidden_at_start == pytest.approx(reaches["rnn"].state_at_start)
