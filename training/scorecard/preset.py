"""Rows that are settings of the paper's network: checked against the recipe and the code, without training anything.

The large network is built on PyTorch's `meta` device, without its numbers; what has to be run is run on a small one of
the same options.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from training.batches import collate
from training.recipe import Recipe, load_recipe
from training.scorecard.rows import Row, fact
from training.target_positions import encoded_pairs
from translator.config import ModelConfig, SearchOptions
from translator.decoder import decode
from translator.engines.reference import ReferenceEngine, ReferenceRows
from translator.model import Seq2Seq
from translator.search import Query

PRESET = "sutskever2014-wmt14-en-fr"
EOS_ID = 2

_EMBEDDED_PARAMETERS = 160_000 * 1000 + 80_000 * 1000 + 80_000 * 1000
_RECURRENT_PARAMETERS = 2 * 4 * 4 * (1000 * 1000 + 1000 * 1000)


def paper_recipe() -> Recipe:
    """The paper's recipe, as it is shipped."""
    return load_recipe(PRESET)


def small_model(recipe: Recipe, *, size: int = 8, vocabulary_size: int = 16) -> Seq2Seq:
    """A network of the recipe's options that is small enough to be run, drawn as the recipe says."""
    section = recipe.model.model_copy(update={"embedding_size": size, "hidden_size": size})
    model = Seq2Seq(section.configuration(vocabulary_size, vocabulary_size)).eval()
    model.initialise(seed=1, initial_range=recipe.model.initial_range)
    return model


def network_rows(recipe: Recipe) -> list[Row]:
    """P1 to P8 and P13 of the paper's recipe."""
    config = recipe.model.configuration(recipe.subwords.source_vocabulary_size, recipe.subwords.target_vocabulary_size)
    with torch.device("meta"):
        model = Seq2Seq(config)
    return [
        _two_lstms(model),
        _shape(config, model),
        _sentence_vector(model),
        _parameters(model),
        _vocabularies(recipe),
        _softmax(model),
        *_reading(small_model(recipe)),
        _initial_values(recipe),
    ]


def _two_lstms(model: Seq2Seq) -> Row:
    sides = [model.encoder.stack.lstm_layers(), model.decoder.stack.lstm_layers()]
    parameters = [{id(parameter) for layer in side for parameter in layer.parameters()} for side in sides]
    shared = len(parameters[0] & parameters[1])
    attention = model.decoder.attention is not None
    return fact(
        "P1",
        "two separate LSTMs, no attention",
        "encoder and decoder, LSTM of Graves 2013",
        f"{len(sides[0])} + {len(sides[1])} nn.LSTM layers, {shared} shared parameters, "
        f"{'with' if attention else 'no'} attention",
        holds=all(sides) and not shared and not attention,
    )


def _shape(config: ModelConfig, model: Seq2Seq) -> Row:
    found = {
        (len(stack.lstm_layers()), layer.hidden_size, embedding.embedding_dim)
        for stack, embedding in (
            (model.encoder.stack, model.encoder.embedding),
            (model.decoder.stack, model.decoder.embedding),
        )
        for layer in stack.lstm_layers()
    }
    return fact(
        "P2",
        "layers × cells × embedding, on both sides",
        "4 × 1000 × 1000",
        f"{config.num_layers} × {config.hidden_size} × {config.embedding_size}",
        holds=found == {(4, 1000, 1000)},
    )


def _sentence_vector(model: Seq2Seq) -> Row:
    source_BS = torch.zeros(1, 3, dtype=torch.int64, device="meta")
    state = model.encoder(source_BS, EOS_ID).state
    numbers = sum(part.numel() for part in state.parts_LBH)
    known = ("encoder.embedding.", "encoder.stack.", "decoder.embedding.", "decoder.stack.", "decoder.output.")
    bridges = [name for name, _ in model.named_parameters() if not name.startswith(known)]
    return fact(
        "P3",
        "the last state of all layers is the decoder's first, with no bridge in between",
        "8000 numbers",
        f"{numbers} numbers, {len(bridges)} parameters in between",
        holds=numbers == 8000 and not bridges,
    )


