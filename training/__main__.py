"""python -m training prepare | train | evaluate | rescore"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

_EXTRA = ("datasets", "jinja2", "matplotlib", "sacrebleu", "sacremoses")
_INSTALL = "install what training needs: pip install '.[train]'"
# Commands that live with what they do; they are imported when they are called.
_ELSEWHERE = {"evaluate": "training.evaluation", "rescore": "training.rescoring"}


class _Commands(click.Group):
    """Imports commands when they are called, and turns what a user can put right into one line and exit status 2."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *_ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _ELSEWHERE:
            return super().get_command(context, name)
        try:
            command = getattr(importlib.import_module(_ELSEWHERE[name]), name)
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


@main.command()
@click.argument("recipe")
@_SET
@click.option("--output", type=click.Path(path_type=Path), help="Folder to write; prepared/NAME if not given.")
def prepare(recipe: str, overrides: tuple[str, ...], output: Path | None) -> None:
    """Clean, split and encode the recipe's corpus.

    The folder holds all that `train --prepared` needs, also on a machine without a network.
    """
    from training.preparation import prepare
    from training.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    prepare(loaded, output if output is not None else loaded.prepared_directory, console=Console(stderr=True))


@main.command()
@click.argument("recipe")
@_SET
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option(
    "--prepared",
    type=click.Path(path_type=Path),
    help="Folder written by `prepare`. If not given, prepared/NAME is used and made where it has to be.",
)
def train(recipe: str, overrides: tuple[str, ...], resume: bool, prepared: Path | None) -> None:
    """Train the recipe's model and write its model directory."""
    # A training job finds out at its start, not at its first validation.
    _require(("matplotlib", "sacrebleu"))
    from training.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    console = Console(stderr=True)
    if prepared is not None:
        from training.prepared import load_prepared

        pairs = load_prepared(prepared)
    else:
        from training.preparation import prepare_or_reuse

        pairs = prepare_or_reuse(loaded, console=console)
    from training.trainer import train

    click.echo(train(loaded, pairs, resume=resume, console=console))


if __name__ == "__main__":
    main(prog_name="python -m training")
