"""python -m training COMMAND; `--help` lists the commands."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

_EXTRA = ("datasets", "jinja2", "matplotlib", "pyarrow", "sacrebleu", "sacremoses")
_INSTALL = "install what training needs: pip install '.[train]'"
# Commands that live with what they do; they are imported when they are called.
_ELSEWHERE = {
    "attention-map": "training.attention_map",
    "average": "training.average",
    "distill": "training.distillation_command",
    "evaluate": "training.evaluation",
    "figures": "training.paper_figures",
    "index": "training.pair_index",
    "learning-rate": "training.learning_rate_range",
    "recurrence": "training.recurrence.command",
    "rescore": "training.rescoring",
    "scorecard": "training.scorecard.command",
    "train-language-model": "training.language_model",
}


class _Commands(click.Group):
    """Imports commands when they are called, and turns what a user can put right into one line and exit status 2."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *_ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _ELSEWHERE:
            return super().get_command(context, name)
        try:
            command = getattr(importlib.import_module(_ELSEWHERE[name]), name.replace("-", "_"))
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        assert isinstance(command, click.Command)
        return command

    def invoke(self, context: click.Context) -> Any:
        from training.errors import InputError

        try:
            return super().invoke(context)
        except InputError as error:
            raise _Failure(str(error)) from error
        except ModuleNotFoundError as error:
            raise _missing(error) from error


class _Failure(click.ClickException):
    """One line on standard error and the exit status of a usage error."""

    exit_code = 2


def _missing(error: ModuleNotFoundError) -> Exception:
    """What to tell where a package of the extra is missing; any other missing module is a fault and stays one."""
    package = (error.name or "").partition(".")[0]
    return _Failure(f"the package '{package}' is missing; {_INSTALL}") if package in _EXTRA else error


def _require(packages: Sequence[str]) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise _Failure(f"missing: {', '.join(missing)}; {_INSTALL}")


@click.group(cls=_Commands, invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Train a translator: corpus, subwords, model, evaluation.

    RECIPE is a TOML file or the name of a shipped recipe.
    """
    if context.invoked_subcommand is None:
        _require(_EXTRA)
        click.echo(context.get_help(), err=True)
        context.exit(2)


_SET = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key of the recipe, such as optimisation.epochs=2; no value takes the key out. May be repeated.",
)


_PROCESSES = click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="How many processes prepare the corpus; as many as are of use on this machine if not given.",
)


@main.command()
@click.argument("recipe")
@_SET
@_PROCESSES
@click.option("--output", type=click.Path(path_type=Path), help="Folder to write; prepared/NAME if not given.")
def prepare(recipe: str, overrides: tuple[str, ...], processes: int | None, output: Path | None) -> None:
    """Clean, split and encode the recipe's corpus.

    The folder holds all that `train --prepared` needs, also on a machine without a network.
    """
    from training.preparation import prepare
    from training.recipe import load_recipe
    from training.workers import usable_processes

    loaded = load_recipe(recipe, overrides)
    prepare(
        loaded,
        output if output is not None else loaded.prepared_directory,
        console=Console(stderr=True),
        processes=processes or usable_processes(),
    )


@main.command()
@click.argument("recipe")
@_SET
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option(
    "--prepared",
    type=click.Path(path_type=Path),
    help="Folder written by `prepare`. If not given, prepared/NAME is used and made where it has to be.",
)
@click.option("--dry-run", is_flag=True, help="Print counts, lengths, parameters, memory and time, and train nothing.")
def train(recipe: str, overrides: tuple[str, ...], resume: bool, prepared: Path | None, dry_run: bool) -> None:
    """Train the recipe's model and write its model directory.

    Where the recipe names an `initial_model` (--set initial_model=en-fr), a model directory or a shipped model,
    training begins with its weights and vocabularies. Where one of its languages is another than the corpus's, the
    vocabulary of that side is learnt.

    On several GPUs: torchrun --nproc-per-node 8 -m training train RECIPE
    """
    # A training job finds out at its start, not at its first validation.
    _require(("matplotlib", "sacrebleu"))
    from training.distributed import joined
    from training.preparation import open_prepared
    from training.prepared import load_prepared
    from training.recipe import load_recipe
    from training.trainer import train

    loaded = load_recipe(recipe, overrides, resume=resume)
    console = Console(stderr=True)
    if dry_run:
        from training.dry_run import dry_run as show_plan

        show_plan(loaded, open_prepared(loaded, prepared, console=console), Console())
        return
    with joined() as world:
        folder = world.first(lambda: open_prepared(loaded, prepared, console=console).path)
        model = train(loaded, load_prepared(folder), resume=resume, world=world, console=console)
        if world.is_first:
            click.echo(model)


if __name__ == "__main__":
    main(prog_name="python -m training")
