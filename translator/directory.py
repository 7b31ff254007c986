"""The model directory: the only thing that passes from training to translation.

`config.json` (architecture and format version), `model.safetensors`, `source.model` and `target.model` (SentencePiece),
`card.json` (see `translator.card`) and `README.md` (the card to read). Nothing in it is code. It is written to a
temporary directory, flushed to the disk and renamed; it is read only if every checksum and every shape is right.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from translator.card import CARD_FILE, Card, card_page, write_card
from translator.config import ModelConfig
from translator.description import CHECKED_FILES, WEIGHTS_FILE, files_of, read_description
from translator.files import written_directory
from translator.model import Seq2Seq
from translator.vocabulary import Vocabulary
from translator.weights import WeightStorage, assign_weights, read_tensors, write_tensors

_TIED = "decoder.output.weight"


@dataclass(frozen=True)
class LoadedModel:
    """All that a model directory holds. `model` is in evaluation mode and in float32."""

    path: Path
    config: ModelConfig
    model: Seq2Seq
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    card: Card


def save_model(
    path: str | Path,
    *,
    model: Seq2Seq,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    card: Card,
    storage: WeightStorage = "float32",
) -> None:
    """Write a model directory, whole or not at all; one that stands there already is exchanged for the new one.

    `storage` is how matrices are stored, see `translator.weights`. Raises `OSError` where the disk is full or
    read-only; whatever was at `path` is then untouched.
    """
    path = Path(path)
    version = model.config.format_version
    config = {"format_version": version, "model": model.config.model_dump()}
    card = card.model_copy(
        update={"parameters": model.parameter_count(), "weight_storage": storage, "format_version": version}
    )
    with written_directory(path, marker=CARD_FILE) as directory:
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        tensors = model.state_dict()
        if model.config.tie_target_embedding:
            del tensors[_TIED]
        write_tensors(directory / WEIGHTS_FILE, tensors, storage)
        (directory / "source.model").write_bytes(source_vocabulary.model_bytes)
        (directory / "target.model").write_bytes(target_vocabulary.model_bytes)
        write_card(directory, card, card_page(card), CHECKED_FILES)


def update_card(path: str | Path, card: Card) -> None:
    """Put `card` in the place of a model directory's card; all else in it stays as it is. Atomic like `save_model`."""
    path = Path(path)
    with written_directory(path, marker=CARD_FILE) as directory:
        shutil.copytree(path, directory, dirs_exist_ok=True, symlinks=True)
        write_card(directory, card, card_page(card), files_of(card))


def load_model(path: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Read and check a model directory.

    Raises:
        ModelDirectoryError: a file is missing, truncated or altered, the directory is none of ours, or it was
            written by a newer version of this program.
    """
    described = read_description(path)
    model = _build_model(described.path / WEIGHTS_FILE, described.config).to(device)
    return LoadedModel(
        described.path,
        described.config,
        model,
        described.source_vocabulary,
        described.target_vocabulary,
        described.card,
    )


def _build_model(file: Path, config: ModelConfig) -> Seq2Seq:
    weights = read_tensors(file)
    if config.tie_target_embedding and "decoder.embedding.weight" in weights:
        weights[_TIED] = weights["decoder.embedding.weight"]
    with torch.device("meta"):
        model = Seq2Seq(config)
    assign_weights(model, weights, file)
    if config.tie_target_embedding:
        model.decoder.output.weight = model.decoder.embedding.weight
    return model
