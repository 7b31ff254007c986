"""log p(target | source) by teacher forcing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from translator.model import Seq2Seq

_PAIRS_A_BATCH = 64


@torch.inference_mode()
def score_pairs(
    model: Seq2Seq, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, source_eos_id: int, target_eos_id: int
) -> list[float]:
    """The log-probability, in nats, of each target given its source, that of `<EOS>` included.

    `pairs` are token ids in reading order, without `<EOS>`. Pairs of one source length run together (no padding
    enters h(x)).
    """
    device = model.decoder.output.weight.device
    scores = [0.0] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda index: (len(pairs[index][0]), len(pairs[index][1])))
    start = 0
    while start < len(order):
        length = len(pairs[order[start]][0])
        end = start
        while end < len(order) and end - start < _PAIRS_A_BATCH and len(pairs[order[end]][0]) == length:
            end += 1
        members = order[start:end]
        longest = max(len(pairs[index][1]) for index in members) + 1
        source_BS = torch.tensor([list(pairs[index][0]) for index in members], dtype=torch.int64).reshape(
            len(members), length
        )
        inputs_BT = torch.full((len(members), longest), target_eos_id)
        outputs_BT = torch.full((len(members), longest), -1)
        for row, index in enumerate(members):
            target = torch.tensor(list(pairs[index][1]), dtype=torch.int64)
            inputs_BT[row, 1 : len(target) + 1] = target
            outputs_BT[row, : len(target)] = target
            outputs_BT[row, len(target)] = target_eos_id
        features = model(source_BS.to(device), inputs_BT.to(device), source_eos_id)
        losses_BT = torch.nn.functional.cross_entropy(
            model.logits(features).float().transpose(1, 2), outputs_BT.to(device), ignore_index=-1, reduction="none"
        )
        for row, index in enumerate(members):
            scores[index] = -float(losses_BT[row].double().sum())
        start = end
    return scores
