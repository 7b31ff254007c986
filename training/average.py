"""The arithmetic mean of several models of one run, which is often better than each of them.

Sennrich, Haddow and Birch 2016 (*Edinburgh Neural Machine Translation Systems for WMT 16*) average checkpoints
instead of an ensemble of them, and so do Vaswani et al. 2017, section 6.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import torch
from rich.console import Console
from torch import Tensor

from training.checkpoint import read_checkpoint
from training.errors import InputError
from training.kept_models import kept_models
from translator.card import CARD_FILE, AveragedModel, Card
from translator.config import ModelConfig
from translator.description import ModelDirectoryError, model_path
from translator.directory import LoadedModel, load_model, save_model
from translator.weights import WeightStorage


@dataclass(frozen=True)
class _Member:
    """One of the models to average: the weights, and a model directory for all else."""

    name: str
    weights: dict[str, Tensor]
    config: ModelConfig
    directory: LoadedModel
    record: AveragedModel


def average_models(paths: Sequence[Path], output: Path, *, storage: WeightStorage = "float32") -> Card:
    """Write a model directory whose weights are the arithmetic mean of those of `paths`.

    The mean is taken of what the models compute with: weights that are stored as bfloat16 or in 8 bits are turned
    into float32 first. The card is that of the model with the most updates, without its scores, which nobody has
    measured for the mean.

    Args:
        paths: model directories, names of shipped models, or checkpoints (RUN/state/checkpoint.pt, whose vocabularies
            are those of RUN/model).
        output: a directory that does not exist yet.
        storage: how the mean is stored.

    Returns:
        The card that was written.

    Raises:
        InputError: fewer than two models, one that cannot be read, or models of different shape, vocabularies or
            languages; or `output` cannot be written or holds something already.
    """
    if len(paths) < 2:
        raise InputError("a mean needs two models at least; name more model directories, or a run and --last N")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: exists already; name another directory with --output")
    first = _read(paths[0])
    # Sums in float64 are rounded once, so that the mean of equal weights is exactly these weights.
    sums = {name: weight.double() for name, weight in first.weights.items()}
    records = [first.record]
    newest = first
    for path in paths[1:]:
        member = _read(path)
        _check_alike(first, member)
        for name, weight in member.weights.items():
            sums[name] += weight
        records.append(member.record)
        if member.record.updates >= newest.record.updates:
            newest = member
    model = newest.directory.model
    model.load_state_dict({name: (total / len(paths)).float() for name, total in sums.items()})
    card = newest.directory.card.model_copy(update={"averaged": records, "scores": [], "bleu_by_length": []})
    try:
        save_model(
            output,
            model=model,
            source_vocabulary=first.directory.source_vocabulary,
            target_vocabulary=first.directory.target_vocabulary,
            card=card,
            storage=storage,
        )
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from error
    return card


def _read(path: Path) -> _Member:
    if path.is_file():
        return _read_checkpoint(path)
    loaded = _load(path)
    training = loaded.card.training
    record = AveragedModel(
        name=loaded.card.name,
        updates=training.updates if training is not None else 0,
        weights_sha256=loaded.card.files["model.safetensors"].sha256,
    )
    return _Member(str(path), loaded.model.state_dict(), loaded.config, loaded, record)


def _read_checkpoint(path: Path) -> _Member:
    state = read_checkpoint(path)
    directory = path.absolute().parent.parent / "model"
    if not (directory / CARD_FILE).is_file():
        raise InputError(f"{path}: a checkpoint has no vocabularies; its run's model directory is missing: {directory}")
    loaded = _load(directory)
    record = AveragedModel(name=loaded.card.name, updates=state["position"]["update"])
    return _Member(str(path), _measured_weights(state), ModelConfig.model_validate(state["shape"]), loaded, record)


def _measured_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """What the run measured at a checkpoint: the moving average of the weights, where the recipe wants one."""
    if "average" not in state:
        weights: dict[str, Tensor] = state["model"]
        return weights
    prefix = "module."
    return {name.removeprefix(prefix): value for name, value in state["average"].items() if name.startswith(prefix)}


def _load(path: Path) -> LoadedModel:
    try:
        return load_model(model_path(path))
    except ModelDirectoryError as error:
        raise InputError(str(error)) from error


def _check_alike(first: _Member, other: _Member) -> None:
    """Raise InputError where a mean of the two would be no model."""
    one, two = first.config.model_dump(), other.config.model_dump()
    differing = [f"{key} {one[key]} and {two[key]}" for key in one if one[key] != two[key]]
    if differing:
        raise InputError(f"{first.name} and {other.name} are networks of different shape: {', '.join(differing)}")
    for side in ("source", "target"):
        vocabularies = (getattr(member.directory, f"{side}_vocabulary").model_bytes for member in (first, other))
        if len(set(vocabularies)) > 1:
            raise InputError(
                f"{first.name} and {other.name} have different {side} vocabularies; average models of one run, or of "
                "runs on the same prepared folder"
            )
    for side in ("source_language", "target_language"):
        languages = [getattr(member.directory.card, side) for member in (first, other)]
        if languages[0] != languages[1]:
            raise InputError(f"{first.name} and {other.name}: their {side} is {languages[0]} and {languages[1]}")


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Model directory to write.")
@click.option("--last", type=click.IntRange(min=2), help="Average the last N models that a run has kept; give the run.")
@click.option(
    "--weight-storage",
    type=click.Choice(get_args(WeightStorage)),
    default="float32",
    show_default=True,
    help="How the mean is stored.",
)
def average(models: tuple[Path, ...], output: Path, last: int | None, weight_storage: WeightStorage) -> None:
    """Write the mean of the weights of several models.

    MODELS are model directories, names of shipped models or checkpoints (RUN/state/checkpoint.pt), of one shape and
    with the same vocabularies.
    With --last, it is one run's directory, whose recipe says output.keep_models.
    """
    paths = list(models)
    if last is not None:
        if len(paths) > 1:
            raise InputError("--last goes with the directory of one run, such as runs/NAME")
        paths = kept_models(paths[0])[-last:]
        if len(paths) < last:
            raise InputError(
                f"{models[0]}: holds {len(paths)} kept models, not {last}; have a run keep them with "
                f"--set output.keep_models={last}"
            )
    with torch.no_grad():
        card = average_models(paths, output, storage=weight_storage)
    after = ", ".join(f"{record.updates:,}" for record in card.averaged)
    Console(stderr=True).print(
        f"{output}: the mean of {len(card.averaged)} models, after {after} updates; it has no scores yet, measure it "
        "with: python -m training evaluate",
        highlight=False,
        soft_wrap=True,
    )
    click.echo(output)
