"""The scorecard as a document: JSON, Markdown and a page of HTML."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import jinja2
from pydantic import BaseModel, ConfigDict, Field

from training.scorecard.grid import Budget
from training.scorecard.rows import Row, Verdict
from translator import __version__

_TEMPLATES = Path(__file__).parent.parent / "templates"
_MINUS_SIGN = re.compile(r"(?<![\w-])-(?=\d)")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class GridLine(_Part):
    """A configuration, or an ensemble, on the test set. BLEU by beam, one number for each seed."""

    name: str
    seeds: int
    parameters: int
    perplexity: float | None = Field(description="Geometric mean over seeds, per target token; ensembles have none.")
    from_source: float | None = Field(description="Nats a token that are lost with another sentence's source.")
    bleu: dict[int, list[float]]


class LongSample(_Part):
    """One of the longest sentences of the test set."""

    source: str
    reference: str
    translation: str


class Scorecard(_Part):
    """All that `python -m training scorecard` found."""

    recipe: str
    budget: Budget
    corpus: str
    languages: str
    pairs: int
    vocabularies: tuple[int, int]
    updates: int = Field(description="Of each model.")
    optimisation: str
    test_set: str
    sentences: int
    signature: str
    device: str
    torch_version: str
    training_minutes: float = Field(description="Of all models together.")
    resamples: int
    rows: list[Row]
    grid: list[GridLine]
    samples: list[LongSample]

    def counts(self) -> dict[str, int]:
        """How many rows have each verdict."""
        verdicts = [row.verdict for row in self.rows]
        return {verdict: verdicts.count(verdict) for verdict in get_args(Verdict)}


def interval_text(row: Row) -> str:
    """The effect with its interval, as both stand in the table."""
    if row.interval is None:
        return ""
    low, high = row.interval
    return f"{row.effect}; {low:+.3g} to {high:+.3g}"


def typeset(text: str) -> str:
    """With minus signs before negative numbers."""
    return _MINUS_SIGN.sub("−", text)


def verdict_text(row: Row) -> str:
    return f"{row.verdict}: {row.reason}" if row.reason else row.verdict


def spread_text(values: Sequence[float]) -> str:
    """The mean, and the standard deviation where there are several."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"


def budget_text(card: Scorecard) -> str:
    """What the figures were bought with, in a paragraph."""
    budget = card.budget
    return (
        f"Recipe `{card.recipe}`, {card.languages}: {card.pairs:,} pairs of {card.corpus}, vocabularies of "
        f"{card.vocabularies[0]:,} and {card.vocabularies[1]:,}; width {budget.width}, depths "
        f"{', '.join(map(str, budget.depths))}, {budget.epochs:g} epochs ({card.updates:,} updates), "
        f"{card.optimisation}; "
        f"{budget.seeds} seeds, and {max(budget.seeds, budget.ensemble)} of the deepest reversed network. "
        f"{card.training_minutes:.0f} min of training in all on {card.device}, torch {card.torch_version}. "
        f"Test set: {card.test_set}, {card.sentences:,} sentences; sacreBLEU `{card.signature}`, length penalty 0, "
        f"float32; where no beam is named, 12. Intervals: the middle 95 % over {card.resamples:,} resampled test sets, "
        "the same for all models (paired); ± is the standard deviation over seeds."
    )


def markdown(card: Scorecard) -> str:
    """The scorecard as Markdown."""
    counts = ", ".join(f"{verdict}: {count}" for verdict, count in card.counts().items())
    lines = [
        "# The paper's claims and what was measured",
        "",
        "Sutskever, Vinyals and Le (2014), *Sequence to Sequence Learning with Neural Networks*, row by row; "
        "written by `python -m training scorecard`.",
        "",
        budget_text(card),
        "",
        f"{len(card.rows)} rows; {counts}. *Holds* needs the whole interval and every seed; *undecided* means that "
        "sentences or seeds may be chance. A verdict is about this budget, not about the paper's.",
        "",
        "| Row | Claim | The paper | Here | Effect and interval | Verdict |",
        "|---" * 6 + "|",
    ]
    for row in card.rows:
        cells = [row.identifier, row.claim, row.paper, row.ours, interval_text(row), verdict_text(row)]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    lines += [
        "",
        "## The grid",
        "",
        "| Network | Seeds | Parameters | Perplexity | Nats a token from the source | "
        + " | ".join(f"BLEU, beam {beam}" for beam in card.grid[0].bleu)
        + " |",
        "|---" * (5 + len(card.grid[0].bleu)) + "|",
    ]
    for line in card.grid:
        cells = [
            line.name,
            str(line.seeds),
            f"{line.parameters:,}",
            "" if line.perplexity is None else f"{line.perplexity:.2f}",
            "" if line.from_source is None else f"{line.from_source:.3f}",
            *(spread_text(values) for values in line.bleu.values()),
        ]
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    lines += ["", "## Long sentences (P37)", "", "| Source | Reference | Translation |", "|---" * 3 + "|"]
    lines += [
        "| " + " | ".join(map(_cell, (each.source, each.reference, each.translation))) + " |" for each in card.samples
    ]
    return "\n".join(lines) + "\n"


def page(card: Scorecard) -> str:
    """The scorecard as one HTML file that needs nothing beside itself."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"interval": interval_text, "spread": spread_text, "typeset": typeset}
    return environment.get_template("scorecard.html").render(card=card, budget=budget_text(card), version=__version__)


def _cell(text: str) -> str:
    return typeset(text).replace("|", r"\|").replace("\n", " ").strip()
