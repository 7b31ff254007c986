"""Batches of pairs whose source sentences all have one length.

Equal source lengths need no padding on the source side, so the encoder's last state is exact without packing; sorting
by target length within a source length, and cutting where the lengths jump, keeps the padding on the target side small
(section 3.4: batches of about equal length are twice as fast). The order is a function of seed and epoch alone, which
is what makes a run resumable at any batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.cost import Work
from training.prepared import EncodedPairs

_PAIRS_A_WINDOW = 1 << 20
# What a further batch costs beside its tokens, in target tokens: enough to avoid small batches, little enough for a
# padding of less than 3 % on corpora of 30,000 pairs.
_BATCH_COST_TOKENS = 100
# Pairs of one source length that fill so many batches have next to no padding however they are cut.
_BATCHES_CUT_WELL = 64


@dataclass(frozen=True)
class Batch:
    """Pairs as tensors, int64.

    `source_BS` [batch, source] in reading order without `<EOS>`; `target_inputs_BT` [batch, target] begins with
    `<EOS>` and is padded at the end; `targets_N` [tokens] are the tokens to predict, `<EOS>` last in each sentence,
    and `positions_N` [tokens] where they stand in the flattened [batch · target].
    """

    source_BS: Tensor
    target_inputs_BT: Tensor
    targets_N: Tensor
    positions_N: Tensor

    @property
    def target_tokens(self) -> int:
        """Tokens to predict, `<EOS>` counted."""
        return self.targets_N.shape[0]

    @property
    def source_tokens(self) -> int:
        """Source tokens read, `<EOS>` counted."""
        return self.source_BS.shape[0] * (self.source_BS.shape[1] + 1)

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        tensors = (self.source_BS, self.target_inputs_BT, self.targets_N, self.positions_N)
        return Batch(*(tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors))


class BatchSampler:
    """Which pairs stand together in a batch, for every epoch."""

    def __init__(
        self,
        pairs: EncodedPairs,
        *,
        batch_sentences: int | None = None,
        batch_target_tokens: int | None = None,
        seed: int,
    ) -> None:
        """A batch holds up to `batch_sentences` pairs, or pairs of up to `batch_target_tokens` padded target tokens."""
        if (batch_sentences is None) == (batch_target_tokens is None):
            raise ValueError("give either batch_sentences or batch_target_tokens")
        self._source_lengths = pairs.source_lengths
        self._target_lengths = pairs.target_lengths
        self._batch_sentences = batch_sentences
        self._batch_target_tokens = batch_target_tokens
        self._seed = seed
        mean_target_tokens = float(self._target_lengths.mean()) + 1
        #: What the gradient is divided by, left-over batches included: the paper's 128.
        self.nominal_sentences: float = (
            batch_sentences
            if batch_sentences is not None
            else max(1.0, (batch_target_tokens or 0) / mean_target_tokens)
        )

    def epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of an epoch as index arrays: shuffled, sorted by lengths within windows, cut, shuffled again."""
        generator = np.random.default_rng([self._seed, epoch])
        order = generator.permutation(len(self._source_lengths))
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), _PAIRS_A_WINDOW):
            window = order[start : start + _PAIRS_A_WINDOW]
            # The last key is the first that lexsort looks at; equal pairs keep their shuffled order.
            window = window[np.lexsort((self._target_lengths[window], self._source_lengths[window]))]
            borders = np.flatnonzero(np.diff(self._source_lengths[window])) + 1
            for group in np.split(window, borders):
                batches.extend(self._cut(group))
        return [batches[index] for index in generator.permutation(len(batches))]

    def work(self, indices: NDArray[np.int64]) -> Work:
        """What the batch of `indices`, all of one source length, asks of the network."""
        source_length = int(self._source_lengths[indices[0]]) + 1
        target_tokens = int(self._target_lengths[indices].sum()) + len(indices)
        return Work(source_length * len(indices), target_tokens, source_length * target_tokens)

    def target_padding(self, epoch: int = 0) -> float:
        """The share of target positions that are padding."""
        padded = used = 0
        for batch in self.epoch(epoch):
            lengths = self._target_lengths[batch] + 1
            padded += int(lengths.max()) * len(batch)
            used += int(lengths.sum())
        return 1.0 - used / padded

    def _cut(self, group: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Cut pairs of one source length, sorted by target length, into batches."""
        lengths = self._target_lengths[group] + 1
        most = np.full(len(group), self._batch_sentences or len(group))
        if self._batch_target_tokens is not None:
            most = np.maximum(1, self._batch_target_tokens // lengths)
        if len(group) >= _BATCHES_CUT_WELL * int(most.max()):
            ends = _greedy_ends(most)
        else:
            ends = _cheapest_ends(lengths, most)
        start = 0
        for end in ends:
            yield group[start:end]
            start = end


def _greedy_ends(most: NDArray[np.int64]) -> list[int]:
    """Where batches end that are as large as they may be; see `_cheapest_ends`."""
    ends = []
    start = 0
    while start < len(most):
        end = min(len(most), start + int(most[start]))
        while end - start > most[end - 1]:
            end -= 1
        ends.append(end)
        start = end
    return ends


def _cheapest_ends(lengths: NDArray[np.int64], most: NDArray[np.int64]) -> list[int]:
    """Where batches end so that padded tokens plus a fixed cost a batch are fewest, by dynamic programming.

    `lengths` [pairs] ascend; a batch whose last pair is `i` holds up to `most[i]` pairs.
    """
    pairs = len(lengths)
    least = np.zeros(pairs + 1, dtype=np.int64)
    starts = np.zeros(pairs + 1, dtype=np.int64)
    for end in range(1, pairs + 1):
        first = max(0, end - int(most[end - 1]))
        costs = least[first:end] + lengths[end - 1] * np.arange(end - first, 0, -1)
        chosen = int(costs.argmin())
        least[end], starts[end] = costs[chosen] + _BATCH_COST_TOKENS, first + chosen
    ends = []
    while pairs:
        ends.append(pairs)
        pairs = int(starts[pairs])
    return ends[::-1]


def collate(pairs: EncodedPairs, indices: NDArray[np.int64], *, pad_id: int, eos_id: int) -> Batch:
    """Gather pairs of one source length into tensors."""
    source_starts, target_starts = pairs.source_offsets[indices], pairs.target_offsets[indices]
    source_length = int(pairs.source_offsets[indices[0] + 1] - source_starts[0])
    target_lengths_B1 = (pairs.target_offsets[indices + 1] - target_starts)[:, None]
    source = pairs.source_tokens[source_starts[:, None] + np.arange(source_length)].astype(np.int64)
    steps_T = np.arange(int(target_lengths_B1.max()) + 1)
    is_word = steps_T < target_lengths_B1
    outputs = np.full(is_word.shape, pad_id, dtype=np.int64)
    outputs[is_word] = pairs.target_tokens[(target_starts[:, None] + steps_T)[is_word]]
    inputs = np.concatenate([np.full((len(indices), 1), eos_id), outputs[:, :-1]], axis=1)
    np.put_along_axis(outputs, target_lengths_B1, eos_id, axis=1)
    positions = np.flatnonzero(steps_T <= target_lengths_B1)
    return Batch(
        torch.from_numpy(source),
        torch.from_numpy(inputs),
        torch.from_numpy(outputs.reshape(-1)[positions]),
        torch.from_numpy(positions),
    )
