"""A sentence on its way through a decoder, and how that can end. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from translator.search import Doubles, Findings, Hypothesis, Query, uniform_numbers


class DecodingError(Exception):
    """A sentence that could not be decoded; its cause, if it has one, is what the engine raised."""


class DeadlineError(Exception):
    """The sentence's deadline passed before it was finished."""


@dataclass(eq=False)
class Ticket:
    """A sentence on its way through the decoder; at its end it has either `hypotheses` (best first) or an `error`."""

    query: Query
    deadline: float | None = None  # by the decoder's clock
    hypotheses: list[Hypothesis] | None = None
    error: Exception | None = None
    cancelled: bool = False
    prefix: tuple[
        int, ...
    ] = ()  # the tokens that the best hypothesis is certain to begin with; see SearchOptions.prefixes
    vector: npt.NDArray[np.float32] | None = None  # h(x), where the query is a `Reading`
    alone: bool = False  # it is tried by itself, because a batch that it was in failed
    findings: Findings = field(init=False, repr=False)
    numbers_WT: Doubles = field(init=False, repr=False)  # what each sampled row is drawn with

    @property
    def done(self) -> bool:
        return self.hypotheses is not None or self.error is not None or self.cancelled

    def result(self) -> list[Hypothesis]:
        """The hypotheses of a sentence that is done. Raises its error, if it has one."""
        if self.error is not None:
            raise self.error
        assert self.hypotheses is not None
        return self.hypotheses

    def begin(self) -> None:
        """Forget what was found, if anything was."""
        self.findings = Findings(self.query)
        if self.query.sampled:
            self.numbers_WT = uniform_numbers(self.query)
