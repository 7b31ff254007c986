"""The prepared folder: a corpus cleaned, split, encoded and laid out so that training maps it into memory and starts.

    prepared.json                      what it was made from, counts, checksums, notices (`PreparedRecord`)
    source.model, target.model         SentencePiece vocabularies
    {train,dev}.{source,target}.tokens.npy    int32 [tokens], all sentences one after the other, without <EOS>
    {train,dev}.{source,target}.offsets.npy   int64 [pairs + 1], sentence i is tokens[offsets[i]:offsets[i + 1]]
    {dev,test}.{source,target}.txt     UTF-8, one sentence a line

Reading it needs neither the corpus nor `datasets` nor a network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import InputError
from training.recipe import CorpusSection, SubwordsSection
from translator.vocabulary import SIDES, Vocabulary

FORMAT_VERSION = 1
#: Counts up whenever the program makes something else of the same corpus and settings.
PREPARATION_VERSION = 2
RECORD_FILE = "prepared.json"
# Enough to know how frequent a word is.
_COUNTED_SENTENCES = 200_000

_Number = TypeVar("_Number", np.int32, np.int64)


class PreparedRecord(BaseModel):
    """`prepared.json`: what the folder holds and what it was made from."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    preparation_version: int = Field(default=1, description="What the program made of the settings, as it was then.")
    corpus: CorpusSection = Field(description="The recipe's section, as it was.")
    subwords: SubwordsSection = Field(description="The recipe's section, as it was.")
    corpus_name: str
    sha256: dict[str, str] = Field(description="Checksums of the corpus's files by name.")
    # Left out where it is empty, so that records from before stay as they were.
    vocabularies_sha256: dict[str, str] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="Of the vocabularies by side, where they are those of an initial model and were not learnt.",
    )
    fingerprints: dict[str, str] = Field(default_factory=dict, description="Of the parts of a data set of the hub.")
    pairs: dict[str, int] = Field(description="Sentence pairs in train, dev and test.")
    tokens: dict[str, int] = Field(description="Tokens by file, such as 'train.target'.")
    removed: dict[str, int] = Field(description="Training pairs that cleaning left out, by reason.")
    notices: list[str] = Field(default_factory=list)
    pairs_read: int = Field(default=0, description="Training pairs of the corpus, those left out included.")
    processes: int = Field(default=1, description="How many could work on it.")
    seconds: dict[str, float] = Field(default_factory=dict, description="That each stage took.")

    @property
    def pairs_per_second(self) -> float:
        """Training pairs read ÷ seconds of all stages; 0 where that was not recorded."""
        seconds = sum(self.seconds.values())
        return self.pairs_read / seconds if seconds else 0.0


@dataclass(frozen=True)
class EncodedPairs:
    """Sentence pairs as token ids, without `<EOS>`. The arrays may be memory-mapped.

    Shape:
        source_tokens, target_tokens: int32 [tokens], all sentences one after the other.
        source_offsets, target_offsets: int64 [pairs + 1]; sentence i is tokens[offsets[i]:offsets[i + 1]].
    """

    source_tokens: npt.NDArray[np.int32]
    source_offsets: npt.NDArray[np.int64]
    target_tokens: npt.NDArray[np.int32]
    target_offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source_offsets) - 1

    def source(self, index: int) -> npt.NDArray[np.int32]:
        """Token ids of the source sentence of pair `index`, int32 [length]."""
        return self.source_tokens[self.source_offsets[index] : self.source_offsets[index + 1]]

    def target(self, index: int) -> npt.NDArray[np.int32]:
        """Token ids of the target sentence of pair `index`, int32 [length]."""
        return self.target_tokens[self.target_offsets[index] : self.target_offsets[index + 1]]

    @property
    def source_lengths(self) -> npt.NDArray[np.int64]:
        """Tokens in each source sentence, int64 [pairs]."""
        return np.diff(self.source_offsets)

    @property
    def target_lengths(self) -> npt.NDArray[np.int64]:
        """Tokens in each target sentence, int64 [pairs]."""
        return np.diff(self.target_offsets)


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, opened."""

    path: Path
    record: PreparedRecord
    train: EncodedPairs
    dev: EncodedPairs
    dev_source: list[str]
    dev_target: list[str]
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """By side."""
        return {"source": self.source_vocabulary, "target": self.target_vocabulary}


def load_prepared(path: str | Path) -> Prepared:
    """Opens a prepared folder; token arrays are mapped into memory, not read.

    Raises:
        InputError: the folder is missing, of another version, or its files do not fit together. The file is named.
    """
    path = Path(path)
    record = read_record(path)
    dev_source, dev_target = (_read_lines(path / f"dev.{side}.txt", record.pairs["dev"]) for side in SIDES)
    return Prepared(
        path=path,
        record=record,
        train=_load_pairs(path, "train", record),
        dev=_load_pairs(path, "dev", record),
        dev_source=dev_source,
        dev_target=dev_target,
        source_vocabulary=_load_vocabulary(path / "source.model"),
        target_vocabulary=_load_vocabulary(path / "target.model"),
    )


def checksums_of_vocabularies(vocabularies: Mapping[str, Vocabulary]) -> dict[str, str]:
    """SHA-256 of the vocabularies' files, by side."""
    return {side: hashlib.sha256(each.model_bytes).hexdigest() for side, each in vocabularies.items()}


