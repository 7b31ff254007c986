"""What passes between the command and its workers. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from translator.corpus.manifest import Manifest


@dataclass(frozen=True)
class Work:
    """What is the same for all shards. Paths are as every worker sees them."""

    models: tuple[str, ...]
    files: tuple[Path, ...]
    output: Path
    manifest: Manifest


@dataclass(frozen=True)
class Outcome:
    """Of one shard: how many rows have a warning, by its code. An `error` is for people; nothing was written then."""

    number: int
    rows: int = 0
    warnings: dict[str, int] = field(default_factory=dict)
    error: str = ""

    def on(self, machine: str) -> Outcome:
        """The same, with the name of the machine where something went wrong."""
        return replace(self, error=f"on {machine}: {self.error}") if self.error else self
