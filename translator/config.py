"""The two configurations a translator has: the shape of the network and how it is searched.

Both are frozen pydantic models that refuse unknown keys, so that a misspelt option is an error and never a silent
default.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Combination = Literal["average", "log-linear"]
"""How an ensemble makes one distribution out of its members': the mean of p, or that of log p normalised anew."""


class ModelConfig(BaseModel):
    """The architecture of a `Seq2Seq`. The defaults are those of Sutskever et al. 2014, section 3.4."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_vocabulary_size: int = Field(
        gt=2, description="Number of source subwords or words, special symbols included."
    )
    target_vocabulary_size: int = Field(
        gt=2, description="Number of target subwords or words, special symbols included."
    )
    embedding_size: int = Field(default=1000, gt=0, description="Dimensions of a source or target embedding.")
    hidden_size: int = Field(default=1000, gt=0, description="Cells in each LSTM layer.")
    num_layers: int = Field(default=4, ge=1, le=32, description="Layers of the encoder and, equally, of the decoder.")
    reverse_source: bool = Field(default=True, description="Feed the source sentence last word first (section 3.3).")
    residual: bool = Field(default=False, description="Add a layer's input to its output, from the second layer on.")
    feed_context: bool = Field(default=False, description="Feed h(x) to the decoder at every step (Britz et al. 2017).")
    attention: Literal["none", "dot"] = Field(
        default="none", description="Dot attention after the decoder's last layer."
    )
    tie_target_embedding: bool = Field(default=False, description="Share the target embedding with the output layer.")

    @model_validator(mode="after")
    def _check_tied_sizes(self) -> Self:
        if self.tie_target_embedding and self.embedding_size != self.hidden_size:
            raise ValueError(
                "tie_target_embedding needs embedding_size equal to hidden_size "
                f"({self.embedding_size} and {self.hidden_size} given)"
            )
        return self

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
