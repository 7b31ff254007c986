"""The learning-rate range test of Smith 2017, *Cyclical Learning Rates for Training Neural Networks*, section 3.3.

A few hundred updates are made while the rate grows. Where the loss begins to fall is the least useful rate, where it
turns the largest; a tenth of the latter is suggested, because at the turn a network is only just stable. The rate grows
exponentially and not in a straight line, because it is its order of magnitude that is looked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from training.errors import InputError
from training.prepared import Prepared
from training.recipe import Recipe

# While the test runs, the loss is smoothed by an exponential mean of this decay.
_DECAY = 0.9
# Afterwards it is smoothed by a Gaussian of this width, a share of all updates. That looks ahead as well as back, so
# that the curve does not lag behind the rate.
_WIDTH = 0.025
_FEWEST_UPDATES = 10
# A loss that falls by less than this share of itself is taken not to fall.
_LEAST_FALL = 0.01
_SHARE_OF_FALL_AT_START = 0.1
_SHARE_OF_UPPER = 0.1


@dataclass(frozen=True)
class RangeTest:
    """A range test: the rate, the loss in nats a target token and the smoothed loss of each update.

    `lower` is the rate at which the loss has begun to fall, `upper` that at which it is least, `suggested` a tenth of
    that; all are None where it never falls. `diverged` says whether the test ended early.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    diverged: bool
    lower: float | None
    suggested: float | None
    upper: float | None


def run_range_test(update: Callable[[float], float], rates: Sequence[float]) -> RangeTest:
    """Make an update with each of `rates`, which ascend, until the loss is no number or has risen again.

    Args:
        update: makes an update with the rate that it is given and returns the loss from before it.
    """
    losses: list[float] = []
    means: list[float] = []
    mean = 0.0
    diverged = False
    for number, rate in enumerate(rates, start=1):
        loss = update(rate)
        if not math.isfinite(loss):
            diverged = True
            break
        losses.append(loss)
        # Without its pull towards zero (Kingma & Ba 2015, section 3).
        mean = _DECAY * mean + (1 - _DECAY) * loss
        means.append(mean / (1 - _DECAY**number))
        if number >= _FEWEST_UPDATES and _has_risen(means):
            diverged = True
            break
    used = list(rates[: len(losses)])
    smoothed = _smooth(losses, _WIDTH * len(rates))
    lower, suggested, upper = _choose(used, smoothed)
    return RangeTest(used, losses, smoothed.tolist(), diverged, lower, suggested, upper)


def _has_risen(means: Sequence[float]) -> bool:
    """Whether the loss has risen from its least value by as much as it had fallen, and by half of that value."""
    least = min(means)
    fallen = max(means[: means.index(least) + 1]) - least
    return means[-1] - least > max(fallen, 0.5 * least)


def _smooth(losses: Sequence[float], deviation: float) -> NDArray[np.float64]:
    positions = np.arange(len(losses))
    weights = np.exp(-0.5 * ((positions[:, None] - positions) / deviation) ** 2)
    smoothed: NDArray[np.float64] = weights @ np.array(losses, dtype=np.float64) / weights.sum(axis=1)
    return smoothed


