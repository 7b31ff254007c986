"""`python -m training scorecard`: train a grid of networks and hold the paper's claims against them."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from training.errors import InputError
from training.scorecard.grid import FEWEST_SEEDS, Budget, members, parse_depths


@click.command()
@click.argument("recipe")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="As in `train`.")
@click.option("--prepared", type=click.Path(path_type=Path), help="As in `train`.")
@click.option("--width", type=click.IntRange(min=2), help="Hidden size and embedding size; the recipe's if not given.")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Of each model; the recipe's if not given.")
@click.option("--depths", default="1,2,3,4", show_default=True, help="Numbers of layers, with commas between them.")
@click.option("--seeds", type=click.IntRange(min=FEWEST_SEEDS), default=2, show_default=True, help="Of each network.")
@click.option(
    "--ensemble",
    type=click.IntRange(min=FEWEST_SEEDS),
    default=5,
    show_default=True,
    help="Members of the largest ensemble: seeds of the deepest reversed network.",
)
@click.option(
    "--n-best", type=click.IntRange(min=2, max=200), default=20, show_default=True, help="Candidates that are rescored."
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder to write; runs/scorecard/NAME if not given.")
@click.option("--dry-run", is_flag=True, help="List what would be trained, with the time it would take, and stop.")
def scorecard(
    recipe: str,
    overrides: tuple[str, ...],
    prepared: Path | None,
    width: int | None,
    epochs: float | None,
    depths: str,
    seeds: int,
    ensemble: int,
    n_best: int,
    output: Path | None,
    dry_run: bool,
) -> None:
    """Train the paper's network forward and reversed, at several depths and with several seeds, and check its claims.

    Corpus, subwords and optimisation are RECIPE's, the network is the paper's. Each model has a run of its own below
    the output folder; the same command goes on where it was interrupted and uses what is finished. Writes scorecard.md,
    scorecard.json and scorecard.html there.
    """
    from training.folders import write_file
    from training.parallel_text import prepared_test_set
    from training.preparation import open_prepared
    from training.recipe import load_recipe
    from training.scorecard.runs import plan, show_plan, train_all

    loaded = load_recipe(recipe, overrides)
    budget = Budget(
        width=width or loaded.model.hidden_size,
        epochs=epochs or loaded.optimisation.epochs,
        depths=parse_depths(depths),
        seeds=seeds,
        ensemble=ensemble,
        n_best=n_best,
    )
    folder = output if output is not None else Path("runs") / "scorecard" / loaded.name
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; choose another --output")
    console = Console(stderr=True)
    pairs = open_prepared(loaded, prepared, console=console)
    runs = plan(loaded, pairs, members(budget), budget, folder)
    if dry_run:
        show_plan(runs, pairs, Console())
        return
    from training.scorecard.assembly import measure_all, score
    from training.scorecard.report import markdown, page, verdict_text

    prepared_test_set(pairs)  # found out before hours of training
    train_all(runs, pairs, console)
    results = measure_all(runs, pairs, budget, folder)
    card = score(loaded, runs, pairs, results, console)
    write_file(folder / "scorecard.json", card.model_dump_json(indent=2) + "\n")
    write_file(folder / "scorecard.md", markdown(card))
    write_file(folder / "scorecard.html", page(card))
    table = Table("row", "claim", "verdict")
    for row in card.rows:
        table.add_row(row.identifier, row.claim, verdict_text(row))
    console.print(table)
    click.echo(folder / "scorecard.md")
