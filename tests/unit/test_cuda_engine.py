"""The cuda engine against the reference engine: its step on the CPU, and on a GPU, where there is one, its graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import EOS, PAD, all_drawn, network, search, stepped
from translator.config import SearchOptions
from translator.decoder import decode
from translator.engines import CUDAEngine, Engine, Extensions, ReferenceEngine, best_engine, cuda, make_engine
from translator.engines.base import Beams
from translator.engines.cuda_plan import Plan, Shape, padded_rows
from translator.model import Seq2Seq
from translator.search import Query


@pytest.fixture
def gpu() -> Iterator[str]:
    """A device whose float32 is float32: by default cuDNN rounds an LSTM's factors to TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield "cuda"


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU")

NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "residual, context": {"residual": True, "feed_context": True, "num_layers": 3},
    "attention": {"attention": "dot"},
    "all": {"residual": True, "feed_context": True, "attention": "dot", "tie_target_embedding": True},
    "both ways": {"bidirectional": True, "residual": True, "feed_context": True, "attention": "dot"},
    "three words": {"target_vocabulary_size": 3, "reverse_source": False, "num_layers": 1},
}


def model(name: str, device: str = "cpu", **options: Any) -> Seq2Seq:
    return network(3, **{"scale": 0.8, "target_vocabulary_size": 40} | NETWORKS[name] | options).to(device)


def cuda_engine(model: Seq2Seq, dtype: torch.dtype = torch.float32, **options: Any) -> CUDAEngine:
    return CUDAEngine(model, source_eos_id=EOS, target_eos_id=EOS, **{"forbidden": [PAD]} | options, dtype=dtype)


def reference(model: Seq2Seq) -> ReferenceEngine:
    return ReferenceEngine(model, source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])


def assert_same(found: Extensions, expected: Extensions, tolerance: float = 1e-5) -> None:
    """The reference may give fewer columns, where a sentence has fewer extensions."""
    columns = expected.scores_NK.shape[1]
    assert np.isneginf(found.scores_NK[:, columns:]).all()
    np.testing.assert_allclose(found.scores_NK[:, :columns], expected.scores_NK, rtol=0, atol=tolerance)
    real_NK = np.isfinite(expected.scores_NK)
    for name in ("parents_NK", "tokens_NK"):
        assert (getattr(found, name)[:, :columns] == getattr(expected, name))[real_NK].all()
    np.testing.assert_allclose(found.ended_R, expected.ended_R, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.log_probabilities_DV, expected.log_probabilities_DV, rtol=0, atol=tolerance)
    for name in ("scores_NK", "parents_NK", "tokens_NK", "ended_R", "log_probabilities_DV"):
        assert getattr(found, name).dtype == getattr(expected, name).dtype


def some_sources(generator: np.random.Generator, count: int) -> list[list[int]]:
    return [generator.integers(3, 12, generator.integers(0, 7)).tolist() for _ in range(count)]


def some_beams(generator: np.random.Generator, rows: int, words: int, widest: int = 6) -> Beams:
    """Rows dealt out to sentences, some of which are beam-searched, and some drawn from."""
    cuts = np.flatnonzero(generator.random(rows - 1) < 0.4) + 1
    widths_N = np.diff([0, *cuts, rows]).astype(np.int32)
    return Beams(
        generator.integers(0, words, rows),
        -generator.random(rows, dtype=np.float32) * 5,
        widths_N,
        generator.integers(0, widest + 1, len(widths_N)).astype(np.int32),
        np.flatnonzero(generator.random(rows) < 0.2),
    )


class Both:
    """The same done with two engines; every step's extensions have to be the same."""

    def __init__(self, model: Seq2Seq, generator: np.random.Generator) -> None:
        self.engines: tuple[Engine[Any], ...] = (cuda_engine(model), reference(model))
        self.generator = generator
        self.words = model.config.target_vocabulary_size

    def encode(self, count: int) -> tuple[list[Any], int]:
        sources = some_sources(self.generator, count)
        return [engine.encode(sources) for engine in self.engines], count

    def take(self, rows: list[Any], count: int, wanted: int) -> tuple[list[Any], int]:
        indices = self.generator.integers(0, count, wanted)
        return [engine.take(each, indices) for engine, each in zip(self.engines, rows, strict=True)], wanted

    def append(self, rows: list[Any], others: list[Any]) -> list[Any]:
        return [engine.append(*pair) for engine, *pair in zip(self.engines, rows, others, strict=True)]

    def step(self, rows: list[Any], count: int) -> list[Any]:
        beams = some_beams(self.generator, count, self.words)
        (found, mine), (expected, its) = (
            engine.step(each, beams) for engine, each in zip(self.engines, rows, strict=True)
        )
        assert_same(found, expected)
        return [mine, its]


