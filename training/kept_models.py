"""The last models of a run, RUN/models/UPDATE, kept to be averaged."""

from __future__ import annotations

import shutil
from pathlib import Path

_FOLDER = "models"
_REMOVED = ".removed-"


def kept_model(run_directory: Path, update: int) -> Path:
    """Where the model after `update` updates is to be written."""
    return run_directory / _FOLDER / str(update)


def kept_models(run_directory: Path) -> list[Path]:
    """The kept models of a run, oldest first."""
    folder = run_directory / _FOLDER
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def remove_older_models(run_directory: Path, keep: int) -> None:
    """Remove all but the last `keep` models, and what a crash left of such a removal or of a model's writing."""
    for path in kept_models(run_directory)[:-keep]:
        # A model that is half removed must not look like one.
        path.rename(path.with_name(f"{_REMOVED}{path.name}"))
    folder = run_directory / _FOLDER
    if folder.is_dir():
        for left_over in folder.glob(".*"):
            shutil.rmtree(left_over, ignore_errors=True)
