"""What a training update costs: floating-point operations, parameters, bytes of memory.

Only matrix products are counted as operations, a multiplication and an addition each, as it is usual for the
utilisation of models (Chowdhery et al. 2022, appendix B); all else is less than a hundredth of it. With hidden size H,
input size I of a layer and V target words, the forward pass makes

- 8 · H · (I + H) operations a token in an LSTM layer: four gates, each of the input and of the last hidden state; other
  cells likewise two for each entry of their matrices;
- with attention, 4 · H for each pair of a target and a source token (score and weighted sum), and 4 · H² a target
  token to combine them, beside the products of the score's own matrices;
- 2 · H · V a target token in the output layer.

The backward pass makes two products of the same size for each of them, for the gradient of the input and of the
weight, so an update makes three times as many. The one product that this counts and no program has to make is that of
the encoder's first hidden state, which is zero.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import nn

from training.objective import tokens_at_a_time
from training.recipe import OptimisationSection
from translator.config import ModelConfig
from translator.model import Seq2Seq

_FLOAT32 = 4
_BFLOAT16 = 2


@dataclass(frozen=True)
class Work:
    """What a batch asks the network to compute; padding is no work. Sums of it are work, too.

    `source_tokens` and `target_tokens` have `<EOS>` counted; `attended_pairs` is the sum over sentences of the product
    of both.
    """

    source_tokens: int = 0
    target_tokens: int = 0
    attended_pairs: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.source_tokens + other.source_tokens,
            self.target_tokens + other.target_tokens,
            self.attended_pairs + other.attended_pairs,
        )


def forward_flops(config: ModelConfig, work: Work) -> int:
    """Operations of the matrix products of a forward pass over `work`; see the top of this file."""
    model = _network(config)
    flops = 2 * work.source_tokens * _matrix_entries(model.encoder.stack)
    flops += 2 * work.target_tokens * (_matrix_entries(model.decoder.stack) + model.decoder.output.weight.numel())
    if (attention := model.decoder.attention) is not None:
        size = config.output_size
        keys = attention.key.weight.numel() if attention.key is not None else 0
        flops += 2 * work.source_tokens * keys
        flops += (
            2 * work.target_tokens * (_matrix_entries(attention) - keys - (size if attention.energy is not None else 0))
        )
        flops += 4 * work.attended_pairs * size
    return flops


def training_flops(config: ModelConfig, work: Work) -> int:
    """Operations of the matrix products of an update on `work`: three times those of the forward pass."""
    return 3 * forward_flops(config, work)


def parameters_by_part(config: ModelConfig) -> dict[str, int]:
    """Parameters of each part of the network, biases included; a tied one counts as target embedding alone."""
    model = _network(config)
    output = model.decoder.output
    parts = {
        "source embedding": model.encoder.embedding.weight.numel(),
        "target embedding": model.decoder.embedding.weight.numel(),
        "encoder": _entries(model.encoder.stack),
        "decoder": _entries(model.decoder.stack),
        "attention": _entries(model.decoder.attention) if model.decoder.attention is not None else 0,
        "output layer": output.bias.numel() + (0 if config.tie_target_embedding else output.weight.numel()),
    }
    return {name: count for name, count in parts.items() if count}


def _network(config: ModelConfig) -> Seq2Seq:
    """The network without its numbers."""
    with torch.device("meta"):
        return Seq2Seq(config)


def _entries(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _matrix_entries(module: nn.Module) -> int:
    """Entries of the matrices that each token is multiplied by."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.dim() == 2)


def parameter_count(config: ModelConfig) -> int:
    """Number of parameters, a tied one counted once."""
    return sum(parameters_by_part(config).values())


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training needs on its device, the program itself and its libraries not counted.

    `activations` is what the forward pass keeps for the backward pass, `output_layer` what projection and
    cross-entropy need for a slice of the tokens and for the gradient of the weight, `working` the gradients that pass
    through one layer.
    """

    weights: int
    gradients: int
    optimiser: int
    weight_average: int
    low_precision_weights: int
    activations: int
    output_layer: int
    working: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class BatchShape:
    """Sentences of a batch, and its source and target positions a sentence, `<EOS>` and padding counted."""

    sentences: int
    source_positions: int
    target_positions: int


def training_memory(
    config: ModelConfig,
    options: OptimisationSection,
    shape: BatchShape,
    *,
    low_precision: bool,
    device_type: str = "cpu",
) -> MemoryEstimate:
    """Bytes needed for updates on batches of `shape`.

    Args:
        low_precision: matrix products and activations are in bfloat16; weights and gradients stay in float32.
        device_type: "cpu" or "cuda", which have slices of different size.
    """
    parameters = parameter_count(config)
    width = _BFLOAT16 if low_precision else _FLOAT32
    source_tokens = shape.sentences * shape.source_positions
    target_tokens = shape.sentences * shape.target_positions
    hidden, vocabulary = config.hidden_size, config.target_vocabulary_size
    parts = parameters_by_part(config)
    gradients = parameters
    if options.optimiser == "sgd":  # the embeddings have gradients for the rows of the batch alone
        gradients += source_tokens * config.embedding_size - parts["source embedding"]
        if not config.tie_target_embedding:
            gradients += target_tokens * config.embedding_size - parts["target embedding"]
    matrices = parts["encoder"] + parts["decoder"] + parts.get("attention", 0) + hidden * vocabulary
    rows, group = tokens_at_a_time(device_type, vocabulary, torch.bfloat16 if low_precision else torch.float32)
    # Logits and log-probabilities in float32, in low precision the product's result, too; gradients of the logits.
    slice_bytes = min(target_tokens, rows) * vocabulary * (2 * _FLOAT32 + (_BFLOAT16 if low_precision else 0))
    slice_bytes += min(target_tokens, group) * vocabulary * width
    return MemoryEstimate(
        weights=parameters * _FLOAT32,
        gradients=gradients * _FLOAT32,
        optimiser=2 * parameters * _FLOAT32 if options.optimiser == "adam" else 0,
        weight_average=parameters * _FLOAT32 if options.weight_average is not None else 0,
        low_precision_weights=matrices * _BFLOAT16 if low_precision else 0,
        activations=_activations(config, shape) * width,
        output_layer=slice_bytes + vocabulary * hidden * _FLOAT32 + 2 * target_tokens * hidden * width,
        working=5 * hidden * max(source_tokens, target_tokens) * width,
    )


def _activations(config: ModelConfig, shape: BatchShape) -> int:
    """Numbers that the forward pass keeps: of each layer its input, four gates, cell, tanh of the cell and output.

    Cells with fewer gates keep less, and the score of additive attention keeps more.
    """
    hidden = config.hidden_size
    numbers = 0
    sides = (("encoder", shape.source_positions), ("decoder", shape.target_positions))
    for side, positions in sides:
        numbers += shape.sentences * positions * (sum(_input_sizes(config, side)) + 7 * hidden * config.num_layers)
    target_tokens = shape.sentences * shape.target_positions
    if config.attention != "none":
        memory = shape.source_positions * (hidden + shape.target_positions)
        # The decoder's output, beside what was attended to and again by itself, and the tanh of their combination.
        numbers += shape.sentences * memory + target_tokens * 4 * hidden
    return numbers


def _input_sizes(config: ModelConfig, side: str) -> list[int]:
    """What each layer of the encoder or decoder reads beside its own last state."""
    first = config.embedding_size
    if side == "decoder" and config.feed_context:
        first += config.hidden_size
    return [first, *[config.hidden_size] * (config.num_layers - 1)]
