"""Folders of training data that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import InputError
from translator.files import written_directory


@contextmanager
def written_whole(destination: Path, *, record: str) -> Iterator[Path]:
    """A temporary folder beside `destination` that takes its place when the block ends without an exception.

    Args:
        destination: may exist if it is empty or holds the file `record`, as a folder written by this program does.
        record: name of the file that marks such a folder.

    Raises:
        InputError: `destination` holds something else, which is left as it is; or nothing can be written there.
    """
    try:
        with written_directory(destination, marker=record) as written:
            yield written
    except FileExistsError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{destination}: cannot be written: {error.strerror or error}") from error