def _choose(
    rates: Sequence[float], smoothed: NDArray[np.float64]
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Where the loss has begun to fall, what is suggested, and where the loss is least."""
    if len(smoothed) < _FEWEST_UPDATES:
        return None, None, None
    least = int(smoothed.argmin())
    falling = smoothed[: least + 1]
    fallen = falling.max() - falling[-1]
    if least < 2 or fallen < _LEAST_FALL * falling.max():
        return None, None, None
    begun = np.flatnonzero(falling.max() - falling >= _SHARE_OF_FALL_AT_START * fallen)
    begun = begun[begun >= falling.argmax()]
    return rates[int(begun[0])], _SHARE_OF_UPPER * rates[least], rates[least]


def growing_rates(lowest: float, highest: float, updates: int) -> list[float]:
    """`updates` rates from `lowest` to `highest`, each the same multiple of the last."""
    return [float(rate) for rate in np.geomspace(lowest, highest, updates)]


def write_range_test(test: RangeTest, recipe: Recipe, figure: Path) -> None:
    """Draw the test as `figure`, a PNG, and write its numbers as JSON beside it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure.parent.mkdir(parents=True, exist_ok=True)
    record = {"recipe": recipe.model_dump(mode="json"), **asdict(test)}
    figure.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    drawing, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(test.rates, test.losses, alpha=0.3, label="loss of each update")
    axes.plot(test.rates, test.smoothed, label="smoothed")
    for name, rate in (("lower", test.lower), ("suggested", test.suggested), ("upper", test.upper)):
        if rate is not None:
            axes.axvline(rate, linestyle="-" if name == "suggested" else ":", color="tab:green")
            axes.annotate(f" {name} {rate:.2g}", (rate, max(test.smoothed)), rotation=90, va="top", fontsize=8)
    ceiling = max(test.smoothed, default=1.0)
    axes.set(xlabel="learning rate", ylabel="loss, nats a target token", xscale="log", ylim=(None, 1.05 * ceiling))
    axes.set_title(f"{recipe.name}, {recipe.optimisation.optimiser}")
    axes.grid(alpha=0.3)
    axes.legend()
    drawing.savefig(figure, dpi=120)
    pyplot.close(drawing)


def _measure(recipe: Recipe, prepared: Prepared, rates: Sequence[float], console: Console) -> RangeTest:
    from training.trial import Trial

    trial = Trial(recipe, prepared)
    batches = trial.batches()
    shown = iter(track(rates, "learning rate", console=console, transient=True))

    def update(rate: float) -> float:
        next(shown)
        return trial.update(next(batches), rate).loss

    try:
        return run_range_test(update, rates)
    finally:
        shown.close()  # type: ignore[attr-defined]


@click.command()
@click.argument("recipe")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="As in `train`.")
@click.option("--prepared", type=click.Path(path_type=Path), help="As in `train`.")
@click.option("--lowest", type=click.FloatRange(min=0, min_open=True), help="Rate to begin with; 1e-5 of --highest.")
@click.option(
    "--highest", type=click.FloatRange(min=0, min_open=True), help="Rate to end with; 10 for sgd and 0.3 for adam."
)
@click.option("--updates", type=click.IntRange(min=20), default=200, show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), help="PNG to write; runs/NAME/learning-rate.png if not given."
)
def learning_rate(
    recipe: str,
    overrides: tuple[str, ...],
    prepared: Path | None,
    lowest: float | None,
    highest: float | None,
    updates: int,
    output: Path | None,
) -> None:
    """Look for a good learning rate.

    Makes updates with a rate that grows until the loss rises (Smith 2017, section 3.3), suggests a rate, and throws the
    model away. Writes a figure, and its numbers as JSON beside it.
    """
    from training.preparation import open_prepared
    from training.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    if highest is None:
        highest = 10.0 if loaded.optimisation.optimiser == "sgd" else 0.3
    if lowest is None:
        lowest = 1e-5 * highest
    if lowest >= highest:
        raise InputError(f"--lowest {lowest:g} is not below --highest {highest:g}")
    figure = output if output is not None else loaded.run_directory / "learning-rate.png"
    if figure.suffix != ".png":
        raise InputError(f"{figure}: the figure is a PNG; give a name that ends in .png")
    console = Console(stderr=True)
    pairs = open_prepared(loaded, prepared, console=console)
    try:
        figure.parent.mkdir(parents=True, exist_ok=True)
        test = _measure(loaded, pairs, growing_rates(lowest, highest, updates), console)
        write_range_test(test, loaded, figure)
    except OSError as error:
        raise InputError(f"{figure}: cannot be written: {error.strerror or error}") from error
    if test.suggested is None:
        raise InputError(
            f"no rate from {lowest:g} to {highest:g} brings the loss down ({figure} shows it); try others with "
            "--lowest and --highest, or more --updates"
        )
    console.print(
        f"{len(test.rates)} updates, rates {test.rates[0]:.2g} to {test.rates[-1]:.2g}"
        + (", where the loss had risen again" if test.diverged else "")
        + f"; it began to fall at {test.lower:.2g} and was least at {test.upper:.2g}"
        f"\n{figure} shows it. Try a tenth of that: --set optimisation.learning_rate={test.suggested:.2g}",
        highlight=False,
        soft_wrap=True,
    )
    click.echo(f"{test.suggested:.2g}")
