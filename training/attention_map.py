"""What the attention looks at while a sentence is translated, as a figure and as numbers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from training.errors import InputError
from translator.config import SearchOptions
from translator.pipeline import Translator
from translator.translation import Alignment

_FORMATS = (".png", ".svg", ".pdf")
_SPACE_SYMBOL = "\u2581"


def draw_attention_map(alignment: Alignment, figure: Path) -> None:
    """A row for each target piece, a column for each source piece, the darker the more of the attention was there.

    The ending of `figure` (.png, .svg or .pdf) decides on the format.
    """
    # Imported here because it takes longer than the translation.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns, rows = len(alignment.source), len(alignment.target)
    size = (2.0 + 0.32 * columns, 1.6 + 0.28 * rows)
    drawing, axes = pyplot.subplots(figsize=size, layout="constrained")
    try:
        image = axes.imshow(alignment.weights, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_xticks(range(columns), [_shown(piece) for piece in alignment.source], rotation=60, ha="left")
        axes.set_yticks(range(rows), [_shown(piece) for piece in alignment.target])
        axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
        drawing.colorbar(image, ax=axes, label="attention")
        drawing.savefig(figure, dpi=120)
    finally:
        pyplot.close(drawing)


def _shown(piece: str) -> str:
    """A piece as text; the space that begins a word is left out, unless it is all there is."""
    shown = piece.replace(_SPACE_SYMBOL, " ").lstrip() or "␣"
    return shown.replace("$", r"\$")  # to matplotlib, dollars enclose formulas


@click.command()
@click.option("--model", required=True, help="Model directory of a network with attention.")
@click.option("--beam-size", type=click.IntRange(1, 200), default=5, show_default=True)
@click.option(
    "--figure",
    "figure_file",
    required=True,
    type=click.Path(path_type=Path),
    help="Draw there; the numbers go beside it, with the ending .json.",
)
@click.argument("sentence")
def attention_map(model: str, beam_size: int, figure_file: Path, sentence: str) -> None:
    """Translate SENTENCE and draw what the attention looked at for each piece of the translation."""
    if figure_file.suffix not in _FORMATS:
        raise InputError(f"{figure_file}: a figure's name ends in {', '.join(_FORMATS)}")
    try:
        translator = Translator.load(model)
        translation = translator.translate(sentence, SearchOptions(beam_size=beam_size), split_sentences=False)
        translation = translator.aligned(translation)
    except ValueError as error:
        raise InputError(str(error)) from error
    if len(translation.sentences) != 1:
        raise InputError(f"give one sentence that the model can read as a whole, not {len(translation.sentences)}")
    (aligned,) = translation.sentences
    assert aligned.alignment is not None
    numbers = {"sentence": sentence, "translation": aligned.text, **asdict(aligned.alignment)}
    try:
        figure_file.with_suffix(".json").write_text(
            json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        draw_attention_map(aligned.alignment, figure_file)
    except OSError as error:
        raise InputError(f"{figure_file}: cannot be written: {error.strerror}") from error
    click.echo(aligned.text)
