"""Several engines as one: each makes its step, and their distributions of the next token are combined.

Averaging the probabilities is what Sutskever et al. 2014 (section 3.6, Table 1) call an ensemble.
R rows, V target vocabulary, M members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translator.config import Combination
from translator.engines.base import Beams, Engine, Extensions, Integers
from translator.engines.reference import ReferenceEngine
from translator.engines.selection import best_extensions

MemberRows = tuple[Any, ...]


def combine(log_probabilities: Sequence[Tensor], combination: Combination) -> Tensor:
    """One distribution [..., V] out of M of the same shape, all as log-probabilities in nats.

    "average": log of the mean probability. "log-linear": the mean log-probability, normalised anew, which is the
    geometric mean of the probabilities.
    """
    first, *others = log_probabilities
    if not others:
        return first
    combined = first.clone()
    if combination == "average":
        for other in others:
            torch.logaddexp(combined, other.to(combined.device), out=combined)
        return combined.sub_(math.log(len(log_probabilities)))
    for other in others:
        combined += other.to(combined.device)
    return torch.log_softmax(combined.div_(len(log_probabilities)), dim=-1)


class EnsembleEngine:
    """Engines of models with one target vocabulary. The record of R live hypotheses is a tuple of the members'."""

    def __init__(self, members: Sequence[Engine[Any]], *, combination: Combination = "average") -> None:
        """Raises `ValueError` where the members differ in the size of their vocabulary or in `<EOS>`."""
        self._members = tuple(members)
        self._combination: Combination = combination
        self.eos_id = members[0].eos_id
        self.vocabulary_size = members[0].vocabulary_size
        if {(member.eos_id, member.vocabulary_size) for member in members} != {(self.eos_id, self.vocabulary_size)}:
            raise ValueError("the engines of an ensemble need one target vocabulary")

    @property
    def members(self) -> tuple[Engine[Any], ...]:
        return self._members

    def another(self, members: Sequence[Engine[Any]]) -> EnsembleEngine:
        """An ensemble of other engines, combined as this one's are."""
        return EnsembleEngine(members, combination=self._combination)

    @property
    def precision(self) -> str:
        """Number format of the members' products."""
        return "+".join(dict.fromkeys(member.precision for member in self._members))

    def describe(self) -> str:
        """See `Engine.describe`."""
        how = {"average": "probabilities averaged", "log-linear": "log-probabilities averaged"}[self._combination]
        each = " + ".join(dict.fromkeys(member.describe() for member in self._members))
        return f"ensemble of {len(self._members)}, {how}: {each}"

    def encode(self, sources: Sequence[Sequence[int]]) -> MemberRows:
        """See `Engine.encode`."""
        return tuple(member.encode(sources) for member in self._members)

    @torch.inference_mode()
    def step(self, rows: MemberRows, beams: Beams) -> tuple[Extensions, MemberRows]:
        """See `Engine.step`."""
        steps = [_distributions(member, own, beams) for member, own in zip(self._members, rows, strict=True)]
        combined_RV = combine([log_probabilities_RV for log_probabilities_RV, _ in steps], self._combination)
        return best_extensions(combined_RV, beams, self.eos_id), tuple(stepped for _, stepped in steps)

    def take(self, rows: MemberRows, indices: Integers) -> MemberRows:
        """See `Engine.take`."""
        return tuple(member.take(own, indices) for member, own in zip(self._members, rows, strict=True))

    def append(self, rows: MemberRows, others: MemberRows) -> MemberRows:
        """See `Engine.append`."""
        return tuple(member.append(*both) for member, *both in zip(self._members, rows, others, strict=True))


def _distributions(engine: Engine[Any], rows: Any, beams: Beams) -> tuple[Tensor, Any]:
    """Log-probabilities [R, V] of each row's next token, and the rows after the step."""
    if isinstance(engine, ReferenceEngine):  # on its own device
        return engine.log_probabilities(rows, torch.from_numpy(beams.tokens_R))
    # Every engine gives whole distributions of the rows that are drawn from: here of all, and none is extended.
    count = len(beams.tokens_R)
    ones = np.ones(count, dtype=np.int32)
    every = Beams(beams.tokens_R, np.zeros(count, dtype=np.float32), ones, 0 * ones, np.arange(count))
    extensions, stepped = engine.step(rows, every)
    return torch.from_numpy(extensions.log_probabilities_DV), stepped
