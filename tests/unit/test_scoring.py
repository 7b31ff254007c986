"""Scores of pairs and sentence vectors against the network called step by step, and against its equations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import EOS, PAD, network
from translator import Translator
from translator.cells import CELLS
from translator.engines import ReferenceEngine
from translator.scoring import _NUMBERS_A_BATCH, score_pairs, score_texts, score_tokens, sentence_vectors

ARCHITECTURES: list[dict[str, Any]] = [{}, {"residual": True, "feed_context": True}, {"attention": "dot"}]
MORE: list[dict[str, Any]] = [{"cell": "gru"}, {"attention": "additive", "input_feeding": True, "bidirectional": True}]
SENTENCES = st.lists(st.integers(3, 11), max_size=6)


@settings(max_examples=40)
@given(
    pairs=st.lists(st.tuples(SENTENCES, SENTENCES), max_size=8),
    architecture=st.sampled_from([*ARCHITECTURES, *MORE]),
    numbers=st.sampled_from([1, 100, _NUMBERS_A_BATCH]),
)
def test_every_token_has_the_probability_that_a_decoder_gives_it_step_by_step(
    pairs: list[tuple[list[int], list[int]]], architecture: dict[str, Any], numbers: int
) -> None:
    model = network(3, dtype=torch.float64, **architecture)
    engine = ReferenceEngine(model, source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("translator.scoring._NUMBERS_A_BATCH", numbers)  # also one pair at a time
        done: list[int] = []
        scores = score_tokens(
            [model], pairs, source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD], progress=done.append
        )
    assert sum(done) == len(pairs)
    for (source, target), found in zip(pairs, scores, strict=True):
        rows, expected = engine.encode([source]), []
        for fed, wanted in zip([EOS, *target], [*target, EOS], strict=True):
            log_probabilities_RV, rows = engine.log_probabilities(rows, torch.tensor([fed]))
            expected.append(float(log_probabilities_RV[0, wanted]))
        assert found == pytest.approx(expected, abs=1e-5)
    totals = score_pairs(model, pairs, source_eos_id=EOS, target_eos_id=EOS)
    assert totals == pytest.approx([math.fsum(each) for each in scores], abs=1e-4)


def test_the_probabilities_of_all_targets_and_of_longer_ones_add_up_to_one() -> None:
    """Of a vocabulary of two: what ends within two words, and what goes on."""
    model = network(2, target_vocabulary_size=3)
    targets = [[], [0], [1], [0, 0], [0, 1], [1, 0], [1, 1]]
    scores = score_tokens([model], [([4], target) for target in targets], source_eos_id=EOS, target_eos_id=EOS)
    ended = sum(math.exp(math.fsum(each)) for each in scores)
    goes_on = sum(math.exp(math.fsum(each[:2])) * (1 - math.exp(each[2])) for each in scores if len(each) == 3)
    assert ended + goes_on == pytest.approx(1, abs=1e-5)


def test_a_forbidden_token_has_no_probability() -> None:
    model = network(2)
    (found,) = score_tokens([model], [([4], [PAD])], source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])
    assert found[0] == -math.inf
    assert math.isfinite(found[1])


@pytest.mark.parametrize(
    "architecture",
    [*ARCHITECTURES, {"cell": "rnn"}, {"cell": "gru"}, {"cell": "cudnn-gru", "bidirectional": True}],
    ids=str,
)
def test_a_sentence_vector_is_what_the_decoder_starts_from(architecture: dict[str, Any]) -> None:
    model = network(5, **architecture)
    sources = [[3, 4, 5], [], [7], [5, 4, 3], [8, 9, 10]]
    vectors = sentence_vectors(model, sources, source_eos_id=EOS)
    states = CELLS[model.config.cell].states
    assert vectors.shape == (5, states * model.config.num_layers * model.config.hidden_size)
    assert vectors.dtype == torch.float32
    rows = ReferenceEngine(model, source_eos_id=EOS, target_eos_id=EOS).encode(sources)
    for number in range(len(sources)):
        expected = torch.cat([part_LRH[:, number].flatten() for part_LRH in rows.state.parts_LBH])
        torch.testing.assert_close(vectors[number], expected)
    assert not torch.allclose(vectors[0], vectors[3])  # it knows the order of words
    assert sentence_vectors(model, [], source_eos_id=EOS).shape == (0, vectors.shape[1])


def test_one_layers_vector_is_its_equations() -> None:
    model = network(1, num_layers=1, dtype=torch.float64)
    weights = {name: value.detach().numpy() for name, value in model.encoder.named_parameters()}
    hidden, cell = np.zeros(8), np.zeros(8)
    for token in (7, 3, EOS):  # read backwards, `<EOS>` last
        gates = (
            weights["stack.layers.0.weight_ih_l0"] @ weights["embedding.weight"][token]
            + weights["stack.layers.0.bias_ih_l0"]
            + weights["stack.layers.0.weight_hh_l0"] @ hidden
            + weights["stack.layers.0.bias_hh_l0"]
        )
        enter, forget, candidate, leave = np.split(gates, 4)
        cell = cell / (1 + np.exp(-forget)) + np.tanh(candidate) / (1 + np.exp(-enter))
        hidden = np.tanh(cell) / (1 + np.exp(-leave))
    (vector,) = sentence_vectors(model, [[3, 7]], source_eos_id=EOS)
    np.testing.assert_allclose(vector.numpy(), np.concatenate([hidden, cell]), atol=1e-6)


def test_a_text_is_read_as_it_is_translated(tiny_model_directory: Path) -> None:
    translator = Translator.load(tiny_model_directory, engine="reference")
    plain, composed = score_texts(
        translator, [("Are we at the café?", "Il est au café."), (" Are we at the cafe\u0301? ", "Il est au café. ")]
    )
    assert plain == composed
    vocabulary = translator.loaded.target_vocabulary
    assert plain.pieces[-1] == vocabulary.pieces([vocabulary.eos_id])[0]
    assert "".join(plain.pieces[:-1]).replace("▁", " ").strip() == "Il est au café."
    assert plain.log_probability == pytest.approx(math.fsum(plain.log_probabilities))
