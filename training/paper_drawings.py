"""The figures of `python -m training figures`, from their data alone; each is a PNG of less than 100 KB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

_DOTS_AN_INCH = 100
# A palette makes a file of a third of the size.
_COLOURS = 64
Data = dict[str, Any]


def draw_phrases(data: Data, figure: Path) -> None:
    """Each panel's phrases on the first two principal components of h(x), as in the paper's Figure 2."""
    with _axes(figure, columns=len(data["panels"]), width=7.0, height=5.0) as panels:
        for axes, panel in zip(panels, data["panels"], strict=True):
            for point in panel["points"]:
                axes.plot(point["x"], point["y"], "o", color=f"C{point['group']}")
                axes.annotate(
                    point["text"],
                    (point["x"], point["y"]),
                    xytext=(0, 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                )
            first, second = panel["shares_of_variance"]
            axes.set(
                title=panel["title"],
                xlabel=f"first component ({first:.0%} of the variance)",
                ylabel=f"second ({second:.0%})",
            )
            axes.margins(0.35, 0.15)


def draw_beam_sizes(data: Data, figure: Path) -> None:
    """BLEU with its 95 % interval by the size of the beam."""
    with _axes(figure) as (axes,):
        sizes = [part["beam_size"] for part in data["beams"]]
        bleu = [part["bleu"] for part in data["beams"]]
        lows = [part["bleu"] - part["low"] for part in data["beams"]]
        highs = [part["high"] - part["bleu"] for part in data["beams"]]
        axes.errorbar(range(len(sizes)), bleu, yerr=[lows, highs], fmt="o-", capsize=4)
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set(xlabel="beam size", ylabel="BLEU with its 95 % interval", title=f"{data['model']}, {data['test_set']}")


def draw_learning_curves(data: Data, figure: Path) -> None:
    """Training perplexity and BLEU on dev by epoch: of each configuration the mean over its runs."""
    runs_of: dict[str, list[Data]] = {}
    for run in data["runs"]:
        runs_of.setdefault(run["configuration"], []).append(run)
    with _axes(figure, columns=2, width=5.5) as (training, dev):
        for number, (name, runs) in enumerate(runs_of.items()):
            style = {"color": f"C{number % 10}", "linestyle": ("-", "--", ":")[number // 10 % 3], "linewidth": 1}
            training.plot(*_mean_curve([run["training"] for run in runs]), label=f"{name} ({len(runs)})", **style)
            dev.plot(*_mean_curve([run["dev_bleu"] for run in runs]), marker=".", **style)
        training.set(xlabel="epoch", ylabel="training perplexity", yscale="log")
        dev.set(xlabel="epoch", ylabel="BLEU on dev")
        training.legend(fontsize=7)


def draw_positions(data: Data, figure: Path) -> None:
    """Share of right target tokens by their position, forward against reversed, the mean over seeds."""
    with _axes(figure) as (axes,):
        for number, line in enumerate(data["lines"]):
            positions = range(1, 1 + len(line["accuracy"]))
            axes.plot(positions, line["accuracy"], "o-", markersize=3, color=f"C{number}", label=line["name"])
        axes.set(
            xlabel="position in the target (tokens)", ylabel="accuracy, by teacher forcing", title=data["test_set"]
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)


@contextmanager
def _axes(figure: Path, *, columns: int = 1, width: float = 7.0, height: float = 4.0) -> Iterator[list[Any]]:
    """Panels side by side; what was drawn is written to `figure` at the end."""
    # Imported here because it takes longer than the figures of a small model.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image  # matplotlib needs it, too

    size = (width * columns, height)
    drawing, axes = pyplot.subplots(1, columns, figsize=size, layout="constrained", squeeze=False)
    try:
        yield list(axes[0])
        image = BytesIO()
        drawing.savefig(image, dpi=_DOTS_AN_INCH)
        Image.open(image).convert("RGB").quantize(_COLOURS).save(figure, optimize=True)
    finally:
        pyplot.close(drawing)


def _mean_curve(curves: list[list[list[float]]]) -> tuple[list[float], list[float]]:
    """Epochs and means of the points that all runs have; runs of one configuration are logged at the same updates."""
    points = list(zip(*curves, strict=False))
    return [point[0][0] for point in points], [sum(y for _, y in point) / len(point) for point in points]