def _parameters(model: Seq2Seq) -> Row:
    without_biases = model.parameter_count(biases=False)
    recurrent = sum(
        parameter.numel()
        for stack in (model.encoder.stack, model.decoder.stack)
        for name, parameter in stack.named_parameters()
        if "bias" not in name
    )
    return fact(
        "P4",
        "parameters, and recurrent ones among them",
        "384M, 64M",
        f"{without_biases:,} and {recurrent:,} without biases, {model.parameter_count():,} with them",
        holds=without_biases == _EMBEDDED_PARAMETERS + _RECURRENT_PARAMETERS and recurrent == _RECURRENT_PARAMETERS,
    )


def _vocabularies(recipe: Recipe) -> Row:
    subwords = recipe.subwords
    return fact(
        "P5",
        "the most frequent words of each language, the rest unknown",
        "160,000 source, 80,000 target",
        f"{subwords.source_vocabulary_size:,} and {subwords.target_vocabulary_size:,}, special symbols among them; "
        f"units: {subwords.model_type}",
        holds=(subwords.model_type, subwords.source_vocabulary_size, subwords.target_vocabulary_size)
        == ("word", 160_000, 80_000),
    )


def _softmax(model: Seq2Seq) -> Row:
    output = model.decoder.output
    logits = model.logits(torch.empty(1, 1, model.decoder.stack.output_size, device="meta"))
    return fact(
        "P6",
        "plain softmax over all target words at every step",
        "80,000 words",
        f"one {type(output).__name__} of {output.in_features} to {logits.shape[-1]:,}",
        holds=type(output) is nn.Linear and tuple(logits.shape) == (1, 1, 80_000),
    )


class _NotingEngine(ReferenceEngine):
    """Notes what the decoder is fed at its first step."""

    first: Tensor | None = None

    def log_probabilities(self, rows: ReferenceRows, tokens_R: Tensor) -> tuple[Tensor, ReferenceRows]:
        if self.first is None:
            self.first = tokens_R
        return super().log_probabilities(rows, tokens_R)


def _reading(model: Seq2Seq) -> list[Row]:
    """What encoder and decoder are fed in training and in translation: A B C are the tokens 3, 4 and 5."""
    read: list[list[int]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read.append(inputs[0][0].tolist())

    hook = model.encoder.embedding.register_forward_pre_hook(note)
    batch = collate(encoded_pairs([[3, 4, 5]], [[6, 7]]), np.array([0]), pad_id=0, eos_id=EOS_ID)
    with torch.inference_mode():
        model(batch.source_BS, batch.target_inputs_BT, EOS_ID)
    engine = _NotingEngine(model, source_eos_id=EOS_ID, target_eos_id=EOS_ID)
    decode(engine, [Query((3, 4, 5), SearchOptions(beam_size=1, max_length=2))])
    hook.remove()
    assert engine.first is not None
    in_training = (read[0], int(batch.target_inputs_BT[0, 0]))
    in_translation = (read[1], int(engine.first[0]))
    names = {3: "A", 4: "B", 5: "C", EOS_ID: "<EOS>"}
    order = " ".join(names[token] for token in in_training[0])
    return [
        fact(
            "P7",
            "sentences end with <EOS>; no other symbol begins one",
            "A B C <EOS>, then the decoder's first input is <EOS>",
            f"the encoder's last token and the decoder's first: {names[in_training[0][-1]]}, "
            f"{names.get(in_training[1], str(in_training[1]))}",
            holds=in_training[0][-1] == in_training[1] == in_translation[1] == int(batch.targets_N[-1]) == EOS_ID,
        ),
        fact(
            "P8",
            "the source is read in reverse, in training and in translation; the target is not",
            "C B A → W X Y",
            f"A B C is read as {order}, {'in both' if in_training == in_translation else 'in training alone'}",
            holds=in_training[0] == in_translation[0] == [5, 4, 3, EOS_ID],
        ),
    ]


def _initial_values(recipe: Recipe) -> Row:
    model = small_model(recipe, size=64, vocabulary_size=1000)
    values = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    low, high, deviation = float(values.min()), float(values.max()), float(values.std())
    uniform = recipe.model.embedding_deviation is None and math.isclose(deviation, 0.08 / math.sqrt(3), rel_tol=0.01)
    return fact(
        "P13",
        "every parameter starts uniform",
        "in [−0.08, 0.08]",
        f"{len(values):,} parameters from {low:.4f} to {high:.4f}, standard deviation {deviation:.4f} "
        f"(uniform: {0.08 / math.sqrt(3):.4f})",
        holds=-0.08 <= low < -0.0799 and 0.0799 < high <= 0.08 and uniform,
    )
