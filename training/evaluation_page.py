"""The evaluation as one HTML file that needs nothing beside itself."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import jinja2

from training.comparison import ComparisonReport
from training.evaluation_figures import draw_bleu_by_length, draw_bleu_by_rank, draw_confidence
from translator import __version__

_TEMPLATES = Path(__file__).parent / "templates"


def evaluation_page(report: ComparisonReport) -> str:
    """The page of one system or of several; figures are PNG within it."""
    figures = []
    for draw, caption in (
        (draw_confidence, "BLEU and its 95 % interval by bootstrap resampling of the sentences"),
        (draw_bleu_by_length, "BLEU by sentence length; the dashed line is that of all sentences"),
        (draw_bleu_by_rank, "BLEU by how rare the source's words are, in five classes of as many sentences"),
    ):
        image = BytesIO()
        draw(report.systems, image)
        figures.append((base64.b64encode(image.getvalue()).decode("ascii"), caption))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    template = environment.get_template("evaluation.html")
    return template.render(report=report, figures=figures, version=__version__)
