"""Engines for several threads over one copy of the weights."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from translator import Translator
from translator.config import ModelConfig, SearchOptions
from translator.decoder import decode
from translator.engines import CPUEngine, Engine, sharing
from translator.model import Seq2Seq
from translator.search import Query

QUERIES = [Query(tuple(range(5, 6 + number % 9)), SearchOptions(beam_size=1 + number % 4)) for number in range(40)]


@pytest.mark.parametrize("name", ["cpu", "cpu-bfloat16", "cpu-float32", "reference"])
def test_engines_over_the_same_weights_find_the_same_at_the_same_time(tiny_model_directory: Path, name: str) -> None:
    first = Translator.load(tiny_model_directory, engine=name).engine
    engines: list[Engine[object]] = [first, sharing(first), sharing(sharing(first))]
    expected = decode(first, QUERIES)
    with ThreadPoolExecutor(len(engines)) as pool:
        found = list(pool.map(lambda engine: decode(engine, QUERIES), engines))
    assert found == [expected] * len(engines)


def test_an_ensemble_shares_its_members_weights(tiny_model_directory: Path) -> None:
    ensemble = Translator.load([tiny_model_directory, tiny_model_directory], engine="cpu-float32").engine
    other = sharing(ensemble)
    assert other.describe() == ensemble.describe()
    assert decode(other, QUERIES[:5]) == decode(ensemble, QUERIES[:5])


def test_the_weights_live_as_long_as_the_last_engine(tiny_model_directory: Path) -> None:
    first = Translator.load(tiny_model_directory, engine="cpu").engine
    expected = decode(first, QUERIES)
    other = sharing(first)
    del first
    gc.collect()
    assert decode(other, QUERIES) == expected


def test_there_is_one_copy_of_the_weights() -> None:
    config = ModelConfig(
        source_vocabulary_size=100, target_vocabulary_size=100, embedding_size=512, hidden_size=512, num_layers=4
    )
    model = Seq2Seq(config)
    model.initialise(seed=1)
    first = CPUEngine(model, source_eos_id=2, target_eos_id=2, precision="float32")
    others: list[CPUEngine] = []
    before = psutil.Process().memory_info().rss
    for _ in range(8):
        others.append(first.another())
    grown = psutil.Process().memory_info().rss - before
    assert first.packed_bytes > 50_000_000
    assert all(other.packed_bytes == first.packed_bytes for other in others)
    assert grown < first.packed_bytes
