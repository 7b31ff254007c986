"""A row of the scorecard, and how a verdict is come by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from training.scorecard.resampling import Estimate

Verdict = Literal["holds", "does not hold", "undecided", "not tested"]


class Row(BaseModel):
    """One claim, setting or result of the paper, with what was found here."""

    model_config = ConfigDict(frozen=True)

    identifier: str = Field(description="P1 to P40.")
    claim: str
    paper: str = Field(description="The paper's value.")
    ours: str
    interval: tuple[float, float] | None = Field(
        default=None, description="The middle 95 % of `effect` on resampled test sets."
    )
    effect: str = Field(default="", description="What the interval is of, with its value.")
    verdict: Verdict
    reason: str = Field(default="", description="Of a verdict that needs one: why it is not tested, or undecided.")


def fact(identifier: str, claim: str, paper: str, ours: str, *, holds: bool) -> Row:
    """A setting that code has checked; it holds or it does not."""
    return Row(
        identifier=identifier, claim=claim, paper=paper, ours=ours, verdict="holds" if holds else "does not hold"
    )


def not_tested(identifier: str, claim: str, paper: str, reason: str, *, ours: str = "") -> Row:
    return Row(identifier=identifier, claim=claim, paper=paper, ours=ours, verdict="not tested", reason=reason)


def measured(
    identifier: str,
    claim: str,
    paper: str,
    ours: str,
    effect: Estimate,
    *,
    name: str,
    by_seed: Sequence[float] = (),
    threshold: float = 0.0,
    form: str = "+.2f",
) -> Row:
    """A claim that `effect` is above `threshold`; `name` says what the effect is."""
    verdict = judge(effect, by_seed, threshold)
    reason = ""
    if verdict == "undecided":
        reason = "the seeds disagree" if _decided(effect, threshold) else f"the interval holds {threshold:g}"
    seeds = f"; by seed {', '.join(format(each, form) for each in by_seed)}" if by_seed else ""
    return Row(
        identifier=identifier,
        claim=claim,
        paper=paper,
        ours=ours,
        interval=effect.interval,
        effect=f"{name} {effect.value:{form}}{seeds}",
        verdict=verdict,
        reason=reason,
    )


def judge(effect: Estimate, by_seed: Sequence[float], threshold: float = 0.0) -> Verdict:
    """Whether it holds that `effect` is above `threshold`, by the resampled sentences and by the seeds.

    It holds where the whole interval and every seed's own effect are above, does not hold where they all are not, and
    is undecided where the interval holds the threshold or the seeds disagree: sentences and seeds are two sources of
    chance, and the bootstrap knows of the first alone.
    """
    low, high = effect.interval
    if low > threshold and all(each > threshold for each in by_seed):
        return "holds"
    if high <= threshold and all(each <= threshold for each in by_seed):
        return "does not hold"
    return "undecided"


def _decided(effect: Estimate, threshold: float) -> bool:
    low, high = effect.interval
    return low > threshold or high <= threshold


def in_order(rows: Sequence[Row]) -> list[Row]:
    """By their numbers."""
    return sorted(rows, key=lambda row: int(row.identifier[1:]))
