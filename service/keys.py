"""API keys: a JSON file of their hashes, `create_key` for the command line, and `KeyRing` for the service.

A key is 32 random bytes in base64url. Its SHA-256 is kept and nothing else of it: a slow hash protects short passwords
against guessing, and 256 random bits need no protection.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from service.rates import checked_rate_limit

log = structlog.get_logger(__name__)

Scope = Literal["translate", "metrics", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class KeyFileError(ValueError):
    """A file of keys that cannot be used; the message names it and says what is wrong."""


class Key(BaseModel):
    """What is known of a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, description="Whose it is; stands in the log.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = ("translate",)
    rate_limit: str = Field(default="", description="Such as '60/minute;5000/day', in the place of the service's own.")
    created: str = ""

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, value: str) -> str:
        return checked_rate_limit(value)


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...]


class KeyRing:
    """The keys of a file, which is read again when it has changed. Safe for several threads."""

    def __init__(self, path: Path | None) -> None:
        """Without a path no key is needed anywhere. Raises `KeyFileError`."""
        self._path = path
        self._lock = threading.Lock()
        self._version: object = None
        self._keys: tuple[Key, ...] = ()
        if path is not None:
            self._version = _version(path)
            self._keys = read_keys(path)

    @property
    def needed(self) -> bool:
        """Whether there is a file of keys at all."""
        return self._path is not None

    def find(self, secret: str) -> Key | None:
        """The key, or None. The time it takes does not tell how much of a hash was right."""
        self._refresh()
        digest = hashlib.sha256(secret.encode("utf-8", errors="replace")).hexdigest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def _refresh(self) -> None:
        if self._path is None:
            return
        with self._lock:
            version = _version(self._path)
            if version == self._version:
                return
            self._version = version
            try:
                self._keys = read_keys(self._path)
                log.info("keys read again", keys=len(self._keys))
            except KeyFileError as error:
                log.error("the file of keys cannot be used; those from before stay", reason=str(error))


def read_keys(path: Path) -> tuple[Key, ...]:
    """Raises `KeyFileError`."""
    try:
        keys = _KeyFile.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise KeyFileError(
            f"{path}: cannot be read: {error.strerror}; make it by: python -m service create-key"
        ) from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise KeyFileError(f"{path}: {place + ': ' if place else ''}{fault['msg']}") from None
    names = [key.name for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise KeyFileError(f"{path}: there are two keys named {name}")
    return keys


def create_key(path: Path, name: str, scopes: tuple[Scope, ...], rate_limit: str) -> str:
    """Add a key to the file, which is made if there is none, and return it: it can be read nowhere else.

    Raises `KeyFileError`; the file is then as it was before.
    """
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    try:
        key = Key(
            name=name,
            sha256=digest,
            scopes=scopes,
            rate_limit=rate_limit,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise KeyFileError(f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}") from None
    keys = read_keys(path) if path.exists() else ()
    if any(other.name == name for other in keys):
        raise KeyFileError(
            f"{path}: there is a key named {name} already; delete it there first, or choose another name"
        )
    draft = path.with_name(path.name + ".new")
    try:
        draft.touch(mode=0o600)
        draft.write_text(_KeyFile(keys=(*keys, key)).model_dump_json(indent=2) + "\n", encoding="utf-8")
        if path.exists():
            draft.chmod(path.stat().st_mode)  # the service may read it by its group
        draft.replace(path)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None
    return secret


def _version(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
