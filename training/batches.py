"""Batches of pairs whose source sentences all have one length.

Equal source lengths need no padding on the source side, so the encoder's last state is exact without packing; sorting
by target length within a source length keeps the padding on the target side small (section 3.4: batches of about
equal length are twice as fast). The order is a function of seed and epoch alone, which is what makes a run resumable
at any batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.prepared import EncodedPairs

_PAIRS_A_WINDOW = 1 << 20


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
        if self._batch_sentences is not None:
            for start in range(0, len(group), self._batch_sentences):
                yield group[start : start + self._batch_sentences]
            return
        assert self._batch_target_tokens is not None
        start = 0
        for end in range(1, len(group) + 1):
            longest = int(self._target_lengths[group[min(end, len(group) - 1)]]) + 1
            if end == len(group) or (end + 1 - start) * longest > self._batch_target_tokens:
                yield group[start:end]
                start = end


def collate(pairs: EncodedPairs, indices: NDArray[np.int64], *, pad_id: int, eos_id: int) -> Batch:
    """Gather pairs of one source length into tensors."""
    source = np.stack([pairs.source(int(index)) for index in indices]).astype(np.int64)
    targets = [pairs.target(int(index)) for index in indices]
    longest = max(len(target) for target in targets) + 1
    inputs = np.full((len(targets), longest), pad_id, dtype=np.int64)
    outputs = np.full((len(targets), longest), pad_id, dtype=np.int64)
    used = np.zeros((len(targets), longest), dtype=bool)
    inputs[:, 0] = eos_id
    for row, target in enumerate(targets):
        inputs[row, 1 : len(target) + 1] = target
        outputs[row, : len(target)] = target
        outputs[row, len(target)] = eos_id
        used[row, : len(target) + 1] = True
    positions = np.flatnonzero(used)
    return Batch(
        torch.from_numpy(source),
        torch.from_numpy(inputs),
        torch.from_numpy(outputs.reshape(-1)[positions]),
        torch.from_numpy(positions),
    )
