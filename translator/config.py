"""The two configurations a translator has: the shape of the network and how it is searched.

Both are frozen pydantic models that refuse unknown keys, so that a misspelt option is an error and never a silent
default.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Combination = Literal["average", "log-linear"]
"""How an ensemble makes one distribution out of its members': the mean of p, or that of log p normalised anew."""

CellName = Literal["lstm", "rnn", "simplified-gru", "gru", "cudnn-gru"]
"""Recurrences; `translator.cells` has their equations."""

AttentionName = Literal["none", "dot", "general", "additive"]


def _later(default: Any, description: str) -> Any:
    """A field that format version 1 does not have: it is written only where it says something else than before."""
    return Field(default=default, exclude_if=lambda value: value == default, description=description)


class ModelConfig(BaseModel):
    """The architecture of a `Seq2Seq`. The defaults are those of Sutskever et al. 2014, section 3.4.

    A configuration that can be said in format version 1 of the model directory is written as such (`format_version`),
    so that older programs go on reading it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_vocabulary_size: int = Field(
        gt=2, description="Number of source subwords or words, special symbols included."
    )
    target_vocabulary_size: int = Field(
        gt=2, description="Number of target subwords or words, special symbols included."
    )
    embedding_size: int = Field(default=1000, gt=0, description="Dimensions of a source or target embedding.")
    hidden_size: int = Field(default=1000, gt=0, description="Cells in each layer.")
    num_layers: int = Field(default=4, ge=1, le=32, description="Layers of the encoder and, equally, of the decoder.")
    reverse_source: bool = Field(default=True, description="Feed the source sentence last word first (section 3.3).")
    residual: bool = Field(default=False, description="Add a layer's input to its output, from the second layer on.")
    feed_context: bool = Field(default=False, description="Feed h(x) to the decoder at every step (Britz et al. 2017).")
    attention: AttentionName = Field(
        default="none", description="Attention after the decoder's last layer, by its score (translator.attention)."
    )
    tie_target_embedding: bool = Field(default=False, description="Share the target embedding with the output layer.")
    cell: CellName = _later("lstm", "The recurrence of both sides (translator.cells).")
    input_feeding: bool = _later(False, "Feed the attention's output to the decoder's next step (Luong et al. 2015).")
    bidirectional: bool = _later(False, "Read the source in both directions, with hidden_size ÷ 2 cells in each.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tie_target_embedding and self.embedding_size != self.output_size:
            double = "twice the " if self.output_size != self.hidden_size else ""
            raise ValueError(
                f"tie_target_embedding needs embedding_size equal to {double}hidden_size "
                f"({self.embedding_size} and {self.hidden_size} given)"
            )
        if self.input_feeding and self.attention == "none":
            raise ValueError("input_feeding needs an attention: dot, general or additive")
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(f"bidirectional needs an even hidden_size ({self.hidden_size} given)")
        return self

    @property
    def output_size(self) -> int:
        """Numbers that a layer hands on at every position: the lecture's GRUs hand on two vectors side by side."""
        return self.hidden_size * (2 if self.cell in ("gru", "simplified-gru") else 1)

    @property
    def format_version(self) -> int:
        """The oldest format version of the model directory that can say this."""
        later = self.cell != "lstm" or self.input_feeding or self.bidirectional
        return 2 if later or self.attention not in ("none", "dot") else 1

    @classmethod
    def sutskever2014(cls, source_vocabulary_size: int = 160_000, target_vocabulary_size: int = 80_000) -> Self:
        """The paper's network: 4 layers of 1000 cells, 1000-dimensional embeddings, nothing else."""
        return cls(source_vocabulary_size=source_vocabulary_size, target_vocabulary_size=target_vocabulary_size)


class SearchOptions(BaseModel):
    """How a translation is searched for. `None` means: as the model's card says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["beam", "sample"] = Field(default="beam", description="Beam search, or sampling from the softmax.")
    beam_size: int = Field(default=5, ge=1, le=200, description="Hypotheses kept at every step; 1 is greedy search.")
    length_penalty: float | None = Field(
        default=None, ge=0.0, le=5.0, description="α in score = log p ÷ ((5 + |y|) / 6)^α; None takes the model's."
    )
    alternatives: int = Field(default=0, ge=0, le=200, description="Further hypotheses to return, distinct as text.")
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Target tokens a sentence may have; None follows from its source length.",
    )
    temperature: float = Field(default=1.0, gt=0.0, le=100.0, description="Sampling only: divides the logits.")
    top_k: int | None = Field(default=None, ge=1, description="Sampling only: draw from the k most probable tokens.")
    top_p: float | None = Field(
        default=None, gt=0.0, le=1.0, description="Sampling only: draw from the smallest set of this probability."
    )
    seed: int = Field(default=0, ge=0, description="Sampling only: seed of the sentence's own generator.")
    probabilities: bool = Field(default=False, description="Whether to keep the probability of every token.")
    prefixes: bool = Field(
        default=False,
        description="Whether to say, during the search, which beginning is certain (Ticket.prefix).",
    )
