"""The recurrences of the lecture on recurrent networks, each a cell with the same two ways to be run.

`step` moves on by one position, so that cells are stacked by hand (y₁ = rnn₁.step(x), y₂ = rnn₂.step(y₁), each with its
state); `unroll` runs over whole sequences. Both give the same numbers. σ is the logistic function, ⊙ the product of
elements.

vanilla RNN (`rnn`), output h_t:
    h_t = tanh(W_hx x_t + W_hh h_{t−1} + b_h)
simplified GRU (`simplified-gru`), output c_t and h_t side by side:
    Γᵘ = σ(W_ux x_t + W_uh h_{t−1} + b_u),   h_t = tanh(W_hx x_t + W_hh h_{t−1} + b_h)
    c_t = (1 − Γᵘ) ⊙ c_{t−1} + Γᵘ ⊙ h_t
two-gate GRU (`gru`), the same with
    Γʳ = σ(W_rx x_t + W_rh h_{t−1} + b_r),   h_t = tanh(W_hx x_t + W_hh (Γʳ ⊙ h_{t−1}) + b_h)
LSTM (`lstm`), output h_t (Graves 2013 without peepholes):
    I, F, O = σ(W_· x_t + U_· h_{t−1} + b_·),   c̃_t = tanh(W_c x_t + U_c h_{t−1} + b_c)
    c_t = F ⊙ c_{t−1} + I ⊙ c̃_t,   h_t = O ⊙ tanh(c_t)
cuDNN's GRU (`cudnn-gru`; Cho et al. 2014 with Γʳ moved), output h_t:
    n_t = tanh(W_n x_t + b_n + Γʳ ⊙ (U_n h_{t−1} + b'_n)),   h_t = (1 − z) ⊙ n_t + z ⊙ h_{t−1}
It differs from the lecture's in three things: the reset gate stands behind the product and its bias instead of before
it; there is one state, where the lecture's h_t recurs on h_{t−1} beside a c_t that feeds nothing back; and its gate z
keeps the old where the lecture's Γᵘ takes the new.

The vanilla RNN, the LSTM and cuDNN's GRU are unrolled by PyTorch's kernels, with their two bias vectors, of which the
equations have the sum. The lecture's GRUs have no kernel: all inputs are multiplied at once, the rest is a loop.

B batch, T time, I input, H hidden, O output, G all gates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from translator.config import CellName

CellState = tuple[Tensor, ...]
"""What a cell remembers: one or two tensors [batch, hidden], h first."""

Stepper = Callable[[Tensor, CellState], tuple[Tensor, CellState]]
"""Inputs [batch, input] of one position and a state to outputs [batch, output] and the next state."""


class Cell(nn.Module, ABC):
    """One recurrence. `hidden_size` is the size of each of its `states`, `output_size` that of y_t."""

    states: ClassVar[int]
    outputs: ClassVar[int] = 1
    """How many vectors of `hidden_size` an output is made of."""

    input_size: int
    hidden_size: int

    @property
    def output_size(self) -> int:
        return self.outputs * self.hidden_size

    def zero_state(self, inputs: Tensor) -> CellState:
        """The state before the first of `inputs` [batch, …]."""
        return tuple(inputs.new_zeros(inputs.shape[0], self.hidden_size) for _ in range(self.states))

    def step(self, inputs_BI: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """Outputs [batch, output] and the next state; `state` None stands for zeros."""
        return self.stepper()(inputs_BI, self.zero_state(inputs_BI) if state is None else state)

    @abstractmethod
    def stepper(self) -> Stepper:
        """`step` for many steps: what has to be done with the parameters is done once. Gradients pass through."""

    @abstractmethod
    def unroll(self, inputs_BTI: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """Over whole sequences: outputs [batch, time, output] and the last state; `state` None stands for zeros."""


class VanillaRNN(nn.RNN, Cell):
    """The recurrence `rnn`."""

    states = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def stepper(self) -> Stepper:
        weight, bias = _side_by_side(self)

        def step(inputs_BI: Tensor, state: CellState) -> tuple[Tensor, CellState]:
            hidden_BH = torch.tanh(functional.linear(torch.cat([inputs_BI, state[0]], dim=1), weight, bias))
            return hidden_BH, (hidden_BH,)

        return step

    def unroll(self, inputs_BTI: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        outputs_BTH, hidden_1BH = self(inputs_BTI, None if state is None else state[0].unsqueeze(0))
        return outputs_BTH, (hidden_1BH.squeeze(0),)


class LSTM(nn.LSTM, Cell):
    """The recurrence `lstm`; its states are h and c."""

    states = 2

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def stepper(self) -> Stepper:
        weight, bias = _side_by_side(self)

        def step(inputs_BI: Tensor, state: CellState) -> tuple[Tensor, CellState]:
            hidden_BH, cell_BH = state
            gates_BG = functional.linear(torch.cat([inputs_BI, hidden_BH], dim=1), weight, bias)
            input_gate, forget_gate, candidate, output_gate = gates_BG.chunk(4, dim=1)
            cell_BH = torch.sigmoid(forget_gate) * cell_BH + torch.sigmoid(input_gate) * torch.tanh(candidate)
            hidden_BH = torch.sigmoid(output_gate) * torch.tanh(cell_BH)
            return hidden_BH, (hidden_BH, cell_BH)

        return step

    def unroll(self, inputs_BTI: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        first = None if state is None else (state[0].unsqueeze(0), state[1].unsqueeze(0))
        outputs_BTH, (hidden_1BH, cell_1BH) = self(inputs_BTI, first)
        return outputs_BTH, (hidden_1BH.squeeze(0), cell_1BH.squeeze(0))


class CudnnGRU(nn.GRU, Cell):
    """The recurrence `cudnn-gru`."""

    states = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def stepper(self) -> Stepper:
        weight_ih, weight_hh, bias_ih, bias_hh = _parameters(self)

        def step(inputs_BI: Tensor, state: CellState) -> tuple[Tensor, CellState]:
            (hidden_BH,) = state
            from_inputs = functional.linear(inputs_BI, weight_ih, bias_ih).chunk(3, dim=1)
            from_hidden = functional.linear(hidden_BH, weight_hh, bias_hh).chunk(3, dim=1)
            reset = torch.sigmoid(from_inputs[0] + from_hidden[0])
            keep = torch.sigmoid(from_inputs[1] + from_hidden[1])
            candidate = torch.tanh(from_inputs[2] + reset * from_hidden[2])
            hidden_BH = (1 - keep) * candidate + keep * hidden_BH
            return hidden_BH, (hidden_BH,)

        return step

    def unroll(self, inputs_BTI: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        outputs_BTH, hidden_1BH = self(inputs_BTI, None if state is None else state[0].unsqueeze(0))
        return outputs_BTH, (hidden_1BH.squeeze(0),)


class _LectureGRU(Cell):
    """What the lecture's two GRUs share: the states h and c, and the output [c_t; h_t].

    `weight_ih` [gates, input], `weight_hh` [gates, hidden] and `bias` [gates] have the rows of Γᵘ first, those of h_t
    last.
    """

    states = 2
    outputs = 2
    blocks: ClassVar[int]

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        gates = self.blocks * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(gates, input_size))
        self.weight_hh = nn.Parameter(torch.empty(gates, hidden_size))
        self.bias = nn.Parameter(torch.empty(gates))
        for parameter in self.parameters():  # as PyTorch's own recurrent layers begin
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def stepper(self) -> Stepper:
        def step(inputs_BI: Tensor, state: CellState) -> tuple[Tensor, CellState]:
            return self._advance(functional.linear(inputs_BI, self.weight_ih, self.bias), state)

        return step

    def unroll(self, inputs_BTI: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        state = self.zero_state(inputs_BTI) if state is None else state
        outputs = []
        for from_inputs_BG in functional.linear(inputs_BTI, self.weight_ih, self.bias).unbind(dim=1):
            outputs_BO, state = self._advance(from_inputs_BG, state)
            outputs.append(outputs_BO)
        return torch.stack(outputs, dim=1), state

    def _advance(self, from_inputs_BG: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        hidden_BH, cell_BH = state
        update_BH, hidden_BH = self._gate_and_hidden(from_inputs_BG, hidden_BH)
        cell_BH = (1 - update_BH) * cell_BH + update_BH * hidden_BH
        return torch.cat([cell_BH, hidden_BH], dim=1), (hidden_BH, cell_BH)

    @abstractmethod
    def _gate_and_hidden(self, from_inputs_BG: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Γᵘ and h_t, from the inputs' share of the sums and h_{t−1}."""


