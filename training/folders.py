"""Folders and files that are written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import InputError
from translator.files import written_directory

_UNFINISHED = ".unfinished"


@contextmanager
def written_whole(destination: Path, *, record: str) -> Iterator[Path]:
    """A temporary folder beside `destination` that takes its place when the block ends without an exception.

    What a process that was killed had written for the same destination is removed.

    Args:
        destination: may exist if it is empty or holds the file `record`, as a folder written by this program does.
        record: name of the file that marks such a folder.

    Raises:
        InputError: `destination` holds something else, which is left as it is; or nothing can be written there.
    """
    try:
        with written_directory(destination, marker=record) as written, _locked(written):
            _remove_left_behind(destination)
            (written / _UNFINISHED).touch()
            yield written
            (written / _UNFINISHED).unlink()
    except FileExistsError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{destination}: cannot be written: {error.strerror or error}") from error


def write_file(file: Path, text: str) -> None:
    """Write a text file, with the folders above it; what stood there before is replaced in one step.

    Raises:
        InputError: it cannot be written, and what stood there is as it was.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Holds the folder's lock, which ends with the process at the latest; gives whether it was to be had."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _remove_left_behind(destination: Path) -> None:
    """Removes temporary folders of `destination` that are marked as unfinished and that no process has locked."""
    temporary = re.compile(rf"\.{re.escape(destination.name)}-[a-z0-9_]{{8}}")
    for folder in destination.parent.iterdir():
        # A folder is locked before it is marked.
        if temporary.fullmatch(folder.name) and (folder / _UNFINISHED).is_file():
            with _locked(folder) as is_ours:
                if is_ours:
                    shutil.rmtree(folder, ignore_errors=True)
