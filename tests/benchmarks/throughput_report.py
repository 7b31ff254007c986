"""What the throughput benchmark has measured, and the table in which it is printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

GOAL_WORDS_PER_SECOND = 700_000
PAPER_WORDS = 652_000_000
"""An epoch of the paper: 348M French and 304M English words (section 3.1)."""
PAPER_EPOCHS = 7.5
PAPER_WORDS_PER_SECOND = 6_300
"""On eight GPUs (section 3.5)."""


@dataclass(frozen=True)
class Setting:
    """What all cases have in common."""

    device: str
    hidden: int
    layers: int
    source_vocabulary: int
    target_vocabulary: int
    deterministic: bool
    lengths: str
    pairs: int
    mean_source_words: float
    mean_target_words: float

    @property
    def is_the_papers(self) -> bool:
        return (self.hidden, self.layers, self.source_vocabulary, self.target_vocabulary) == (1000, 4, 160_000, 80_000)


@dataclass
class Case:
    """One batch size. The lists have an entry for each window of updates."""

    batch: int
    parameters: int = 0
    precision: str = ""
    target_padding: float = 0.0
    updates: int = 0
    source_operations: int = 0
    """An update's for each source token, the end of a sentence included."""
    target_operations: int = 0
    peak: float = 0.0
    peak_size: tuple[int, int, int] | None = None
    peak_memory_bytes: int = 0
    words: list[int] = field(default_factory=list)
    """Source and target words trained on, ends of sentences not counted."""
    target_words: list[int] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    least_seconds: list[float] = field(default_factory=list)
    """What the operations would take at the peak."""
    failure: str | None = None

    def window(self, source_words: int, target_words: int, sentences: int, seconds: float, least: float) -> None:
        self.words.append(source_words + target_words)
        self.target_words.append(target_words)
        self.sentences.append(sentences)
        self.seconds.append(seconds)
        self.least_seconds.append(least)

    @property
    def words_per_second(self) -> float:
        """Over all windows."""
        return sum(self.words) / sum(self.seconds)

    @property
    def ceiling(self) -> float:
        """Words a second if the device did nothing but the counted products, at their peak."""
        return sum(self.words) / sum(self.least_seconds)

    @property
    def hours(self) -> float:
        """The paper's training at this speed."""
        return PAPER_EPOCHS * PAPER_WORDS / self.words_per_second / 3600

    def document(self) -> dict[str, Any]:
        """For JSON."""
        derived = {}
        if self.words:
            derived = {
                "words_per_second": self.words_per_second,
                "ceiling_words_per_second": self.ceiling,
                "share_of_ceiling": self.words_per_second / self.ceiling,
                "hours_of_the_papers_training": self.hours,
            }
        return {**derived, **asdict(self)}


def throughput_table(setting: Setting, cases: Sequence[Case]) -> Table:
    """The ratio to the ceiling first; in brackets the least and the most of the windows."""
    table = Table(
        title=f"Training 4+4 × {setting.hidden:,}".replace("4+4", f"{setting.layers}+{setting.layers}")
        + f", {setting.source_vocabulary:,} and {setting.target_vocabulary:,} words",
        title_justify="left",
        caption=_caption(setting, cases),
        caption_justify="left",
    )
    for heading in ("÷ ceiling", "batch", "words/s, source + target", "goal", "", "ceiling", "ms an update", "memory"):
        table.add_column(heading, justify="right")
    table.add_column("the paper's training")
    for case in cases:
        if not case.words:
            table.add_row("–", str(case.batch), case.failure or "not measured")
            continue
        rates = [words / seconds for words, seconds in zip(case.words, case.seconds, strict=True)]
        shares = [least / seconds for least, seconds in zip(case.least_seconds, case.seconds, strict=True)]
        goal, verdict = "", ""
        if setting.is_the_papers:
            goal = f"≥ {GOAL_WORDS_PER_SECOND:,}"
            verdict = "reached" if statistics.median(rates) >= GOAL_WORDS_PER_SECOND else "missed"
        table.add_row(
            f"{statistics.median(shares):.2f} ({min(shares):.2f}–{max(shares):.2f})",
            str(case.batch),
            f"{statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})",
            goal,
            verdict,
            f"{case.ceiling:,.0f}",
            f"{1e3 * sum(case.seconds) / case.updates:,.1f}",
            f"{case.peak_memory_bytes / 2**30:,.1f} GiB",
            f"{case.hours:,.1f} hours" if setting.is_the_papers else "",
        )
    return table


def _caption(setting: Setting, cases: Sequence[Case]) -> str:
    lines = [
        f"{setting.device}. Deterministic: {'on' if setting.deterministic else 'off'}.",
        f"Synthetic text: lengths of {setting.lengths} (mean {setting.mean_source_words:.1f} and "
        f"{setting.mean_target_words:.1f} words), words by Zipf's law. Ends of sentences are work and no words.",
        "Ceiling: 6 operations for each entry of a matrix and token, at the best matrix product measured in this run.",
    ]
    for case in cases:
        if case.words and case.peak_size is not None:
            size = " × ".join(f"{number:,}" for number in case.peak_size)
            lines.append(
                f"Batch {case.batch}: {case.updates} updates of {sum(case.sentences) / case.updates:,.0f} pairs on "
                f"average, target padding {case.target_padding:.1%}, {case.parameters / 1e6:,.0f}M parameters, "
                f"{case.precision}; peak {case.peak / 1e12:,.3g} TFLOP/s at {size}."
            )
    if setting.is_the_papers:
        lines.append(
            f"The paper's training: {PAPER_EPOCHS} × {PAPER_WORDS / 1e6:,.0f}M words; it took ten days on eight GPUs, "
            f"{PAPER_WORDS_PER_SECOND:,} words/s."
        )
    return "\n".join(lines)
