"""The command `python -m training recurrence`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from training.errors import InputError
from training.recurrence.baselines import require_packages
from training.recurrence.brackets import measure_brackets
from training.recurrence.characters import CharacterText, measure_characters, read_text
from training.recurrence.figures import NAMES, draw_brackets, draw_characters, draw_gates, draw_gradients
from training.recurrence.gates import CellGates, read, summarised
from training.recurrence.gradients import measure_gradients
from translator.language_model_directory import LoadedLanguageModel

PARTS = ("gradients", "brackets", "characters")
_SENTENCE = "The flowers that grew in the garden behind the old house were beautiful."
_WITH_GATES = ("lstm", "gru")


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...", type=click.Choice(PARTS))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("training/figures"),
    show_default=True,
    help="Folder for the figures, and their numbers as JSON.",
)
@click.option(
    "--text",
    "text_file",
    type=click.Path(path_type=Path),
    default=Path("corpora/tatoeba-en-fr/train.en"),
    show_default=True,
    help="characters: what to learn from, a text a line, plain or gzipped.",
)
@click.option("--sentence", default=_SENTENCE, show_default=True, help="characters: what the gates are shown over.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Of the updates and of the text: with less of it all is sooner done, and says less.",
)
def recurrence(parts: tuple[str, ...], output: Path, text_file: Path, sentence: str, seed: int, share: float) -> None:
    """Show why recurrences have gates: measure the lecture's four cells and draw figures.

    gradients: ‖∂h_T/∂h_t‖ against the lag, before and after learning to recall. brackets: who matches brackets, by
    how deep they are nested. characters: bits per character beside n-grams and hidden Markov models, and what the
    gates do over a sentence. Without a PART, all of them, in less than ten minutes on one core.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    chosen = [part for part in PARTS if part in parts or not parts]
    text = None
    if "characters" in chosen:  # what would be in the way of it is better known before the other parts than after them
        require_packages()
        text = read_text(text_file, seed=seed, share=share)
    if text is not None and not set(sentence) <= set("".join(text.train)):
        raise InputError(f"--sentence: {text_file} does not have all of its characters; give another sentence")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for part in chosen:
            started = time.monotonic()
            console.print(f"{part} …")
            if part == "gradients":
                _gradients(output, console, seed, share)
            elif part == "brackets":
                _brackets(output, console, seed, share)
            elif text is not None:
                _characters(output, console, text, sentence, seed, share)
            console.print(f"{part}: {time.monotonic() - started:.0f} s")
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from error


def _gradients(output: Path, console: Console, seed: int, share: float) -> None:
    reaches = list(measure_gradients(seed=seed, share=share))
    lags = list(reaches[0].recall)[1::3]
    table = Table("cell", "parameters", "norm, lag 20", "after training", *(f"recall, lag {lag}" for lag in lags))
    for each in reaches:
        norms = (each.state_at_start[20], each.state_after_training[20])
        recalled = (f"{accuracy:.0%}" for accuracy in (each.recall[lag] for lag in lags))
        table.add_row(NAMES[each.cell], f"{each.parameters:,}", *(f"{norm:.1e}" for norm in norms), *recalled)
    _finish(output / "recurrence-gradients", console, table, {"seed": seed, "share": share, "cells": reaches},
            lambda file: draw_gradients(reaches, file))  # fmt: skip


def _brackets(output: Path, console: Console, seed: int, share: float) -> None:
    accuracies = list(measure_brackets(seed=seed, share=share))
    levels = list(accuracies[0].by_levels)
    title = "closing brackets told right, by levels nested inside the pair"
    table = Table("cell", "parameters", "all", *map(str, levels), title=title, title_justify="left")
    for each in accuracies:
        shares = (each.overall, *each.by_levels.values())
        table.add_row(NAMES[each.cell], f"{each.parameters:,}", *(f"{value:.0%}" for value in shares))
    _finish(output / "recurrence-brackets", console, table, {"seed": seed, "share": share, "cells": accuracies},
            lambda file: draw_brackets(accuracies, file))  # fmt: skip


def _characters(output: Path, console: Console, text: CharacterText, sentence: str, seed: int, share: float) -> None:
    models = []
    gates = []
    table = Table("model", "parameters", "bits per character")
    for model, loaded in measure_characters(text, seed=seed, share=share):
        models.append(model)
        parameters = "" if model.parameters is None else f"{model.parameters:,}"
        table.add_row(NAMES.get(model.model, model.model), parameters, f"{model.bits_per_character:.3f}")
        if loaded is not None and model.model in _WITH_GATES:
            gates.append(_gates(model.model, loaded, sentence))
    described = {
        "seed": seed, "share": share, "train_texts": len(text.train), "held_out_texts": len(text.held_out),
        "held_out_characters": text.held_out_characters, "models": models,
    }  # fmt: skip
    _finish(output / "recurrence-characters", console, table, described, lambda file: draw_characters(models, file))
    numbers = {"seed": seed, "share": share, "sentence": sentence, "cells": gates}
    _finish(output / "recurrence-gates", console, None, numbers, lambda file: draw_gates(gates, sentence, file))


def _gates(cell: str, loaded: LoadedLanguageModel, sentence: str) -> CellGates:
    try:
        return summarised(cell, read(loaded, sentence))
    except ValueError as error:
        raise InputError(f"--sentence: {error}") from error


def _finish(
    stem: Path, console: Console, table: Table | None, numbers: dict[str, Any], draw: Callable[[Path], None]
) -> None:
    """Print the table, write the numbers and the figure, and say where."""
    if table is not None:
        console.print(table)
    figure = stem.with_suffix(".png")
    document = json.dumps(numbers, default=_plain, ensure_ascii=False)
    stem.with_suffix(".json").write_text(document + "\n", encoding="utf-8")
    draw(figure)
    click.echo(figure)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump()
    raise TypeError(f"{type(value).__name__} is not for JSON")
