"""The command `python -m training distill`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from pydantic import ValidationError
from rich.console import Console

from training.distillation import Distillation
from training.distillation_settings import settings_of
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
@click.option(
    "--text",
    "text_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Translate the sentences of this file, one a line, plain or gzipped, and not the training sources. May be "
    "given several times. They are of the language that the teacher translates from.",
)
@device_option
@click.option("--engine", default="auto", show_default=True, help="How to compute; `translator inspect` lists them.")
@click.option("--beam-size", type=int, default=5, show_default=True, help="Hypotheses kept at every step; 1 is greedy.")
@click.option("--length-penalty", type=float, help="α of the search; the model's own if not given.")
@click.option(
    "--nearest-reference", is_flag=True, help="Of the hypotheses in the beam take the one of best sentence BLEU."
)
@click.option(
    "--reverse-model",
    help="Model directory, or the name of a shipped model, of the other direction: it chooses from the beam, too, by "
    "log p(text | hypothesis), which takes several times as long as to translate.",
)
@click.option(
    "--keep",
    "kept_share",
    type=click.FloatRange(0, 1, min_open=True),
    help="With --reverse-model: of the pairs only this share, those of most log p(text | translation) a character.",
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
    "--output",
    type=click.Path(path_type=Path),
    help="Corpus folder to write; corpora/NAME-distilled if not given. Of text it is corpora/NAME-further, or "
    "corpora/NAME-back where it is of the target language.",
)
def distill(
    recipe: str,
    overrides: tuple[str, ...],
    prepared: Path | None,
    models: tuple[str, ...],
    combination: Combination,
    text_files: tuple[Path, ...],
    device: str,
    engine: str,
    beam_size: int,
    length_penalty: float | None,
    nearest_reference: bool,
    reverse_model: str | None,
    kept_share: float | None,
    mix: bool,
    shard_pairs: int,
    output: Path | None,
) -> None:
    """Have a teacher translate the recipe's training sources, or further text, for a student to learn from.

    Without --text it writes a corpus folder (kind = "moses") with the teacher's translations as train and the real dev
    and test. Ctrl-C stops it at any time, and the same command goes on.

    With --text it is text of one language that the teacher translates, such as all that you have in it; what the corpus
    has is left out, and it is held in memory. The folder holds train alone, and stands in a recipe as one of the
    `further_paths` beside the real corpus, a folder that brings its own dev and test. Text of the recipe's target
    language takes a teacher of the other direction (back-translation).
    """
    if text_files and (mix or nearest_reference):
        raise click.UsageError(f"--text and {'--mix' if mix else '--nearest-reference'} exclude each other")
    if reverse_model is not None and nearest_reference:
        raise click.UsageError("--reverse-model and --nearest-reference exclude each other")
    if kept_share is not None and reverse_model is None:
        raise click.UsageError("--keep needs a --reverse-model, which says what is worth keeping")
    if beam_size == 1 and (reverse_model is not None or nearest_reference):
        raise click.UsageError("with --beam-size 1 there is nothing to choose from; give a larger one")
    loaded = load_recipe(recipe, overrides)
    try:
        options = SearchOptions(beam_size=beam_size, length_penalty=length_penalty)
        translator = _load(models, device, engine, combination)
        reverse = None if reverse_model is None else Translator.load(reverse_model, device=device, engine="reference")
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}") from error
    except ValueError as error:  # after its subclass ValidationError: a model directory or a device
        raise InputError(str(error)) from error
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    pairs = open_prepared(loaded, prepared, console=console)
    settings = settings_of(
        translator,
        pairs,
        options,
        text_files=text_files,
        reverse=reverse,
        kept_share=1.0 if kept_share is None else kept_share,
        nearest_reference=nearest_reference,
        mixed=mix,
        shard_pairs=shard_pairs,
    )
    kind = "distilled" if not text_files else "further" if settings.text_side == "source" else "back"
    folder = output if output is not None else Path("corpora") / f"{loaded.name}-{kind}"
    work = Distillation(folder, pairs, settings, text_files)
    if work.finished:
        console.print(f"{folder}: was finished before, by the same teacher and settings")
    else:
        total = len(work.texts.order)
        what = "sentences" if text_files else "pairs"
        console.print(f"{settings.teacher} translates {total:,} {what} into {folder}; {translator.engine.describe()}")
        if work.done:
            console.print(f"Going on after {work.done:,} {what}")
        try:
            with _shown(total, work.done, what, console) as advance:
                record = work.run(translator, advance, reverse=reverse)
        except KeyboardInterrupt:
            console.print(f"Stopped after {work.done:,} {what}; the same command goes on.")
            raise
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in record.left_out.items())
        original = f", {record.pairs['original']:,} original ones" if mix else ""
        console.print(f"{record.pairs['teacher']:,} pairs of the teacher{original}")
        console.print(f"Left out: {left_out}")
    click.echo(folder)


def _load(models: Sequence[str], device: str, engine: str, combination: Combination) -> Translator:
    named = models[0] if len(models) == 1 else models
    return Translator.load(named, device=device, engine=engine, combination=combination)


@contextmanager
def _shown(total: int, done: int, what: str, console: Console) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line now and then elsewhere, with the time left. Yields advance(how many of `what`)."""
    with progress_bar() as bar:
        task = bar.add_task("translating", total=total, completed=done)
        begun = last = time.monotonic()
        before = done

        def advance(count: int) -> None:
            nonlocal done, last
            done += count
            bar.advance(task, count)
            now = time.monotonic()
            if not console.is_terminal and done > before and now - last >= _SECONDS_BETWEEN_LINES:
                last = now
                speed = (done - before) / (now - begun)
                left = (total - done) / speed / 60
                console.print(f"{done:,} of {total:,} {what}, {speed:,.1f} a second, {left:,.0f} minutes left")

        yield advance
