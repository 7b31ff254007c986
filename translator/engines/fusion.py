"""Shallow fusion (Gülçehre et al. 2015, section 4.1): the beam ranks log p(y_t | x, …) + λ log p_LM(y_t | …).

The sums stand wherever a log-probability stands otherwise, in a hypothesis's score too. Only the reference engine hands
whole distributions on at every step, so that it is the one underneath. R rows, V target vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from translator.engines.base import Beams, Extensions, Integers
from translator.engines.reference import ReferenceEngine, ReferenceRows
from translator.engines.selection import best_extensions
from translator.language_model import LanguageModelSteps, RecurrentLanguageModel
from translator.stack import State


@dataclass(frozen=True)
class FusedRows:
    """R hypotheses as the translation model and as the language model has them."""

    rows: ReferenceRows
    state: State


class FusedEngine:
    """A reference engine and a language model over the same target vocabulary."""

    def __init__(self, engine: ReferenceEngine, language_model: RecurrentLanguageModel, weight: float) -> None:
        """`weight` is λ. Raises `ValueError` where the vocabularies differ in size."""
        if language_model.config.vocabulary_size != engine.vocabulary_size:
            raise ValueError(
                f"the language model has a vocabulary of {language_model.config.vocabulary_size:,} and the translation "
                f"model one of {engine.vocabulary_size:,}; train it with text.vocabulary set to that model's"
            )
        self.eos_id = engine.eos_id
        self.vocabulary_size = engine.vocabulary_size
        self._engine = engine
        self._steps = LanguageModelSteps(language_model)
        self._weight = weight

    @property
    def precision(self) -> str:
        """Number format of the weights."""
        return self._engine.precision

    def describe(self) -> str:
        """See `Engine.describe`."""
        return f"{self._engine.describe()}; fused with a language model, weight {self._weight:g}"

    def encode(self, sources: Sequence[Sequence[int]]) -> FusedRows:
        """See `Engine.encode`."""
        return FusedRows(self._engine.encode(sources), self._steps.begin(len(sources)))

    @torch.inference_mode()
    def step(self, rows: FusedRows, beams: Beams) -> tuple[Extensions, FusedRows]:
        """See `Engine.step`."""
        tokens_R = torch.from_numpy(beams.tokens_R)
        log_probabilities_RV, stepped = self._engine.log_probabilities(rows.rows, tokens_R)
        fused_RV, state = self._steps.log_probabilities(tokens_R, rows.state)
        fused_RV = log_probabilities_RV + self._weight * fused_RV.to(log_probabilities_RV)
        return best_extensions(fused_RV, beams, self.eos_id), FusedRows(stepped, state)

    @torch.inference_mode()
    def take(self, rows: FusedRows, indices: Integers) -> FusedRows:
        """See `Engine.take`."""
        places = torch.from_numpy(indices).to(rows.state.hidden_LBH.device)
        return FusedRows(self._engine.take(rows.rows, indices), rows.state.take(places))

    @torch.inference_mode()
    def append(self, rows: FusedRows, others: FusedRows) -> FusedRows:
        """See `Engine.append`."""
        return FusedRows(self._engine.append(rows.rows, others.rows), rows.state.append(others.state))
