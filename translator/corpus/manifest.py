"""What an output folder is a translation of: model, options, input, and how it was cut into shards. Loads no torch.

A shard is finished when its file is there, for it is renamed into its place when it is whole. So a run that was
stopped goes on by making the files that are missing, and the manifest holds that they fit those that are there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from translator import __version__
from translator.config import Combination, SearchOptions
from translator.corpus.inputs import Columns, CorpusError, Kind, format_of
from translator.description import first_fault, read_description
from translator.ensemble import model_paths
from translator.files import sha256_of, written_file

MANIFEST = "_manifest.json"
_FORMAT_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputRecord(_Part):
    """A file of the input. Its name is for people: a file with another name and the same bytes is the same file."""

    name: str
    bytes: int
    sha256: str


class Shard(_Part):
    """A part of the input and the one file of the output that it becomes."""

    number: int
    file: int = Field(description="Index of its file among those of the input.")
    position: int = Field(description="Where in the file it begins: a byte of the unpacked file, or a row of Parquet.")
    rows: int
    first_row: int = Field(description="Number of its first row in the whole input, from 0.")


class Settings(_Part):
    """All that decides what is written, but for the input."""

    program: str = Field(default=__version__, description="Version of this program.")
    models: tuple[str, ...] = Field(description="SHA-256 of each model's card, which holds those of its files.")
    combination: Combination
    device: str
    engine: str
    search: SearchOptions
    kind: Kind
    columns: Columns
    rows_per_shard: int


class Manifest(_Part):
    """`_manifest.json` of an output folder."""

    format_version: int = _FORMAT_VERSION
    settings: Settings
    input: tuple[InputRecord, ...]
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        """Of the whole input."""
        return sum(shard.rows for shard in self.shards)

    def path(self, output: Path, shard: Shard) -> Path:
        """Where the shard is written; the files' names sort in the order of the rows."""
        return output / f"part-{shard.number:06}-of-{len(self.shards):06}{format_of(self.settings.kind).suffix}"

    def unfinished(self, output: Path) -> list[Shard]:
        """The shards whose files are not there."""
        there = {entry.name for entry in output.iterdir()}
        return [shard for shard in self.shards if self.path(output, shard).name not in there]


def model_digests(models: Sequence[str]) -> tuple[str, ...]:
    """What tells these models from all others. Raises `ModelDirectoryError` where one cannot be used."""
    return tuple(read_description(path).card.digest for path in model_paths(models))


@contextmanager
def held_folder(output: Path) -> Iterator[None]:
    """The output folder, which no other run has meanwhile, without what a run that was killed left half written.

    Raises `CorpusError` where another run has it, where it holds something else, or where nothing can be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not (output / MANIFEST).is_file() and any(not path.name.startswith(".") for path in output.iterdir()):
            raise CorpusError(f"{output}: holds something else (no {MANIFEST}); name another --output")
        descriptor = os.open(output, os.O_RDONLY)
    except OSError as error:
        raise CorpusError(f"{output}: cannot be written: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CorpusError(f"{output}: another run is writing there; wait for it or stop it") from error
        _tidy(output)
        try:
            yield
        finally:
            _tidy(output)
    finally:
        os.close(descriptor)


def _tidy(output: Path) -> None:
    """Remove what workers that were killed have left half written."""
    for temporary in output.glob(".*.unfinished"):
        temporary.unlink(missing_ok=True)


def prepare(output: Path, settings: Settings, files: Sequence[Path]) -> Manifest:
    """The manifest in `output`, or a new one where nothing is translated yet, for which every row is looked at.

    Raises:
        CorpusError: the input cannot be used, or what is in `output` was translated otherwise.
    """
    try:
        records = tuple(
            InputRecord(name=file.name, bytes=file.stat().st_size, sha256=sha256_of(file)) for file in files
        )
    except OSError as error:
        raise CorpusError(f"{error.filename}: {error.strerror or error}") from error
    if (output / MANIFEST).is_file():
        manifest = _read(output)
        if len(manifest.unfinished(output)) < len(manifest.shards):
            _check_same(output, manifest, settings, records)
            return manifest
        # Nothing was translated yet, as where the engine could not be had: it begins with what is asked for now.
    shards = _shards(settings, files)
    if not shards:
        raise CorpusError("the input has no rows: there is nothing to translate")
    manifest = Manifest(settings=settings, input=records, shards=tuple(shards))
    try:
        with written_file(output / MANIFEST) as target:
            target.write(manifest.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise CorpusError(f"{output}: cannot be written: {error.strerror or error}") from error
    return manifest


def _shards(settings: Settings, files: Sequence[Path]) -> list[Shard]:
    form = format_of(settings.kind)
    shards: list[Shard] = []
    row = 0
    for number, file in enumerate(files):
        for cut in form.cuts(file, settings.columns, settings.rows_per_shard):
            shards.append(Shard(number=len(shards), file=number, position=cut.position, rows=cut.rows, first_row=row))
            row += cut.rows
    return shards


def _read(output: Path) -> Manifest:
    try:
        return Manifest.model_validate_json((output / MANIFEST).read_bytes())
    except ValidationError as error:
        raise CorpusError(f"{output / MANIFEST}: {first_fault(error)}; name another --output") from error
    except OSError as error:
        raise CorpusError(f"{output / MANIFEST}: {error.strerror or error}") from error


def _check_same(output: Path, manifest: Manifest, settings: Settings, records: Sequence[InputRecord]) -> None:
    advice = "name another --output, or give what it was begun with"
    for name in Settings.model_fields:
        before, now = getattr(manifest.settings, name), getattr(settings, name)
        if before != now:
            what = (
                "with another model" if name == "models" else f"with {name} {_shown(before)}, now it is {_shown(now)}"
            )
            raise CorpusError(f"{output}: was begun {what}; {advice}")
    contents = [[(record.bytes, record.sha256) for record in those] for those in (manifest.input, records)]
    if contents[0] != contents[1]:
        changed = [
            old.name for old, new in zip(manifest.input, contents[1], strict=False) if (old.bytes, old.sha256) != new
        ]
        which = f"{changed[0]} was another" if changed else f"it had {len(contents[0])} files, now {len(contents[1])}"
        raise CorpusError(f"{output}: was begun with another input ({which}); {advice}")


def _shown(value: object) -> str:
    if isinstance(value, SearchOptions):
        return value.model_dump_json(exclude_defaults=True)
    return str(value)