@settings(max_examples=60)
@given(
    name=st.sampled_from(list(NETWORKS)),
    seed=st.integers(0, 2**32 - 1),
    doings=st.lists(st.tuples(st.sampled_from(["step", "take", "append", "other"]), st.integers(1, 20)), max_size=12),
    room=st.sampled_from([(640, 8192), (16, 8), (48, 40)]),
)
def test_any_sequence_of_calls_gives_what_the_reference_gives(
    name: str, seed: int, doings: list[tuple[str, int]], room: tuple[int, int]
) -> None:
    """Two batches take turns ("other"), as two decoders on one engine would, in buffers that are ample or too small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "_ROWS", room[0])
        patch.setattr(cuda, "_POSITIONS", room[1])
        both = Both(model(name), np.random.default_rng(seed))
    (rows, count), resting = both.encode(3), both.encode(2)
    for doing, number in doings:
        if doing == "step":
            rows = both.step(rows, count)
        elif doing == "take":
            rows, count = both.take(rows, count, number)
        elif doing == "append":
            others, more = both.encode(1 + number // 4)
            if number % 2:
                others = both.step(others, more)
            others, more = both.take(others, more, 1 + number // 2)
            rows, count = both.append(rows, others), count + more
        else:
            (rows, count), resting = resting, (rows, count)
    for last, number in ((rows, count), resting):
        both.step(both.step(last, number), number)


def mixed_queries() -> list[Query]:
    """Beams of every width, single and many hypotheses, and samples."""
    generator = np.random.default_rng(5)
    queries = []
    for index, source in enumerate(some_sources(generator, 24)):
        if index % 6 == 5:
            options = SearchOptions(method="sample", max_length=9, seed=index)
        else:
            options = SearchOptions(beam_size=1 + index % 6, max_length=4 + index % 7)
        queries.append(Query(tuple(source), options, 0.6 * (index % 2), 1 + index % 3))
    return queries


@pytest.mark.parametrize("max_rows", [1, 16, 512])
@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_sentences_are_decoded_as_by_the_reference(name: str, max_rows: int) -> None:
    found = decode(cuda_engine(model(name)), mixed_queries(), max_rows=max_rows)
    for mine, its in zip(found, decode(reference(model(name)), mixed_queries()), strict=True):
        assert [(one.tokens, one.finished) for one in mine] == [(one.tokens, one.finished) for one in its]
        assert [one.log_probability for one in mine] == pytest.approx([one.log_probability for one in its], abs=2e-5)


def test_a_beam_wider_than_the_vocabulary_and_than_a_shape() -> None:
    """Beams of 60 over three words, next to beams of 1; more rows than fit in the buffers at first."""
    engines = [cuda_engine(model("three words")), reference(model("three words"))]
    queries = [Query((4, 5), SearchOptions(beam_size=size, max_length=8), 0.0, size) for size in (60, 1) * 12]
    found, expected = (decode(engine, queries, max_rows=1000) for engine in engines)
    assert [[one.tokens for one in each] for each in found] == [[one.tokens for one in each] for each in expected]


def test_of_equal_scores_the_earlier_row_is_the_better() -> None:
    engine = cuda_engine(model("plain"))
    rows = engine.take(engine.encode([[4, 5]]), np.array([0, 0, 0]))
    one = np.ones(1, dtype=np.int32)
    beams = Beams(np.full(3, EOS), np.zeros(3, dtype=np.float32), 3 * one, 5 * one, np.zeros(0, dtype=np.int64))
    extensions, _ = engine.step(rows, beams)
    assert extensions.parents_NK.tolist() == [[0, 1, 2, 0, 1]]
    assert len(set(extensions.tokens_NK[0, :3])) == 1


def test_the_probability_of_forbidden_tokens_is_lost() -> None:
    free, strict = (cuda_engine(model("plain"), forbidden=forbidden) for forbidden in ([], [PAD, 7]))
    (wanted,), (found,) = (list(stepped(engine, [[4, 5]], [[EOS]])) for engine in (free, strict))
    assert np.exp(wanted).sum() == pytest.approx(1, abs=1e-5)
    assert np.isneginf(found[:, [PAD, 7]]).all()
    others = np.delete(np.arange(40), [PAD, 7])
    assert (found[:, others] == wanted[:, others]).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_in_bfloat16_log_probabilities_are_near_the_references(name: str) -> None:
    """bfloat16 keeps 8 bits of a number; float32 would be a thousand times nearer."""
    generator = np.random.default_rng(2)
    sources = some_sources(generator, 20)
    targets = [[EOS, *generator.integers(1, model(name).config.target_vocabulary_size, 5).tolist()] for _ in sources]
    engine = cuda_engine(model(name), torch.bfloat16)
    assert engine.describe() == "cuda, bfloat16, cpu"
    assert engine.precision == "bfloat16"
    errors = []
    for found, expected in zip(
        stepped(engine, sources, targets), stepped(reference(model(name)), sources, targets), strict=True
    ):
        errors.append(np.abs(found[:, 1:] - expected[:, 1:]).max() / expected[:, 1:].std())
    assert 1e-4 < max(errors) < 0.1


def test_the_weights_are_those_at_the_time_of_the_call() -> None:
    trained = model("all")
    engine = cuda_engine(trained)
    (before,) = stepped(engine, [[4, 5]], [[EOS]])
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.zero_()
    (after,) = stepped(engine, [[4, 5]], [[EOS]])
    assert (before == after).all()


def test_a_step_depends_on_no_value() -> None:
    """Otherwise it could be no graph. Tensors on the device "meta" have no values, and whatever asks for one fails."""
    engine = cuda_engine(model("all", "meta"), torch.bfloat16)
    plan = Plan(Shape(128, 32, 8, 16, 32), torch.device("meta"))
    with torch.inference_mode():
        engine._compute(plan)


def test_shapes_are_few_and_hold_what_they_are_for() -> None:
    assert len({padded_rows(rows) for rows in range(1, 641)}) == 8
    assert all(rows <= padded_rows(rows) <= max(16, 2 * rows) for rows in range(1, 2000))
    beams = Beams(
        np.zeros(50, dtype=np.int64),
        np.zeros(50, dtype=np.float32),
        np.array([12, 30, 8], dtype=np.int32),
        np.array([12, 0, 5], dtype=np.int32),
        np.arange(12, 42),
    )
    assert Shape.of(beams, 21) == Shape(64, 16, 16, 16, 32)
    assert Shape.of(beams, 0).source == 0


def test_the_plan_not_used_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_MOST_PLANS", 2)
    engine = cuda_engine(model("plain"))
    shapes = [Shape(16, 16, candidates, 8, 0) for candidates in (2, 4, 8)]
    first, second = (engine._plan(shape) for shape in shapes[:2])
    assert engine._plan(shapes[0]) is first
    engine._plan(shapes[2])
    assert engine._plan(shapes[0]) is first
    assert engine._plan(shapes[1]) is not second
    assert len(engine._plans) == 2


class _Stream:
    def wait_stream(self, other: object) -> None:
        pass


def test_a_shapes_first_step_is_its_warm_up_and_the_others_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CUDA's graphs acted out: what is called while one is captured leaves no trace."""
    engine = cuda_engine(model("all"))
    events: list[str] = []
    compute = engine._compute

    class Graph:
        plan: Plan

        def replay(self) -> None:
            events.append("replay")
            compute(self.plan)

    def computed(plan: Plan) -> None:
        events.append("compute")
        compute(plan)
        if events[-2:] == ["capture", "compute"]:
            captured[-1].plan = plan

    @contextmanager
    def capture(graph: Graph, pool: object, stream: object, *, capture_error_mode: str) -> Iterator[None]:
        assert stream is engine._side_stream
        events.append("capture")
        captured.append(graph)
        (plan,) = engine._plans.values()
        tensors = [*engine._buffers.states, engine._logits_RV, plan._outputs, plan.logsumexp_R]
        before = [tensor.clone() for tensor in tensors]
        yield
        for tensor, old in zip(tensors, before, strict=True):
            tensor.copy_(old)

    captured: list[Graph] = []
    monkeypatch.setattr(engine, "_compute", computed)
    monkeypatch.setattr(engine, "_side_stream", _Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: _Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: torch.no_grad())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    sources, targets = [[4, 5], [6]], [[EOS, 7, 8], [EOS, 3, 9]]
    found = list(stepped(engine, sources, targets))
    assert events == ["compute", "capture", "compute", "replay", "replay"]
    for mine, its in zip(found, stepped(reference(model("all")), sources, targets), strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=1e-5)


