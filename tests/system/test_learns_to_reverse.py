"""The whole network learns: four layers turn strings of digits round, on strings that they have not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from training.distributed import World
from training.prepared import EncodedPairs, Prepared, PreparedRecord
from training.recipe import Recipe
from training.subwords import train_vocabulary
from training.trainer import Trainer
from training.validation import decode
from translator.config import SearchOptions
from translator.vocabulary import Vocabulary

TRAIN, HELD_OUT = 8000, 500


def _strings(count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    strings: dict[str, None] = {}
    while len(strings) < count:
        strings["".join(map(str, generator.integers(0, 10, generator.integers(3, 7))))] = None
    return list(strings)


def _encode(texts: list[str], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    ids = vocabulary.encode_batch(texts)
    return np.concatenate(ids).astype(np.int32), np.cumsum([0, *map(len, ids)]).astype(np.int64)


@pytest.mark.slow
def test_four_layers_reverse_held_out_digits(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "reverse",
            "corpus": {"source_language": "en", "target_language": "fr"},
            "subwords": {"model_type": "char", "source_vocabulary_size": 20, "target_vocabulary_size": 20},
            "model": {
                "embedding_size": 64,
                "hidden_size": 128,
                "num_layers": 4,
                "residual": True,
                # The identity is what reversing the source makes easy; here the network itself has to turn round.
                "reverse_source": False,
                "embedding_deviation": 1.0,
            },
            "optimisation": {
                "optimiser": "adam",
                "learning_rate": 0.003,
                "schedule": "linear",
                "warmup_updates": 50,
                "epochs": 12,
                "batch_sentences": 64,
            },
            "evaluation": {"every_epochs": 12, "bleu_sentences": 20},
            "output": {"directory": tmp_path / "run"},
        }
    )
    strings = _strings(TRAIN + HELD_OUT, seed=1)
    vocabulary, _ = train_vocabulary(strings, size=20, model_type="char", seed=1)
    reversed_strings = [text[::-1] for text in strings]

    def pairs(start: int, end: int) -> EncodedPairs:
        return EncodedPairs(*_encode(strings[start:end], vocabulary), *_encode(reversed_strings[start:end], vocabulary))

    prepared = Prepared(
        path=tmp_path,
        record=PreparedRecord(
            corpus=recipe.corpus,
            subwords=recipe.subwords,
            corpus_name="digits",
            sha256={},
            pairs={"train": TRAIN, "dev": HELD_OUT, "test": 0},
            tokens={},
            removed={},
        ),
        train=pairs(0, TRAIN),
        dev=pairs(TRAIN, TRAIN + HELD_OUT),
        dev_source=strings[TRAIN:],
        dev_target=reversed_strings[TRAIN:],
        source_vocabulary=vocabulary,
        target_vocabulary=vocabulary,
    )
    trainer = Trainer(recipe, prepared, world=World.alone(), console=Console(quiet=True))
    trainer.run()
    sources = [prepared.dev.source(index).tolist() for index in range(HELD_OUT)]
    best = decode(trainer.model, sources, SearchOptions(), vocabulary, vocabulary, length_penalty=0.0)
    right = sum(
        vocabulary.decode(hypothesis.tokens) == text for hypothesis, text in zip(best, prepared.dev_target, strict=True)
    )
    assert right >= 0.99 * HELD_OUT, f"{right} of {HELD_OUT}"
