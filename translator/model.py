"""The network of Sutskever, Vinyals & Le 2014, *Sequence to Sequence Learning with Neural Networks*, in one file.

Two separate deep LSTMs. The encoder reads the source sentence backwards; the last hidden and cell states of **all**
its layers are the decoder's first states, with nothing in between; the decoder then emits the target, starting from
`<EOS>`.

Departures from the paper, each an option that its preset leaves off:
- `residual`: from the second layer on, a layer's input is added to its output (deep stacks hardly train on small
  corpora).
- `feed_context`: h(x), the encoder's last output, stands beside the embedding at every decoder step (Britz et al.
  2017).
- `attention = "dot"`: Luong et al. 2015, after the decoder's last layer, without input feeding.
- `tie_target_embedding`: the output layer's weights are the target embedding (Press & Wolf 2017).
- dropout between layers, one mask for all the positions of a sentence (Gal & Ghahramani 2016).
Biases follow `torch.nn.LSTM`, which has two vectors a gate where the paper is silent.

Names carry shapes: B batch, S source positions, T target positions, L layers, E embedding, H hidden, V target
vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from translator.config import ModelConfig


@dataclass(frozen=True)
class State:
    """What an LSTM stack remembers: `hidden_LBH` and `cell_LBH`, each [layers, batch, hidden]."""

    hidden_LBH: Tensor
    cell_LBH: Tensor


@dataclass(frozen=True)
class Encoded:
    """A batch of source sentences as the decoder sees them.

    `state` is h(x), the paper's vector of 2 · layers · hidden numbers; `context_BH` [batch, hidden] is the top
    layer's last output; `memory_BSH` [batch, source, hidden] are all its outputs, in the order in which the source
    was read.
    """

    state: State
    context_BH: Tensor
    memory_BSH: Tensor


class LSTMStack(nn.Module):
    """Layers of LSTM cells (equations of Graves 2013) on top of each other, each called over the whole sequence."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.ModuleList(
            nn.LSTM(input_size if layer == 0 else hidden_size, hidden_size, batch_first=True)
            for layer in range(num_layers)
        )

    def lstm_layers(self) -> list[nn.LSTM]:
        """The layers, lowest first."""
        return [layer for layer in self.layers if isinstance(layer, nn.LSTM)]

    def forward(self, inputs_BTE: Tensor, state: State | None, dropout: float = 0.0) -> tuple[Tensor, State]:
        """Run over [batch, time, input]; returns the top outputs [batch, time, hidden] and the last state.

        `state` None stands for zeros. `dropout` acts on each layer's input; it is the caller's to give it in training
        only.
        """
        hidden, cell = [], []
        outputs_BTH = inputs_BTE
        for index, layer in enumerate(self.layers):
            layer_inputs = locked_dropout(outputs_BTH, dropout)
            first = None if state is None else (state.hidden_LBH[index : index + 1], state.cell_LBH[index : index + 1])
            layer_outputs, (hidden_1BH, cell_1BH) = layer(layer_inputs, first)
            outputs_BTH = layer_outputs + layer_inputs if self.residual and index > 0 else layer_outputs
            hidden.append(hidden_1BH)
            cell.append(cell_1BH)
        return outputs_BTH, State(torch.cat(hidden), torch.cat(cell))


