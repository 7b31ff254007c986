"""The evaluation as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from translator.card import LengthScore

if TYPE_CHECKING:
    from training.evaluation import EvaluationReport


def draw_bleu_by_length(report: EvaluationReport, figure: Path) -> None:
    """BLEU by the number of words in the source, as in the paper's Figure 3 (left), with the sentences behind each bar.

    The ending of `figure` (.png, .svg or .pdf) decides on the format.
    """
    # Imported here because it takes longer than a short evaluation.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    try:
        bars = axes.bar(
            [words_of(part) for part in report.bleu_by_length], [part.bleu for part in report.bleu_by_length]
        )
        axes.bar_label(bars, [f"{part.sentences:,}" for part in report.bleu_by_length], fontsize="small", color="0.35")
        axes.axhline(report.bleu.value, color="tab:orange", linestyle="--", label=f"all: {report.bleu.value:.1f}")
        axes.set(
            xlabel="words in the source sentence (on the bars: sentences)",
            ylabel="BLEU",
            title=f"{report.model}: {report.bleu.test_set}",
        )
        axes.legend()
        drawing.savefig(figure, dpi=120)
    finally:
        pyplot.close(drawing)


def words_of(part: LengthScore) -> str:
    """The class of sentence length as people write it: "6–10", "51 and more"."""
    return f"{part.minimum} and more" if part.maximum is None else f"{part.minimum}–{part.maximum}"
