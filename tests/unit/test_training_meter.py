"""Figures of speed, utilisation and memory, and the estimate of a job's time."""

from __future__ import annotations

import mmap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from training.cost import Work, training_flops
from training.dry_run import extrapolate
from training.meter import Meter, matrix_product_peak, memory_available, memory_in_use
from training.preparation import prepare
from training.prepared import Prepared
from training.recipe import load_recipe

SMOKE = Path(__file__).parents[1] / "fixtures" / "smoke"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    recipe = load_recipe("smoke", [f"corpus.path={SMOKE}", "subwords.model_type=word"])
    return prepare(recipe, tmp_path_factory.mktemp("prepared") / "smoke", console=Console(quiet=True))


def test_figures_follow_from_work_and_time(prepared: Prepared) -> None:
    config = load_recipe("smoke").model.configuration(400, 400)
    meter = Meter(prepared, config, CPU, low_precision=False)
    work = Work(source_tokens=300, target_tokens=500, attended_pairs=900)
    figures = meter.figures(work, 2.0)
    assert figures["target_tokens_per_second"] == 250
    assert figures["tokens_per_second"] == 400
    assert figures["flop_utilisation"] == pytest.approx(training_flops(config, work) / 2.0 / meter.peak_flops)
    assert meter.figures(work, 2.0, processes=2)["flop_utilisation"] == pytest.approx(figures["flop_utilisation"] / 2)
    # A token a word, and one <EOS> a sentence.
    words = [
        count * len(" ".join(texts).split()) / (len(" ".join(texts).split()) + len(texts))
        for count, texts in ((300, prepared.dev_source), (500, prepared.dev_target))
    ]
    assert prepared.dev.source_lengths.sum() == len(" ".join(prepared.dev_source).split())
    assert figures["words_per_second"] == pytest.approx(sum(words) / 2.0)


def test_the_peak_is_that_of_the_fastest_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that gives one round a hundredth of a second, and all others a second."""
    rounds = iter([1.0, 1.0, 0.01] + [1.0] * 100)
    clock = [0.0, True]

    def perf_counter() -> float:
        clock[1] = not clock[1]
        if clock[1]:
            clock[0] += next(rounds)
        return clock[0]

    monkeypatch.setattr(time, "perf_counter", perf_counter)
    assert matrix_product_peak(CPU, torch.float32) == pytest.approx(2 * 1024**3 / 0.01)


def test_memory_in_use_grows_with_what_is_used() -> None:
    size = 256 * 2**20
    before = memory_in_use(CPU)
    with mmap.mmap(-1, size) as memory:  # from the kernel: what was freed before is not used again
        memory.write(b"1" * size)
        assert memory_in_use(CPU) - before == pytest.approx(size, rel=0.2)
    available = memory_available(CPU)
    assert available is None or available > 0


@settings(max_examples=20)
@given(
    st.floats(1e-3, 1.0),
    st.floats(1e-12, 1e-9),
    st.lists(st.floats(1e6, 1e9), min_size=20, max_size=60),
    st.integers(3, 20),
)
def test_where_time_is_a_line_over_operations_the_estimate_is_exact(
    fixed: float, slope: float, all_flops: list[float], sample: int
) -> None:
    flops = np.array(all_flops)
    seconds = fixed + slope * flops
    epochs = 4
    if np.ptp(flops[:sample]) < 1e6:  # operations all alike say nothing about a line
        return
    estimate = extrapolate(seconds[:sample], flops[:sample], flops, epochs * len(flops))
    exact = epochs * seconds.sum()
    # Never less than the fastest update that was seen.
    assert estimate.seconds == pytest.approx(max(exact, epochs * len(flops) * seconds[:sample].min()), rel=1e-6)
    assert estimate.low <= estimate.seconds <= estimate.high


def test_the_range_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        flops = generator.gamma(3.0, 1e8, 400)
        seconds = 0.05 + 1e-9 * flops * generator.lognormal(0, 0.3, 400)
        estimate = extrapolate(seconds[:30], flops[:30], flops, 400)
        held += estimate.low <= seconds.sum() <= estimate.high
        assert estimate.high < 1.5 * estimate.low
    assert 75 <= held <= 97
