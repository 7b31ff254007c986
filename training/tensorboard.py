"""A run's log for TensorBoard, where the recipe asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.errors import InputError

_POSITIONS = ("update", "epoch", "seconds")


class TensorBoardLog:
    """Writes the numbers of log lines as scalars named EVENT/FIGURE over the updates."""

    def __init__(self, directory: Path, resumed_update: int) -> None:
        """What stands in `directory` of updates after `resumed_update` is hidden.

        Raises:
            InputError: the package tensorboard is not installed.
        """
        try:
            # Imported here because it is an option, and takes a second.
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise InputError(
                f"output.tensorboard = true needs the package '{error.name}'; install it: pip install '.[plots]'"
            ) from error
        self._writer = SummaryWriter(directory, purge_step=resumed_update + 1)

    def write(self, entry: dict[str, Any]) -> None:
        """Add the numbers of a log line; everything else in it is passed over."""
        for name, value in entry.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in _POSITIONS:
                self._writer.add_scalar(f"{entry['event']}/{name}", value, entry["update"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
