"""Bits per character on text of known entropy, gates of known cells, and the command that shows it all."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training.errors import InputError
from training.recurrence.baselines import characters, hidden_markov_bits, n_gram_bits, require_packages
from training.recurrence.characters import read_text, train_recurrent
from training.recurrence.gates import gate_activations, read, summarised
from translator.cells import LSTM, TwoGateGRU, make_cell
from translator.generation import predict

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "fixtures" / "smoke"
COPIES = 40


def entropy(*probabilities: float) -> float:
    return -sum(p * math.log2(p) for p in probabilities)


def sticky_texts(count: int, seed: int) -> list[str]:
    """Letters a and b, each the same as before with probability 0.9; a text ends after each with probability 0.02."""
    generator = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        length = int(generator.geometric(0.02))
        changes = generator.random(length) < np.array([0.5] + [0.1] * (length - 1))
        texts.append("".join("ab"[state] for state in np.cumsum(changes) % 2))
    return texts


def expected_bits(texts: list[str]) -> float:
    """By the distribution that they are drawn from."""
    letters, ends = sum(map(len, texts)), len(texts)
    bits = 0.0
    for text in texts:
        repeated = sum(one == other for one, other in pairwise(text))
        bits += 1 - repeated * math.log2(0.9) - (len(text) - 1 - repeated) * math.log2(0.1)
    return (bits - ends * math.log2(0.02) - (letters - ends) * math.log2(0.98)) / (letters + ends)


def test_single_characters_have_the_entropy_of_their_frequencies() -> None:
    texts = ["aab", "abc"] * 3  # a 3/8, b 2/8, c 1/8, the end 2/8
    assert characters(texts) == 24
    assert n_gram_bits(texts, texts, 1) == pytest.approx(entropy(3 / 8, 2 / 8, 1 / 8, 2 / 8))


def test_pairs_are_interpolated_as_witten_and_bell_do() -> None:
    """Every context has one continuation, seen n times: n/(n + 1) of it, and 1/(n + 1) of the single characters."""
    texts = ["ab"] * COPIES
    probability = (COPIES + 1 / 3) / (COPIES + 1)
    assert n_gram_bits(texts, texts, 2) == pytest.approx(-math.log2(probability))


def test_on_a_known_distribution_pairs_come_near_its_entropy_and_single_characters_do_not() -> None:
    train, tested = sticky_texts(1500, 1), sticky_texts(300, 2)
    expected = expected_bits(tested)
    assert 0.6 < expected < 0.75  # H(0.9) = 0.47 for the letters, H(0.02) = 0.14 for the end
    assert n_gram_bits(train, tested, 2) == pytest.approx(expected, rel=0.01)
    assert n_gram_bits(train, tested, 1) > 1.05


def test_a_hidden_markov_model_of_one_state_is_single_characters() -> None:
    texts = ["aab", "abc"] * 3
    found = hidden_markov_bits(texts, texts, 1, iterations=2, seed=1)
    assert found == pytest.approx(entropy(3 / 8, 2 / 8, 1 / 8, 2 / 8))


def test_on_a_known_distribution_a_hidden_markov_model_comes_near_its_entropy() -> None:
    train, tested = sticky_texts(500, 1), sticky_texts(300, 2)
    expected = expected_bits(tested)
    assert hidden_markov_bits(train, tested, 4, iterations=40, seed=1) == pytest.approx(expected, rel=0.03)


def test_a_character_that_was_never_seen_is_named() -> None:
    for bits in (n_gram_bits(["ab"], ["b"], 2), hidden_markov_bits(["ab"], ["b"], 1, iterations=1, seed=1)):
        assert bits > 0
    with pytest.raises(InputError, match="the character 'z' of the held-out text"):
        n_gram_bits(["ab"], ["az"], 2)
    with pytest.raises(InputError, match="the character 'z' of the held-out text"):
        hidden_markov_bits(["ab"], ["az"], 1, iterations=1, seed=1)


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_an_lstm_s_states_follow_from_the_gates_that_are_shown() -> None:
    cell = LSTM(3, 4)
    inputs = numbers(6, 3)
    gates = gate_activations(cell, inputs)
    assert list(gates) == ["input", "forget", "output"]
    step, state = cell.stepper(), cell.zero_state(inputs[None, 0])
    for t in range(6):
        sums = cell.weight_ih_l0 @ inputs[t] + cell.weight_hh_l0 @ state[0][0] + cell.bias_ih_l0 + cell.bias_hh_l0
        expected = gates["forget"][t] * state[1][0] + gates["input"][t] * torch.tanh(sums[8:12])
        _, state = step(inputs[None, t], state)
        torch.testing.assert_close(state[1][0], expected)
        torch.testing.assert_close(state[0][0], gates["output"][t] * torch.tanh(expected))


def test_a_gru_s_states_follow_from_the_gates_that_are_shown() -> None:
    cell = TwoGateGRU(3, 4)
    inputs = numbers(6, 3)
    gates = gate_activations(cell, inputs)
    assert list(gates) == ["update", "reset"]
    step, state = cell.stepper(), cell.zero_state(inputs[None, 0])
    for t in range(6):
        reset = cell.weight_hh[8:] @ (gates["reset"][t] * state[0][0])
        hidden = torch.tanh(cell.weight_ih[8:] @ inputs[t] + reset + cell.bias[8:])
        expected = (1 - gates["update"][t]) * state[1][0] + gates["update"][t] * hidden
        _, state = step(inputs[None, t], state)
        torch.testing.assert_close(state[0][0], hidden)
        torch.testing.assert_close(state[1][0], expected)


def test_a_cell_without_gates_is_refused() -> None:
    with pytest.raises(TypeError, match="VanillaRNN has no gates"):
        gate_activations(make_cell("rnn", 3, 4), numbers(2, 3))


def test_the_summary_has_means_and_the_units_that_move() -> None:
    update = torch.tensor([[0.5, 0.0, 0.9], [0.5, 0.9, 0.8]])
    summary = summarised("gru", {"update": update, "reset": torch.zeros(2, 3)})
    assert summary.means["update"] == pytest.approx([0.4667, 0.7333])
    assert summary.keeping == [[1.0, 0.5, 0.1], [0.1, 0.5, 0.2]]


def test_text_is_split_and_every_held_out_character_is_known(tmp_path: Path) -> None:
    file = tmp_path / "text"
    lines = [f"line {number}" for number in range(400)] + ["Ω"]
    file.write_text("".join(f"{line}\n\n" for line in [*lines, *lines]), encoding="utf-8")
    text = read_text(file, seed=1)
    assert not set(text.train) & set(text.held_out)
    assert set("".join(text.held_out)) <= set("".join(text.train))
    assert len(text.train) + len(text.held_out) in (400, 401)
    assert len(read_text(file, seed=1, share=0.01).train) == 80
    file.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(InputError, match="has 2 different lines, which is too few"):
        read_text(file, seed=1)


def test_a_recurrent_model_is_trained_and_its_gates_are_read() -> None:
    text = read_text(SMOKE / "train.en", seed=1, share=0.06)
    loaded = train_recurrent("lstm", text, seed=1)
    found = predict(loaded, text.held_out)
    assert found.unknown == 0
    assert found.characters == text.held_out_characters
    assert found.bits_per_character < n_gram_bits(text.train, text.held_out, 1)
    sentence = text.held_out[0]
    assert {name: each.shape for name, each in read(loaded, sentence).items()} == {
        name: (len(sentence), 128) for name in ("input", "forget", "output")
    }


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"missing: hmmlearn, nltk; install them: pip install '\.\[plots\]'"):
        require_packages()
