"""What of a model directory can be read without its network: configuration, vocabularies and card.

Here all files are checked, those of the weights too. Loads no torch, so that a process which only prepares texts for
another that decodes stays small. A directory from a stranger can be opened: its files have fixed names and lead nowhere
else, nothing in them is code, and what they say of sizes is believed only within limits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from translator.card import CARD_FILE, FORMAT_VERSION, AnyCard, Card, FileRecord, card_digest
from translator.config import ModelConfig
from translator.files import sha256_of
from translator.tensor_header import check_header
from translator.vocabulary import Vocabulary

SHIPPED_MODELS = Path(__file__).parent / "pretrained"

WEIGHTS_FILE = "model.safetensors"
CHECKED_FILES = ("config.json", WEIGHTS_FILE, "source.model", "target.model", "README.md")
INDEX_FILE = "pairs.safetensors"
"""Not every directory has it; where the card records it, it is checked, too. See `translator.pair_index`."""

_LARGEST_JSON = 4 * 1024 * 1024
_WIDEST_LAYER = 65_536


class ModelDirectoryError(ValueError):
    """A model directory that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True)
class Description:
    """All that a model directory holds but the network."""

    path: Path
    config: ModelConfig
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    card: Card

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """By side."""
        return {"source": self.source_vocabulary, "target": self.target_vocabulary}


def model_path(path: str | Path) -> Path:
    """`path` itself where it is a directory, else that of the shipped model of this name."""
    shipped = SHIPPED_MODELS / path
    return shipped if not Path(path).is_dir() and shipped.is_dir() else Path(path)


def read_description(path: str | Path) -> Description:
    """Read a model directory but for the weights, and check every file of it.

    Raises `ModelDirectoryError` as `translator.directory.load_model` does.
    """
    path = Path(path)
    try:
        return _read_description(path)
    except OSError as error:
        raise ModelDirectoryError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error


def _read_description(path: Path) -> Description:
    if not path.is_dir():
        raise ModelDirectoryError(
            f"{path}: there is no such model directory; train one, or name one that holds config.json"
        )
    config = _read_config(path)
    card = read_card(path, Card)
    check_files(path, card.files, files_of(card))
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
    return Description(path, config, vocabularies[0], vocabularies[1], card)


def files_of(card: Card) -> tuple[str, ...]:
    """The names of the checked files in the directory that a card is of."""
    return (*CHECKED_FILES, *([INDEX_FILE] if INDEX_FILE in card.files else []))


def _read_config(path: Path) -> ModelConfig:
    file = path / "config.json"
    document = read_json(file, "is this a model directory?")
    version = document.get("format_version")
    if not isinstance(version, int):
        raise ModelDirectoryError(f"{file}: says no format_version; is this a model directory?")
    if version > FORMAT_VERSION:
        raise ModelDirectoryError(
            f"{file}: has format version {version}, this program reads up to {FORMAT_VERSION}; "
            "install a newer version of it"
        )
    if document.get("kind") == "language-model":
        raise ModelDirectoryError(f"{path}: is a language model, which does not translate; see translator generate")
    try:
        config = ModelConfig.model_validate(document.get("model"))
    except ValidationError as error:
        raise ModelDirectoryError(f"{file}: {first_fault(error)}") from error
    if max(config.embedding_size, config.hidden_size) > _WIDEST_LAYER:
        raise ModelDirectoryError(f"{file}: has a layer that is wider than {_WIDEST_LAYER:,}; copy the directory again")
    return config


def read_card(path: Path, kind: type[AnyCard]) -> AnyCard:
    """The card of a directory, whose checksum is right. Raises `ModelDirectoryError`."""
    file = path / CARD_FILE
    document = read_json(file, "copy the directory again")
    try:
        card = kind.model_validate(document)
    except ValidationError as error:
        raise ModelDirectoryError(f"{file}: {first_fault(error)}") from error
    if card_digest(card) != card.model_dump(include={"digest"})["digest"]:
        raise ModelDirectoryError(f"{file}: was altered (its checksum does not match); copy the directory again")
    return card


def _check_presence(file: Path, advice: str) -> None:
    if file.is_symlink():
        raise ModelDirectoryError(f"{file}: is a link; put a copy of what it leads to in its place")
    if not file.is_file():
        raise ModelDirectoryError(f"{file}: is missing; {advice}")


def read_json(file: Path, advice: str) -> dict[str, object]:
    """The JSON object in a file. Raises `ModelDirectoryError`, with `advice` where the file is missing."""
    _check_presence(file, advice)
    if file.stat().st_size > _LARGEST_JSON:
        raise ModelDirectoryError(f"{file}: has more than {_LARGEST_JSON:,} bytes; copy the directory again")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelDirectoryError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelDirectoryError(f"{file}: cannot be read as JSON ({error}); copy the directory again") from error
    if not isinstance(document, dict):
        raise ModelDirectoryError(f"{file}: holds no JSON object; {advice}")
    return document


def check_files(path: Path, records: Mapping[str, FileRecord], names: Sequence[str]) -> None:
    """Raise `ModelDirectoryError` where a directory's files are not those of its card's records, or its weights claim
    what they cannot hold. `names` are all files that there may be.
    """
    if strangers := sorted(records.keys() - set(names)):
        raise ModelDirectoryError(
            f"{path / CARD_FILE}: records {strangers[0]!r}, which is no file of a model directory; copy it again"
        )
    for name in names:
        _check_file(path / name, records.get(name))
    weights = path / WEIGHTS_FILE
    try:
        check_header(weights)
    except ValueError as error:
        raise ModelDirectoryError(
            f"{weights}: cannot be read as safetensors ({error}); copy the directory again"
        ) from error


def _check_file(file: Path, record: FileRecord | None) -> None:
    _check_presence(file, "copy the directory again")
    if record is None:
        raise ModelDirectoryError(f"{file}: card.json records no checksum for it; copy the directory again")
    size = file.stat().st_size
    if size != record.bytes:
        raise ModelDirectoryError(f"{file}: has {size:,} bytes instead of {record.bytes:,}; copy the directory again")
    if sha256_of(file) != record.sha256:
        raise ModelDirectoryError(f"{file}: was altered (its checksum does not match); copy the directory again")


def first_fault(error: ValidationError) -> str:
    """What is wrong first, with the place where it is."""
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc']) or 'the document'}: {fault['msg']}"
