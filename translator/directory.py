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
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from translator.card import FORMAT_VERSION, Card, FileRecord, card_digest, card_page
from translator.config import ModelConfig
from translator.files import sha256_of, written_directory
from translator.model import Seq2Seq
from translator.vocabulary import Vocabulary

WeightStorage = Literal["float32", "bfloat16", "int8"]

_CHECKED_FILES = ("config.json", "model.safetensors", "source.model", "target.model", "README.md")
_CARD_FILE = "card.json"
_SCALE_SUFFIX = ".scale"


class ModelDirectoryError(ValueError):
    """A model directory that cannot be used; the message names the file and what to do."""


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

    `storage` "int8" keeps one float32 scale per output row of every matrix (symmetric, largest magnitude at 127).
    Raises `OSError` where the disk is full or read-only; whatever was at `path` is then untouched.
    """
    path = Path(path)
    config = {"format_version": FORMAT_VERSION, "model": model.config.model_dump()}
    card = card.model_copy(
        update={"parameters": model.parameter_count(), "weight_storage": storage, "format_version": FORMAT_VERSION}
    )
    with written_directory(path, marker=_CARD_FILE) as directory:
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(_stored_tensors(model, storage), directory / "model.safetensors")
        (directory / "source.model").write_bytes(source_vocabulary.model_bytes)
        (directory / "target.model").write_bytes(target_vocabulary.model_bytes)
        _write_card(directory, card)


def update_card(path: str | Path, card: Card) -> None:
    """Put `card` in the place of a model directory's card; the weights stay as they are. Atomic like `save_model`."""
    path = Path(path)
    with written_directory(path, marker=_CARD_FILE) as directory:
        for name in _CHECKED_FILES:
            shutil.copyfile(path / name, directory / name)
        _write_card(directory, card)


def load_model(path: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Read and check a model directory.

    Raises:
        ModelDirectoryError: a file is missing, truncated or altered, the directory is none of ours, or it was
            written by a newer version of this program.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelDirectoryError(
            f"{path}: there is no such model directory; train one, or name one that holds config.json"
        )
    config = _read_config(path)
    card = _read_card(path)
    for name in _CHECKED_FILES:
        _check_file(path / name, card.files.get(name))
    vocabularies = []
    for name, size in (
        ("source.model", config.source_vocabulary_size),
        ("target.model", config.target_vocabulary_size),
    ):
        try:
            vocabulary = Vocabulary.load(path / name)
        except ValueError as error:
            raise ModelDirectoryError(f"{path / name}: {error}") from error
        if vocabulary.size != size:
            raise ModelDirectoryError(f"{path / name}: has {vocabulary.size} entries where config.json says {size}")
        vocabularies.append(vocabulary)
    model = _build_model(path / "model.safetensors", config).to(device)
    return LoadedModel(path, config, model, vocabularies[0], vocabularies[1], card)


def _stored_tensors(model: Seq2Seq, storage: WeightStorage) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name == "decoder.output.weight" and model.config.tie_target_embedding:
            continue
        weight = tensor.detach().to("cpu", torch.float32).contiguous()
        if storage == "int8" and weight.dim() == 2:
            scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
            stored[name] = torch.round(weight / scale[:, None]).to(torch.int8)
            stored[name + _SCALE_SUFFIX] = scale
        elif storage == "bfloat16" and weight.dim() == 2:
            stored[name] = weight.to(torch.bfloat16)
        else:
            stored[name] = weight
    return stored


def _build_model(file: Path, config: ModelConfig) -> Seq2Seq:
    try:
        stored = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelDirectoryError(
            f"{file}: cannot be read as safetensors ({error}); copy the directory again"
        ) from error
    scales = {name: stored.pop(name) for name in list(stored) if name.endswith(_SCALE_SUFFIX)}
    weights = {
        name: tensor.float() * scales[name + _SCALE_SUFFIX][:, None]
        if name + _SCALE_SUFFIX in scales
        else tensor.float()
        for name, tensor in stored.items()
    }
    if config.tie_target_embedding and "decoder.embedding.weight" in weights:
        weights["decoder.output.weight"] = weights["decoder.embedding.weight"]
    with torch.device("meta"):
        model = Seq2Seq(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        name = next(iter(sorted(expected.items() ^ found.items())))[0]
        raise ModelDirectoryError(
            f"{file}: tensor {name} has shape {found.get(name, 'none')} "
            f"where config.json asks for {expected.get(name, 'none')}"
        )
    model.load_state_dict(weights, assign=True)
    if config.tie_target_embedding:
        model.decoder.output.weight = model.decoder.embedding.weight
    for layer in (*model.encoder.stack.lstm_layers(), *model.decoder.stack.lstm_layers()):
        layer.flatten_parameters()
    return model.requires_grad_(False).eval()


def _read_config(path: Path) -> ModelConfig:
    file = path / "config.json"
    document = _read_json(file, "is this a model directory?")
    version = document.get("format_version")
    if not isinstance(version, int):
        raise ModelDirectoryError(f"{file}: says no format_version; is this a model directory?")
    if version > FORMAT_VERSION:
        raise ModelDirectoryError(
            f"{file}: has format version {version}, this program reads up to {FORMAT_VERSION}; "
            "install a newer version of it"
        )
    try:
        return ModelConfig.model_validate(document.get("model"))
    except ValidationError as error:
        raise ModelDirectoryError(f"{file}: {_first_fault(error)}") from error


def _read_card(path: Path) -> Card:
    file = path / _CARD_FILE
    document = _read_json(file, "copy the directory again")
    try:
        card = Card.model_validate(document)
    except ValidationError as error:
        raise ModelDirectoryError(f"{file}: {_first_fault(error)}") from error
    if card_digest(card) != card.digest:
        raise ModelDirectoryError(f"{file}: was altered (its checksum does not match); copy the directory again")
    return card


def _read_json(file: Path, advice: str) -> dict[str, object]:
    if not file.is_file():
        raise ModelDirectoryError(f"{file}: is missing; {advice}")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise ModelDirectoryError(f"{file}: cannot be read as JSON ({error}); copy the directory again") from error
    if not isinstance(document, dict):
        raise ModelDirectoryError(f"{file}: holds no JSON object; {advice}")
    return document


def _check_file(file: Path, record: FileRecord | None) -> None:
    if not file.is_file():
        raise ModelDirectoryError(f"{file}: is missing; copy the directory again")
    if record is None:
        raise ModelDirectoryError(f"{file}: card.json records no checksum for it; copy the directory again")
    size = file.stat().st_size
    if size != record.bytes:
        raise ModelDirectoryError(f"{file}: has {size:,} bytes instead of {record.bytes:,}; copy the directory again")
    if sha256_of(file) != record.sha256:
        raise ModelDirectoryError(f"{file}: was altered (its checksum does not match); copy the directory again")


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc']) or 'the document'}: {fault['msg']}"


def _write_card(directory: Path, card: Card) -> None:
    (directory / "README.md").write_text(card_page(card), encoding="utf-8")
    files = {
        name: FileRecord(sha256=sha256_of(directory / name), bytes=(directory / name).stat().st_size)
        for name in _CHECKED_FILES
    }
    card = card.model_copy(update={"files": files})
    card = card.model_copy(update={"digest": card_digest(card)})
    (directory / _CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
