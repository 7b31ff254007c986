"""Our own decoder, for the comparison with the peers; it runs in a fresh process for every measurement.

As a command it reads one request from standard input, a JSON object of `decode`'s arguments, and prints one with the
seconds: `{"seconds": 1.5}`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.benchmarks.peers.peer import LONGEST_SECONDS, PeerError, Task, on_threads
from tests.benchmarks.peers.text import VOCABULARY_SIZE, Text
from translator.config import ModelConfig, SearchOptions
from translator.decoder import decode as search
from translator.engines.cpu import CPUEngine, Precision
from translator.model import Seq2Seq
from translator.search import Query

REPOSITORY = Path(__file__).parents[3]
LAYERS, SIZE, EOS = 4, 512, 2
PRECISIONS: dict[str, Precision] = {"int8": "int8", "bf16": "bfloat16", "fp32": "float32"}


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
    torch.set_num_threads(threads)
    config = ModelConfig(
        source_vocabulary_size=VOCABULARY_SIZE,
        target_vocabulary_size=VOCABULARY_SIZE,
        embedding_size=SIZE,
        hidden_size=SIZE,
        num_layers=LAYERS,
        attention="dot" if attention else "none",
    )
    model = Seq2Seq(config).eval()
    model.initialise(seed=1)
    # Without an end symbol every translation goes on to its maximum length.
    engine = CPUEngine(
        model, source_eos_id=EOS, target_eos_id=EOS, forbidden=(EOS,), precision=PRECISIONS[precision], threads=threads
    )
    options = SearchOptions(beam_size=beam, max_length=tokens)
    words = [f"w{number}" for number in range(VOCABULARY_SIZE)]
    number_of = {word: number for number, word in enumerate(words)}
    lines = [" ".join(words[number] for number in sentence) for sentence in sentences]
    translations: list[str] = []
    start = time.perf_counter()
    for first in range(0, len(lines), batch_size):
        batch = [tuple(number_of[word] for word in line.split()) for line in lines[first : first + batch_size]]
        found = search(engine, [Query(source, options) for source in batch], max_rows=batch_size * beam)
        translations += [" ".join(words[token] for token in hypotheses[0].tokens) for hypotheses in found]
    seconds = time.perf_counter() - start
    if any(len(translation.split()) != tokens for translation in translations):
        raise PeerError(f"not every translation has {tokens} tokens")
    return seconds


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
