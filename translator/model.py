"""The network of Sutskever, Vinyals & Le 2014, *Sequence to Sequence Learning with Neural Networks*, in one file.

Two separate deep LSTMs. The encoder reads the source sentence backwards; the last hidden and cell states of **all**
its layers are the decoder's first states, with nothing in between; the decoder then emits the target, starting from
`<EOS>`.

Departures from the paper, each an option that its preset leaves off:
- `cell`: another recurrence than the LSTM, on both sides (`translator.cells`).
- `residual`: from the second layer on, a layer's input is added to its output (deep stacks hardly train on small
  corpora).
- `feed_context`: h(x), the encoder's last output, stands beside the embedding at every decoder step (Britz et al.
  2017).
- `attention`: after the decoder's last layer (`translator.attention`); with `input_feeding` its output also stands
  beside the embedding at the next step (Luong et al. 2015, section 3.3), so that training goes step by step.
- `bidirectional`: each encoder layer reads in both directions, with half of the cells in each. Layer for layer the last
  states of both directions, side by side, are the decoder's first state, so that here too nothing stands in between.
- `tie_target_embedding`: the output layer's weights are the target embedding (Press & Wolf 2017).
- dropout between layers, one mask for all the positions of a sentence (Gal & Ghahramani 2016).
Biases follow `torch.nn.LSTM`, which has two vectors a gate where the paper is silent.

Names carry shapes: B batch, S source positions, T target positions, L layers, E embedding, H hidden, O output of a
layer (that is H, but for the lecture's GRUs), V target vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from translator.attention import Attention
from translator.config import ModelConfig
from translator.stack import Embedding, RecurrentStack, State, locked_dropout


@dataclass(frozen=True)
class Encoded:
    """A batch of source sentences as the decoder sees them.

    `state` is h(x), for LSTMs the paper's vector of 2 · layers · hidden numbers; `context_BO` [batch, output] is the
    top layer's last output; `memory_BSO` [batch, source, output] are all its outputs, in the order in which the source
    was read.
    """

    state: State
    context_BO: Tensor
    memory_BSO: Tensor


class Encoder(nn.Module):
    """Source ids to h(x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.reverse_source = config.reverse_source
        self.embedding = Embedding(config.source_vocabulary_size, config.embedding_size)
        self.stack = RecurrentStack(
            config.cell,
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            residual=config.residual,
            bidirectional=config.bidirectional,
        )

    def forward(self, source_BS: Tensor, eos_id: int, dropout: float = 0.0) -> Encoded:
        """Encode int64 ids [batch, source], all of one length, in reading order and without `<EOS>`.

        They are reversed (section 3.3) and `<EOS>` is read last (Figure 1). Sentences of different lengths do not
        belong in one call: padding would leak into h(x).
        """
        ends_B1 = source_BS.new_full((source_BS.shape[0], 1), eos_id)
        read_BS = torch.cat([source_BS.flip(1) if self.reverse_source else source_BS, ends_B1], dim=1)
        memory_BSO, state = self.stack(self.embedding(read_BS), None, dropout)
        return Encoded(state, self.stack.ends(memory_BSO), memory_BSO)


class Decoder(nn.Module):
    """h(x) and the target so far to the next token's logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = Embedding(config.target_vocabulary_size, config.embedding_size)
        self.feed_context = config.feed_context
        self.input_feeding = config.input_feeding
        fed = int(config.feed_context) + int(config.input_feeding)
        input_size = config.embedding_size + fed * config.output_size
        self.stack = RecurrentStack(
            config.cell, input_size, config.hidden_size, config.num_layers, residual=config.residual
        )
        size = self.stack.output_size
        self.attention = None if config.attention == "none" else Attention(config.attention, size)
        self.output = nn.Linear(size, config.target_vocabulary_size)
        if config.tie_target_embedding:
            self.output.weight = self.embedding.weight

    def forward(self, inputs_BT: Tensor, encoded: Encoded, state: State, dropout: float = 0.0) -> tuple[Tensor, State]:
        """Teacher forcing over int64 ids [batch, target], which begin with `<EOS>`, or a step where target is 1.

        Returns what the output layer reads, [batch, target, output], and the state after the last position.
        """
        features_BTO, state, _ = self.forward_with_weights(inputs_BT, encoded, state, dropout)
        return features_BTO, state

    def forward_with_weights(
        self, inputs_BT: Tensor, encoded: Encoded, state: State, dropout: float = 0.0
    ) -> tuple[Tensor, State, Tensor | None]:
        """As `forward`, and the attention's weights [batch, target, source]; None without attention."""
        inputs_BTE = self.embedding(inputs_BT)
        if self.feed_context:
            context_BTO = encoded.context_BO.unsqueeze(1).expand(-1, inputs_BTE.shape[1], -1).to(inputs_BTE.dtype)
            inputs_BTE = torch.cat([inputs_BTE, context_BTO], dim=2)
        weights_BTS = None
        if self.attention is not None and self.input_feeding:
            outputs_BTO, state, weights_BTS = self._step_by_step(self.attention, inputs_BTE, encoded, state, dropout)
        else:
            outputs_BTO, state = self.stack(inputs_BTE, state, dropout)
            if self.attention is not None:
                memory = self.attention.remember(encoded.memory_BSO)
                outputs_BTO, weights_BTS = self.attention(outputs_BTO, memory)
        return locked_dropout(outputs_BTO, dropout), state, weights_BTS

    def _step_by_step(
        self, attention: Attention, inputs_BTE: Tensor, encoded: Encoded, state: State, dropout: float
    ) -> tuple[Tensor, State, Tensor]:
        """With input feeding no step can be made before the attention of the step before it."""
        memory = attention.remember(encoded.memory_BSO)
        attended_BO = state.attended_BO
        if attended_BO is None:
            attended_BO = inputs_BTE.new_zeros(inputs_BTE.shape[0], self.stack.output_size)
        step = self.stack.stepper(self.stack.dropout_masks(inputs_BTE, dropout))
        outputs, weights = [], []
        for inputs_BE in inputs_BTE.unbind(dim=1):
            outputs_BO, state = step(torch.cat([inputs_BE, attended_BO.to(inputs_BE.dtype)], dim=1), state)
            attended_B1O, weights_B1S = attention(outputs_BO.unsqueeze(1), memory)
            attended_BO = attended_B1O.squeeze(1)
            outputs.append(attended_BO)
            weights.append(weights_B1S)
        return torch.stack(outputs, dim=1), State(state.parts_LBH, attended_BO), torch.cat(weights, dim=1)


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
        """What the output layer reads at every target position, [batch, target, output]."""
        encoded = self.encoder(source_BS, eos_id, dropout)
        outputs_BTO, _ = self.decoder(target_inputs_BT, encoded, encoded.state, dropout)
        features_BTO: Tensor = outputs_BTO
        return features_BTO

    def logits(self, features: Tensor) -> Tensor:
        """Unnormalised log-probabilities [..., V] of features [..., output]."""
        logits: Tensor = self.decoder.output(features)
        return logits

    def parameter_count(self, *, biases: bool = True) -> int:
        """Number of parameters, a tied one counted once."""
        return sum(parameter.numel() for name, parameter in self.named_parameters() if biases or "bias" not in name)
