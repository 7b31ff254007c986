"""The best extensions: a sorted list in Python against the selection in PyTorch and that of the CPU engine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.engines import EOS, PAD, network
from translator.engines import Beams, CPUEngine, Extensions
from translator.engines.native_library import instruction_sets
from translator.engines.selection import best_extensions


@dataclass(frozen=True)
class Chosen:
    """What is best of one sentence: (score, parent, token) best first, and the scores of those that ended by row."""

    going_on: list[tuple[float, int, int]]
    ended: dict[int, float]


def written_out(log_probabilities_RV: npt.NDArray[np.float32], beams: Beams, eos_id: int) -> list[Chosen]:
    """After the docstring of `Extensions`."""
    found = []
    first = 0
    for width, beam_size in zip(beams.widths_N.tolist(), beams.beam_sizes_N.tolist(), strict=True):
        candidates = [
            (float(beams.scores_R[row] + log_probabilities_RV[row, token]), row, token)
            for row in range(first, first + width)
            for token in range(log_probabilities_RV.shape[1])
        ]
        ranked = sorted(
            (candidate for candidate in candidates if candidate[0] > -np.inf),
            key=lambda candidate: (-candidate[0], candidate[1]),
        )
        ended = {row: score for score, row, token in ranked[:beam_size] if token == eos_id}
        going_on = [candidate for candidate in ranked if candidate[2] != eos_id][:beam_size]
        found.append(Chosen(going_on, ended))
        first += width
    return found


def chosen(extensions: Extensions, beams: Beams) -> list[Chosen]:
    """The same from an engine's answer, whose unused places hold -inf."""
    found = []
    first = 0
    for sentence, width in enumerate(beams.widths_N.tolist()):
        scores_K = extensions.scores_NK[sentence]
        used = int((scores_K > -np.inf).sum())
        assert np.isneginf(scores_K[used:]).all()
        going_on = zip(
            scores_K[:used].tolist(),
            extensions.parents_NK[sentence, :used].tolist(),
            extensions.tokens_NK[sentence, :used].tolist(),
            strict=True,
        )
        rows = range(first, first + width)
        ended = {row: float(extensions.ended_R[row]) for row in rows if extensions.ended_R[row] > -np.inf}
        found.append(Chosen(list(going_on), ended))
        first += width
    return found


@st.composite
def beams_and_vocabulary(draw: st.DrawFn) -> tuple[Beams, int]:
    """Sentences of 1 to 4 rows with beams of 0 to 6, some rows to be drawn from; scores are whole numbers."""
    sentences = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=5))
    rows = sum(width for width, _ in sentences)
    scores = draw(st.lists(st.integers(-9, 0), min_size=rows, max_size=rows))
    beams = Beams(
        draw(st.lists(st.integers(1, 13), min_size=rows, max_size=rows).map(lambda tokens: np.array(tokens))),
        np.array(scores, dtype=np.float32),
        np.array([width for width, _ in sentences], dtype=np.int32),
        np.array([beam_size for _, beam_size in sentences], dtype=np.int32),
        np.array(sorted(draw(st.sets(st.integers(0, rows - 1)))), dtype=np.int64),
    )
    return beams, draw(st.integers(2, 9))


@settings(max_examples=200)
@given(beams_and_vocabulary(), st.data())
def test_the_selection_in_pytorch_is_the_sorted_list(shape: tuple[Beams, int], data: st.DataObject) -> None:
    """Whole numbers, exact in float32: equal scores in different rows are common, the earlier row then comes first."""
    beams, vocabulary = shape
    eos_id = data.draw(st.integers(0, vocabulary - 1))
    values = st.lists(st.integers(-15, 0), min_size=vocabulary, max_size=vocabulary, unique=True)
    log_probabilities_RV = np.array([data.draw(values) for _ in beams.tokens_R], dtype=np.float32)
    impossible = data.draw(st.sets(st.integers(0, vocabulary - 1), max_size=vocabulary))
    log_probabilities_RV[:, sorted(impossible)] = -np.inf
    found = best_extensions(torch.from_numpy(log_probabilities_RV), beams, eos_id)
    assert chosen(found, beams) == written_out(log_probabilities_RV, beams, eos_id)
    assert (found.log_probabilities_DV == log_probabilities_RV[beams.drawn_D]).all()
    for array, dtype in ((found.scores_NK, "f4"), (found.ended_R, "f4"), (found.parents_NK, "i8")):
        assert array.dtype == dtype


