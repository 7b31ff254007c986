"""The command `python -m training distill`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from pydantic import ValidationError
from rich.console import Console

from training.distillation import Distillation, settings_of
from training.errors import InputError
from training.preparation import open_prepared
from training.recipe import load_recipe
from training.terminal import progress_bar
from translator.command_line import combination_option, device_option
from translator.config import Combination, SearchOptions
from translator.pipeline import Translator

_SECONDS_BETWEEN_LINES = 30.0


@click.command()
@click.argument("recipe")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="As in `train`.")
@click.option("--prepared", type=click.Path(path_type=Path), help="As in `train`.")
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    help="The teacher: a model directory, or the name of a shipped model; given several times, their ensemble.",
)
@combination_option
@device_option
@click.option("--engine", default="auto", show_default=True, help="How to compute; `translator inspect` lists them.")
@click.option("--beam-size", type=int, default=5, show_default=True, help="Hypotheses kept at every step; 1 is greedy.")
@click.option("--length-penalty", type=float, help="α of the search; the model's own if not given.")
@click.option(
    "--nearest-reference", is_flag=True, help="Of the hypotheses in the beam take the one of best sentence BLEU."
)
@click.option("--mix", is_flag=True, help="Put the original pairs behind the teacher's.")
@click.option(
    "--shard-pairs",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Pairs translated and kept together: what an interruption can cost.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Corpus folder to write; corpora/NAME-distilled if not given."
)
def distill(
    recipe: str,
    overrides: tuple[str, ...],
    prepared: Path | None,
    models: tuple[str, ...],
    combination: Combination,
    device: str,
    engine: str,
    beam_size: int,
    length_penalty: float | None,
    nearest_reference: bool,
    mix: bool,
    shard_pairs: int,
    output: Path | None,
) -> None:
    """Have a teacher translate the recipe's training sources, for a smaller student to learn from.

    Writes a corpus folder (kind = "moses") with the teacher's translations as train and the real dev and test. Ctrl-C
    stops it at any time, and the same command goes on.
    """
    loaded = load_recipe(recipe, overrides)
    folder = output if output is not None else Path("corpora") / f"{loaded.name}-distilled"
    try:
        options = SearchOptions(beam_size=beam_size, length_penalty=length_penalty)
        translator = _load(models, device, engine, combination)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}") from error
    except ValueError as error:  # after its subclass ValidationError: a model directory or a device
        raise InputError(str(error)) from error
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    pairs = open_prepared(loaded, prepared, console=console)
    settings = settings_of(
        translator, pairs, options, nearest_reference=nearest_reference, mixed=mix, shard_pairs=shard_pairs
    )
    work = Distillation(folder, pairs, settings)
    if work.finished:
        console.print(f"{folder}: was finished before, by the same teacher and settings")
    else:
        total = len(work.texts.order)
        console.print(f"{settings.teacher} translates {total:,} pairs into {folder}; {translator.engine.describe()}")
        if work.done:
            console.print(f"Going on after {work.done:,} pairs")
        try:
            with _shown(total, work.done, console) as advance:
                record = work.run(translator, advance)
        except KeyboardInterrupt:
            console.print(f"Stopped after {work.done:,} pairs; the same command goes on.")
            raise
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in record.left_out.items())
        console.print(f"{record.pairs['teacher']:,} pairs of the teacher, {record.pairs['original']:,} original ones")
        console.print(f"Left out: {left_out}")
    click.echo(folder)


def _load(models: Sequence[str], device: str, engine: str, combination: Combination) -> Translator:
    named = models[0] if len(models) == 1 else models
    return Translator.load(named, device=device, engine=engine, combination=combination)


@contextmanager
def _shown(total: int, done: int, console: Console) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line now and then elsewhere, with the time left. Yields advance(pairs)."""
    with progress_bar() as bar:
        task = bar.add_task("translating", total=total, completed=done)
        begun = last = time.monotonic()
        before = done

        def advance(pairs: int) -> None:
            nonlocal done, last
            done += pairs
            bar.advance(task, pairs)
            now = time.monotonic()
            if not console.is_terminal and now - last >= _SECONDS_BETWEEN_LINES:
                last = now
                speed = (done - before) / (now - begun)
                left = (total - done) / speed / 60
                console.print(f"{done:,} of {total:,} pairs, {speed:,.1f} pairs/s, {left:,.0f} minutes left")

        yield advance