@pytest.mark.parametrize("source", [[12], [3, -1], [2**40]])
def test_source_tokens_that_are_not_in_the_vocabulary_are_refused(source: list[int]) -> None:
    engine = cuda_engine(model("plain"))
    with pytest.raises(ValueError, match="a source token is not in the vocabulary of 12 entries"):
        engine.encode([[3], source])
    assert search(engine, [[11, 0]], SearchOptions(max_length=4))[0]


def test_the_engine_is_for_models_on_a_gpu_and_the_best_there() -> None:
    with pytest.raises(ValueError, match="engine cuda computes on an NVIDIA GPU, and the model is on cpu"):
        make_engine(model("plain"), source_eos_id=EOS, target_eos_id=EOS, name="cuda")
    assert best_engine("cuda") == "reference"
    assert best_engine("cuda", full_precision=True) == "reference"


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_replayed_graph_does_what_its_step_does(name: str, dtype: torch.dtype, gpu: str) -> None:
    graphs, eager = (cuda_engine(model(name, gpu), dtype) for _ in range(2))
    eager._run = eager._compute  # type: ignore[method-assign]
    generator = np.random.default_rng(4)
    sources = some_sources(generator, 9)
    mine, its = graphs.encode(sources), eager.encode(sources)
    for _ in range(6):
        beams = some_beams(generator, 9, graphs.vocabulary_size)
        (found, mine), (expected, its) = graphs.step(mine, beams), eager.step(its, beams)
        assert_same(found, expected, 1e-6)
        indices = generator.integers(0, 9, 9)
        mine, its = graphs.take(mine, indices), eager.take(its, indices)
    assert any(plan.graph is not None for plan in graphs._plans.values())


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_scores_do_not_depend_on_the_batch(name: str, dtype: torch.dtype, gpu: str) -> None:
    engine = cuda_engine(model(name, gpu, scale=0.1, hidden_size=64, embedding_size=64), dtype)
    sources = some_sources(np.random.default_rng(6), 70)
    targets = [[EOS, 1, 0, 1]] * 70
    together = list(stepped(engine, sources, targets))
    for index in range(0, 70, 9):
        for position, (alone,) in enumerate(stepped(engine, sources[index : index + 1], targets[:1])):
            atol = 1e-5 if dtype == torch.float32 else 1e-3
            np.testing.assert_allclose(alone, together[position][index], rtol=0, atol=atol)


@needs_gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_on_a_gpu_texts_are_the_references(name: str, gpu: str) -> None:
    """In float32; in bfloat16, where texts may differ, scores are near."""
    exact = decode(cuda_engine(model(name, gpu)), mixed_queries())
    expected = decode(reference(model(name)), mixed_queries())
    assert [[one.tokens for one in each] for each in exact] == [[one.tokens for one in each] for each in expected]
    coarse = make_engine(model(name, gpu), source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])
    assert isinstance(coarse, CUDAEngine)
    rows = [engine.encode([[3, 4, 5]]) for engine in (coarse, reference(model(name)))]
    beams = all_drawn(np.array([EOS]), np.zeros(1, dtype=np.float32))
    found, wanted = coarse.step(rows[0], beams)[0], reference(model(name)).step(rows[1], beams)[0]
    np.testing.assert_allclose(found.log_probabilities_DV, wanted.log_probabilities_DV, rtol=0, atol=0.1)
