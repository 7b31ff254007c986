"""Global attention over all the encoder's outputs, after Luong et al. 2015: the decoder's answer to the bottleneck.

At each position the decoder's top output y_t is compared with every encoder output m_s, and the output layer reads ỹ_t:
    a_t = softmax over s of score(y_t, m_s),   r_t = Σ_s a_ts m_s,   ỹ_t = tanh(W [r_t; y_t])
with one of the scores
    dot        y_t · m_s
    general    y_t · (W_a m_s)                       (these two from Luong et al. 2015, section 3.1)
    additive   v · tanh(W_q y_t + W_k m_s + b)       (Bahdanau et al. 2015, section A.1.2)
Bahdanau's own decoder attends with the state before the step and feeds what it finds to that step. Here the additive
score stands in Luong's order like the others, and the model's `input_feeding` is what carries ỹ_t into the next step.

B batch, T target positions, S source positions, O output size of the layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from translator.config import AttentionName


@dataclass(frozen=True)
class Memory:
    """The encoder's outputs as the attention reads them.

    `values_BSO` [batch, source, output], of which sums are made; `keys_BSO`, of which scores are made: those of the dot
    score are the values themselves. `mask_BS` (bool) is true at real positions; None means everywhere.
    """

    values_BSO: Tensor
    keys_BSO: Tensor
    mask_BS: Tensor | None = None

    def masked(self) -> Memory:
        """The same with a mask, so that it can be lengthened."""
        mask_BS = self.values_BSO.new_ones(self.values_BSO.shape[:2], dtype=torch.bool)
        return Memory(self.values_BSO, self.keys_BSO, mask_BS)

    def take(self, indices: Tensor) -> Memory:
        """The rows of the batch at `indices` (int64), in that order; an index may repeat."""
        return self._each(lambda tensor: tensor.index_select(0, indices))

    def append(self, other: Memory) -> Memory:
        """This batch, and after it the other's; both with a mask. The shorter one is padded with zeros."""
        longest = max(self.values_BSO.shape[1], other.values_BSO.shape[1])
        one, two = (memory._each(lambda tensor: _pad(tensor, longest)) for memory in (self, other))
        assert one.mask_BS is not None
        assert two.mask_BS is not None
        values_BSO = torch.cat([one.values_BSO, two.values_BSO])
        shared = one.keys_BSO is one.values_BSO
        keys_BSO = values_BSO if shared else torch.cat([one.keys_BSO, two.keys_BSO])
        return Memory(values_BSO, keys_BSO, torch.cat([one.mask_BS, two.mask_BS]))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Memory:
        """Change all tensors; what is shared is changed once."""
        values_BSO = change(self.values_BSO)
        keys_BSO = values_BSO if self.keys_BSO is self.values_BSO else change(self.keys_BSO)
        return Memory(values_BSO, keys_BSO, None if self.mask_BS is None else change(self.mask_BS))


class Attention(nn.Module):
    """One kind of attention; batched over the target where all of it is known."""

    def __init__(self, kind: AttentionName, output_size: int) -> None:
        super().__init__()
        self.combine = nn.Linear(2 * output_size, output_size, bias=False)
        self.key = None if kind == "dot" else nn.Linear(output_size, output_size, bias=kind == "additive")
        self.query = nn.Linear(output_size, output_size, bias=False) if kind == "additive" else None
        self.energy = nn.Linear(output_size, 1, bias=False) if kind == "additive" else None

    def remember(self, memory_BSO: Tensor) -> Memory:
        """What can be computed once for a sentence."""
        return Memory(memory_BSO, memory_BSO if self.key is None else self.key(memory_BSO))

    def forward(self, outputs_BTO: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Decoder outputs [batch, target, output] to ỹ of the same shape and the weights a [batch, target, source]."""
        weights_BTS = self.weights(outputs_BTO, memory)
        attended_BTO = weights_BTS @ memory.values_BSO
        return torch.tanh(self.combine(torch.cat([attended_BTO, outputs_BTO], dim=2))), weights_BTS

    def weights(self, outputs_BTO: Tensor, memory: Memory) -> Tensor:
        """The weights a, [batch, target, source], each row of which has the sum 1."""
        if self.query is None or self.energy is None:
            scores_BTS = outputs_BTO @ memory.keys_BSO.transpose(1, 2)
        else:
            sums_BTSO = self.query(outputs_BTO).unsqueeze(2) + memory.keys_BSO.unsqueeze(1)
            scores_BTS = self.energy(torch.tanh(sums_BTSO)).squeeze(3)
        if memory.mask_BS is not None:
            scores_BTS = scores_BTS.masked_fill(~memory.mask_BS.unsqueeze(1), -torch.inf)
        return torch.softmax(scores_BTS, dim=-1)


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Lengthen dimension 1 to `length` with zeros."""
    padded = tensor.new_zeros((tensor.shape[0], length, *tensor.shape[2:]))
    padded[:, : tensor.shape[1]] = tensor
    return padded
