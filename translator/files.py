"""Directories and files that are written whole or not at all, and checksums."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_directory(path: Path, *, marker: str) -> Iterator[Path]:
    """A temporary directory beside `path` that takes its place when the block ends well, and vanishes when it does not.

    `marker` is a file that every directory of this kind holds; one that stands at `path` already is exchanged for the
    new one. Raises `FileExistsError` where something else stands there, and `OSError` where nothing can be written;
    in either case, whatever was at `path` is untouched. Where `path` is a link, all this is about what it leads to.
    """
    path = path.resolve()
    if path.exists() and not (path / marker).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path}: holds something else (no {marker}); name another directory or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.iterdir():
            if file.is_symlink():
                continue
            if file.is_file() and not _is_copy(file, path / file.name):
                file.chmod(0o644)  # safetensors writes files that only their owner may read
            _flush(file)
        _flush(temporary)
        if path.exists():
            _exchange(temporary, path)
        else:
            temporary.rename(path)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def written_file(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path`, hidden and with a name that ends in `.unfinished`, that takes its place when the block ends
    well. Raises `OSError` where it cannot be written; whatever was at `path` is then untouched.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".unfinished", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
        temporary.chmod(0o644)
        temporary.rename(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _is_copy(file: Path, original: Path) -> bool:
    """Whether it came with its time, and with whatever its owner allows others."""
    if not original.is_file():
        return False
    one, other = file.stat(), original.stat()
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories: in one system call on Linux, so that `old` is never missing; by renames elsewhere."""
    current_directory, exchange_flag = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of <fcntl.h> and <linux/fs.h>
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is not None:
        failed = rename(current_directory, os.fsencode(new), current_directory, os.fsencode(old), exchange_flag)
        if not failed:
            return
    aside = Path(tempfile.mkdtemp(prefix=f".{old.name}-old-", dir=old.parent))
    old.rename(aside / old.name)
    new.rename(old)
    (aside / old.name).rename(new)
    aside.rmdir()
