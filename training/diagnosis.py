"""What to tell when the loss is no number any more, or worse than guessing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.prepared import Prepared
from training.recipe import Recipe

# A loss that is so many times that of guessing, or of the start, is not on its way down.
_FAR_WORSE = 1.5
# A run may start with a loss of up to so many times that of guessing.
_HIGHEST_START = 5.0
_LONGEST_TEXT = 300


class DivergedError(Exception):
    """Training has diverged, not before the batch of `indices`, int64 [sentences]."""

    def __init__(self, indices: NDArray[np.int64], gradient_norm: float) -> None:
        super().__init__(indices, gradient_norm)
        self.indices = indices
        self.gradient_norm = gradient_norm


@dataclass(frozen=True)
class Evidence:
    """What is known of a run that went wrong.

    `indices` are those of the last batch, int64 [sentences]; `losses` those of the last log lines in nats a target
    token, the newest last; `gradient_norm` is that before clipping; `checkpoint` is the last one from which the run can
    go on, written after `checkpoint_update` updates.
    """

    update: int
    epoch: float
    indices: NDArray[np.int64]
    losses: Sequence[float]
    gradient_norm: float
    learning_rate: float
    checkpoint: Path | None
    checkpoint_update: int


def has_diverged(losses: Sequence[float], vocabulary_size: int, *, patient: bool = True) -> bool:
    """Whether the newest of `losses`, in nats a target token, is no number or far too high.

    That is, far worse than guessing every word alike, ln(vocabulary_size), and than the first one, which large initial
    weights may put above that; but only so far above it that a run which diverges at once is still found out.

    Who is `patient` waits until the two newest are too high, since a loss may come down again. Weights that are to be
    kept must be good now.
    """
    if not losses:
        return False
    if not math.isfinite(losses[-1]):
        return True
    guessing = math.log(vocabulary_size)
    bound = _FAR_WORSE * max(guessing, min(losses[0], _HIGHEST_START * guessing))
    count = 2 if patient else 1
    return len(losses) >= count and min(losses[-count:]) > bound


def diagnose(evidence: Evidence, recipe: Recipe, prepared: Prepared) -> str:
    """Several lines for a person: what happened, to which batch, from where one can go on, and what to try."""
    loss = evidence.losses[-1]
    options = recipe.optimisation
    clipped = ", clipped to " + f"{options.clip_norm:g}" if evidence.gradient_norm > options.clip_norm else ""
    lines = [
        f"{recipe.name}: training went wrong: the loss is {loss:.4g} after update {evidence.update:,} "
        f"(epoch {evidence.epoch:.2f})",
        f"  late losses    {', '.join(f'{value:.4g}' for value in evidence.losses)} (nats a target token; guessing has "
        f"{math.log(prepared.target_vocabulary.size):.4g})",
        f"  gradient norm  {evidence.gradient_norm:.4g}{clipped}",
        f"  learning rate  {evidence.learning_rate:.4g}",
        *_describe_batch(evidence.indices, prepared),
    ]
    if evidence.checkpoint is None:
        lines.append("  checkpoint     none yet")
    else:
        lines.append(f"  checkpoint     {evidence.checkpoint}, good after update {evidence.checkpoint_update:,}")
    lines.append("What to try, the likeliest first:")
    lines += [f"  - {advice}" for advice in _advice(evidence, recipe)]
    return "\n".join(lines)


def _describe_batch(indices: NDArray[np.int64], prepared: Prepared) -> list[str]:
    sources, targets = prepared.train.source_lengths[indices], prepared.train.target_lengths[indices]
    first = int(indices[0])
    source = prepared.source_vocabulary.decode(prepared.train.source(first).tolist())
    target = prepared.target_vocabulary.decode(prepared.train.target(first).tolist())
    return [
        f"  last batch     {len(indices)} pairs, source tokens {_span(sources)}, target tokens {_span(targets)}; "
        f"its first, pair {first:,} of train:",
        f"    source  {_shortened(source)}",
        f"    target  {_shortened(target)}",
    ]


def _advice(evidence: Evidence, recipe: Recipe) -> list[str]:
    options = recipe.optimisation
    resume = "--resume" if evidence.checkpoint is not None else "again"
    advice = [
        f"train {resume} with half the learning rate: --set optimisation.learning_rate={options.learning_rate / 2:g}",
    ]
    if not math.isfinite(evidence.losses[-1]) and options.precision == "bfloat16":
        advice.append("see whether it is the number format: --set optimisation.precision=float32")
    if evidence.gradient_norm > 10 * options.clip_norm:
        advice.append(f"clip the gradient harder: --set optimisation.clip_norm={options.clip_norm / 5:g}")
    if evidence.update <= 2000 and evidence.update > options.warmup_updates:
        warmup = max(500, 2 * options.warmup_updates)
        advice.append(f"start from the beginning with a longer warm-up: --set optimisation.warmup_updates={warmup}")
    advice += [
        f"look for a good rate: python -m training learning-rate {recipe.name}",
        "read the pair above: pairs that are no translations of each other make such gradients; "
        "corpus.maximum_ratio leaves many of them out",
    ]
    return advice


def _span(lengths: NDArray[np.int64]) -> str:
    least, most = int(lengths.min()), int(lengths.max())
    return f"{least}" if least == most else f"{least} to {most}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
