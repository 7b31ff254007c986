"""Marian: unidirectional encoder, attention within the first decoder layer, fp32; from the Python package pymarian.

It spreads batches over its threads: with two, two batches are decoded at once, each on one thread. That serves
throughput; one sentence by itself, of which the other contenders use all threads for one, takes twice as long as its
number of sentences a second suggests.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from tests.benchmarks.peers.peer import (
    DRIVERS,
    ENDLESS,
    TRAINING_BATCH_SIZE,
    UPDATES,
    Peer,
    Report,
    Task,
    on_threads,
    run_until,
)
from tests.benchmarks.peers.text import VOCABULARY_SIZE, Text
from tests.benchmarks.peers.training_task import (
    CLIP_NORM,
    DROPOUT,
    LABEL_SMOOTHING,
    LEARNING_RATE,
    TrainingSpeed,
    TrainingTask,
)

OUTPUT_BIAS = "decoder_ff_logit_l2_b"
FORBIDDEN = -1e4
_UPDATE = re.compile(r"Up\. \d+ :.*? \* (?P<labels>[\d,]+) @ .*? : Time (?P<seconds>[\d.]+)s")


class Marian(Peer):
    """Trained by its own command, decoded through its Python interface, which loads the model once."""

    name = "marian"
    title = "Marian 1.12.42"
    note = (
        "attention in the first decoder layer; each thread decodes a batch of its own, so several are under way at once"
    )
    needs_torch = False

    def prepare(self, text: Text, threads: int) -> None:
        trained = self.work / "trained.npz"
        trained.unlink(missing_ok=True)  # otherwise it would go on from where it stopped
        words = self._options(
            text,
            ".",
            threads,
            {
                "--mini-batch": [TRAINING_BATCH_SIZE],
                "--maxi-batch": [10],
                "--after-batches": [UPDATES],
                "--disp-freq": [4],
                "--workspace": [1000],
                "--model": [trained],
            },
        )
        self.drive("train", *words, log="train.log", environment=on_threads(1))
        forbid_end_symbol(trained, self.work / "model.npz")

    def train(self, text: Text, task: TrainingTask) -> TrainingSpeed:
        """Marian's own log has for every update its labels, padding not counted, and its seconds."""
        words = self._options(
            text,
            "training",
            task.threads,
            {
                "--mini-batch": [task.batch_size],
                "--after-batches": [ENDLESS],
                "--disp-freq": [1],
                "--workspace": [3000],
                "--dropout-rnn": [DROPOUT],
                "--label-smoothing": [LABEL_SMOOTHING],
                "--clip-norm": [CLIP_NORM],
                "--learn-rate": [LEARNING_RATE],
                "--seed": [task.seed],
                "--model": [self.work / "training" / "model.npz"],
            },
        )
        log = self.work / "training" / "train.log"
        command = [self.python, DRIVERS / "drive_marian.py", "train", *words]
        run_until(command, log, on_threads(1), lambda printed: speed_from_log(printed, task) is not None)
        speed = speed_from_log(log.read_text(encoding="utf-8", errors="replace"), task)
        assert speed is not None
        return speed

    def _options(self, text: Text, folder: str, threads: int, further: dict[str, list[object]]) -> list[str]:
        """Write vocabulary and text into a folder of the working folder; the words of the command line."""
        entries = text.vocabulary(["</s>", "<unk>"])
        vocabulary = self.write(
            f"{folder}/vocabulary.yml", [f"{json.dumps(word)}: {place}" for place, word in enumerate(entries)]
        )
        source = self.write(f"{folder}/train.source", text.training_source)
        target = self.write(f"{folder}/train.target", text.training_target)
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
            "--max-length": [100],
            "--seed": [1],
            "--vocabs": [vocabulary, vocabulary],
            "--dim-vocabs": [VOCABULARY_SIZE, VOCABULARY_SIZE],
            "--train-sets": [source, target],
            **further,
        }
        return [str(word) for option, values in options.items() for word in (option, *values)]

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


def speed_from_log(printed: str, task: TrainingTask) -> TrainingSpeed | None:
    """The updates after the warm-up, from Marian's lines of one update each; None as long as there are too few."""
    seconds, tokens, updates, warm = 0.0, 0, 0, 0.0
    for line in _UPDATE.finditer(printed):
        taken = float(line["seconds"])
        if warm < task.warm_up_seconds:
            warm += taken
            continue
        seconds += taken
        tokens += int(line["labels"].replace(",", ""))
        updates += 1
        if seconds >= task.seconds:
            return TrainingSpeed(updates=updates, target_tokens=tokens, seconds=seconds)
    return None