def training_sources(prepared: Prepared) -> list[str]:
    """Source sentences of the training pairs, to count words in: all of them, or the first 200,000."""
    pairs = prepared.train
    numbers = range(min(len(pairs), _COUNTED_SENTENCES))
    return [prepared.source_vocabulary.decode(pairs.source(number).tolist()) for number in numbers]


def read_record(path: Path) -> PreparedRecord:
    """Reads and checks `prepared.json` alone. Raises InputError."""
    file = path / RECORD_FILE
    try:
        record = PreparedRecord.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: not a prepared folder (no {RECORD_FILE}); make one with: "
            f"python -m training prepare RECIPE --output {path}"
        ) from error
    except (OSError, ValidationError) as error:
        raise InputError(f"{file}: damaged or of another version; prepare the corpus again") from error
    if record.format_version != FORMAT_VERSION:
        raise InputError(
            f"{file}: format version {record.format_version}, this program reads {FORMAT_VERSION}; "
            "prepare the corpus again"
        )
    return record


def _load_pairs(path: Path, split: str, record: PreparedRecord) -> EncodedPairs:
    source, target = (_load_side(path, f"{split}.{side}", record.pairs[split]) for side in SIDES)
    return EncodedPairs(*source, *target)


def _load_side(path: Path, stem: str, sentences: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    tokens = _load_array(path / f"{stem}.tokens.npy", np.int32)
    offsets = _load_array(path / f"{stem}.offsets.npy", np.int64)
    if len(offsets) != sentences + 1 or offsets[0] != 0 or offsets[-1] != len(tokens):
        raise InputError(
            f"{path}/{stem}.*.npy: not the {sentences:,} sentences that {RECORD_FILE} says; prepare the corpus again"
        )
    return tokens, offsets


def _load_array(file: Path, dtype: type[_Number]) -> npt.NDArray[_Number]:
    try:
        array: npt.NDArray[_Number] = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{file}: missing; prepare the corpus again") from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: damaged; prepare the corpus again ({error})") from error
    if array.ndim != 1 or array.dtype != dtype:
        raise InputError(
            f"{file}: {array.dtype} {array.shape}, not a row of {np.dtype(dtype)}; prepare the corpus again"
        )
    return array


def _load_vocabulary(file: Path) -> Vocabulary:
    try:
        return Vocabulary.load(file)
    except FileNotFoundError as error:
        raise InputError(f"{file}: missing; prepare the corpus again") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}; prepare the corpus again") from error


def _read_lines(file: Path, count: int) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError as error:
        raise InputError(f"{file}: missing; prepare the corpus again") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: damaged; prepare the corpus again ({error})") from error
    if len(lines) != count:
        raise InputError(f"{file}: {len(lines):,} lines, {RECORD_FILE} says {count:,}; prepare the corpus again")
    return lines