needs_library = pytest.mark.skipif(not instruction_sets(), reason="the cpu engine's library is not built")


@needs_library
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("words", [3, 14, 137])
@settings(max_examples=60)
@given(beams_and_vocabulary(), st.integers(0, 4))
def test_the_selection_of_the_cpu_engine_is_the_sorted_list(
    threads: int, words: int, shape: tuple[Beams, int], seed: int
) -> None:
    engine = CPUEngine(
        network(seed, target_vocabulary_size=words),
        source_eos_id=EOS,
        target_eos_id=EOS,
        forbidden=[PAD],
        precision="float32",
        threads=threads,
    )
    beams, _ = shape
    rows = len(beams.tokens_R)
    everything = Beams(
        beams.tokens_R % words, beams.scores_R, beams.widths_N, beams.beam_sizes_N, np.arange(rows, dtype=np.int64)
    )
    found, _ = engine.step(engine.encode([[3 + row % 9] * (row // 9 + 1) for row in range(rows)]), everything)
    whole_RV = found.log_probabilities_DV
    assert np.isneginf(whole_RV[:, PAD]).all()
    # The engine adds in another order, so that scores agree but for rounding and near ones may change places.
    sums_RV = (whole_RV + beams.scores_R[:, None])[:, 1:]
    for first, last in pairwise([0, *beams.widths_N.cumsum()]):
        best = np.sort(sums_RV[first:last].ravel())[-15:]
        assume(np.diff(best).min() > 1e-5)
    for one, other in zip(chosen(found, beams), written_out(whole_RV, beams, EOS), strict=True):
        assert [place[1:] for place in one.going_on] == [place[1:] for place in other.going_on]
        assert [place[0] for place in one.going_on] == pytest.approx([place[0] for place in other.going_on], abs=1e-5)
        assert one.ended == pytest.approx(other.ended, abs=1e-5)
    # Which rows are drawn from changes nothing else.
    some, _ = engine.step(
        engine.encode([[3 + row % 9] * (row // 9 + 1) for row in range(rows)]),
        Beams(everything.tokens_R, beams.scores_R, beams.widths_N, beams.beam_sizes_N, beams.drawn_D),
    )
    assert chosen(some, beams) == chosen(found, beams)
    assert (some.log_probabilities_DV == whole_RV[beams.drawn_D]).all()


@needs_library
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_of_equal_extensions_the_earlier_row_and_token_come_first(threads: int) -> None:
    """Without weights every token is as probable as any other, in every tile and thread."""
    model = network(1, target_vocabulary_size=200)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    engine = CPUEngine(model, source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD], precision="int8", threads=threads)
    beams = Beams(
        np.array([EOS, EOS, EOS]),
        np.zeros(3, dtype=np.float32),
        np.array([2, 1], dtype=np.int32),
        np.array([4, 2], dtype=np.int32),
        np.zeros(0, dtype=np.int64),
    )
    found, _ = engine.step(engine.encode([[3], [4], [5]]), beams)
    first, second = chosen(found, beams)
    assert [place[1:] for place in first.going_on] == [(0, 1), (0, 3), (0, 4), (0, 5)]
    assert [place[1:] for place in second.going_on] == [(2, 1), (2, 3)]
    assert list(first.ended) == [0]
    assert list(second.ended) == [2]
    assert found.scores_NK[0] == pytest.approx(-np.log(200), abs=1e-6)