class SimplifiedGRU(_LectureGRU):
    """The recurrence `simplified-gru`."""

    blocks = 2

    def _gate_and_hidden(self, from_inputs_BG: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        update, candidate = (from_inputs_BG + functional.linear(hidden_BH, self.weight_hh)).chunk(2, dim=1)
        return torch.sigmoid(update), torch.tanh(candidate)


class TwoGateGRU(_LectureGRU):
    """The recurrence `gru`; the rows of Γʳ stand between those of Γᵘ and h_t."""

    blocks = 3

    def _gate_and_hidden(self, from_inputs_BG: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        gates = 2 * self.hidden_size
        sums = from_inputs_BG[:, :gates] + functional.linear(hidden_BH, self.weight_hh[:gates])
        update, reset = torch.sigmoid(sums).chunk(2, dim=1)
        candidate = from_inputs_BG[:, gates:] + functional.linear(reset * hidden_BH, self.weight_hh[gates:])
        return update, torch.tanh(candidate)


CELLS: dict[CellName, type[VanillaRNN | LSTM | CudnnGRU | SimplifiedGRU | TwoGateGRU]] = {
    "lstm": LSTM,
    "rnn": VanillaRNN,
    "simplified-gru": SimplifiedGRU,
    "gru": TwoGateGRU,
    "cudnn-gru": CudnnGRU,
}
"""The cells by their names in a configuration."""


def make_cell(name: CellName, input_size: int, hidden_size: int) -> Cell:
    """A cell, with PyTorch's own initial values."""
    return CELLS[name](input_size, hidden_size)


def _parameters(layer: nn.RNNBase) -> tuple[Tensor, ...]:
    # Not get_parameter, which refuses the tensors that torch.func puts in the parameters' places.
    return tuple(getattr(layer, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def _side_by_side(layer: nn.RNNBase) -> tuple[Tensor, Tensor]:
    """Input and recurrent weights [gates, input + hidden], so that a step is one product, and the sum of the biases."""
    weight_ih, weight_hh, bias_ih, bias_hh = _parameters(layer)
    return torch.cat([weight_ih, weight_hh], dim=1), bias_ih + bias_hh
