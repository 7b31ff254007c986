"""How the time of a sentence grows with its length, the beam, the vocabulary and the batch, as one figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.benchmarks.engine_steps import Shape, make_engine
from translator.config import SearchOptions
from translator.decoder import decode
from translator.engines import CPUEngine
from translator.search import Query

_TOKENS, _BEAM, _BATCH = 24, 5, 64
_LENGTHS = (6, 12, 24, 48, 96, 192)
_BEAMS = (1, 2, 5, 10, 20, 50)
_VOCABULARIES = (2_000, 8_000, 16_000, 32_000, 64_000)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_ONCE = "sentences at once"

Curve = list[tuple[int, float]]


def measure_growth(progress: Callable[[str], None]) -> dict[str, Curve]:
    """Milliseconds a sentence; every target is as long as its source, and what does not vary is 24 tokens, beam 5,
    8,000 subwords and a batch of 64, with 4 + 4 layers of 512.
    """
    engine = make_engine(Shape())
    curves: dict[str, Curve] = {}
    progress("growth: source length")
    curves["source and target tokens"] = [(n, _milliseconds(engine, _BATCH, n, _BEAM)) for n in _LENGTHS]
    progress("growth: beam size")
    curves["beam size"] = [(n, _milliseconds(engine, _BATCH, _TOKENS, n)) for n in _BEAMS]
    progress("growth: batch size")
    curves[_ONCE] = [(n, _milliseconds(engine, n, _TOKENS, _BEAM)) for n in _BATCHES]
    progress("growth: vocabulary")
    curves["target vocabulary"] = [
        (n, _milliseconds(make_engine(Shape(vocabulary_size=n)), _BATCH, _TOKENS, _BEAM)) for n in _VOCABULARIES
    ]
    return curves


def _milliseconds(engine: CPUEngine, sentences: int, tokens: int, beam_size: int) -> float:
    generator = np.random.default_rng(1)
    options = SearchOptions(beam_size=beam_size, max_length=tokens)
    queries = [
        Query(tuple(generator.integers(3, engine.vocabulary_size, tokens).tolist()), options) for _ in range(sentences)
    ]
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        found = decode(engine, queries, max_rows=sentences * beam_size)
        best = min(best, time.perf_counter() - start)
    assert all(len(hypotheses[0].tokens) == tokens for hypotheses in found)
    return 1e3 * best / sentences


def draw_growth(curves: dict[str, Curve], file: Path) -> None:
    """Four panels, both axes logarithmic, with a dashed line for what grows in proportion."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter

    figure, panels = pyplot.subplots(2, 2, figsize=(9, 7), layout="constrained")
    for panel, (title, curve) in zip(panels.flat, curves.items(), strict=True):
        sizes, times = [size for size, _ in curve], [milliseconds for _, milliseconds in curve]
        panel.plot(sizes, times, marker="o")
        if title != _ONCE:
            panel.plot(sizes, [times[-1] * size / sizes[-1] for size in sizes], linestyle="--", color="grey")
        panel.set(xscale="log", yscale="log", xlabel=title, ylabel="ms a sentence")
        if title == _ONCE:
            panel.set(yscale="linear", ylim=(0, None))
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
        panel.set_xticks([], minor=True)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.grid(visible=True, which="both", alpha=0.3)
    figure.suptitle(
        "Time of a sentence: int8, beam 5, 24 tokens, 8,000 subwords, 64 at once where not varied\n"
        "(dashed: in proportion)"
    )
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
