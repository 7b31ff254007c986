"""How long one step of an engine takes, and reading the sentences before it."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from translator.config import ModelConfig
from translator.engines import Beams, CPUEngine
from translator.engines.cpu import Precision
from translator.model import Seq2Seq

EOS = 2
_SOURCE_TOKENS = 24


@dataclass(frozen=True)
class Shape:
    """A network of `LAYERS` + `LAYERS` layers, embeddings as wide as the layers."""

    hidden_size: int = 512
    vocabulary_size: int = 8_000
    attention: bool = False
    num_layers: int = 4

    def decoder_weights(self) -> int:
        """Weights that a step multiplies each row with; biases and attention's few are not counted."""
        return self.num_layers * 8 * self.hidden_size**2 + self.vocabulary_size * self.hidden_size

    def network(self) -> Seq2Seq:
        """With random weights: speed does not depend on them."""
        model = Seq2Seq(
            ModelConfig(
                source_vocabulary_size=self.vocabulary_size,
                target_vocabulary_size=self.vocabulary_size,
                embedding_size=self.hidden_size,
                hidden_size=self.hidden_size,
                num_layers=self.num_layers,
                attention="dot" if self.attention else "none",
            )
        ).eval()
        model.initialise(seed=1)
        return model


@dataclass(frozen=True)
class StepTimes:
    """Medians in seconds: one decoder step, and reading all sentences."""

    step: float
    encode: float


def make_engine(shape: Shape, precision: Precision = "int8") -> CPUEngine:
    return CPUEngine(shape.network(), source_eos_id=EOS, target_eos_id=EOS, forbidden=(EOS,), precision=precision)


def time_steps(
    engine: CPUEngine, sentences: int, beam_size: int, *, source_tokens: int = _SOURCE_TOKENS, seconds: float = 0.5
) -> StepTimes:
    """Steps of `sentences` · `beam_size` rows, for about `seconds`."""
    generator = np.random.default_rng(1)
    sources = generator.integers(3, engine.vocabulary_size, (sentences, source_tokens)).tolist()
    reading, steps = [], []
    for _ in range(5):
        start = time.perf_counter()
        rows = engine.encode(sources)
        reading.append(time.perf_counter() - start)
    rows = engine.take(rows, np.repeat(np.arange(sentences), beam_size))
    beams = Beams(
        generator.integers(3, engine.vocabulary_size, sentences * beam_size),
        np.zeros(sentences * beam_size, dtype=np.float32),
        np.full(sentences, beam_size, dtype=np.int32),
        np.full(sentences, beam_size, dtype=np.int32),
        np.zeros(0, dtype=np.int64),
    )
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(steps) < 5:
        start = time.perf_counter()
        _, rows = engine.step(rows, beams)
        steps.append(time.perf_counter() - start)
    return StepTimes(statistics.median(steps), statistics.median(reading))


def threads() -> int:
    return torch.get_num_threads()
