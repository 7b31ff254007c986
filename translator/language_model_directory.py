"""The directory of a language model, written and checked like a model directory for translation.

`config.json` (kind, format version and architecture), `model.safetensors`, `vocabulary.model` (SentencePiece),
`card.json` and `README.md`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from translator.card import CARD_FILE, FileRecord, Score, TrainingRecord, write_card
from translator.description import (
    WEIGHTS_FILE,
    ModelDirectoryError,
    check_files,
    first_fault,
    read_card,
    read_json,
)
from translator.files import written_directory
from translator.language_model import LanguageModelConfig, RecurrentLanguageModel
from translator.vocabulary import Vocabulary
from translator.weights import WeightStorage, assign_weights, read_tensors, write_tensors

KIND: Literal["language-model"] = "language-model"
FORMAT_VERSION = 1
VOCABULARY_FILE = "vocabulary.model"
_CHECKED_FILES = ("config.json", WEIGHTS_FILE, VOCABULARY_FILE, "README.md")


class LanguageModelCard(BaseModel):
    """`card.json` of a language model."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["language-model"] = KIND
    format_version: int = FORMAT_VERSION
    name: str
    language: str = Field(description="Code such as 'en'.")
    unit: Literal["line", "paragraph"] = Field(description="What one text is.")
    intended_use: str = ""
    not_for: str = ""
    licence: str = ""
    parameters: int = 0
    weight_storage: str = "float32"
    train_texts: int = 0
    train_sha256: dict[str, str] = Field(default_factory=dict, description="Checksums of the training files by name.")
    training: TrainingRecord | None = None
    scores: list[Score] = Field(default_factory=list)
    files: dict[str, FileRecord] = Field(default_factory=dict, description="Written by save_language_model.")
    digest: str = Field(default="", description="SHA-256 of this card without this field.")


@dataclass(frozen=True)
class LoadedLanguageModel:
    """All that the directory holds. `model` is in evaluation mode and in float32."""

    path: Path
    model: RecurrentLanguageModel
    vocabulary: Vocabulary
    card: LanguageModelCard


def save_language_model(
    path: str | Path,
    *,
    model: RecurrentLanguageModel,
    vocabulary: Vocabulary,
    card: LanguageModelCard,
    storage: WeightStorage = "float32",
) -> None:
    """Write the directory, whole or not at all; one that stands there already is exchanged for the new one.

    Raises `OSError` where it cannot be written; whatever was at `path` is then untouched.
    """
    path = Path(path)
    config = {"kind": KIND, "format_version": FORMAT_VERSION, "model": model.config.model_dump()}
    with written_directory(path, marker=CARD_FILE) as directory:
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write_tensors(directory / WEIGHTS_FILE, model.state_dict(), storage)
        (directory / VOCABULARY_FILE).write_bytes(vocabulary.model_bytes)
        card = card.model_copy(update={"parameters": model.parameter_count(), "weight_storage": storage})
        write_card(directory, card, _page(card, model.config), _CHECKED_FILES)


def load_language_model(path: str | Path, device: str | torch.device = "cpu") -> LoadedLanguageModel:
    """Read and check the directory of a language model.

    Raises:
        ModelDirectoryError: a file is missing, truncated or altered, or this is no language model.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelDirectoryError(f"{path}: there is no such directory; train a language model, or name another")
    config = _read_config(path)
    card = read_card(path, LanguageModelCard)
    check_files(path, card.files, _CHECKED_FILES)
    file = path / VOCABULARY_FILE
    try:
        vocabulary = Vocabulary.load(file)
    except ValueError as error:
        raise ModelDirectoryError(f"{file}: {error}") from error
    if vocabulary.size != config.vocabulary_size:
        raise ModelDirectoryError(
            f"{file}: has {vocabulary.size} entries where config.json says {config.vocabulary_size}"
        )
    with torch.device("meta"):
        model = RecurrentLanguageModel(config)
    file = path / WEIGHTS_FILE
    assign_weights(model, read_tensors(file), file)
    return LoadedLanguageModel(path, model.to(device), vocabulary, card)


def _read_config(path: Path) -> LanguageModelConfig:
    file = path / "config.json"
    document = read_json(file, "is this the directory of a language model?")
    if document.get("kind") != KIND:
        raise ModelDirectoryError(f"{path}: holds no language model; train one, or name another directory")
    version = document.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelDirectoryError(
            f"{file}: has format version {version}, this program reads up to {FORMAT_VERSION}; "
            "install a newer version of it"
        )
    try:
        return LanguageModelConfig.model_validate(document.get("model"))
    except ValidationError as error:
        raise ModelDirectoryError(f"{file}: {first_fault(error)}") from error


def _page(card: LanguageModelCard, config: LanguageModelConfig) -> str:
    """The card as Markdown."""
    lines = [f"# {card.name}", "", f"A language model of '{card.language}'. {card.intended_use}".rstrip(), ""]
    if card.not_for:
        lines += [f"**Not for:** {card.not_for}", ""]
    if card.scores:
        lines += ["| test set | metric | value | texts | counted |", "|---" * 5 + "|"]
        lines += [
            f"| {score.test_set} | {score.metric} | {score.value:.3f} | {score.sentences} | `{score.signature}` |"
            for score in card.scores
        ]
        lines.append("")
    lines.append(
        f"- network: {config.num_layers} layers of {config.hidden_size} {config.cell} cells, {card.parameters:,} "
        f"parameters stored as {card.weight_storage}, {config.vocabulary_size:,} units"
    )
    if config.labels:
        lines.append(f"- labels: {', '.join(config.labels)}")
    lines.append(f"- trained on {card.train_texts:,} texts, a {card.unit} each")
    if card.training is not None:
        training = card.training
        lines.append(
            f"- training: recipe `{training.recipe}`, seed {training.seed}, {training.updates:,} updates in "
            f"{training.minutes:.0f} minutes on {training.device}, torch {training.torch_version}"
        )
    if card.licence:
        lines.append(f"- licence of the model: {card.licence}")
    return "\n".join(lines) + "\n"
