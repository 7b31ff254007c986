"""All that the benchmarks of training take from the package `training`, in one place."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tests.benchmarks.peers.training_task import CLIP_NORM, DROPOUT, LABEL_SMOOTHING, LEARNING_RATE
from training.batches import Batch, BatchSampler, collate
from training.hardware import has_fast_bfloat16
from training.objective import cross_entropy_sum
from training.optimisation import clip_gradient, make_optimiser
from training.prepared import EncodedPairs, Prepared, PreparedRecord
from training.recipe import Recipe
from training.trainer import train
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


def make_paper_recipe(*, size: int, layers: int, batch_sentences: int) -> Recipe:
    """The paper's network and its options (section 3.4), with products in bfloat16."""
    return Recipe.model_validate(
        {
            "name": "benchmark",
            "corpus": {"source_language": "en", "target_language": "fr"},
            "model": {"hidden_size": size, "embedding_size": size, "num_layers": layers},
            "optimisation": {"batch_sentences": batch_sentences, "precision": "bfloat16"},
        }
    )


def run_trainer(recipe: Recipe, pairs: EncodedPairs, vocabulary: Vocabulary) -> None:
    """Train as `python -m training train` does, on pairs that are at hand."""
    record = PreparedRecord(
        corpus=recipe.corpus,
        subwords=recipe.subwords,
        corpus_name="benchmark",
        sha256={},
        pairs={"train": len(pairs), "dev": len(pairs), "test": 0},
        tokens={},
        removed={},
    )
    prepared = Prepared(
        path=Path(),
        record=record,
        train=pairs,
        dev=pairs,
        dev_source=[],
        dev_target=[],
        source_vocabulary=vocabulary,
        target_vocabulary=vocabulary,
    )
    train(recipe, prepared, resume=False, console=Console(quiet=True))


def make_sampler(pairs: EncodedPairs, recipe: Recipe) -> BatchSampler:
    """The trainer's batches of these pairs."""
    return BatchSampler(pairs, batch_sentences=recipe.optimisation.batch_sentences, seed=recipe.optimisation.seed)


def batches_of(pairs: EncodedPairs, recipe: Recipe, device: torch.device) -> Iterator[Batch]:
    """The batches of epoch after epoch, without end, laid out and brought to the device as the trainer does it."""
    sampler = make_sampler(pairs, recipe)
    for epoch in itertools.count():
        for indices in sampler.epoch(epoch):
            yield collate(pairs, indices, pad_id=PAD_ID, eos_id=EOS_ID).to(device)


def set_determinism(deterministic: bool) -> None:
    """Only operations that give the same bits every time; to be called before anything is computed on a GPU."""
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(deterministic)


class Update:
    """An update as the trainer makes it, for batches that are on the device."""

    def __init__(self, recipe: Recipe, shape: ModelConfig, device: torch.device) -> None:
        options = recipe.optimisation
        self.recipe = recipe
        self.device = device
        self.low_precision = options.precision == "bfloat16" and has_fast_bfloat16(device)
        torch.manual_seed(options.seed)
        self.model = Seq2Seq(shape)
        self.model.initialise(seed=options.seed, initial_range=recipe.model.initial_range)
        self.model.to(device)
        self.optimiser = make_optimiser(self.model.parameters(), options)

    def __call__(self, batch: Batch) -> None:
        """Nothing waits for the device here."""
        options = self.recipe.optimisation
        with torch.autocast(self.device.type, torch.bfloat16) if self.low_precision else nullcontext():
            features = self.model(batch.source_BS, batch.target_inputs_BT, EOS_ID, self.recipe.model.dropout)
        output = self.model.decoder.output
        loss, _ = cross_entropy_sum(
            features.reshape(-1, features.shape[-1]).index_select(0, batch.positions_N),
            output.weight,
            output.bias,
            batch.targets_N,
            label_smoothing=options.label_smoothing,
            compute_dtype=torch.bfloat16 if self.low_precision else torch.float32,
        )
        self.optimiser.zero_grad(set_to_none=False)
        (loss / options.batch_sentences).backward()  # type: ignore[no-untyped-call]
        clip_gradient(self.model.parameters(), options.clip_norm)
        self.optimiser.step()
