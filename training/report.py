"""What a run says of itself beside its progress: at its start, after each measurement and at its end."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from training.batches import BatchSampler
from training.distributed import World
from training.initial_model import describe_start
from training.prepared import Prepared
from training.recipe import Recipe
from training.run_state import Position
from training.validation import Validation
from translator.card import InitialModel
from translator.model import Seq2Seq


def describe_run(
    console: Console,
    recipe: Recipe,
    prepared: Prepared,
    model: Seq2Seq,
    sampler: BatchSampler,
    world: World,
    *,
    resumes: bool,
    low_precision: bool,
) -> None:
    """The corpus, the network and how it is trained, in a sentence; of a new run also what it begins with."""
    updates = len(sampler.epoch(0))
    processes = f"{world.size} processes, each " if world.size > 1 else ""
    console.print(
        f"{recipe.name}: {len(prepared.train):,} pairs, {model.parameter_count():,} parameters, "
        f"{updates:,} updates an epoch, {max(1, round(recipe.optimisation.epochs * updates)):,} in all; "
        f"target padding {sampler.target_padding():.1%}; "
        f"{processes}{'bfloat16' if low_precision else 'float32'} on {world.device.type} "
        f"with {torch.get_num_threads()} threads",
        highlight=False,
    )
    if recipe.initial_model is not None and not resumes:
        console.print(describe_start(recipe), highlight=False, markup=False)
    if recipe.optimisation.precision == "bfloat16" and not low_precision:
        console.print("This machine has no fast bfloat16; training in float32 instead.")


def describe_validation(console: Console, result: Validation, *, update: int, epoch: float, better: bool) -> None:
    """The figures, and one of the translations, each time another one."""
    console.print(
        f"epoch {epoch:5.2f}  update {update:>7,}  dev perplexity {result.perplexity:7.2f}  "
        f"dev BLEU {result.bleu:5.2f}{'  (best so far)' if better else ''}"
    )
    if result.examples:
        source, reference, hypothesis = result.examples[update % len(result.examples)]
        console.print(f"  {source}\n  → {hypothesis}\n  = {reference}", style="dim", markup=False, highlight=False)


def describe_end(console: Console, position: Position, initial_model: InitialModel | None, model: Path) -> None:
    """Where the best model is, and whether training was of any use to the one that it began with."""
    console.print(f"Best dev BLEU {position.best_bleu:.2f} at update {position.best_update:,}; model in {model}")
    if initial_model is not None and not position.best_update:
        console.print(
            f"Training made {initial_model.name} no better on dev: the model is that which it began with.",
            highlight=False,
            markup=False,
        )
