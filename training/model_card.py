"""What training knows about a model, as its card."""

from __future__ import annotations

import platform

import numpy as np
import torch
from numpy.typing import NDArray

from training.prepared import Prepared
from training.recipe import Recipe
from training.validation import Validation
from translator.card import Card, CorpusRecord, InitialModel, Score, TrainingLengths, TrainingRecord


def make_card(
    recipe: Recipe,
    prepared: Prepared,
    *,
    initial_model: InitialModel | None,
    validation: Validation,
    updates: int,
    epochs: float,
    target_tokens: int,
    seconds: float,
    device: torch.device,
) -> Card:
    """The card of the weights as they are now; test scores are added by `python -m training evaluate --update-card`."""
    corpus = prepared.record.corpus
    return Card(
        name=recipe.name,
        source_language=corpus.source_language,
        target_language=corpus.target_language,
        intended_use=recipe.output.intended_use,
        not_for=recipe.output.not_for,
        licence=recipe.output.licence,
        corpus=CorpusRecord(
            name=prepared.record.corpus_name,
            train_pairs=len(prepared.train),
            sha256=prepared.record.sha256,
            licence=corpus.licence,
            attribution=corpus.attribution,
        ),
        training=TrainingRecord(
            recipe=recipe.name,
            seed=recipe.optimisation.seed,
            updates=updates,
            epochs=round(epochs, 2),
            target_tokens=target_tokens,
            minutes=round(seconds / 60, 1),
            device=device_name(device),
            torch_version=torch.__version__,
        ),
        initial_model=initial_model,
        training_lengths=_lengths(prepared.train.source_lengths, prepared.train.target_lengths),
        scores=[
            Score(
                test_set=f"{recipe.name} dev",
                metric="BLEU",
                value=round(validation.bleu, 2),
                signature=validation.signature,
                beam_size=validation.beam_size,
                length_penalty=0.0,
                sentences=validation.sentences,
            )
        ],
        examples=list(recipe.output.examples),
    )


def _lengths(source: NDArray[np.int64], target: NDArray[np.int64]) -> TrainingLengths:
    return TrainingLengths(
        source_mean=round(float(source.mean()), 2),
        source_99th_percentile=int(np.percentile(source, 99)),
        source_maximum=int(source.max()),
        target_mean=round(float(target.mean()), 2),
        target_99th_percentile=int(np.percentile(target, 99)),
        target_maximum=int(target.max()),
    )


def device_name(device: torch.device) -> str:
    """What a card says that a model was trained on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads ({platform.machine()})"
