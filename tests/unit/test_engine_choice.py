"""Which engine is chosen, and what each refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engines import EOS, PAD, network, search
from translator.config import SearchOptions
from translator.engines import ENGINES, CPUEngine, Engine, ReferenceEngine, best_engine, make_engine
from translator.engines.native_library import LIBRARY, instruction_sets, load_library
from translator.model import Seq2Seq

needs_library = pytest.mark.skipif(not instruction_sets(), reason="the cpu engine's library is not built")


def make(model: Seq2Seq | None = None, **options: Any) -> Engine[Any]:
    return make_engine(model or network(1), source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD], **options)


def cpu_engine(model: Seq2Seq | None = None, **options: Any) -> CPUEngine:
    return CPUEngine(model or network(1), source_eos_id=EOS, target_eos_id=EOS, **options)


@pytest.fixture(autouse=True)
def _no_engine_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENGINE", raising=False)


def _has(monkeypatch: pytest.MonkeyPatch, sets: list[str]) -> None:
    """Pretend that the processor and the library have these instruction sets; none: there is no library."""
    for module in ("translator.engines", "translator.engines.cpu"):
        monkeypatch.setattr(f"{module}.instruction_sets", lambda: sets)
    if not sets:
        monkeypatch.setattr("translator.engines.cpu.load_library", lambda: None)


@needs_library
@pytest.mark.parametrize("by", ["argument", "environment"])
@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("reference", "reference, float32, cpu, 1 threads"),
        ("cpu", "cpu, int8, "),
        ("cpu-bfloat16", "cpu, bfloat16, "),
        ("cpu-float32", "cpu, float32, "),
    ],
)
def test_every_name_gives_its_engine(monkeypatch: pytest.MonkeyPatch, name: str, description: str, by: str) -> None:
    if by == "environment":
        monkeypatch.setenv("ENGINE", name)
        engine = make()
    else:
        monkeypatch.setenv("ENGINE", "nonsense")  # what is said outright is what counts
        engine = make(name=name)
    assert engine.describe().startswith(description)
    assert (engine.eos_id, engine.vocabulary_size) == (EOS, 14)
    if name != "reference":
        assert engine.describe() == f"{description}{instruction_sets()[0]}, 1 threads"


@pytest.mark.parametrize(
    ("sets", "quick", "exact"),
    [
        (["avx512", "avx2", "portable"], "cpu", "cpu-float32"),
        (["avx2", "portable"], "cpu", "cpu-float32"),
        (["portable"], "reference", "reference"),
        ([], "reference", "reference"),
    ],
)
def test_the_best_engine_is_the_librarys_where_it_has_vectors(
    monkeypatch: pytest.MonkeyPatch, sets: list[str], quick: str, exact: str
) -> None:
    _has(monkeypatch, sets)
    assert best_engine("cpu") == quick
    assert best_engine("cpu", full_precision=True) == exact
    assert (best_engine("cuda"), best_engine("cuda", full_precision=True)) == ("reference", "reference")
    assert best_engine("mps") == best_engine("mps", full_precision=True) == "reference"


@needs_library
@pytest.mark.parametrize("variable", ["", "auto", None])
def test_auto_is_the_best(monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    if variable is not None:
        monkeypatch.setenv("ENGINE", variable)
    engine = make()
    assert isinstance(engine, CPUEngine if best_engine("cpu") == "cpu" else ReferenceEngine)
    _has(monkeypatch, ["portable"])
    assert isinstance(make(), ReferenceEngine)


def test_without_the_library_auto_is_the_reference_and_cpu_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _has(monkeypatch, [])
    assert isinstance(make(), ReferenceEngine)
    for name in ("cpu", "cpu-bfloat16", "cpu-float32"):
        with pytest.raises(ValueError, match=r"reinstall with a C\+\+ compiler, or use engine=reference"):
            make(name=name)


def test_an_unknown_engine_is_refused_with_a_list_of_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    message = f"there is no engine abacus; choose one of {', '.join(ENGINES)}$"
    with pytest.raises(ValueError, match=message):
        make(name="abacus")
    monkeypatch.setenv("ENGINE", "abacus")
    with pytest.raises(ValueError, match=message):
        make()


def test_an_engine_is_for_models_on_its_device() -> None:
    elsewhere = network(1).to("meta")
    with pytest.raises(ValueError, match="engine cpu-float32 computes on the cpu, and the model is on meta"):
        make(elsewhere, name="cpu-float32")
    for model, device in ((elsewhere, "meta"), (network(1), "cpu")):
        with pytest.raises(ValueError, match=f"engine cuda computes on an NVIDIA GPU, and the model is on {device}"):
            make(model, name="cuda")


@pytest.mark.parametrize("content", [None, b"", b"no library"])
def test_a_library_that_is_missing_or_broken_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / LIBRARY.name).write_bytes(content)
    monkeypatch.setattr("translator.engines.native_library.LIBRARY", tmp_path / LIBRARY.name)
    assert load_library.__wrapped__() is None


@needs_library
def test_the_portable_part_is_always_there_and_the_last() -> None:
    assert instruction_sets()[-1] == "portable"
    assert len(set(instruction_sets())) == len(instruction_sets())


@needs_library
def test_an_instruction_set_that_is_not_here_is_refused() -> None:
    with pytest.raises(ValueError, match=r"instruction set mmx is not one of .*portable"):
        cpu_engine(instruction_set="mmx")


@needs_library
@pytest.mark.parametrize(
    "parameter",
    ["encoder.embedding.weight", "decoder.stack.layers.1.bias_hh_l0", "decoder.output.bias", "decoder.output.weight"],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_weights_that_are_not_finite_in_float32_are_refused(parameter: str, value: float) -> None:
    model = network(1, dtype=torch.float64)
    with torch.no_grad():
        model.get_parameter(parameter).flatten()[3] = value
    with pytest.raises(ValueError, match="not finite numbers; train it again"):
        cpu_engine(model)


@needs_library
def test_embeddings_that_are_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="embeddings of up to 16,384 dimensions"):
        cpu_engine(network(1, embedding_size=16_385, hidden_size=1, target_vocabulary_size=3))


@needs_library
@pytest.mark.parametrize("source", [[12], [3, -1], [2**40]])
def test_source_tokens_that_are_not_in_the_vocabulary_are_refused(source: Sequence[int]) -> None:
    engine = cpu_engine()
    with pytest.raises(ValueError, match="a source token is not in the vocabulary of 12 entries"):
        engine.encode([[3], source])
    assert search(engine, [[11, 0]], SearchOptions(max_length=4))[0]