class Encoder(nn.Module):
    """Source ids to h(x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.reverse_source = config.reverse_source
        self.embedding = nn.Embedding(config.source_vocabulary_size, config.embedding_size)
        self.stack = LSTMStack(config.embedding_size, config.hidden_size, config.num_layers, config.residual)

    def forward(self, source_BS: Tensor, eos_id: int, dropout: float = 0.0) -> Encoded:
        """Encode int64 ids [batch, source], all of one length, in reading order and without `<EOS>`.

        They are reversed (section 3.3) and `<EOS>` is read last (Figure 1). Sentences of different lengths do not
        belong in one call: padding would leak into h(x).
        """
        ends_B1 = source_BS.new_full((source_BS.shape[0], 1), eos_id)
        read_BS = torch.cat([source_BS.flip(1) if self.reverse_source else source_BS, ends_B1], dim=1)
        memory_BSH, state = self.stack(self.embedding(read_BS), None, dropout)
        return Encoded(state, memory_BSH[:, -1], memory_BSH)


class Decoder(nn.Module):
    """h(x) and the target so far to the next token's logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.target_vocabulary_size, config.embedding_size)
        self.feed_context = config.feed_context
        input_size = config.embedding_size + (config.hidden_size if config.feed_context else 0)
        self.stack = LSTMStack(input_size, config.hidden_size, config.num_layers, config.residual)
        self.attention = DotAttention(config.hidden_size) if config.attention == "dot" else None
        self.output = nn.Linear(config.hidden_size, config.target_vocabulary_size)
        if config.tie_target_embedding:
            self.output.weight = self.embedding.weight

    def forward(self, inputs_BT: Tensor, encoded: Encoded, state: State, dropout: float = 0.0) -> tuple[Tensor, State]:
        """Teacher forcing over int64 ids [batch, target], which begin with `<EOS>`, or a step where target is 1.

        Returns what the output layer reads, [batch, target, hidden], and the state after the last position.
        """
        inputs_BTE = self.embedding(inputs_BT)
        if self.feed_context:
            context_BTH = encoded.context_BH.unsqueeze(1).expand(-1, inputs_BTE.shape[1], -1).to(inputs_BTE.dtype)
            inputs_BTE = torch.cat([inputs_BTE, context_BTH], dim=2)
        outputs_BTH, state = self.stack(inputs_BTE, state, dropout)
        if self.attention is not None:
            outputs_BTH = self.attention(outputs_BTH, encoded.memory_BSH)
        return locked_dropout(outputs_BTH, dropout), state


class DotAttention(nn.Module):
    """Global attention with the dot score, Luong et al. 2015, equations 5, 7 and 8; batched over the whole target."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.combine = nn.Linear(2 * hidden_size, hidden_size, bias=False)

    def forward(self, outputs_BTH: Tensor, memory_BSH: Tensor, mask_BS: Tensor | None = None) -> Tensor:
        """[batch, target, hidden] and [batch, source, hidden] to [batch, target, hidden].

        `mask_BS` (bool) is true where `memory_BSH` holds a real position; None means everywhere.
        """
        scores_BTS = outputs_BTH @ memory_BSH.transpose(1, 2)
        if mask_BS is not None:
            scores_BTS = scores_BTS.masked_fill(~mask_BS.unsqueeze(1), -torch.inf)
        weights_BTS = torch.softmax(scores_BTS, dim=-1)
        attended_BTH = weights_BTS @ memory_BSH
        return torch.tanh(self.combine(torch.cat([attended_BTH, outputs_BTH], dim=2)))


class Seq2Seq(nn.Module):
    """Encoder and decoder, p(target | source) = Π p(y_t | h(x), y_1 … y_{t−1}) (the paper's equation 1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    @torch.no_grad()
    def initialise(self, *, seed: int, initial_range: float = 0.08, embedding_deviation: float | None = None) -> None:
        """Draw every parameter from U[−initial_range, initial_range] (section 3.4).

        `embedding_deviation` draws the embeddings from N(0, deviation²) instead; a tied target embedding is left
        uniform, because it is the output layer too.
        """
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.uniform_(-initial_range, initial_range, generator=generator)
        if embedding_deviation is not None:
            embeddings = (
                [self.encoder.embedding]
                if self.config.tie_target_embedding
                else [self.encoder.embedding, self.decoder.embedding]
            )
            for embedding in embeddings:
                embedding.weight.normal_(0.0, embedding_deviation, generator=generator)

    def forward(self, source_BS: Tensor, target_inputs_BT: Tensor, eos_id: int, dropout: float = 0.0) -> Tensor:
        """What the output layer reads at every target position, [batch, target, hidden]."""
        encoded = self.encoder(source_BS, eos_id, dropout)
        outputs_BTH, _ = self.decoder(target_inputs_BT, encoded, encoded.state, dropout)
        features_BTH: Tensor = outputs_BTH
        return features_BTH

    def logits(self, features: Tensor) -> Tensor:
        """Unnormalised log-probabilities [..., V] of features [..., hidden]."""
        logits: Tensor = self.decoder.output(features)
        return logits

    def parameter_count(self, *, biases: bool = True) -> int:
        """Number of parameters, a tied one counted once."""
        return sum(parameter.numel() for name, parameter in self.named_parameters() if biases or "bias" not in name)


def locked_dropout(inputs_BTE: Tensor, probability: float) -> Tensor:
    """Zero the same units at all positions of a sentence, [batch, time, units] (Gal & Ghahramani 2016, section 4)."""
    if probability == 0.0:
        return inputs_BTE
    mask_B1E = functional.dropout(inputs_BTE.new_ones(inputs_BTE.shape[0], 1, inputs_BTE.shape[2]), probability)
    return inputs_BTE * mask_B1E
