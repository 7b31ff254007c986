"""Folders that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import InputError


@contextmanager
def written_whole(destination: Path, *, record: str) -> Iterator[Path]:
    """A temporary folder beside `destination` that takes its place when the block ends without an exception.

    Args:
        destination: may exist if it is empty or holds the file `record`, as a folder written by this program does.
        record: name of the file that marks such a folder.

    Raises:
        InputError: `destination` holds something else, which is left as it is; or nothing can be written there.
    """
    if destination.exists() and not (destination / record).is_file() and not _is_empty(destination):
        raise InputError(f"{destination}: exists and holds other files (no {record}); name another folder or remove it")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as outer:
            written, old = Path(outer) / "new", Path(outer) / "old"
            written.mkdir()
            yield written
            for file in written.iterdir():
                _flush(file)
            if destination.exists():
                destination.rename(old)
            try:
                written.rename(destination)
            except OSError:
                if old.exists():
                    old.rename(destination)
                raise
    except OSError as error:
        raise InputError(f"{destination}: cannot be written: {error.strerror or error}") from error


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
