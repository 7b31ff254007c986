"""What happened since the last line of the log: loss, gradient and speed, and whether training still learns."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from training.distributed import World
from training.updating import Outcome

# The most that an untrained network is worse than guessing, in nats a token, with room to spare.
_WORSE_THAN_GUESSING = 3.0


class DivergedError(Exception):
    """The loss is no number, or far worse than guessing."""


@dataclass
class Window:
    """Sums over some updates. Tensors stay on the device, so that nothing waits for it in between."""

    seconds: float = 0.0
    updates: int = 0
    source_tokens: int = 0
    target_tokens: int = 0
    negative_log_likelihood: Tensor | None = None
    """In nats, of this process's rows."""
    gradient_norm: Tensor | None = None

    def add(self, outcome: Outcome, *, source_tokens: int, target_tokens: int, seconds: float) -> None:
        """Count an update with so many tokens in all processes together, which took `seconds`."""
        self.updates += 1
        self.source_tokens += source_tokens
        self.target_tokens += target_tokens
        self.seconds += seconds
        if self.negative_log_likelihood is None or self.gradient_norm is None:
            self.negative_log_likelihood = outcome.negative_log_likelihood.clone()
            self.gradient_norm = outcome.gradient_norm.clone()
        else:
            self.negative_log_likelihood += outcome.negative_log_likelihood
            self.gradient_norm += outcome.gradient_norm

    def means(self, world: World, vocabulary_size: int) -> tuple[float, float]:
        """Loss in nats a target token, and gradient norm; waits for the device and for the other processes.

        Raises:
            DivergedError: they are no numbers, or the loss is far above that of guessing, ln `vocabulary_size`.
        """
        if self.negative_log_likelihood is None or self.gradient_norm is None:
            return 0.0, 0.0
        loss = float(world.sum(self.negative_log_likelihood)) / self.target_tokens
        norm = float(self.gradient_norm) / self.updates
        if not math.isfinite(loss + norm) or loss > math.log(vocabulary_size) + _WORSE_THAN_GUESSING:
            raise DivergedError(f"the loss is {loss:.3g} nats a token, the gradient's norm {norm:.3g}")
        return loss, norm

    def state_dict(self, world: World) -> dict[str, Any]:
        """The window of all processes together, for a checkpoint."""
        state = asdict(self)
        if self.negative_log_likelihood is not None:
            state["negative_log_likelihood"] = world.sum(self.negative_log_likelihood)
        return state

    @classmethod
    def from_state_dict(cls, state: dict[str, Any], world: World) -> Window:
        """The window to go on with in this process; the first one takes on what all have done."""
        window = cls(**state)
        if window.negative_log_likelihood is not None and window.gradient_norm is not None:
            window.gradient_norm = window.gradient_norm.to(world.device)
            window.negative_log_likelihood = window.negative_log_likelihood.to(world.device)
            if not world.is_first:
                window.negative_log_likelihood = torch.zeros_like(window.negative_log_likelihood)
        return window

    def speeds(self) -> dict[str, float]:
        """Tokens a second in all processes together."""
        seconds = max(1e-9, self.seconds)
        return {
            "target_tokens_per_second": self.target_tokens / seconds,
            "tokens_per_second": (self.target_tokens + self.source_tokens) / seconds,
        }
