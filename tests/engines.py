"""Small networks for the search, and an engine that says what a test wants it to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from translator.config import ModelConfig, SearchOptions
from translator.decoder import decode
from translator.engines import Beams, Engine, Extensions
from translator.engines.base import Integers
from translator.engines.selection import best_extensions
from translator.model import Seq2Seq
from translator.search import Hypothesis, Query

EOS = 2
PAD = 0


def network(seed: int, *, scale: float = 1.5, dtype: torch.dtype = torch.float32, **options: Any) -> Seq2Seq:
    """A network with parameters from U[-scale, scale], of 12 source and 14 target tokens if `options` say no other."""
    sizes = {
        "source_vocabulary_size": 12,
        "target_vocabulary_size": 14,
        "embedding_size": 8,
        "hidden_size": 8,
        "num_layers": 2,
    }
    model = Seq2Seq(ModelConfig.model_validate(sizes | options)).to(dtype).eval()
    model.initialise(seed=seed, initial_range=scale)
    return model


def search(
    engine: Engine[Any],
    sources: Sequence[Sequence[int]],
    options: SearchOptions,
    *,
    length_penalty: float = 0.0,
    count: int = 1,
) -> list[list[Hypothesis]]:
    """The hypotheses of every source, all searched in the same way."""
    return decode(engine, [Query(tuple(source), options, length_penalty, count) for source in sources])


class ScriptedEngine:
    """An engine without a network. A row is a list of the tokens still to be said; `weights` says how probable each
    next token is, and the selection is the reference engine's.
    """

    precision = "float32"

    def __init__(self, eos_id: int, vocabulary_size: int) -> None:
        self.eos_id = eos_id
        self.vocabulary_size = vocabulary_size

    def script(self, source: Sequence[int]) -> list[int]:
        """The first row of a source."""
        raise NotImplementedError

    def weights(self, row: list[int], token: int) -> tuple[Tensor, list[int]]:
        """Logits [V] of what follows `token`, and the row after that."""
        raise NotImplementedError

    def encode(self, sources: Sequence[Sequence[int]]) -> list[list[int]]:
        return [self.script(source) for source in sources]

    def step(self, rows: list[list[int]], beams: Beams) -> tuple[Extensions, list[list[int]]]:
        assert len(rows) == len(beams.tokens_R) == len(beams.scores_R) == beams.widths_N.sum()
        steps = [self.weights(row, token) for row, token in zip(rows, beams.tokens_R.tolist(), strict=True)]
        log_probabilities_RV = torch.log_softmax(torch.stack([logits for logits, _ in steps]), dim=1)
        return best_extensions(log_probabilities_RV, beams, self.eos_id), [row for _, row in steps]

    def take(self, rows: list[list[int]], indices: Integers) -> list[list[int]]:
        return [rows[index] for index in indices.tolist()]

    def append(self, rows: list[list[int]], others: list[list[int]]) -> list[list[int]]:
        return rows + others

    def describe(self) -> str:
        return "scripted"


def all_drawn(tokens_R: Integers, scores_R: npt.NDArray[np.float32]) -> Beams:
    """Every row is a sentence and wants its whole distribution, and no extensions."""
    count = len(tokens_R)
    ones = np.ones(count, dtype=np.int32)
    return Beams(tokens_R, scores_R, ones, 0 * ones, np.arange(count))


def stepped(
    engine: Engine[Any], sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> Iterator[npt.NDArray[np.float32]]:
    """Log-probabilities [sources, V] of the token after each further token of `targets`, which begin with `<EOS>`."""
    rows = engine.encode(sources)
    for tokens in zip(*targets, strict=True):
        beams = all_drawn(np.array(tokens, dtype=np.int64), np.zeros(len(sources), dtype=np.float32))
        extensions, rows = engine.step(rows, beams)
        yield extensions.log_probabilities_DV
