"""All that the benchmarks of training take from the package `training`, in one place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console

from tests.benchmarks.peers.training_task import CLIP_NORM, DROPOUT, LABEL_SMOOTHING, LEARNING_RATE
from training.batches import Batch, BatchSampler
from training.cost import Work
from training.distributed import World
from training.hardware import keep_memory_steady
from training.loader import Loader, Place
from training.prepared import EncodedPairs, Prepared, PreparedRecord
from training.recipe import Recipe
from training.trainer import train
from training.updating import Updater
from translator.config import ModelConfig
from translator.model import Seq2Seq
from translator.vocabulary import Vocabulary

PAD_ID, EOS_ID = 0, 2


def make_recipe(
    *,
    attention: bool,
    precision: str,
    batch_sentences: int,
    seed: int = 1,
    size: int = 512,
    layers: int = 4,
    directory: Path | None = None,
) -> Recipe:
    """The small network that the peers train too, with their options; nothing is measured on dev before the end."""
    optimisation: dict[str, Any] = {
        "optimiser": "adam",
        "learning_rate": LEARNING_RATE,
        "epochs": 1000.0,
        "schedule": "constant",
        "batch_sentences": batch_sentences,
        "clip_norm": CLIP_NORM,
        "label_smoothing": LABEL_SMOOTHING,
        "precision": precision,
        "seed": seed,
    }
    return Recipe.model_validate(
        {
            "name": "benchmark",
            "corpus": {"source_language": "de", "target_language": "en"},
            "model": {
                "hidden_size": size,
                "embedding_size": size,
                "num_layers": layers,
                "attention": "dot" if attention else "none",
                "dropout": DROPOUT,
            },
            "optimisation": optimisation,
            "evaluation": {"every_epochs": 1000.0},
            "output": {"directory": directory},
        }
    )


def make_paper_recipe(*, size: int, layers: int, batch_sentences: int, deterministic: bool) -> Recipe:
    """The paper's network and its options (section 3.4), with products in bfloat16."""
    return Recipe.model_validate(
        {
            "name": "benchmark",
            "corpus": {"source_language": "en", "target_language": "fr"},
            "model": {"hidden_size": size, "embedding_size": size, "num_layers": layers},
            "optimisation": {
                "batch_sentences": batch_sentences,
                "precision": "bfloat16",
                "deterministic": deterministic,
            },
        }
    )


@dataclass(frozen=True)
class _Symbols:
    """Stands for a vocabulary where there is no text."""

    pad_id: int = PAD_ID
    eos_id: int = EOS_ID


def _prepared(recipe: Recipe, pairs: EncodedPairs, vocabulary: Vocabulary) -> Prepared:
    """Pairs that are at hand, as if they had been prepared."""
    record = PreparedRecord(
        corpus=recipe.corpus,
        subwords=recipe.subwords,
        corpus_name="benchmark",
        sha256={},
        pairs={"train": len(pairs), "dev": len(pairs), "test": 0},
        tokens={},
        removed={},
    )
    return Prepared(
        path=Path(),
        record=record,
        train=pairs,
        dev=pairs,
        dev_source=[],
        dev_target=[],
        source_vocabulary=vocabulary,
        target_vocabulary=vocabulary,
    )


def run_trainer(recipe: Recipe, pairs: EncodedPairs, vocabulary: Vocabulary) -> None:
    """Train as `python -m training train` does."""
    prepared = _prepared(recipe, pairs, vocabulary)
    train(recipe, prepared, resume=False, world=World.alone(), console=Console(quiet=True))


def make_sampler(pairs: EncodedPairs, recipe: Recipe) -> BatchSampler:
    """The trainer's batches of these pairs."""
    return BatchSampler(pairs, batch_sentences=recipe.optimisation.batch_sentences, seed=recipe.optimisation.seed)


def batches_of(pairs: EncodedPairs, recipe: Recipe, device: torch.device) -> Iterator[Batch]:
    """The batches of epoch after epoch, without end, laid out and brought to the device as the trainer does it."""
    sampler = make_sampler(pairs, recipe)
    places = (
        Place(epoch, number, indices)
        for epoch in itertools.count()
        for number, indices in enumerate(sampler.epoch(epoch))
    )
    loader = Loader(_prepared(recipe, pairs, cast(Vocabulary, _Symbols())), World(0, 1, device))
    return (loaded.batch for _, loaded in loader.ahead(places))


def work_of(batch: Batch) -> Work:
    """What a batch asks of the network; nothing waits for the device."""
    source_length = batch.source_BS.shape[1] + 1
    return Work(batch.source_tokens, batch.target_tokens, batch.target_tokens * source_length)


class Update:
    """An update as the trainer makes it, for batches that are on the device."""

    def __init__(self, recipe: Recipe, shape: ModelConfig, device: torch.device) -> None:
        options = recipe.optimisation
        keep_memory_steady()
        self.device = device
        self.model = Seq2Seq(shape)
        self.model.initialise(seed=options.seed, initial_range=recipe.model.initial_range)
        self.model.to(device)
        self._rate = options.learning_rate
        self._updater = Updater(
            self.model,
            recipe,
            World(0, 1, device),
            source_eos_id=EOS_ID,
            nominal_sentences=options.batch_sentences,
        )
        self.optimiser = self._updater.optimiser
        self.low_precision = self._updater.low_precision
        torch.manual_seed(options.seed)

    def __call__(self, batch: Batch) -> None:
        """Nothing waits for the device here."""
        self._updater.update(batch, self._rate)
