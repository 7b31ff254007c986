"""The reference engine: plain PyTorch on any device and in any floating-point type.

Each layer's input and recurrent weights stand side by side, so that a step is one matrix product a layer.
B batch, S source positions, L layers, R rows (live hypotheses), H hidden, E embedding, V target vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from translator.engines.base import Beams, Extensions, Integers
from translator.engines.selection import best_extensions
from translator.model import Encoded, Seq2Seq


@dataclass(frozen=True)
class ReferenceRows:
    """The decoder's state of R hypotheses.

    `hidden_LRH` and `cell_LRH` [layers, rows, hidden]; `context_RH` [rows, hidden]. With attention also `memory_RSH`
    [rows, source, hidden], padded with zeros, and `memory_mask_RS`, true at real positions.
    """

    hidden_LRH: Tensor
    cell_LRH: Tensor
    context_RH: Tensor
    memory_RSH: Tensor | None
    memory_mask_RS: Tensor | None


class ReferenceEngine:
    """Steps a `Seq2Seq` as it is: its device, its floating-point type."""

    def __init__(
        self, model: Seq2Seq, *, source_eos_id: int, target_eos_id: int, forbidden: Sequence[int] = ()
    ) -> None:
        """`forbidden` target tokens, such as `<pad>`, get probability 0. The decoder's LSTM
        weights are those at the time of this call; all others stay the model's.
        """
        self._model = model
        self._source_eos_id = source_eos_id
        self.eos_id = target_eos_id
        self.vocabulary_size = model.config.target_vocabulary_size
        layers = model.decoder.stack.lstm_layers()
        self._weights = [
            torch.cat([layer.get_parameter("weight_ih_l0"), layer.get_parameter("weight_hh_l0")], dim=1).detach()
            for layer in layers
        ]
        self._biases = [
            (layer.get_parameter("bias_ih_l0") + layer.get_parameter("bias_hh_l0")).detach() for layer in layers
        ]
        self._residual = model.config.residual
        self._forbidden = torch.tensor(list(forbidden), dtype=torch.int64, device=self._weights[0].device)

    @property
    def precision(self) -> str:
        """Number format of the weights."""
        return str(self._weights[0].dtype).removeprefix("torch.")

    def describe(self) -> str:
        """See `Engine.describe`."""
        device = self._weights[0].device
        threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
        return f"reference, {self.precision}, {device}{threads}"

    @torch.inference_mode()
    def encode(self, sources: Sequence[Sequence[int]]) -> ReferenceRows:
        """One row for each source sentence (token ids in reading order, without `<EOS>`).

        Sentences of equal length run together, so that no padding enters h(x).
        """
        device = self._weights[0].device
        groups: dict[int, list[int]] = {}
        for index, source in enumerate(sources):
            groups.setdefault(len(source), []).append(index)
        parts = []
        for length, members in groups.items():
            source_BS = torch.tensor([list(sources[index]) for index in members], dtype=torch.int64, device=device)
            parts.append(self._rows(self._model.encoder(source_BS.reshape(len(members), length), self._source_eos_id)))
        rows = parts[0]
        for part in parts[1:]:
            rows = self.append(rows, part)
        order = torch.tensor([index for members in groups.values() for index in members], device=device)
        return self._take(rows, torch.argsort(order))

    @torch.inference_mode()
    def step(self, rows: ReferenceRows, beams: Beams) -> tuple[Extensions, ReferenceRows]:
        """See `Engine.step`."""
        log_probabilities_RV, stepped = self.log_probabilities(rows, torch.from_numpy(beams.tokens_R))
        return best_extensions(log_probabilities_RV, beams, self.eos_id), stepped

    @torch.inference_mode()
    def log_probabilities(self, rows: ReferenceRows, tokens_R: Tensor) -> tuple[Tensor, ReferenceRows]:
        """Log-probabilities [R, V] of the token after `tokens_R` (int64 [R]), and the rows after it."""
        decoder = self._model.decoder
        inputs = functional.embedding(tokens_R.to(rows.hidden_LRH.device), decoder.embedding.weight)
        if decoder.feed_context:
            inputs = torch.cat([inputs, rows.context_RH], dim=1)
        hidden, cell = [], []
        for index, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            gates = functional.linear(torch.cat([inputs, rows.hidden_LRH[index]], dim=1), weight, bias)
            input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
            cell_RH = torch.sigmoid(forget_gate) * rows.cell_LRH[index] + torch.sigmoid(input_gate) * torch.tanh(
                candidate
            )
            hidden_RH = torch.sigmoid(output_gate) * torch.tanh(cell_RH)
            inputs = hidden_RH + inputs if self._residual and index > 0 else hidden_RH
            hidden.append(hidden_RH)
            cell.append(cell_RH)
        features = inputs if decoder.attention is None else self._attend(rows, inputs)
        log_probabilities = torch.log_softmax(decoder.output(features), dim=1)
        log_probabilities[:, self._forbidden] = -torch.inf
        stepped = ReferenceRows(
            torch.stack(hidden), torch.stack(cell), rows.context_RH, rows.memory_RSH, rows.memory_mask_RS
        )
        return log_probabilities, stepped

    @torch.inference_mode()
    def take(self, rows: ReferenceRows, indices: Integers) -> ReferenceRows:
        """See `Engine.take`."""
        return self._take(rows, torch.from_numpy(indices).to(rows.hidden_LRH.device))

    @staticmethod
    def _take(rows: ReferenceRows, indices: Tensor) -> ReferenceRows:
        return ReferenceRows(
            rows.hidden_LRH.index_select(1, indices),
            rows.cell_LRH.index_select(1, indices),
            rows.context_RH.index_select(0, indices),
            None if rows.memory_RSH is None else rows.memory_RSH.index_select(0, indices),
            None if rows.memory_mask_RS is None else rows.memory_mask_RS.index_select(0, indices),
        )

    @torch.inference_mode()
    def append(self, rows: ReferenceRows, others: ReferenceRows) -> ReferenceRows:
        """See `Engine.append`."""
        memory, mask = rows.memory_RSH, rows.memory_mask_RS
        if (
            memory is not None
            and mask is not None
            and others.memory_RSH is not None
            and others.memory_mask_RS is not None
        ):
            longest = max(memory.shape[1], others.memory_RSH.shape[1])
            memory = torch.cat([_pad(memory, longest), _pad(others.memory_RSH, longest)])
            mask = torch.cat([_pad(mask, longest), _pad(others.memory_mask_RS, longest)])
        return ReferenceRows(
            torch.cat([rows.hidden_LRH, others.hidden_LRH], dim=1),
            torch.cat([rows.cell_LRH, others.cell_LRH], dim=1),
            torch.cat([rows.context_RH, others.context_RH]),
            memory,
            mask,
        )

    def _rows(self, encoded: Encoded) -> ReferenceRows:
        attends = self._model.decoder.attention is not None
        memory = encoded.memory_BSH if attends else None
        mask = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device) if memory is not None else None
        return ReferenceRows(encoded.state.hidden_LBH, encoded.state.cell_LBH, encoded.context_BH, memory, mask)

    def _attend(self, rows: ReferenceRows, features_RH: Tensor) -> Tensor:
        attention = self._model.decoder.attention
        assert attention is not None
        assert rows.memory_RSH is not None
        attended: Tensor = attention(features_RH.unsqueeze(1), rows.memory_RSH, rows.memory_mask_RS)
        return attended.squeeze(1)


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Lengthen dimension 1 to `length` with zeros."""
    padded = tensor.new_zeros((tensor.shape[0], length, *tensor.shape[2:]))
    padded[:, : tensor.shape[1]] = tensor
    return padded
