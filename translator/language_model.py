"""A recurrent language model: the decoder without an encoder, p(text) = Π p(y_t | y_1 … y_{t−1}).

A text begins with `<EOS>`, as a target sentence does, or instead with the token of its label (the lecture's topics),
and ends with `<EOS>`. Labels are inputs alone; they are never predicted.

B batch, T positions, E embedding, O output of a layer, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from translator.config import CellName
from translator.stack import Embedding, RecurrentStack, State, locked_dropout

_NUMBERS_A_BATCH = 2**24


class LanguageModelConfig(BaseModel):
    """The architecture of a `RecurrentLanguageModel`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary_size: int = Field(gt=2, description="Number of characters, subwords or words, special symbols included.")
    labels: tuple[str, ...] = Field(default=(), description="What a text may be said to be of.")
    cell: CellName = "lstm"
    embedding_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    num_layers: int = Field(ge=1, le=32)
    residual: bool = Field(default=False, description="Add a layer's input to its output, from the second layer on.")


class RecurrentLanguageModel(nn.Module):
    """Token ids to the next token's logits. A label's id is V plus its number."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocabulary_size + len(config.labels), config.embedding_size)
        self.stack = RecurrentStack(
            config.cell, config.embedding_size, config.hidden_size, config.num_layers, residual=config.residual
        )
        self.output = nn.Linear(self.stack.output_size, config.vocabulary_size)

    @torch.no_grad()
    def initialise(self, *, seed: int, initial_range: float = 0.08) -> None:
        """Draw every parameter from U[−initial_range, initial_range]."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.uniform_(-initial_range, initial_range, generator=generator)

    def first_id(self, label: str | None, eos_id: int) -> int:
        """The id that a text begins with. Raises `ValueError` for a label that the model does not have."""
        if label is None:
            return eos_id
        if label not in self.config.labels:
            known = ", ".join(self.config.labels) or "none"
            raise ValueError(f"the model has no label {label}; its labels are: {known}")
        return self.config.vocabulary_size + self.config.labels.index(label)

    def forward(self, inputs_BT: Tensor, state: State | None = None, dropout: float = 0.0) -> tuple[Tensor, State]:
        """What the output layer reads, [batch, positions, output], and the last state; `state` None: the beginning."""
        outputs_BTO, state = self.stack(self.embedding(inputs_BT), state, dropout)
        return locked_dropout(outputs_BTO, dropout), state

    def logits(self, features: Tensor) -> Tensor:
        """Unnormalised log-probabilities [..., V] of features [..., output]."""
        logits: Tensor = self.output(features)
        return logits

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


class LanguageModelSteps:
    """A language model by single steps. Its recurrent weights are those at the time it is made."""

    def __init__(self, model: RecurrentLanguageModel) -> None:
        self._model = model
        with torch.no_grad():
            self._step = model.stack.stepper()

    @torch.inference_mode()
    def begin(self, count: int) -> State:
        """The states of so many texts before their first token."""
        return self._model.stack.zero_state(self._model.output.weight.new_zeros(count, 1))

    @torch.inference_mode()
    def log_probabilities(self, tokens_B: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [batch, V], in nats, of what follows `tokens_B` (int64 [batch]), and the next state."""
        tokens_B = tokens_B.to(self._model.output.weight.device)
        outputs_BO, state = self._step(self._model.embedding(tokens_B), state)
        return torch.log_softmax(self._model.logits(outputs_BO), dim=1), state


@torch.inference_mode()
def score_texts(
    model: RecurrentLanguageModel, texts: Sequence[Sequence[int]], *, first_ids: Sequence[int], eos_id: int
) -> list[float]:
    """log p of each text in nats, that of `<EOS>` included.

    `texts` are token ids without `<EOS>`; `first_ids` are what they begin with, `<EOS>` or a label's id.
    """
    device = model.output.weight.device
    scores = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    start = 0
    while start < len(order):
        longest = len(texts[order[start]]) + 1
        members = order[start : start + max(1, _NUMBERS_A_BATCH // (longest * model.config.vocabulary_size))]
        inputs_BT = torch.full((len(members), longest), eos_id)
        targets_BT = torch.full((len(members), longest), -1)
        for row, index in enumerate(members):
            text = torch.tensor([*texts[index], eos_id])
            inputs_BT[row, 0] = first_ids[index]
            inputs_BT[row, 1 : len(text)] = text[:-1]
            targets_BT[row, : len(text)] = text
        features_BTO, _ = model(inputs_BT.to(device))
        losses_BT = torch.nn.functional.cross_entropy(
            model.logits(features_BTO).float().transpose(1, 2), targets_BT.to(device), ignore_index=-1, reduction="none"
        )
        for index, loss in zip(members, losses_BT.double().sum(dim=1).tolist(), strict=True):
            scores[index] = -loss
        start += len(members)
    return scores
