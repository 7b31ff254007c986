"""The CPU engine against the reference engine, against whole-number arithmetic in numpy, and against itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import EOS, PAD, all_drawn, network, search, stepped
from translator.config import SearchOptions
from translator.engines import CPUEngine, Engine, ReferenceEngine
from translator.engines.cpu import Precision
from translator.engines.native_library import PRECISIONS, instruction_sets
from translator.model import Seq2Seq

needs_library = pytest.mark.skipif(not instruction_sets(), reason="the cpu engine's library is not built")
pytestmark = needs_library

SIZES = {
    "source_vocabulary_size": 50,
    "target_vocabulary_size": 137,
    "embedding_size": 24,
    "hidden_size": 40,
    "num_layers": 2,
}
ALL = {"residual": True, "feed_context": True, "attention": "dot", "tie_target_embedding": True, "embedding_size": 40}
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one layer, in reading order": {"num_layers": 1, "reverse_source": False},
    "residual, context": {"residual": True, "feed_context": True, "num_layers": 3},
    "attention": {"attention": "dot"},
    "tied": {"tie_target_embedding": True, "embedding_size": 40},
    "all": ALL,
    "whole tiles": {"embedding_size": 16, "hidden_size": 64, "target_vocabulary_size": 128},
    "both ways": {"bidirectional": True, "residual": True, "feed_context": True, "hidden_size": 34},
    "both ways, attention": {"bidirectional": True, "attention": "dot", "hidden_size": 36},
    "three words": {"embedding_size": 3, "hidden_size": 5, "target_vocabulary_size": 3},
}
FEW_NETWORKS = ["plain", "residual, context", "attention", "both ways", "three words"]
SETS = instruction_sets() or ["none"]


@cache
def model(name: str, scale: float = 0.5) -> Seq2Seq:
    return network(1, scale=scale, **SIZES | NETWORKS[name])


@lru_cache(maxsize=12)
def cpu_engine(
    name: str, precision: Precision, instruction_set: str | None = None, threads: int = 1, scale: float = 0.5
) -> CPUEngine:
    return CPUEngine(
        model(name, scale),
        source_eos_id=EOS,
        target_eos_id=EOS,
        forbidden=[PAD],
        precision=precision,
        threads=threads,
        instruction_set=instruction_set,
    )


@cache
def true_engine(name: str) -> ReferenceEngine:
    """In double precision."""
    double = network(1, scale=0.5, **SIZES | NETWORKS[name])
    double.load_state_dict(model(name).state_dict())
    return ReferenceEngine(double.double(), source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])


def examples(name: str, count: int = 16, length: int = 5) -> tuple[list[list[int]], list[list[int]]]:
    """Sources of 0 to 8 tokens, and targets that begin with `<EOS>`."""
    generator = np.random.default_rng(3)
    sources = [generator.integers(3, 50, index * 5 % 9).tolist() for index in range(count)]
    words = model(name).config.target_vocabulary_size
    return sources, [[EOS, *generator.integers(1, words, length - 1).tolist()] for _ in range(count)]


def all_log_probabilities(
    engine: Engine[Any], sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> npt.NDArray[np.float32]:
    """[sources, target positions, vocabulary]"""
    return np.stack(list(stepped(engine, sources, targets)), axis=1)


def without_padding(log_probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    assert np.isneginf(log_probabilities[..., PAD]).all()
    return np.delete(log_probabilities, PAD, axis=-1)


# Largest difference of a log-probability as a share of their standard deviation: somewhat more than is found with these
# networks, whose weights are up to 0.5. bfloat16 keeps 8 bits of a number, int8 7 bits of the largest of a row.
LARGEST_ERRORS: dict[Precision, float] = {"float32": 2e-5, "bfloat16": 0.06, "int8": 0.12}


def assert_close(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], precision: Precision) -> None:
    found, expected = without_padding(found), without_padding(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=LARGEST_ERRORS[precision] * float(expected.std()))


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_log_probabilities_are_those_of_the_reference(name: str, precision: Precision, instruction_set: str) -> None:
    sources, targets = examples(name)
    found = all_log_probabilities(cpu_engine(name, precision, instruction_set), sources, targets)
    assert_close(found, all_log_probabilities(true_engine(name), sources, targets), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["attention", "residual, context"])
def test_long_and_empty_sentences_in_one_batch(name: str, precision: Precision) -> None:
    generator = np.random.default_rng(8)
    sources = [generator.integers(3, 50, length).tolist() for length in (1, 300, 0, 17, 300, 2)]
    targets = [[EOS, 5, 7]] * len(sources)
    found = all_log_probabilities(cpu_engine(name, precision, threads=2), sources, targets)
    assert_close(found, all_log_probabilities(true_engine(name), sources, targets), precision)
    for index, source in enumerate(sources):
        alone = all_log_probabilities(cpu_engine(name, precision), [source], targets[:1])
        assert (alone[0] == found[index]).all()


FloatArray: TypeAlias = npt.NDArray[np.float32]
FloatArrays: TypeAlias = tuple[FloatArray, FloatArray]


class Int8Network:
    """The int8 engine's arithmetic written out in numpy for one sentence, after its description in cpu.py: each matrix
    row and each row of activations has a scale of its own, the largest magnitude being 127, and sums are whole numbers.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self.config = model.config
        self.parameters = {name: tensor.detach().numpy() for name, tensor in model.named_parameters()}

    def product(self, weights: npt.NDArray[np.float32], x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scales = np.abs(weights).max(axis=1) / np.float32(127)
        whole_weights = np.rint(weights / scales[:, None]).astype(np.int64)
        most = np.abs(x).max()
        if most == 0:
            return np.zeros(len(weights), dtype=np.float32)
        whole = np.rint(x * (np.float32(127) / most)).astype(np.int64)
        assert np.abs(whole_weights).max() == np.abs(whole).max() == 127
        product: FloatArray = (whole_weights @ whole).astype(np.float32) * (most / np.float32(127)) * scales
        return product

    def cell(self, name: str, x: FloatArray, state: Sequence[FloatArray], context: FloatArray | None) -> FloatArrays:
        """h and c after one position of the LSTM of that name."""
        weight_ih, weight_hh, *biases = (
            self.parameters[f"{name}.{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, c = state
        gates = biases[0] + biases[1]
        if context is not None:
            gates = gates + self.product(weight_ih[:, len(x) :], context)
        i, f, g, o = np.split(gates + self.product(weight_ih[:, : len(x)], x) + self.product(weight_hh, h), 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        return np.tanh(c) / (1 + np.exp(-o)), c

    def read(self, tokens: Sequence[int]) -> FloatArrays:
        """The top layer's outputs at each position, and that after everything; sets the layers' last states."""
        config = self.config
        rows = [self.parameters["encoder.embedding.weight"][token] for token in tokens]
        directions = ("ahead", "back") if config.bidirectional else ("",)
        nothing = np.zeros(config.hidden_size // len(directions), dtype=np.float32)
        self.states = []
        for layer in range(config.num_layers):
            outputs, ends = [], []
            for direction in directions:
                state, found = (nothing, nothing), []
                for x in rows[::-1] if direction == "back" else rows:
                    name = f"encoder.stack.layers.{layer}" + (f".{direction}" if direction else "")
                    state = self.cell(name, x, state, None)
                    found.append(state[0])
                outputs.append(found[::-1] if direction == "back" else found)
                ends.append(state)
            self.states.append(tuple(np.concatenate(parts) for parts in zip(*ends, strict=True)))
            hidden = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
            residual = config.residual and layer > 0
            rows = [h + x if residual else h for h, x in zip(hidden, rows, strict=True)]
        half = len(nothing)
        end = np.concatenate([rows[-1][:half], rows[0][half:]]) if config.bidirectional else rows[-1]
        return np.stack(rows), end

    def step(self, token: int, context: FloatArray | None) -> FloatArray:
        """Move the decoder's layers on by one position; returns the top's output."""
        x = self.parameters["decoder.embedding.weight"][token]
        for layer, state in enumerate(self.states):
            h, _ = self.states[layer] = self.cell(
                f"decoder.stack.layers.{layer}", x, state, context if layer == 0 else None
            )
            x = h + x if self.config.residual and layer else h
        return x

    def log_probabilities(self, source: Sequence[int], target: Sequence[int]) -> npt.NDArray[np.float32]:
        config, parameters = self.config, self.parameters
        memory, end = self.read([*(reversed(source) if config.reverse_source else source), EOS])
        output = parameters.get("decoder.output.weight", parameters["decoder.embedding.weight"])
        found = []
        for token in target:
            x = self.step(token, end if config.feed_context else None)
            if config.attention == "dot":
                weights = np.exp(memory @ x)
                combine = parameters["decoder.attention.combine.weight"]
                attended = (weights / weights.sum()) @ memory
                both = self.product(combine[:, : len(x)], attended) + self.product(combine[:, len(x) :], x)
                x = np.tanh(both)
            logits = parameters["decoder.output.bias"] + self.product(output, x)
            found.append(logits - np.log(np.exp(logits.astype(np.float64)).sum()))
        return np.stack(found)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_int8_is_its_arithmetic(name: str, instruction_set: str) -> None:
    """But for the rounding of floats, which may now and then carry an activation over the border between two whole
    numbers. So every instruction set gives the same.
    """
    sources, targets = examples(name)
    written_out = Int8Network(model(name))
    expected = np.stack([written_out.log_probabilities(*pair) for pair in zip(sources, targets, strict=True)])
    found = all_log_probabilities(cpu_engine(name, "int8", instruction_set), sources, targets)
    errors = np.abs(without_padding(found) - np.delete(expected, PAD, axis=-1)).max(axis=-1)
    assert (errors < 2e-5).mean() > 0.95
    assert errors.max() < 0.01


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["plain", "three words"])
def test_forbidden_tokens_are_never_chosen_and_their_probability_is_lost(name: str, precision: Precision) -> None:
    def engine(forbidden: list[int]) -> CPUEngine:
        return CPUEngine(
            model(name), source_eos_id=EOS, target_eos_id=EOS, forbidden=forbidden, precision=precision, threads=1
        )

    sources, targets = examples(name)
    free = all_log_probabilities(engine([]), sources, targets)
    np.testing.assert_allclose(np.exp(free.astype(np.float64)).sum(axis=-1), 1, rtol=1e-5)
    forbidden = sorted(set(free.argmax(axis=-1).ravel().tolist()) - {EOS})
    assert forbidden
    bound = all_log_probabilities(engine(forbidden), sources, targets)
    assert np.isneginf(bound[..., forbidden]).all()
    assert (np.delete(bound, forbidden, axis=-1) == np.delete(free, forbidden, axis=-1)).all()
    options = SearchOptions(beam_size=4, max_length=6)
    for found in search(engine(forbidden), sources, options, count=4):
        assert not {token for hypothesis in found for token in hypothesis.tokens} & set(forbidden)


def test_narrow_formats_take_less_memory() -> None:
    sizes = {precision: cpu_engine("plain", precision, SETS[-1]).packed_bytes for precision in PRECISIONS}
    assert sizes["float32"] == 2 * sizes["bfloat16"] == 4 * sizes["int8"]


SOURCES = st.lists(st.lists(st.integers(3, 49), max_size=9).map(tuple), min_size=1, max_size=18)


def _independence(name: str, precision: Precision, examples: int) -> None:
    """The hypotheses of sentences alone, computed by one thread, against those in a batch in any order by several."""

    @settings(max_examples=examples)
    @given(
        SOURCES,
        st.randoms(use_true_random=False),
        st.integers(1, 3),
        st.sampled_from(SETS),
        st.sampled_from(
            [
                SearchOptions(beam_size=1, max_length=6),
                SearchOptions(beam_size=4, max_length=6),
                SearchOptions(method="sample", max_length=6, seed=4),
            ]
        ),
    )
    def check(
        sources: list[tuple[int, ...]], order: Any, threads: int, instruction_set: str, options: SearchOptions
    ) -> None:
        one = cpu_engine(name, precision, instruction_set, 1, 1.0)
        alone = {source: search(one, [source], options, length_penalty=0.6, count=2)[0] for source in sources}
        order.shuffle(sources)
        several = cpu_engine(name, precision, instruction_set, threads, 1.0)
        together = search(several, sources, options, length_penalty=0.6, count=2)
        assert together == [alone[source] for source in sources]

    check()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", FEW_NETWORKS)
def test_results_are_the_same_bit_for_bit_in_any_batch_with_any_threads(name: str, precision: Precision) -> None:
    _independence(name, precision, examples=15)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_results_are_the_same_bit_for_bit_in_many_batches(name: str, precision: Precision) -> None:
    _independence(name, precision, examples=100)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_threads_that_take_tiles_in_any_order_change_nothing(precision: Precision) -> None:
    """A network of many tiles, again and again, by more threads than cores."""
    large = network(2, scale=0.3, **SIZES | {"hidden_size": 200, "target_vocabulary_size": 3000, "attention": "dot"})
    generator = np.random.default_rng(5)
    sources = [generator.integers(3, 50, index % 7).tolist() for index in range(14)]
    options = SearchOptions(beam_size=4, max_length=5)

    def found(threads: int) -> Any:
        engine = CPUEngine(large, source_eos_id=EOS, target_eos_id=EOS, precision=precision, threads=threads)
        return [search(engine, sources, options, count=4) for _ in range(3)]

    once, *again = found(1)
    assert again == [once, once]
    for threads in (2, 4, 7):
        assert found(threads) == [once] * 3, threads


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", FEW_NETWORKS)
def test_a_crowd_is_read_as_each_of_it_alone(name: str, precision: Precision) -> None:
    """Few sentences are read by another way than many; both must round alike, at every number of sentences."""
    sources, targets = examples(name, count=30, length=2)
    for instruction_set in SETS:
        engine = cpu_engine(name, precision, instruction_set)
        alone = np.concatenate(
            [all_log_probabilities(engine, [source], [target]) for source, target in zip(sources, targets, strict=True)]
        )
        for count in (2, 7, 12, 13, 30):
            together = all_log_probabilities(engine, sources[:count], targets[:count])
            assert (together == alone[:count]).all(), (instruction_set, count)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["residual, context", "attention"])
@settings(max_examples=15)
@given(st.data())
def test_rows_go_on_as_they_would_alone(name: str, precision: Precision, data: st.DataObject) -> None:
    """Rows come, repeat, change places and go in any order, between steps and without one; and what else the engine
    does meanwhile leaves them alone.
    """
    engine = cpu_engine(name, precision)
    sources = st.lists(st.lists(st.integers(3, 49), max_size=6).map(tuple), min_size=1, max_size=5)

    def arriving() -> tuple[Any, list[tuple[tuple[int, ...], tuple[int, ...]]]]:
        new = data.draw(sources)
        rows, added = engine.encode(new), [(source, ()) for source in new]
        if data.draw(st.booleans()):
            chosen = data.draw(st.lists(st.integers(0, len(new) - 1), min_size=1, max_size=6))
            rows, added = engine.take(rows, np.array(chosen)), [added[index] for index in chosen]
        return rows, added

    rows, histories = arriving()
    actions = data.draw(st.lists(st.sampled_from(["step", "step", "take", "append"]), max_size=10))
    for action in [*actions, "step"]:
        if action == "append":
            others, added = arriving()
            rows, histories = engine.append(rows, others), histories + added
        elif action == "take":
            last = len(histories) - 1
            chosen = data.draw(st.lists(st.integers(0, last), max_size=8)) if last >= 0 else []
            rows, histories = engine.take(rows, np.array(chosen, dtype=np.int64)), [histories[i] for i in chosen]
        elif histories:
            tokens = data.draw(st.lists(st.integers(1, 136), min_size=len(histories), max_size=len(histories)))
            histories = [(s, (*target, token)) for (s, target), token in zip(histories, tokens, strict=True)]
            found, rows = _one_step(engine, rows, tokens)
            for (source, target), log_probabilities_V in zip(histories, found, strict=True):
                expected = all_log_probabilities(engine, [source], [target])[0, -1]
                assert (log_probabilities_V == expected).all()


def _one_step(engine: CPUEngine, rows: Any, tokens: Sequence[int]) -> tuple[npt.NDArray[np.float32], Any]:
    beams = all_drawn(np.array(tokens), np.zeros(len(tokens), dtype=np.float32))
    extensions, rows = engine.step(rows, beams)
    return extensions.log_probabilities_DV, rows


FORK = """
import os, sys
sys.path.insert(0, {root!r})
from tests.engines import EOS, network, search
from translator.config import SearchOptions
from translator.engines import CPUEngine

engine = CPUEngine(network(1), source_eos_id=EOS, target_eos_id=EOS, threads=3)

def run():
    return search(engine, [[3, 4, 5], [6]], SearchOptions(max_length=8))

before = run()
child = os.fork()
if child == 0:
    if {child_uses_it}:
        assert run() == before
        assert run() == before
    sys.exit(7)
if {parent_goes_on}:
    assert run() == before
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert run() == before
print("done")
"""


@pytest.mark.parametrize("child_uses_it", [True, False])
@pytest.mark.parametrize("parent_goes_on", [True, False])
def test_after_a_fork_both_go_on_and_the_child_ends(child_uses_it: bool, parent_goes_on: bool) -> None:
    root = str(Path(__file__).parents[2])
    code = FORK.format(root=root, child_uses_it=child_uses_it, parent_goes_on=parent_goes_on)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout == "done\n", result.stderr
    assert result.returncode == 0
