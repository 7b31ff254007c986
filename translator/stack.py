"""Cells on top of each other: what the encoder, the decoder and the language model are built of.

B batch, T time, L layers, I input, H hidden, O output of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from translator.cells import Cell, CellState, make_cell
from translator.config import CellName


class Embedding(nn.Embedding):
    """PyTorch's, but nothing is drawn on the device "meta": PyTorch would load its compiler, 80 MiB, for it."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


@dataclass(frozen=True)
class State:
    """What a stack remembers: `parts_LBH` are one or two tensors [layers, batch, hidden], the hidden states first.

    `attended_BO` is beside them in a decoder with input feeding: the attention's last output; None stands for zeros.
    """

    parts_LBH: tuple[Tensor, ...]
    attended_BO: Tensor | None = None

    @property
    def hidden_LBH(self) -> Tensor:  # noqa: N802
        return self.parts_LBH[0]

    @property
    def cell_LBH(self) -> Tensor:  # noqa: N802
        """c of an LSTM or of one of the lecture's GRUs. Raises `ValueError` where the cell has no second state."""
        if len(self.parts_LBH) < 2:
            raise ValueError("this cell has one state only")
        return self.parts_LBH[1]

    def of_layer(self, layer: int) -> CellState:
        return tuple(part_LBH[layer] for part_LBH in self.parts_LBH)

    def take(self, indices: Tensor) -> State:
        """The rows of the batch at `indices` (int64), in that order; an index may repeat."""
        attended = None if self.attended_BO is None else self.attended_BO.index_select(0, indices)
        return State(tuple(part.index_select(1, indices) for part in self.parts_LBH), attended)

    def append(self, other: State) -> State:
        """This batch, and after it the other's."""
        attended = self.attended_BO
        if attended is not None and other.attended_BO is not None:
            attended = torch.cat([attended, other.attended_BO])
        parts = zip(self.parts_LBH, other.parts_LBH, strict=True)
        return State(tuple(torch.cat(pair, dim=1) for pair in parts), attended)


StackStepper = Callable[[Tensor, State], tuple[Tensor, State]]
"""Inputs [batch, input] of one position and a state to outputs [batch, output] and the next state."""


class Bidirectional(nn.Module):
    """A layer that reads in both directions, with a cell of half the size for each (Schuster & Paliwal 1997).

    What both give stands side by side, outputs at each position and last states alike, so that everything has the
    shapes of a layer that reads in one direction.
    """

    def __init__(self, cell: CellName, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.ahead = make_cell(cell, input_size, hidden_size // 2)
        self.back = make_cell(cell, input_size, hidden_size // 2)

    @property
    def output_size(self) -> int:
        return self.ahead.output_size + self.back.output_size

    def unroll(self, inputs_BTI: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """As `Cell.unroll`. Raises `ValueError` for a `state`: there is nothing to go on from."""
        if state is not None:
            raise ValueError("a bidirectional layer reads whole sequences only")
        ahead_BTO, ahead = self.ahead.unroll(inputs_BTI)
        back_BTO, back = self.back.unroll(inputs_BTI.flip(1))
        states = tuple(torch.cat(pair, dim=1) for pair in zip(ahead, back, strict=True))
        return torch.cat([ahead_BTO, back_BTO.flip(1)], dim=2), states


class RecurrentStack(nn.Module):
    """Layers of one kind of cell, each run over the whole sequence before the next."""

    def __init__(
        self,
        cell: CellName,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        residual: bool,
        bidirectional: bool = False,
    ) -> None:
        """`residual`: from the second layer on, a layer's input is added to its output."""
        super().__init__()
        self.residual = residual
        self.layers = nn.ModuleList()
        for _ in range(num_layers):
            layer = (Bidirectional if bidirectional else make_cell)(cell, input_size, hidden_size)
            self.layers.append(layer)
            input_size = layer.output_size
        self.output_size = input_size
        self.bidirectional = bidirectional

    def cells(self) -> list[Cell]:
        """The layers, lowest first; none where they are bidirectional."""
        return [layer for layer in self.layers if isinstance(layer, Cell)]

    def lstm_layers(self) -> list[nn.LSTM]:
        """The layers that are LSTMs, lowest first; of a bidirectional one, `ahead` and then `back`."""
        single = [
            cell
            for layer in self.layers
            for cell in ((layer.ahead, layer.back) if isinstance(layer, Bidirectional) else (layer,))
        ]
        return [cell for cell in single if isinstance(cell, nn.LSTM)]

    def forward(self, inputs_BTI: Tensor, state: State | None, dropout: float = 0.0) -> tuple[Tensor, State]:
        """Run over [batch, time, input]; returns the top outputs [batch, time, output] and the last state.

        `state` None stands for zeros. `dropout` acts on each layer's input; it is the caller's to give it in training
        only.
        """
        states: list[CellState] = []
        outputs_BTO = inputs_BTI
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Cell | Bidirectional)
            layer_inputs = locked_dropout(outputs_BTO, dropout)
            layer_outputs, last = layer.unroll(layer_inputs, None if state is None else state.of_layer(index))
            outputs_BTO = layer_outputs + layer_inputs if self.residual and index > 0 else layer_outputs
            states.append(last)
        return outputs_BTO, _together(states)

    def ends(self, outputs_BTO: Tensor) -> Tensor:
        """The outputs [batch, output] after everything was read: the backward half's at the first position."""
        if not self.bidirectional:
            return outputs_BTO[:, -1]
        half = self.output_size // 2
        return torch.cat([outputs_BTO[:, -1, :half], outputs_BTO[:, 0, half:]], dim=1)

    def zero_state(self, inputs: Tensor) -> State:
        """The state before the first of `inputs` [batch, …]."""
        return _together([cell.zero_state(inputs) for cell in self.cells()])

    def stepper(self, masks: Sequence[Tensor] = ()) -> StackStepper:
        """The stack by single steps, its parameters laid out once. Gradients pass through.

        `masks`, if any, are `dropout_masks`: what each layer's input is multiplied by.
        """
        steppers = [cell.stepper() for cell in self.cells()]

        def step(inputs_BI: Tensor, state: State) -> tuple[Tensor, State]:
            states: list[CellState] = []
            outputs_BO = inputs_BI
            for index, stepper in enumerate(steppers):
                layer_inputs = outputs_BO * masks[index] if masks else outputs_BO
                layer_outputs, after = stepper(layer_inputs, state.of_layer(index))
                outputs_BO = layer_outputs + layer_inputs if self.residual and index > 0 else layer_outputs
                states.append(after)
            return outputs_BO, _together(states)

        return step

    def dropout_masks(self, inputs: Tensor, probability: float) -> list[Tensor]:
        """For `stepper`: one mask [batch, input] a layer, the same at all positions, for `inputs` [batch, …]."""
        if probability == 0.0:
            return []
        return [
            functional.dropout(inputs.new_ones(inputs.shape[0], cell.input_size), probability) for cell in self.cells()
        ]


def locked_dropout(inputs_BTE: Tensor, probability: float) -> Tensor:
    """Zero the same units at all positions of a sentence, [batch, time, units] (Gal & Ghahramani 2016, section 4)."""
    if probability == 0.0:
        return inputs_BTE
    mask_B1E = functional.dropout(inputs_BTE.new_ones(inputs_BTE.shape[0], 1, inputs_BTE.shape[2]), probability)
    return inputs_BTE * mask_B1E


def _together(states: Sequence[CellState]) -> State:
    """The states of all layers as one."""
    return State(tuple(torch.stack(parts) for parts in zip(*states, strict=True)))
