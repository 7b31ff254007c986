"""Every cell, attention and direction as encoder and decoder: steps and sequences, model directories, engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from tests.engines import EOS, PAD, network, search, stepped
from translator.attention import Attention, Memory
from translator.card import FORMAT_VERSION
from translator.config import AttentionName, CellName, ModelConfig, SearchOptions
from translator.directory import load_model, save_model
from translator.engines import ReferenceEngine, best_engine, make_engine
from translator.engines.native_library import instruction_sets
from translator.model import Seq2Seq
from translator.stack import Bidirectional

CELLS = get_args(CellName)
ATTENTIONS = get_args(AttentionName)
ARCHITECTURES: dict[str, dict[str, Any]] = {
    **{name: {"cell": name} for name in CELLS},
    **{f"{name} attention": {"attention": name} for name in ATTENTIONS if name != "none"},
    **{
        f"{name}, bidirectional, {attention}, fed": {
            "cell": name,
            "bidirectional": True,
            "attention": attention,
            "input_feeding": True,
            "feed_context": True,
            "residual": True,
        }
        for name, attention in zip(CELLS, ["dot", "general", "additive", "dot", "general"], strict=True)
    },
    "lstm, bidirectional": {"bidirectional": True, "num_layers": 3},
    "gru, tied": {"cell": "gru", "tie_target_embedding": True, "embedding_size": 16},
}
SOURCES = [[5, 3, 7, 4], [], [9], [4, 4, 8, 3, 11, 6]]
TARGETS = [[EOS, 6, 9, 12], [EOS, 3, 3, 4], [EOS, 13, 1, 5], [EOS, 8, 7, 6]]


def double(name: str) -> Seq2Seq:
    return network(3, scale=0.5, dtype=torch.float64, **ARCHITECTURES[name])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_engines_steps_are_the_networks_sequences(name: str) -> None:
    """Sentences of different lengths together in the engine, each by itself in the network."""
    model = double(name)
    engine = ReferenceEngine(model, source_eos_id=EOS, target_eos_id=EOS)
    found = np.stack(list(stepped(engine, SOURCES, TARGETS)), axis=1)
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        source_1S = torch.tensor([source], dtype=torch.int64)
        logits = model.logits(model(source_1S, torch.tensor([target]), EOS))
        expected = torch.log_softmax(logits, dim=-1)[0].detach().numpy()
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=2e-6)  # the engine hands float32 on


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_finds_what_each_sentence_finds_alone(name: str) -> None:
    engine = ReferenceEngine(double(name), source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])
    options = SearchOptions(beam_size=3, max_length=6)
    together = search(engine, SOURCES, options, count=2)
    alone = [search(engine, [source], options, count=2)[0] for source in SOURCES]
    assert [[found.tokens for found in each] for each in together] == [[f.tokens for f in each] for each in alone]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_loss_reaches_every_parameter(name: str) -> None:
    model = double(name)
    source_BS, target_BT = torch.tensor([[5, 3, 7, 4], [9, 8, 7, 3]]), torch.tensor(TARGETS[:2])
    model.logits(model(source_BS, target_BT, EOS, 0.2)).logsumexp(-1).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


def test_a_bidirectional_layer_is_two_cells_of_half_the_size() -> None:
    """One reads ahead, one back; states and outputs stand side by side, and h(x) is what both have at their ends."""
    model = double("lstm, bidirectional")
    source_BS = torch.tensor([[5, 3, 7], [6, 4, 4]])
    encoded = model.encoder(source_BS, EOS)
    ends_B1 = torch.full((2, 1), EOS)
    read_BTE = model.encoder.embedding(torch.cat([source_BS.flip(1), ends_B1], dim=1))
    for index, layer in enumerate(model.encoder.stack.layers):
        assert isinstance(layer, Bidirectional)
        ahead_BTH, (ahead_h, ahead_c) = layer.ahead.unroll(read_BTE)
        back_BTH, (back_h, back_c) = layer.back.unroll(torch.stack(read_BTE.unbind(1)[::-1], dim=1))
        assert ahead_h.shape == (2, 4)
        assert torch.equal(encoded.state.hidden_LBH[index], torch.cat([ahead_h, back_h], dim=1))
        assert torch.equal(encoded.state.cell_LBH[index], torch.cat([ahead_c, back_c], dim=1))
        read_BTE = torch.cat([ahead_BTH, torch.stack(back_BTH.unbind(1)[::-1], dim=1)], dim=2)
    assert torch.equal(encoded.memory_BSO, read_BTE)
    assert torch.equal(encoded.context_BO, torch.cat([ahead_h, back_h], dim=1))


@pytest.mark.parametrize("kind", [name for name in ATTENTIONS if name != "none"])
def test_an_attention_is_its_equations(kind: AttentionName) -> None:
    torch.manual_seed(2)
    attention = Attention(kind, 5).double()
    parameters = {name: parameter.detach().numpy() for name, parameter in attention.named_parameters()}
    outputs_BTO, memory_BSO = torch.randn(2, 3, 5).double(), torch.randn(2, 4, 5).double()
    mask_BS = torch.tensor([[True, True, True, True], [True, True, True, False]])
    remembered = attention.remember(memory_BSO)
    found, weights = attention(outputs_BTO, Memory(remembered.values_BSO, remembered.keys_BSO, mask_BS))
    for row, length in enumerate((4, 3)):
        for position in range(3):
            y, memory = outputs_BTO[row, position].numpy(), memory_BSO[row, :length].numpy()
            if kind == "dot":
                scores = [y @ m for m in memory]
            elif kind == "general":
                scores = [y @ parameters["key.weight"] @ m for m in memory]
            else:
                query = parameters["query.weight"] @ y
                keys = [parameters["key.weight"] @ m + parameters["key.bias"] for m in memory]
                scores = [parameters["energy.weight"][0] @ np.tanh(query + key) for key in keys]
            a = np.exp(scores) / np.exp(scores).sum()
            expected = np.tanh(parameters["combine.weight"] @ np.concatenate([a @ memory, y]))
            np.testing.assert_allclose(weights[row, position, :length].detach().numpy(), a, atol=1e-12)
            np.testing.assert_allclose(found[row, position].detach().numpy(), expected, atol=1e-12)
    assert (weights[1, :, 3] == 0).all()


def test_input_feeding_gives_the_last_attention_to_the_next_step() -> None:
    model = network(3, scale=0.5, dtype=torch.float64, attention="general", input_feeding=True)
    encoded = model.encoder(torch.tensor([[5, 3, 7]]), EOS)
    decoder, state = model.decoder, encoded.state
    assert decoder.attention is not None
    fed, expected = torch.zeros(1, 8, dtype=torch.float64), []
    for token in [EOS, 6, 9]:
        x = torch.cat([decoder.embedding.weight[token].unsqueeze(0), fed], dim=1)
        y, state = decoder.stack(x.unsqueeze(1), state)
        fed = decoder.attention(y, decoder.attention.remember(encoded.memory_BSO))[0][:, 0]
        expected.append(fed)
    found, after = decoder(torch.tensor([[EOS, 6, 9]]), encoded, encoded.state)
    torch.testing.assert_close(found[0], torch.cat(expected), rtol=0, atol=1e-13)
    assert after.attended_BO is not None
    torch.testing.assert_close(after.attended_BO, fed, rtol=0, atol=1e-13)
    # In two parts it is the same as in one.
    _, between = decoder(torch.tensor([[EOS, 6]]), encoded, encoded.state)
    rest, _ = decoder(torch.tensor([[9]]), encoded, between)
    torch.testing.assert_close(rest[0, 0], found[0, 2], rtol=0, atol=1e-13)


def test_with_input_feeding_dropout_is_one_mask_a_sentence() -> None:
    model = network(3, scale=0.5, dtype=torch.float64, attention="dot", input_feeding=True)
    torch.manual_seed(4)
    model(torch.tensor([[5, 3, 7]]), torch.tensor([[EOS, 6, 9, 12]]), EOS, 0.5).sum().backward()
    gradient = model.decoder.embedding.weight.grad
    assert gradient is not None
    reached = gradient[[EOS, 6, 9, 12]] != 0
    assert (reached == reached[0]).all()
    assert 0 < reached[0].sum() < 8


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("name", ["rnn", "gru", "simplified-gru, bidirectional, additive, fed", "general attention"])
def test_a_model_directory_holds_every_architecture(
    name: str, storage: Any, tiny_model_directory: Path, tmp_path: Path
) -> None:
    tiny = load_model(tiny_model_directory)
    sizes = {key: getattr(tiny.config, key) for key in ("source_vocabulary_size", "target_vocabulary_size")}
    model = network(2, **sizes, **ARCHITECTURES[name])
    vocabularies = {"source_vocabulary": tiny.source_vocabulary, "target_vocabulary": tiny.target_vocabulary}
    save_model(tmp_path / "m", model=model, card=tiny.card, storage=storage, **vocabularies)
    again = load_model(tmp_path / "m")
    assert again.config == model.config
    assert again.card.format_version == 2 == FORMAT_VERSION
    assert json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))["format_version"] == 2
    for key, tensor in model.state_dict().items():
        largest = tensor.abs().amax(dim=-1, keepdim=True)
        step = largest / 254 * 1.001 if storage == "int8" else 0 * largest
        assert ((again.model.state_dict()[key] - tensor).abs() <= step).all(), key


def test_what_format_version_1_can_say_is_written_as_such(tiny_model_directory: Path) -> None:
    """Byte for byte what programs read that know no other version."""
    document = json.loads((tiny_model_directory / "config.json").read_text(encoding="utf-8"))
    assert document["format_version"] == 1
    assert sorted(document["model"]) == [
        "attention", "embedding_size", "feed_context", "hidden_size", "num_layers", "residual", "reverse_source",
        "source_vocabulary_size", "target_vocabulary_size", "tie_target_embedding",
    ]  # fmt: skip
    assert load_model(tiny_model_directory).card.format_version == 1


BEYOND = {
    "rnn": "the cell rnn",
    "additive attention": "additive attention",
    "cudnn-gru, bidirectional, general, fed": "the cell cudnn-gru and general attention and input feeding",
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_only_the_reference_engine_computes_goes_there_and_it_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENGINE", raising=False)
    model = network(1, **ARCHITECTURES[name])
    engine = make_engine(model, source_eos_id=EOS, target_eos_id=EOS)
    assert isinstance(engine, ReferenceEngine)
    assert engine.describe().endswith(f"; no other engine computes {BEYOND[name]}")
    assert best_engine("cpu", full_precision=True, config=model.config) == "reference"
    if instruction_sets():
        with pytest.raises(ValueError, match=f"the cpu engine does not compute {BEYOND[name]}; use engine=reference"):
            make_engine(model, source_eos_id=EOS, target_eos_id=EOS, name="cpu")


@pytest.mark.parametrize("bidirectional", [False, True])
def test_dot_attention_on_lstms_is_computed_by_all_engines(bidirectional: bool) -> None:
    model = network(1, attention="dot", bidirectional=bidirectional)
    assert best_engine("cpu", config=model.config) == best_engine("cpu")
    assert "no other engine" not in ReferenceEngine(model, source_eos_id=EOS, target_eos_id=EOS).describe()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_feeding": True}, "input_feeding needs an attention"),
        ({"bidirectional": True, "hidden_size": 7}, r"bidirectional needs an even hidden_size \(7 given\)"),
        ({"cell": "gru", "tie_target_embedding": True, "embedding_size": 8, "hidden_size": 8}, "equal to twice the"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.model_validate({"source_vocabulary_size": 9, "target_vocabulary_size": 9} | options)
