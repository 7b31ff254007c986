"""Which run of a language model a checkpoint is of, so that no other run goes on from it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from training.errors import InputError
from training.language_text import LanguageData
from translator.language_model import LanguageModelConfig
from translator.language_model_directory import VOCABULARY_FILE


def identity(config: LanguageModelConfig, data: LanguageData, updates_an_epoch: int) -> dict[str, Any]:
    """What a checkpoint says of the run beside the state of its training."""
    return {
        "shape": config.model_dump(mode="json"),
        "vocabulary": _digest(data.vocabulary.model_bytes),
        "dev": _digest(repr([(text.label, text.text) for text in data.dev]).encode()),
        "updates_an_epoch": updates_an_epoch,
    }


def check_identity(path: Path, state: dict[str, Any], own: dict[str, Any], model: Path) -> None:
    """Whether a run may go on from the checkpoint at `path`.

    Args:
        state: what the checkpoint holds.
        own: `identity` of the run that is to go on.
        model: the directory that the run writes its model to.

    Raises:
        InputError: the checkpoint is of a network of another shape, or of another vocabulary.
    """
    if state["shape"] != own["shape"]:
        raise InputError(f"{path}: belongs to a network of another shape; was the recipe changed?")
    if state.get("vocabulary", own["vocabulary"]) != own["vocabulary"]:  # older checkpoints do not say
        raise InputError(
            f"{path}: was trained with another vocabulary than the one that these texts give; go on with that of then "
            f"(--set text.vocabulary={model / VOCABULARY_FILE})"
        )


def is_measured_alike(state: dict[str, Any], own: dict[str, Any]) -> bool:
    """Whether dev holds the same texts as when a checkpoint's `state` was written, so that figures can be compared."""
    return bool(state.get("dev", own["dev"]) == own["dev"])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
