"""The state of a training run on disk: written whole or not at all, and enough to go on as if nothing had happened."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.errors import InputError

_VERSION = 2


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of all the generators that training draws from in this process."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.array(keys, dtype=np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set the generators back to what `random_state` returned."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside `path`, flush to the disk, then rename: a crash leaves the old checkpoint or the new one.

    Raises:
        InputError: the disk is full or the directory cannot be written; the old checkpoint is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    try:
        with temporary.open("wb") as file:
            torch.save({"version": _VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"{path}: the checkpoint could not be written ({error}); make room and go on with --resume"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; no code in it is ever run.

    Raises:
        InputError: there is none, it is damaged, or a newer version of this program wrote it.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no checkpoint to resume from; train without --resume")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            f"{path}: the checkpoint is damaged ({type(error).__name__}); train without --resume"
        ) from error
    if state.get("version") != _VERSION:
        raise InputError(f"{path}: the checkpoint has version {state.get('version')}, this program reads {_VERSION}")
    return state
