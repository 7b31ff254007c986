"""Our own decoder, for the comparison with the peers; it runs in a fresh process for every measurement.

As a command it reads one request from standard input, a JSON object of `decode`'s arguments, and prints one with the
seconds: `{"seconds": 1.5}`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.peer import LONGEST_SECONDS, PeerError, Task, on_threads
from tests.benchmarks.peers.text import Text

REPOSITORY = Path(__file__).parents[3]


def decode(
    precision: str,
    attention: bool,
    batch_size: int,
    sentences: list[list[int]],
    beam: int,
    tokens: int,
    threads: int,
) -> float:
    """Translate the sentences with random weights of the peers' shape; the seconds of decoding, loading excluded.

    4+4 layers of 512, embeddings of 512, `VOCABULARY_SIZE` target tokens. `sentences` are numbers from `SPECIAL_COUNT`
    up and below `VOCABULARY_SIZE`. Every translation has `tokens` tokens, no fewer and no more.
    """
    raise NotImplementedError("our own decoder is not connected to this benchmark yet")


@dataclass(frozen=True)
class Ours:
    """One way to run our own decoder."""

    precision: str
    attention: bool

    @property
    def title(self) -> str:
        return f"ours, {self.precision}{', attention' if self.attention else ''}"

    def decode(self, text: Text, sentences: Sequence[str], task: Task) -> float:
        """The seconds of a decoding in a process of its own; PeerError if it fails."""
        request = {
            "precision": self.precision,
            "attention": self.attention,
            "batch_size": task.batch_size,
            "sentences": text.identifiers(sentences),
            "beam": task.beam,
            "tokens": task.tokens,
            "threads": task.threads,
        }
        try:
            finished = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.peers.ours"],
                input=json.dumps(request),
                cwd=REPOSITORY,
                env={**os.environ, **on_threads(task.threads)},
                capture_output=True,
                text=True,
                timeout=LONGEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"it took more than {LONGEST_SECONDS} s") from error
        if finished.returncode:
            raise PeerError(finished.stderr.strip().rpartition("\n")[2] or f"exit status {finished.returncode}")
        return float(json.loads(finished.stdout.splitlines()[-1])["seconds"])


if __name__ == "__main__":
    print(json.dumps({"seconds": decode(**json.load(sys.stdin))}))
