"""What the gates of a cell do while it reads: their activations at every position.

T time, I input, H hidden.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel
from torch import Tensor
from torch.nn import functional

from translator.cells import LSTM, Cell, TwoGateGRU
from translator.language_model_directory import LoadedLanguageModel

_LSTM_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_SHOWN_UNITS = 32


class CellGates(BaseModel):
    """The gates of one cell over the characters of a sentence.

    `means` are the means over all units of each gate, [characters]. `keeping` is what is kept of c, an LSTM's forget
    gate or 1 − a GRU's update gate, [characters, units]: the units that move most, the fullest first.
    """

    cell: str
    means: dict[str, list[float]]
    keeping: list[list[float]]


@torch.no_grad()
def gate_activations(cell: Cell, inputs_TI: Tensor) -> dict[str, Tensor]:
    """The gates of an LSTM (input, forget, output) or of the two-gate GRU (update, reset), each [time, hidden].

    The equations are those of `translator.cells`, from a state of zeros. Raises `TypeError` for another cell.
    """
    step, state = cell.stepper(), cell.zero_state(inputs_TI[None, 0])
    found = []
    for inputs_I in inputs_TI:
        found.append(_gates(cell, inputs_I, state[0][0]))
        _, state = step(inputs_I[None], state)
    return {name: torch.stack([gates[name] for gates in found]) for name in found[0]}


def _gates(cell: Cell, inputs_I: Tensor, hidden_H: Tensor) -> dict[str, Tensor]:
    size = cell.hidden_size
    if isinstance(cell, LSTM):
        weight_ih, weight_hh, *biases = (cell.get_parameter(f"{name}_l0") for name in _LSTM_PARAMETERS)
        sums = functional.linear(inputs_I, weight_ih) + functional.linear(hidden_H, weight_hh) + sum(biases)
        input_gate, forget_gate, _, output_gate = sums.chunk(4)
        sums_of = {"input": input_gate, "forget": forget_gate, "output": output_gate}
    elif isinstance(cell, TwoGateGRU):
        sums = functional.linear(inputs_I, cell.weight_ih[: 2 * size], cell.bias[: 2 * size])
        update, reset = (sums + functional.linear(hidden_H, cell.weight_hh[: 2 * size])).chunk(2)
        sums_of = {"update": update, "reset": reset}
    else:
        raise TypeError(f"{type(cell).__name__} has no gates that are looked at here")
    return {name: torch.sigmoid(value) for name, value in sums_of.items()}


def read(loaded: LoadedLanguageModel, sentence: str) -> dict[str, Tensor]:
    """The gates of a language model's first layer over the characters of `sentence`, each [characters, hidden].

    Row t belongs to the step that reads character t; the mark of the beginning has been read before. Raises
    `ValueError` where the model's units are not single characters.
    """
    ids = loaded.vocabulary.encode(sentence)
    before = 1 + len(ids) - len(sentence)  # SentencePiece sets a space before a text
    if before not in (1, 2):
        raise ValueError(f"{loaded.path}: reads {len(ids)} units in {len(sentence)} characters")
    with torch.no_grad():
        inputs_TI = loaded.model.embedding(torch.tensor([loaded.vocabulary.eos_id, *ids]))
    cell = loaded.model.stack.cells()[0]
    return {name: activations[before:] for name, activations in gate_activations(cell, inputs_TI).items()}


def summarised(cell: str, activations: dict[str, Tensor]) -> CellGates:
    """What is shown of the activations that `read` gives."""
    kept_TH = activations["forget"] if "forget" in activations else 1 - activations["update"]
    moving_TH = kept_TH[:, kept_TH.std(dim=0).argsort(descending=True)[:_SHOWN_UNITS]]
    shown_TH = moving_TH[:, moving_TH.mean(dim=0).argsort(descending=True)]
    means = {name: [round(value, 4) for value in values.mean(dim=1).tolist()] for name, values in activations.items()}
    return CellGates(cell=cell, means=means, keeping=[[round(value, 3) for value in row] for row in shown_TH.tolist()])
