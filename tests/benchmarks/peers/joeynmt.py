"""JoeyNMT: bidirectional encoder of 4 layers of 2 × 256, Luong's attention with input feeding, fp32.

Its unidirectional encoder of LSTMs fails with an IndexError in this version, hence the bidirectional one.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.benchmarks.peers.peer import (
    ENDLESS,
    TRAINING_BATCH_SIZE,
    UPDATES,
    Peer,
    PeerError,
    Report,
    Task,
    on_threads,
)
from tests.benchmarks.peers.text import Text
from tests.benchmarks.peers.training_task import (
    CLIP_NORM,
    DROPOUT,
    LABEL_SMOOTHING,
    LEARNING_RATE,
    TrainingSpeed,
    TrainingTask,
)

CONFIGURATION = """\
name: "benchmark"
joeynmt_version: "2.3.0"
model_dir: "{folder}/model"
use_cuda: False
fp16: False
random_seed: {seed}
data:
  train: "{folder}/train"
  dev: "{folder}/development"
  dataset_type: "plain"
  src: {{lang: "source", level: "word", lowercase: False, max_length: 100, voc_file: "{folder}/vocabulary.txt"}}
  trg: {{lang: "target", level: "word", lowercase: False, max_length: 100, voc_file: "{folder}/vocabulary.txt"}}
  special_symbols: {{unk_token: "<unk>", unk_id: 0, pad_token: "<pad>", pad_id: 1, bos_token: "<s>", bos_id: 2,
    eos_token: "</s>", eos_id: 3}}
testing: {{n_best: 1, beam_size: {beam}, beam_alpha: 1.0, batch_size: {decoding_batch_size}, batch_type: "sentence",
  max_output_length: {tokens}, min_output_length: {tokens}, eval_metrics: []}}
training:
  optimizer: "adam"
  learning_rate: {learning_rate}
  batch_size: {batch_size}
  batch_type: "sentence"
  normalization: "tokens"
  label_smoothing: {label_smoothing}
  clip_grad_norm: {clip_norm}
  loss: "crossentropy"
  scheduling: "exponential"
  decrease_factor: 0.99
  early_stopping_metric: "loss"
  num_workers: 0
  epochs: {updates}
  updates: {updates}
  validation_freq: {updates}
  logging_freq: 3
  overwrite: True
  print_valid_sents: []
model:
  initializer: "xavier_uniform"
  tied_embeddings: False
  tied_softmax: False
  encoder: {{type: "recurrent", rnn_type: "lstm", embeddings: {{embedding_dim: 512}}, hidden_size: 256,
    bidirectional: True, dropout: {dropout}, num_layers: 4}}
  decoder: {{type: "recurrent", rnn_type: "lstm", embeddings: {{embedding_dim: 512}}, hidden_size: 512,
    dropout: {dropout}, num_layers: 4, input_feeding: True, init_hidden: "bridge", attention: "luong"}}
"""


class JoeyNMT(Peer):
    """Driven by its own commands train and translate."""

    name = "joeynmt"
    title = "JoeyNMT 2.3.0"
    note = "Luong's general attention; its encoder is bidirectional, 2 × 256"

    def prepare(self, text: Text, threads: int) -> None:
        self._write_text(text, ".")
        configuration = self._configure("train.yaml", Task(batch_size=1))
        self.drive("train", configuration, "0", self.report, log="train.log", environment=on_threads(threads))

    def train(self, text: Text, task: TrainingTask) -> TrainingSpeed:
        self._write_text(text, "training")
        configuration = self._configure(
            "training/train.yaml",
            Task(batch_size=1),
            batch_size=task.batch_size,
            updates=ENDLESS,
            seed=task.seed,
        )
        return self.measure_training(configuration, task=task)

    def _write_text(self, text: Text, folder: str) -> None:
        self.write(f"{folder}/vocabulary.txt", text.vocabulary(["<unk>", "<pad>", "<s>", "</s>"]))
        self.write(f"{folder}/train.source", text.training_source)
        self.write(f"{folder}/train.target", text.training_target)
        self.write(f"{folder}/development.source", text.training_source[:2])
        self.write(f"{folder}/development.target", text.training_target[:2])

    def _decode(self, source: Path, output: Path, task: Task) -> Report:
        configuration = self._configure("translate.yaml", task)
        arguments = ("translate", configuration, str(task.tokens), self.report, source, output)
        printed = self.drive(*arguments, log="decode.log", environment=on_threads(task.threads))
        taken = re.search(r"Generation took ([0-9.]+)\[sec\]", printed)
        if not taken:
            raise PeerError("it did not say how long it took")
        return self.read_report(seconds=float(taken[1]))

    def _configure(
        self,
        name: str,
        task: Task,
        *,
        batch_size: int = TRAINING_BATCH_SIZE,
        updates: int = UPDATES,
        seed: int = 1,
    ) -> Path:
        configuration = CONFIGURATION.format(
            folder=(self.work / name).parent,
            beam=task.beam,
            tokens=task.tokens,
            decoding_batch_size=task.batch_size,
            batch_size=batch_size,
            updates=updates,
            seed=seed,
            dropout=DROPOUT,
            learning_rate=LEARNING_RATE,
            label_smoothing=LABEL_SMOOTHING,
            clip_norm=CLIP_NORM,
        )
        return self.write(name, configuration.splitlines())
