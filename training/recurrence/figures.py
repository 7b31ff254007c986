"""The figures of `python -m training recurrence`, as PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.recurrence.brackets import KINDS, BracketAccuracy
from training.recurrence.characters import CharacterModel
from training.recurrence.gates import CellGates
from training.recurrence.gradients import GradientReach

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {"rnn": "vanilla RNN", "simplified-gru": "simplified GRU", "gru": "two-gate GRU", "lstm": "LSTM"}
_COLOURS = {"rnn": "tab:red", "simplified-gru": "tab:olive", "gru": "tab:green", "lstm": "tab:blue"}
_SMALLEST_NORM = 1e-12


@contextmanager
def _drawing(file: Path, rows: int, columns: int, size: tuple[float, float], **options: Any) -> Iterator[list[Axes]]:
    """Axes to draw on, row by row; the figure is written when the block ends."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)
    try:
        yield list(axes.flat)
        figure.savefig(file, dpi=110)
    finally:
        pyplot.close(figure)


def draw_gradients(reaches: Sequence[GradientReach], file: Path) -> None:
    """Norms against the lag, at initialisation and after training; what is recalled by lag."""
    with _drawing(file, 1, 3, (14, 4.2)) as (start, trained, recall):
        for reach in reaches:
            colour = _COLOURS[reach.cell]
            for axes, whole, hidden in (
                (start, reach.state_at_start, reach.hidden_at_start),
                (trained, reach.state_after_training, reach.hidden_after_training),
            ):
                axes.plot(np.maximum(whole, _SMALLEST_NORM), color=colour, label=NAMES[reach.cell])
                axes.plot(np.maximum(hidden, _SMALLEST_NORM), color=colour, linestyle=":")
            recall.plot(list(reach.recall), list(reach.recall.values()), "o-", color=colour, label=NAMES[reach.cell])
        for axes, title in ((start, "at initialisation"), (trained, "after training")):
            axes.set(title=title, xlabel="lag T − t", yscale="log", ylim=(_SMALLEST_NORM, 1e2))
        start.set_ylabel("‖∂s_T/∂s_t‖ (line), ‖∂h_T/∂h_t‖ (dots)")
        recall.set(title="first symbol recalled", xlabel="symbols between", ylabel="accuracy", ylim=(0, 1.03))
        recall.axhline(1 / 8, color="grey", linestyle="--", linewidth=0.8)
        for axes in (start, trained, recall):
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)


def draw_brackets(accuracies: Sequence[BracketAccuracy], file: Path) -> None:
    """Accuracy on closing brackets by the levels inside the pair."""
    with _drawing(file, 1, 1, (6.5, 4.2)) as (axes,):
        for each in accuracies:
            label = f"{NAMES[each.cell]} ({each.overall:.0%})"
            axes.plot(list(each.by_levels), list(each.by_levels.values()), "o-", color=_COLOURS[each.cell], label=label)
        axes.axhline(1 / KINDS, color="grey", linestyle="--", linewidth=0.8)
        axes.set(xlabel="levels nested inside the pair", ylabel="closing bracket told right", ylim=(0, 1.03))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def draw_characters(models: Sequence[CharacterModel], file: Path) -> None:
    """Bits per character, a bar for each model."""
    with _drawing(file, 1, 1, (7, 0.4 * len(models) + 1.0)) as (axes,):
        names = [NAMES.get(each.model, each.model) for each in models]
        bits = [each.bits_per_character for each in models]
        colours = [_COLOURS.get(each.model, "tab:grey") for each in models]
        bars = axes.barh(names, bits, color=colours)
        axes.bar_label(bars, [f"{value:.2f}" for value in bits], padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel="bits per character, held-out text", xlim=(0, 1.1 * max(bits)))


def draw_gates(cells: Sequence[CellGates], sentence: str, file: Path) -> None:
    """For each cell the mean of each gate at each character, and below it what single units keep."""
    size = (0.15 * len(sentence) + 1.5, 5.5 * len(cells))
    with _drawing(file, 2 * len(cells), 1, size, sharex=True) as axes:
        for each, means, units in zip(cells, axes[::2], axes[1::2], strict=True):
            for name, values in each.means.items():
                means.plot(values, ".-", label=f"{name} gate")
            means.set(title=NAMES[each.cell], ylabel="mean of all units", ylim=(0, 1))
            means.grid(alpha=0.3)
            means.legend(fontsize=8)
            units.imshow(np.transpose(each.keeping), cmap="viridis", vmin=0, vmax=1, aspect="auto")
            units.set_ylabel("forget gate" if "forget" in each.means else "1 − update gate")
            units.set_xticks(range(len(sentence)), ["␣" if character == " " else character for character in sentence])
            units.tick_params(axis="x", labelsize=7, labelbottom=True)
