"""What a training is asked to do, and what is known of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass

DROPOUT = 0.2
LABEL_SMOOTHING = 0.1
CLIP_NORM = 5.0
LEARNING_RATE = 0.001


@dataclass(frozen=True)
class TrainingTask:
    """Training on the same pairs with the same options; what is measured begins after `warm_up_seconds`."""

    batch_size: int = 128
    """Sentence pairs in a batch."""
    threads: int = 2
    warm_up_seconds: float = 10.0
    seconds: float = 20.0
    """Updates are counted for at least so long, from the start of one to the start of another."""
    seed: int = 1


@dataclass(frozen=True)
class TrainingSpeed:
    """What was counted: whole updates, and the target tokens in them, ends of sentences included, padding not."""

    updates: int
    target_tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        return self.target_tokens / self.seconds
