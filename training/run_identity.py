"""Which run a checkpoint is of, so that no other run goes on from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from training.errors import InputError
from training.prepared import Prepared, checksums_of_vocabularies
from training.recipe import Recipe
from training.run_state import RunFolder
from translator.card import InitialModel


def identity(
    recipe: Recipe, prepared: Prepared, initial_model: InitialModel | None, updates_an_epoch: int
) -> dict[str, Any]:
    """What a checkpoint says of the run beside the state of its training."""
    return {
        "updates_an_epoch": updates_an_epoch,
        "shape": _shape(recipe, prepared),
        "vocabularies": checksums_of_vocabularies(prepared.vocabularies),
        "initial_model": initial_model and initial_model.weights_sha256,
        "initial_model_name": initial_model and initial_model.name,
    }


def check_identity(
    path: Path,
    state: dict[str, Any],
    recipe: Recipe,
    prepared: Prepared,
    initial_model: InitialModel | None,
    console: Console,
) -> InitialModel | None:
    """Whether a run may go on from the checkpoint at `path`.

    Args:
        state: what the checkpoint holds.
        initial_model: what the recipe's initial model is now. It may have become another one since the run began.

    Returns:
        The model that the run began with, as the checkpoint has it.

    Raises:
        InputError: the checkpoint is of a network of another shape, of other vocabularies, or of a run that began in
            another way.
    """
    if state["shape"] != _shape(recipe, prepared):
        raise InputError(f"{path}: belongs to a network of another shape; was the recipe changed?")
    # Older checkpoints say nothing of vocabularies, and those before them nothing of an initial model.
    for side, checksum in checksums_of_vocabularies(prepared.vocabularies).items():
        if state.get("vocabularies", {}).get(side, checksum) != checksum:
            own = f" or --set initial_model={RunFolder(recipe.run_directory).model}" if recipe.initial_model else ""
            raise InputError(
                f"{path}: was trained with another {side} vocabulary than that of {prepared.path}; go on with the "
                f"prepared folder of then (--prepared DIR{own})"
            )
    weights_sha256: str | None = state.get("initial_model")
    if weights_sha256 is None:
        if initial_model is not None:
            raise InputError(
                f"{path}: began with random weights and not with a model; leave initial_model out, or begin another "
                "run with --set output.directory=DIR"
            )
        return None
    name = state.get("initial_model_name") or (initial_model.name if initial_model is not None else "a model")
    if initial_model is None:
        raise InputError(f"{path}: began with the weights of {name}, and the recipe names no initial_model")
    if initial_model.weights_sha256 != weights_sha256:
        console.print(
            f"Note: {recipe.initial_model} has other weights than those that this run began with (SHA-256 "
            f"{weights_sha256}); the run goes on as it began.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return InitialModel(name=name, weights_sha256=weights_sha256)


def note_changed_epochs(console: Console, state: dict[str, Any], updates_an_epoch: int) -> None:
    """Tell of a corpus or batches of another size than when a checkpoint's `state` was written."""
    before = state.get("updates_an_epoch", updates_an_epoch)  # older checkpoints do not say
    if before != updates_an_epoch:
        console.print(
            f"Note: an epoch has {updates_an_epoch:,} updates now and had {before:,} before, since the corpus or the "
            "batches are of another size; the epochs, and with them the learning rate, are counted by the new number.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _shape(recipe: Recipe, prepared: Prepared) -> dict[str, Any]:
    sizes = (prepared.source_vocabulary.size, prepared.target_vocabulary.size)
    return recipe.model.configuration(*sizes).model_dump()
