"""The evaluation as figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translator.card import LengthScore

if TYPE_CHECKING:
    from training.evaluation_report import EvaluationReport

Target = Path | BytesIO


def draw_bleu_by_length(reports: Sequence[EvaluationReport], figure: Target) -> None:
    """BLEU by the number of words in the source, as in the paper's Figure 3 (left), with the sentences behind each bar.

    The ending of `figure` (.png, .svg or .pdf) decides on the format; in memory it is PNG.
    """
    classes = [words_of(part) for part in reports[0].bleu_by_length]
    counts = [part.sentences for part in reports[0].bleu_by_length]
    with _axes(figure) as axes:
        _bars(axes, classes, counts, reports, lambda report: [part.bleu for part in report.bleu_by_length])
        axes.set_xlabel("words in the source sentence (above: sentences)")


def draw_bleu_by_rank(reports: Sequence[EvaluationReport], figure: Target) -> None:
    """BLEU by the average frequency rank of the source's words, as in the paper's Figure 3 (right)."""
    parts = reports[0].bleu_by_rank
    classes = [f"{part.minimum:.0f}–{part.maximum:.0f}" for part in parts]
    with _axes(figure) as axes:
        _bars(
            axes, classes, [part.sentences for part in parts], reports,
            lambda report: [part.bleu for part in report.bleu_by_rank],
        )  # fmt: skip
        axes.set_xlabel("average frequency rank of the source's words, rarer to the right (above: sentences)")


def draw_confidence(reports: Sequence[EvaluationReport], figure: Target) -> None:
    """BLEU of every system with its 95 % interval."""
    with _axes(figure, height=1.5 + 0.5 * len(reports)) as axes:
        for place, report in enumerate(reversed(reports)):
            interval = report.confidence["BLEU"]
            middle = (interval.low + interval.high) / 2
            axes.errorbar(middle, place, xerr=(interval.high - interval.low) / 2, fmt="none", capsize=4, color="0.4")
            axes.plot(report.bleu.value, place, "o", color=f"C{len(reports) - 1 - place}")
        axes.set(xlabel="BLEU with its 95 % interval", ylim=(-0.6, len(reports) - 0.4))
        axes.set_yticks(range(len(reports)), [report.model for report in reversed(reports)])


def words_of(part: LengthScore) -> str:
    """The class of sentence length as people write it: "6–10", "51 and more"."""
    return f"{part.minimum} and more" if part.maximum is None else f"{part.minimum}–{part.maximum}"


@contextmanager
def _axes(figure: Target, *, height: float = 4.0) -> Iterator[Any]:
    """Axes to draw on; what was drawn is written to `figure` at the end."""
    # Imported here because it takes longer than a short evaluation.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(figsize=(7, height), layout="constrained")
    try:
        yield axes
        drawing.savefig(figure, dpi=120)
    finally:
        pyplot.close(drawing)


def _bars(
    axes: Any,
    classes: Sequence[str],
    counts: Sequence[int],
    reports: Sequence[EvaluationReport],
    values: Callable[[EvaluationReport], Sequence[float]],
) -> None:
    """A group of bars for each class, one for each report; a line for the BLEU of all sentences."""
    width = 0.8 / len(reports)
    for number, report in enumerate(reports):
        places = [place + (number - (len(reports) - 1) / 2) * width for place in range(len(classes))]
        bars = axes.bar(places, values(report), width, color=f"C{number}")
        label = f"{report.model}, all: {report.bleu.value:.1f}"
        axes.axhline(report.bleu.value, color=f"C{number}", linestyle="--", label=label)
        if number == 0:
            axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize="small", color="0.35")
    axes.set_xticks(range(len(classes)), classes)
    axes.set(ylabel="BLEU", title=reports[0].bleu.test_set)
    axes.legend(fontsize="small")
