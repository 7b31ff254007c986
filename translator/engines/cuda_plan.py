"""One shape of the cuda engine's decoder step: what goes in, what comes out, and how the best extensions are found.

R rows, N sentences, W rows of one sentence, C candidates of a row, X candidates of a sentence, K the widest beam, D
drawn rows, V target vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from translator.engines.base import Beams, Extensions, Integers

_FEWEST = 16  # a step of fewer rows takes as long, because it waits for the weights
_PADDING = (0, 0, 0, 0, 1, 0, 0)  # row 0 with one source position, in no sentence


class Shape(NamedTuple):
    """What a step is padded to.

    `candidates` of each row are one more than the widest beam; `width` is the most rows of a sentence that is
    searched; `source` is the longest source in positions, 0 without attention.
    """

    rows: int
    sentences: int
    candidates: int
    width: int
    source: int

    @classmethod
    def of(cls, beams: Beams, longest_source: int) -> Shape:
        candidates = _power_of_two(int(beams.beam_sizes_N.max(initial=1)) + 1)
        widest = int(beams.widths_N[beams.beam_sizes_N > 0].max(initial=1))
        return cls(
            padded_rows(len(beams.tokens_R)),
            padded_rows(len(beams.widths_N)),
            candidates,
            max(candidates, _power_of_two(widest)),
            max(_FEWEST, _power_of_two(longest_source)) if longest_source else 0,
        )


class Plan:
    """A step of one shape: input and output at fixed addresses, and its graph once there is one.

    On their way to the GPU and back, input and output are one block of int32 each, with float32 as its bits.
    """

    def __init__(self, shape: Shape, device: torch.device) -> None:
        rows, sentences, outputs = shape.rows, shape.sentences, shape.sentences * (shape.candidates - 1)
        sizes_in, sizes_out = [rows] * 5 + [sentences] * 2, [outputs] * 3 + [rows]
        pinned = device.type == "cuda"
        self.shape = shape
        self.graph: torch.cuda.CUDAGraph | None = None
        self.logsumexp_R = torch.empty(rows, device=device)
        self._inputs = torch.zeros(sum(sizes_in), dtype=torch.int32, device=device)
        self._outputs = torch.zeros(sum(sizes_out), dtype=torch.int32, device=device)
        self._host_inputs = torch.zeros(sum(sizes_in), dtype=torch.int32, pin_memory=pinned)
        self._host_outputs = torch.zeros(sum(sizes_out), dtype=torch.int32, pin_memory=pinned)
        self._host_in = np.split(self._host_inputs.numpy(), np.cumsum(sizes_in)[:-1])
        self._host_out = np.split(self._host_outputs.numpy(), np.cumsum(sizes_out)[:-1])
        tokens_R, scores_R, *others = self._inputs.split_with_sizes(sizes_in)
        self.tokens_R, self.scores_R = tokens_R, scores_R.view(torch.float32)
        self.places_R, self.starts_R, self.lengths_R, self._widths_N, self._beam_sizes_N = others
        scores, parents, tokens, ended_R = self._outputs.split_with_sizes(sizes_out)
        self._scores_NK = scores.view(torch.float32).view(sentences, -1).fill_(-torch.inf)
        self._parents_NK, self._tokens_NK = parents.view(sentences, -1), tokens.view(sentences, -1)
        self._ended_R = ended_R.view(torch.float32)

    def send(self, beams: Beams, places_R: Integers, starts_R: Integers, lengths_R: Integers) -> None:
        """Bring a step's input to the device."""
        values: tuple[npt.NDArray[Any], ...] = (
            beams.tokens_R, beams.scores_R, places_R, starts_R, lengths_R, beams.widths_N, beams.beam_sizes_N,
        )  # fmt: skip
        for part, value, padding in zip(self._host_in, values, _PADDING, strict=True):
            part[: len(value)] = value.view(np.int32) if value.dtype == np.float32 else value
            part[len(value) :] = padding
        self._inputs.copy_(self._host_inputs, non_blocking=True)

    def receive(self, beams: Beams, log_probabilities_DV: npt.NDArray[np.float32]) -> Extensions:
        """Wait for the step's output."""
        self._host_outputs.copy_(self._outputs, non_blocking=True)
        if self._outputs.device.type == "cuda":
            torch.cuda.current_stream(self._outputs.device).synchronize()
        sentences, widest = len(beams.widths_N), int(beams.beam_sizes_N.max(initial=0))
        scores_NK, parents_NK, tokens_NK = (
            part.reshape(self.shape.sentences, -1)[:sentences, :widest].copy() for part in self._host_out[:3]
        )
        return Extensions(
            scores_NK.view(np.float32),
            parents_NK.astype(np.int64),
            tokens_NK.astype(np.int64),
            self._host_out[3].view(np.float32)[: len(beams.tokens_R)].copy(),
            log_probabilities_DV,
        )

    def select(self, logits_RV: Tensor, eos_id: int) -> None:
        """`selection.best_extensions` with shapes that depend on nothing, from logits and `logsumexp_R`."""
        beam, device = self.shape.candidates - 1, logits_RV.device
        each = min(self.shape.candidates, logits_RV.shape[1])
        best_RC, tokens_RC = logits_RV.topk(each, dim=1)
        sums_RC = best_RC + (self.scores_R - self.logsumexp_R).unsqueeze(1)
        places_W = torch.arange(self.shape.width, device=device)
        real_NW = places_W < self._widths_N.unsqueeze(1)
        first_N = self._widths_N.cumsum(0) - self._widths_N
        rows_NW = (first_N.unsqueeze(1) + places_W).masked_fill(~real_NW, 0)
        beam_sizes_N1 = self._beam_sizes_N.unsqueeze(1)
        usable_NWC = real_NW.unsqueeze(2) & (torch.arange(each, device=device) <= beam_sizes_N1).unsqueeze(1)
        scores_NX, order_NX = (
            sums_RC[rows_NW].masked_fill(~usable_NWC, -torch.inf).flatten(1).sort(dim=1, descending=True, stable=True)
        )
        # A row has one extension that ends, so that the best open ones are among so many.
        scores_NX, order_NX = scores_NX[:, : beam + self.shape.width], order_NX[:, : beam + self.shape.width]
        tokens_NX = tokens_RC[rows_NW].flatten(1).gather(1, order_NX)
        parents_NX = rows_NW.gather(1, order_NX // each)

        ends_NX = tokens_NX == eos_id
        ranks_X = torch.arange(scores_NX.shape[1], device=device)
        finished_NX = (ends_NX & (ranks_X < beam_sizes_N1))[:, :beam]
        finished = scores_NX[:, :beam].masked_fill(~finished_NX, -torch.inf).flatten()
        self._ended_R.fill_(-torch.inf).scatter_reduce_(0, parents_NX[:, :beam].flatten(), finished, "amax")

        open_NK = ends_NX.to(torch.uint8).sort(dim=1, stable=True).indices[:, :beam]
        found = open_NK.shape[1]
        unwanted_NK = ends_NX.gather(1, open_NK) | (ranks_X[:found] >= beam_sizes_N1)
        self._scores_NK[:, :found] = scores_NX.gather(1, open_NK).masked_fill(unwanted_NK, -torch.inf)
        self._parents_NK[:, :found] = parents_NX.gather(1, open_NK)
        self._tokens_NK[:, :found] = tokens_NX.gather(1, open_NK)


def padded_rows(rows: int) -> int:
    """A number of rows, or more, of which there are few."""
    return max(_FEWEST, _power_of_two(rows)) if rows <= 128 else -(-rows // 128) * 128


def _power_of_two(number: int) -> int:
    """The smallest that is no smaller than `number` (at least 1)."""
    return 1 << (number - 1).bit_length()
