"""The reference engine: plain PyTorch on any device and in any floating-point type.

It is the only one that computes every architecture. The parameters of the cells are laid out for single steps once.
B batch, S source positions, L layers, R rows (live hypotheses), H hidden, O output of a layer, E embedding, V target
vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from translator.attention import Memory
from translator.engines.base import Beams, Extensions, Integers, beyond_packed_engines
from translator.engines.selection import best_extensions
from translator.model import Encoded, Seq2Seq
from translator.stack import State


@dataclass(frozen=True)
class ReferenceRows:
    """The decoder's state of R hypotheses.

    `state` has R rows in its second dimension; `context_RO` [rows, output]. With attention also `memory`, with R rows,
    padded with zeros.
    """

    state: State
    context_RO: Tensor
    memory: Memory | None


class ReferenceEngine:
    """Steps a `Seq2Seq` as it is: its device, its floating-point type."""

    def __init__(
        self, model: Seq2Seq, *, source_eos_id: int, target_eos_id: int, forbidden: Sequence[int] = ()
    ) -> None:
        """`forbidden` target tokens, such as `<pad>`, get probability 0. The decoder's recurrent weights are those at
        the time of this call; all others stay the model's.
        """
        self._model = model
        self._source_eos_id = source_eos_id
        self.eos_id = target_eos_id
        self.vocabulary_size = model.config.target_vocabulary_size
        with torch.no_grad():
            self._step = model.decoder.stack.stepper()
        self._forbidden = torch.tensor(list(forbidden), dtype=torch.int64, device=self._device)

    @property
    def _device(self) -> torch.device:
        return self._model.decoder.output.weight.device

    @property
    def precision(self) -> str:
        """Number format of the weights."""
        return str(self._model.decoder.output.weight.dtype).removeprefix("torch.")

    def describe(self) -> str:
        """See `Engine.describe`."""
        device = self._device
        threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
        beyond = beyond_packed_engines(self._model.config)
        reason = "" if beyond is None else f"; no other engine computes {beyond}"
        return f"reference, {self.precision}, {device}{threads}{reason}"

    @torch.inference_mode()
    def encode(self, sources: Sequence[Sequence[int]]) -> ReferenceRows:
        """One row for each source sentence (token ids in reading order, without `<EOS>`).

        Sentences of equal length run together, so that no padding enters h(x).
        """
        device = self._device
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
        state = rows.state
        inputs = [functional.embedding(tokens_R.to(self._device), decoder.embedding.weight)]
        if decoder.feed_context:
            inputs.append(rows.context_RO)
        if state.attended_BO is not None:
            inputs.append(state.attended_BO)
        features_RO, state = self._step(torch.cat(inputs, dim=1), state)
        if decoder.attention is not None:
            assert rows.memory is not None
            features_RO = decoder.attention(features_RO.unsqueeze(1), rows.memory)[0].squeeze(1)
        log_probabilities = torch.log_softmax(decoder.output(features_RO), dim=1)
        log_probabilities[:, self._forbidden] = -torch.inf
        state = State(state.parts_LBH, features_RO if decoder.input_feeding else None)
        return log_probabilities, ReferenceRows(state, rows.context_RO, rows.memory)

    @torch.inference_mode()
    def take(self, rows: ReferenceRows, indices: Integers) -> ReferenceRows:
        """See `Engine.take`."""
        return self._take(rows, torch.from_numpy(indices).to(self._device))

    @staticmethod
    def _take(rows: ReferenceRows, indices: Tensor) -> ReferenceRows:
        return ReferenceRows(
            rows.state.take(indices),
            rows.context_RO.index_select(0, indices),
            None if rows.memory is None else rows.memory.take(indices),
        )

    @torch.inference_mode()
    def append(self, rows: ReferenceRows, others: ReferenceRows) -> ReferenceRows:
        """See `Engine.append`."""
        memory = rows.memory
        if memory is not None and others.memory is not None:
            memory = memory.append(others.memory)
        return ReferenceRows(rows.state.append(others.state), torch.cat([rows.context_RO, others.context_RO]), memory)

    def _rows(self, encoded: Encoded) -> ReferenceRows:
        decoder, state, memory = self._model.decoder, encoded.state, None
        if decoder.attention is not None:
            memory = decoder.attention.remember(encoded.memory_BSO).masked()
        if decoder.input_feeding:
            state = State(state.parts_LBH, torch.zeros_like(encoded.context_BO))
        return ReferenceRows(state, encoded.context_BO, memory)
