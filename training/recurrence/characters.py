"""Recurrent language models of characters, one for each of the lecture's cells, beside the models from before them.

All see the same training text and are measured on the same held-out text. The recurrent ones are trained as
`python -m training train-language-model` trains, with the same number of updates and the same number of cells.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from rich.console import Console

from training.errors import InputError
from training.language_model import LanguageModelTrainer
from training.language_model_recipe import LanguageModelRecipe
from training.language_text import load_language_data, plain_or_gzipped
from training.recurrence.baselines import characters, hidden_markov_bits, n_gram_bits
from training.recurrence.small_models import CELLS, LectureCell, scaled
from training.text_files import read_lines
from translator.generation import predict
from translator.language_model_directory import LoadedLanguageModel, load_language_model

ORDERS = (1, 2, 3, 4, 5, 6)
STATES = (8, 32)
_TRAIN_TEXTS = 8_000
_HELD_OUT = 1_000
_FEWEST = 20
_ITERATIONS = 15
_HIDDEN = 128
_EPOCHS = 10.0


class CharacterModel(BaseModel):
    """One model of the text and how well it predicts the held-out part."""

    model: str
    bits_per_character: float
    parameters: int | None = None


@dataclass(frozen=True)
class CharacterText:
    """Texts to learn from, and others of which every character occurs in them."""

    train: list[str]
    held_out: list[str]

    @property
    def held_out_characters(self) -> int:
        """Their ends included."""
        return characters(self.held_out)


def read_text(file: Path, *, seed: int, share: float = 1.0) -> CharacterText:
    """The first lines of a file, plain or gzipped, in an order of chance; `share` of the usual number of them.

    Raises `InputError` where there are too few.
    """
    wanted = scaled(_TRAIN_TEXTS, share) + scaled(_HELD_OUT, share)
    lines = (line.strip() for line in read_lines(plain_or_gzipped(file)))
    texts = list(dict.fromkeys(islice((line for line in lines if line), wanted)))
    np.random.default_rng(seed).shuffle(texts)
    held_out = max(1, round(len(texts) * _HELD_OUT / (_TRAIN_TEXTS + _HELD_OUT)))
    train, rest = texts[held_out:], texts[:held_out]
    known = set("".join(train))
    kept = [text for text in rest if set(text) <= known]
    if len(train) < _FEWEST or not kept:
        raise InputError(f"{file}: has {len(texts):,} different lines, which is too few to learn from")
    return CharacterText(train, kept)


def train_recurrent(cell: LectureCell, text: CharacterText, *, seed: int) -> LoadedLanguageModel:
    """A language model of one layer of this cell."""
    with tempfile.TemporaryDirectory() as folder:
        for name, texts in (("train", text.train), ("dev", text.held_out)):
            (Path(folder) / name).write_text("".join(f"{line}\n" for line in texts), encoding="utf-8")
        recipe = LanguageModelRecipe.model_validate(
            {
                "name": cell,
                "text": {"train": [f"{folder}/train"], "dev": [f"{folder}/dev"], "language": "und"},
                "units": {"model_type": "char", "vocabulary_size": 1000},
                "model": {"cell": cell, "embedding_size": 64, "hidden_size": _HIDDEN, "num_layers": 1},
                "optimisation": {
                    "optimiser": "adam", "learning_rate": 0.01, "schedule": "linear", "epochs": _EPOCHS,
                    "batch_sentences": 32, "clip_norm": 5.0, "seed": seed,
                },
                "training": {"every_epochs": _EPOCHS},
                "output": {"directory": f"{folder}/run"},
            }
        )  # fmt: skip
        quiet = Console(quiet=True)
        return load_language_model(
            LanguageModelTrainer(recipe, load_language_data(recipe), console=quiet).run(resume=False)
        )


def measure_characters(
    text: CharacterText, *, seed: int, share: float = 1.0
) -> Iterator[tuple[CharacterModel, LoadedLanguageModel | None]]:
    """Each model of the text, the recurrent ones with the model itself."""
    for order in ORDERS:
        yield (
            CharacterModel(model=f"{order}-gram", bits_per_character=n_gram_bits(text.train, text.held_out, order)),
            None,
        )
    for states in STATES:
        iterations = scaled(_ITERATIONS, share)
        bits = hidden_markov_bits(text.train, text.held_out, states, iterations=iterations, seed=seed)
        yield CharacterModel(model=f"HMM, {states} states", bits_per_character=bits), None
    for cell in CELLS:
        loaded = train_recurrent(cell, text, seed=seed)
        bits = predict(loaded, text.held_out).bits_per_character
        yield CharacterModel(model=cell, bits_per_character=bits, parameters=loaded.model.parameter_count()), loaded
