"""What a language model is good for: texts drawn from it, and how well it predicts the texts of others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from translator.config import SearchOptions
from translator.language_model import LanguageModelSteps, score_texts
from translator.language_model_directory import LoadedLanguageModel
from translator.search import draw

_MAX_LENGTH = 500


@dataclass(frozen=True)
class GeneratedText:
    """`text` begins with the prefix; `finished` is false where the maximum length cut it."""

    text: str
    finished: bool


@dataclass(frozen=True)
class Prediction:
    """How well a model predicts a set of texts.

    Every text counts with its end: `tokens` with one `<EOS>` each, `characters` (Unicode code points) with one line
    end each. `log_probability` is that of all in nats; `unknown` tokens are not in the vocabulary and flatter it.
    """

    log_probability: float
    texts: int
    tokens: int
    characters: int
    unknown: int

    @property
    def perplexity(self) -> float:
        """exp(−log p ÷ tokens)."""
        return math.exp(min(700.0, -self.log_probability / self.tokens))

    @property
    def bits_per_character(self) -> float:
        """−log₂ p ÷ characters, which can be compared between vocabularies."""
        return -self.log_probability / math.log(2) / self.characters


@torch.inference_mode()
def generate(
    loaded: LoadedLanguageModel,
    options: SearchOptions,
    *,
    count: int = 1,
    prefix: str = "",
    label: str | None = None,
) -> list[GeneratedText]:
    """Draw texts one token at a time, each going on from `prefix`.

    Of `options`, `temperature`, `top_k`, `top_p`, `seed` and `max_length` (further tokens; 500 if not given) count.
    Raises `ValueError` for a label that the model does not have and for a prefix with a lone surrogate.
    """
    vocabulary = loaded.vocabulary
    steps = LanguageModelSteps(loaded.model)
    beginning = vocabulary.encode(prefix)
    *read, last = [loaded.model.first_id(label, vocabulary.eos_id), *beginning]
    state = steps.begin(1)
    for token in read:
        _, state = steps.log_probabilities(torch.tensor([token]), state)
    state = state.take(torch.zeros(count, dtype=torch.int64, device=state.hidden_LBH.device))
    length = _MAX_LENGTH if options.max_length is None else options.max_length
    # A text depends on the seed and its number alone, and not on how many others are drawn.
    numbers_BT = np.stack([np.random.default_rng([options.seed, row]).random(length + 1) for row in range(count)])
    tokens: list[list[int]] = [list(beginning) for _ in range(count)]
    finished = [False] * count
    last_B = torch.full((count,), last)
    for position in range(length + 1):
        log_probabilities_BV, state = steps.log_probabilities(last_B, state)
        log_probabilities_BV[:, [vocabulary.pad_id, vocabulary.unk_id]] = -torch.inf
        drawn_B = draw(log_probabilities_BV.float().cpu().numpy(), options, numbers_BT[:, position])
        for row, token in enumerate(drawn_B.tolist()):
            if finished[row]:
                continue
            if token == vocabulary.eos_id:
                finished[row] = True
            elif position < length:
                tokens[row].append(token)
        if all(finished):
            break
        last_B = torch.from_numpy(drawn_B)
    return [GeneratedText(vocabulary.decode(each), end) for each, end in zip(tokens, finished, strict=True)]


def predict(
    loaded: LoadedLanguageModel, texts: Sequence[str], labels: Sequence[str | None] | None = None
) -> Prediction:
    """How well the texts are predicted, each from its own beginning. Raises `ValueError` for an unknown label."""
    vocabulary = loaded.vocabulary
    tokens = vocabulary.encode_batch(texts)
    return Prediction(
        math.fsum(log_probabilities(loaded, texts, labels)),
        texts=len(texts),
        tokens=sum(map(len, tokens)) + len(texts),
        characters=sum(map(len, texts)) + len(texts),
        unknown=sum(each.count(vocabulary.unk_id) for each in tokens),
    )


def log_probabilities(
    loaded: LoadedLanguageModel, texts: Sequence[str], labels: Sequence[str | None] | None = None
) -> list[float]:
    """log p of each text in nats, its end included: for rescoring, to be added with a weight."""
    vocabulary = loaded.vocabulary
    first_ids = [loaded.model.first_id(label, vocabulary.eos_id) for label in labels or [None] * len(texts)]
    return score_texts(loaded.model, vocabulary.encode_batch(texts), first_ids=first_ids, eos_id=vocabulary.eos_id)
