"""Translated files, kept on the disk for some minutes, for all workers of this service."""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from werkzeug.utils import secure_filename

KEPT_SECONDS = 900
_MOST_BYTES = 256 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_.-]+")


class FileStore:
    """A folder of its own, which the process that made it shares with those that it starts, and removes at its end."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="translation-service-"))
        atexit.register(self._remove, os.getpid())

    def put(self, name: str, content: bytes) -> str:
        """Keep a file; returns what it is called here, which nobody can guess. The oldest make room for it.

        Raises `OSError` where the disk is full; nothing of the file is left then.
        """
        self._make_room(len(content))
        kept = f"{secrets.token_urlsafe(16)}.{secure_filename(name)[-100:] or 'file'}"
        unfinished = self._folder / f"{kept}.part"
        try:
            unfinished.write_bytes(content)
            _date(unfinished)
            unfinished.rename(self._folder / kept)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        return kept

    def get(self, kept: str) -> tuple[str, bytes] | None:
        """The name and the content of a file; None where there is none, or none any more."""
        if not _NAME.fullmatch(kept) or kept.endswith(".part"):
            return None
        path = self._folder / kept
        try:
            if time.monotonic() - path.stat().st_mtime > KEPT_SECONDS:
                return None
            return kept.partition(".")[2], path.read_bytes()
        except OSError:
            return None

    def _remove(self, owner: int) -> None:
        if os.getpid() == owner:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _make_room(self, size: int) -> None:
        """Remove what is too old, and the oldest of what is too much, or more than half of what there is room for."""
        found = sorted(self._folder.iterdir(), key=lambda path: _modified(path))
        kept = sum(_size(path) for path in found)
        most = min(_MOST_BYTES, (kept + shutil.disk_usage(self._folder).free) // 2)
        total = kept + size
        for path in found:
            if time.monotonic() - _modified(path) > KEPT_SECONDS or total > most:
                total -= _size(path)
                path.unlink(missing_ok=True)


def _date(path: Path) -> None:
    """By the clock that all processes share and nobody sets."""
    now = time.monotonic()
    os.utime(path, (now, now))


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process was faster
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
