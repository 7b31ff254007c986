"""Marian: unidirectional encoder, attention within the first decoder layer, fp32; from the Python package pymarian.

It spreads batches over its threads: with two, two batches are decoded at once, each on one thread. That serves
throughput; one sentence by itself, of which the other contenders use all threads for one, takes twice as long as its
number of sentences a second suggests.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.benchmarks.peers.peer import TRAINING_BATCH_SIZE, UPDATES, Peer, Report, Task, on_threads
from tests.benchmarks.peers.text import VOCABULARY_SIZE, Text

OUTPUT_BIAS = "decoder_ff_logit_l2_b"
FORBIDDEN = -1e4


class Marian(Peer):
    """Trained by its own command, decoded through its Python interface, which loads the model once."""

    name = "marian"
    title = "Marian 1.12.42"
    note = (
        "attention in the first decoder layer; each thread decodes a batch of its own, so several are under way at once"
    )
    needs_torch = False

    def prepare(self, text: Text, threads: int) -> None:
        entries = text.vocabulary(["</s>", "<unk>"])
        vocabulary = self.write(
            "vocabulary.yml", [f"{json.dumps(word)}: {place}" for place, word in enumerate(entries)]
        )
        source = self.write("train.source", text.training_source)
        target = self.write("train.target", text.training_target)
        trained = self.work / "trained.npz"
        trained.unlink(missing_ok=True)  # otherwise it would go on from where it stopped
        options: dict[str, list[object]] = {
            "--type": ["s2s"],
            "--enc-type": ["unidirectional"],
            "--enc-cell": ["lstm"],
            "--dec-cell": ["lstm"],
            "--enc-depth": [4],
            "--dec-depth": [4],
            "--dec-cell-base-depth": [2],
            "--dim-rnn": [512],
            "--dim-emb": [512],
            "--cpu-threads": [threads],
            "--mini-batch": [TRAINING_BATCH_SIZE],
            "--maxi-batch": [10],
            "--max-length": [100],
            "--after-batches": [UPDATES],
            "--disp-freq": [4],
            "--workspace": [1000],
            "--seed": [1],
            "--vocabs": [vocabulary, vocabulary],
            "--dim-vocabs": [VOCABULARY_SIZE, VOCABULARY_SIZE],
            "--train-sets": [source, target],
            "--model": [trained],
        }
        words = [str(word) for option, values in options.items() for word in (option, *values)]
        self.drive("train", *words, log="train.log", environment=on_threads(1))
        forbid_end_symbol(trained, self.work / "model.npz")

    def _decode(self, source: Path, output: Path, task: Task) -> Report:
        with np.load(self.work / "model.npz") as weights:
            columns = int(weights[OUTPUT_BIAS].shape[-1])
        request = {
            "model": str(self.work / "model.npz"),
            "vocabulary": str(self.work / "vocabulary.yml"),
            "source": str(source),
            "output": str(output),
            "report": str(self.report),
            "columns": columns,
            "batch_size": task.batch_size,
            "beam": task.beam,
            "tokens": task.tokens,
            "threads": task.threads,
        }
        # One thread each for what Marian is built on: its own threads are what the task asks for.
        self.drive("translate", json.dumps(request), log="decode.log", environment=on_threads(1))
        return self.read_report()


def forbid_end_symbol(trained: Path, model: Path) -> None:
    """Copy a model with so low a bias of the end symbol that it is never chosen.

    Marian has no least length, and an untrained model ends most sentences at once and would look ten times as fast.
    """
    with np.load(trained) as archive:
        weights = {name: archive[name] for name in archive.files}
    weights[OUTPUT_BIAS] = weights[OUTPUT_BIAS].copy()
    weights[OUTPUT_BIAS][..., 0] = FORBIDDEN
    np.savez(model, **weights)
