"""The CPU engine against what this machine can do, both measured in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from tests.benchmarks.ceilings import int8_products_per_second, read_bytes_per_second
from tests.benchmarks.engine_steps import Shape, make_engine, time_steps
from translator.engines import CPUEngine
from translator.pipeline import Translator

MANY, BEAM = 64, 5


@dataclass
class Figure:
    """One figure with its goal: a share of a ceiling that must be reached, or a factor that must not be passed."""

    title: str
    goal: float
    at_least: bool
    values: list[float] = field(default_factory=list)
    details: str = ""

    def reached(self) -> bool:
        median = statistics.median(self.values)
        return median >= self.goal if self.at_least else median <= self.goal

    def row(self) -> list[str]:
        low, median, high = min(self.values), statistics.median(self.values), max(self.values)
        goal = f"{'≥' if self.at_least else '≤'} {self.goal:.2f}"
        verdict = "reached" if self.reached() else "missed"
        return [f"{median:.2f} ({low:.2f}–{high:.2f})", goal, verdict, self.title, self.details]


def measure_machine(sentences: Sequence[str], rounds: int, progress: Callable[[str], None]) -> list[Figure]:
    """Ceilings, steps and whole translations, in turn; `sentences` are translated by the shipped model."""
    figures = {
        "many": Figure(f"step of {MANY} × beam {BEAM} ÷ the int8 matrix-product peak", 0.65, True),
        "one": Figure("step of one sentence, beam 1 ÷ read bandwidth of the memory level of its weights", 0.55, True),
        "beam": Figure(f"step of one sentence, beam {BEAM} ÷ the same bandwidth", 0.40, True),
        "whole many": Figure(f"{MANY} sentences: everything ÷ (encoder + decoder steps)", 1.25, False),
        "whole one": Figure("one sentence: everything ÷ (encoder + decoder steps)", 1.60, False),
    }
    shape = Shape()
    engine = make_engine(shape)
    translator = Translator.load("en-fr", engine="cpu")
    weights = shape.decoder_weights()
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}: steps against the machine")
        peaks = int8_products_per_second()
        library, peak = max(peaks.items(), key=lambda pair: pair[1])
        bandwidth = read_bytes_per_second(weights)
        for key, count, beam in (("many", MANY, BEAM), ("one", 1, 1), ("beam", 1, BEAM)):
            step = time_steps(engine, count, beam, seconds=1.0).step
            if key == "many":
                rate = 2 * weights * count * beam / step
                figures[key].values.append(rate / peak)
                text = f"{step * 1e3:.2f} ms, {rate / 1e9:,.0f} of {peak / 1e9:,.0f} GOP/s ({library})"
            else:
                figures[key].values.append(weights / step / bandwidth)
                text = f"{step * 1e3:.3f} ms, {weights / step / 1e9:.0f} of {bandwidth / 1e9:.0f} GB/s"
            figures[key].details = text
        for key, count in (("whole many", MANY), ("whole one", 1)):
            whole, native = _whole(translator, sentences, count)
            figures[key].values.append(whole / native)
            figures[key].details = f"{whole / count * 1e3:.2f} ms a sentence"
    return list(figures.values())


def _whole(translator: Translator, sentences: Sequence[str], count: int) -> tuple[float, float]:
    """Seconds of `Translator.translate` for `count` sentences at a time, and those of them that were in the library;
    the medians of several batches.
    """
    engine = translator.engine
    assert isinstance(engine, CPUEngine)
    library = engine._library
    stopwatch = _Stopwatch(library)
    engine._library = stopwatch  # type: ignore[assignment]
    wholes, shares = [], []
    try:
        translator.translate(sentences[0])
        for start in range(0, min(len(sentences), 20 * count) - count + 1, count):
            stopwatch.seconds = 0.0
            began = time.perf_counter()
            translator.translate(sentences[start : start + count], split_sentences=False)
            wholes.append(time.perf_counter() - began)
            shares.append(stopwatch.seconds / wholes[-1])
    finally:
        engine._library = library
    whole = statistics.median(wholes)
    return whole, whole * statistics.median(shares)


class _Stopwatch:
    """The engine's library, and the time that is spent in it."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def translator_encode(self, *arguments: Any) -> int:
        return self._timed(self._library.translator_encode, arguments)

    def translator_step(self, *arguments: Any) -> int:
        return self._timed(self._library.translator_step, arguments)

    def _timed(self, function: Callable[..., int], arguments: tuple[Any, ...]) -> int:
        start = time.perf_counter()
        result = function(*arguments)
        self.seconds += time.perf_counter() - start
        return result


def machine_table(figures: Sequence[Figure], title: str = "Decoding against the machine") -> Table:
    table = Table(title=f"{title}: medians of the rounds (smallest–largest)", title_justify="left")
    for heading in ("ratio", "goal", "", "of what", "in the last round"):
        table.add_column(heading)
    for figure in figures:
        table.add_row(*figure.row())
    return table
