"""log p(target | source) by teacher forcing, and the sentence vector h(x); in float32, on the models' own device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from translator.config import Combination
from translator.engines.ensemble import combine
from translator.model import Seq2Seq
from translator.pipeline import Translator
from translator.texts import normalised

Pair = tuple[Sequence[int], Sequence[int]]

_PAIRS_A_BATCH = 64
# Of one member's log-probabilities, so that a large vocabulary does not fill the memory.
_NUMBERS_A_BATCH = 2**26
_SENTENCES_A_BATCH = 256


@dataclass(frozen=True)
class PairScore:
    """How probable a target is, given its source.

    `pieces` are the target's tokens and at last `<EOS>`, `log_probabilities` theirs in nats, each given all before it.
    """

    pieces: tuple[str, ...]
    log_probabilities: tuple[float, ...]

    @property
    def log_probability(self) -> float:
        """log p(target | source) in nats, that of `<EOS>` included."""
        return math.fsum(self.log_probabilities)


def score_texts(
    translator: Translator,
    pairs: Sequence[tuple[str, str]],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[PairScore]:
    """The score of each (source, target), each side one sentence; an ensemble's is that of its combined distribution.

    `progress` is called with the number of pairs done since its last call. Raises `ValueError` for a text with a lone
    surrogate.
    """
    source, target = translator.loaded.source_vocabulary, translator.loaded.target_vocabulary
    encoded = list(
        zip(
            source.encode_batch([as_source(text) for text, _ in pairs]),
            target.encode_batch([text.strip() for _, text in pairs]),
            strict=True,
        )
    )
    scores = score_tokens(
        [member.model for member in translator.members],
        encoded,
        source_eos_id=source.eos_id,
        target_eos_id=target.eos_id,
        forbidden=(target.pad_id,),
        combination=translator.combination,
        progress=progress,
    )
    return [
        PairScore((*target.pieces(tokens), *target.pieces([target.eos_id])), tuple(each))
        for (_, tokens), each in zip(encoded, scores, strict=True)
    ]


def score_pairs(model: Seq2Seq, pairs: Sequence[Pair], *, source_eos_id: int, target_eos_id: int) -> list[float]:
    """The log-probability, in nats, of each target given its source, that of `<EOS>` included.

    `pairs` are token ids in reading order, without `<EOS>`.
    """
    scores = score_tokens([model], pairs, source_eos_id=source_eos_id, target_eos_id=target_eos_id)
    return [math.fsum(each) for each in scores]


@torch.inference_mode()
def score_tokens(
    models: Sequence[Seq2Seq],
    pairs: Sequence[Pair],
    *,
    source_eos_id: int,
    target_eos_id: int,
    forbidden: Sequence[int] = (),
    combination: Combination = "average",
    progress: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """The log-probability, in nats, of each target token and at last of `<EOS>`, given the source and those before it.

    `pairs` are token ids in reading order, without `<EOS>`. Pairs of one source length run together (no padding enters
    h(x)). `forbidden` target tokens, such as `<pad>`, get probability 0, as in an engine.
    """
    scores: list[list[float]] = [[]] * len(pairs)
    for members in _batches(pairs, models[0].config.target_vocabulary_size):
        batch = [pairs[index] for index in members]
        inputs_BT, outputs_BT = _teacher_forced([target for _, target in batch], target_eos_id)
        source_BS = _tensor([source for source, _ in batch])
        distributions = []
        for model in models:
            device = model.decoder.output.weight.device
            features = model(source_BS.to(device), inputs_BT.to(device), source_eos_id)
            log_probabilities_BTV = torch.log_softmax(model.logits(features).float(), dim=-1)
            log_probabilities_BTV[..., list(forbidden)] = -torch.inf
            distributions.append(log_probabilities_BTV)
        combined_BTV = combine(distributions, combination)
        found_BT = combined_BTV.gather(2, outputs_BT.to(combined_BTV.device).unsqueeze(2)).squeeze(2).tolist()
        for row, index in enumerate(members):
            scores[index] = found_BT[row][: len(pairs[index][1]) + 1]
        if progress:
            progress(len(members))
    return scores


@torch.inference_mode()
def sentence_vectors(model: Seq2Seq, sources: Sequence[Sequence[int]], *, source_eos_id: int) -> Tensor:
    """h(x) of each source (token ids in reading order, without `<EOS>`), float32 [sentences, states · layers · hidden].

    These are the numbers that the decoder starts from (Sutskever et al. 2014, section 3.4): the hidden states of all
    layers, lowest first, and after them the cell states, where the cell has some (an LSTM: two states).
    """
    device = model.decoder.output.weight.device
    vectors: list[Tensor] = [torch.empty(0)] * len(sources)
    for members in _of_one_length([len(source) for source in sources], _SENTENCES_A_BATCH):
        state = model.encoder(_tensor([sources[index] for index in members]).to(device), source_eos_id).state
        states_B = torch.cat([layer_BH for part_LBH in state.parts_LBH for layer_BH in part_LBH], dim=1).float().cpu()
        for index, vector in zip(members, states_B, strict=True):
            vectors[index] = vector
    if vectors:
        return torch.stack(vectors)
    return sentence_vectors(model, [[]], source_eos_id=source_eos_id)[:0]


def as_source(text: str) -> str:
    """A sentence as the model reads it when it translates, without the white space around it."""
    return normalised(text.strip())


def _batches(pairs: Sequence[Pair], vocabulary_size: int) -> Iterator[list[int]]:
    """The numbers of pairs that are scored together: of one source length, and of targets of about the same."""
    lengths = [len(target) for _, target in pairs]
    for members in _of_one_length([len(source) for source, _ in pairs], _PAIRS_A_BATCH, lengths):
        longest = max(lengths[index] for index in members) + 1
        size = max(1, _NUMBERS_A_BATCH // (longest * vocabulary_size))
        yield from (members[start : start + size] for start in range(0, len(members), size))


def _of_one_length(
    lengths: Sequence[int], size: int, further_lengths: Sequence[int] | None = None
) -> Iterator[list[int]]:
    """The numbers of at most `size` sentences of one length, those of like further length together."""
    further = lengths if further_lengths is None else further_lengths
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], further[index]))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and end - start < size and lengths[order[end]] == lengths[order[start]]:
            end += 1
        yield order[start:end]
        start = end


def _tensor(sentences: Sequence[Sequence[int]]) -> Tensor:
    """int64 [sentences, length] of sentences of one length, which may be 0."""
    tensor = torch.tensor([list(each) for each in sentences], dtype=torch.int64)
    return tensor.reshape(len(sentences), len(sentences[0]))


def _teacher_forced(targets: Sequence[Sequence[int]], eos_id: int) -> tuple[Tensor, Tensor]:
    """What the decoder is fed and what it should say, int64 [batch, longest + 1], filled up with `<EOS>`."""
    shape = (len(targets), max(map(len, targets)) + 1)
    inputs_BT, outputs_BT = torch.full(shape, eos_id), torch.full(shape, eos_id)
    for row, target in enumerate(targets):
        tokens = torch.tensor(list(target), dtype=torch.int64)
        inputs_BT[row, 1 : len(tokens) + 1] = tokens
        outputs_BT[row, : len(tokens)] = tokens
    return inputs_BT, outputs_BT
