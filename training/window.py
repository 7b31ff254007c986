"""What happened since the last line of the log."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from training.cost import Work
from training.distributed import World
from training.updating import Outcome


@dataclass
class Window:
    """Sums over some updates. Tensors stay on the device, so that nothing waits for it in between."""

    seconds: float = 0.0
    updates: int = 0
    work: Work = field(default_factory=Work)
    negative_log_likelihood: Tensor | None = None
    """In nats, of this process's rows."""
    gradient_norm: Tensor | None = None

    def add(self, outcome: Outcome, *, work: Work, seconds: float) -> None:
        """Count an update with so much `work` in all processes together, which took `seconds`."""
        self.updates += 1
        self.work += work
        self.seconds += seconds
        if self.negative_log_likelihood is None or self.gradient_norm is None:
            self.negative_log_likelihood = outcome.negative_log_likelihood.clone()
            self.gradient_norm = outcome.gradient_norm.clone()
        else:
            self.negative_log_likelihood += outcome.negative_log_likelihood
            self.gradient_norm += outcome.gradient_norm

    def means(self, world: World) -> tuple[float, float]:
        """Loss in nats a target token, and gradient norm; waits for the device and for the other processes."""
        if self.negative_log_likelihood is None or self.gradient_norm is None:
            return 0.0, 0.0
        loss = float(world.sum(self.negative_log_likelihood)) / self.work.target_tokens
        return loss, float(self.gradient_norm) / self.updates

    def state_dict(self, world: World) -> dict[str, Any]:
        """The window of all processes together, for a checkpoint."""
        state = asdict(self)
        if self.negative_log_likelihood is not None:
            state["negative_log_likelihood"] = world.sum(self.negative_log_likelihood)
        return state

    @classmethod
    def from_state_dict(cls, state: dict[str, Any], world: World) -> Window:
        """The window to go on with in this process; the first one takes on what all have done."""
        window = cls(**state | {"work": Work(**state["work"])})
        if window.negative_log_likelihood is not None and window.gradient_norm is not None:
            window.gradient_norm = window.gradient_norm.to(world.device)
            window.negative_log_likelihood = window.negative_log_likelihood.to(world.device)
            if not world.is_first:
                window.negative_log_likelihood = torch.zeros_like(window.negative_log_likelihood)
        return window
