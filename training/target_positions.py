"""How a model does at each position of the target, by teacher forcing: log-probabilities and hits.

Section 3.3 of the paper believes that a reversed source helps memory as a whole, and not the first words alone; that
shows where in the target the model gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.batches import BatchSampler, collate
from training.prepared import EncodedPairs
from translator.directory import LoadedModel
from translator.scoring import as_source

_PAIRS_A_BATCH = 64


@dataclass(frozen=True)
class TokenScores:
    """Of one pair: log p in nats of each target token and at last of `<EOS>`, and whether it was the most probable."""

    log_probabilities: NDArray[np.float64]
    hits: NDArray[np.bool_]


def encoded(loaded: LoadedModel, sources: Sequence[str], targets: Sequence[str]) -> EncodedPairs:
    """Text as token ids, as the model reads it when it translates and scores."""
    return encoded_pairs(
        loaded.source_vocabulary.encode_batch([as_source(text) for text in sources]),
        loaded.target_vocabulary.encode_batch([text.strip() for text in targets]),
    )


def encoded_pairs(sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> EncodedPairs:
    """Token ids, without `<EOS>`, one sentence after the other."""

    def laid_out(sentences: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        tokens = np.array([token for sentence in sentences for token in sentence], dtype=np.int32)
        return tokens, np.cumsum([0, *map(len, sentences)], dtype=np.int64)

    return EncodedPairs(*laid_out(sources), *laid_out(targets))


@torch.inference_mode()
def token_scores(loaded: LoadedModel, pairs: EncodedPairs) -> list[TokenScores]:
    """The scores of every pair, in float32 on the model's own device."""
    device = loaded.model.decoder.output.weight.device
    pad_id, eos_id = loaded.target_vocabulary.pad_id, loaded.target_vocabulary.eos_id
    found: dict[int, TokenScores] = {}
    for indices in BatchSampler(pairs, batch_sentences=_PAIRS_A_BATCH, seed=0).epoch(0):
        batch = collate(pairs, indices, pad_id=pad_id, eos_id=eos_id).to(device)
        features_BTO = loaded.model(batch.source_BS, batch.target_inputs_BT, loaded.source_vocabulary.eos_id)
        logits_NV = loaded.model.logits(features_BTO.flatten(0, 1)[batch.positions_N]).float()
        all_NV = torch.log_softmax(logits_NV, dim=1)
        log_probabilities_N = all_NV.gather(1, batch.targets_N[:, None]).squeeze(1)
        all_NV[:, pad_id] = -torch.inf  # it is never chosen
        hits_N = all_NV.argmax(dim=1) == batch.targets_N
        borders = np.cumsum(pairs.target_lengths[indices] + 1)[:-1]
        for index, log_probabilities, hits in zip(
            indices.tolist(),
            np.split(log_probabilities_N.double().cpu().numpy(), borders),
            np.split(hits_N.cpu().numpy(), borders),
            strict=True,
        ):
            found[index] = TokenScores(log_probabilities, hits)
    return [found[index] for index in range(len(pairs))]


def accuracy_by_position(hits: Sequence[NDArray[np.bool_]], last: int) -> list[tuple[int, float]]:
    """For target positions 1 to `last`: how many sentences reach it, and the share of them whose token is a hit.

    Positions that no sentence reaches are left out. `<EOS>` is the last token of a sentence.
    """
    found = []
    for position in range(last):
        reached = [bool(each[position]) for each in hits if len(each) > position]
        if reached:
            found.append((len(reached), sum(reached) / len(reached)))
    return found


def hits_by_part(hits: NDArray[np.bool_], parts: int) -> NDArray[np.int64]:
    """Hits and tokens in each of `parts` equal parts of one sentence, int64 [2, parts].

    A token at position t of n, counted from 0, belongs to part ⌊parts · t ÷ n⌋.
    """
    part_of = np.arange(len(hits)) * parts // max(1, len(hits))
    return np.stack([np.bincount(part_of, hits, parts), np.bincount(part_of, minlength=parts)]).astype(np.int64)
