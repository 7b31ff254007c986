"""OpenNMT-py: unidirectional encoder, attention of Luong's general kind with input feeding, fp32."""

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
from tests.benchmarks.peers.text import VOCABULARY_SIZE, Text
from tests.benchmarks.peers.training_task import (
    CLIP_NORM,
    DROPOUT,
    LABEL_SMOOTHING,
    LEARNING_RATE,
    TrainingSpeed,
    TrainingTask,
)

CONFIGURATION = """\
data:
  corpus_1: {{path_src: "{folder}/train.source", path_tgt: "{folder}/train.target"}}
src_vocab: "{folder}/vocabulary.txt"
tgt_vocab: "{folder}/vocabulary.txt"
src_vocab_size: {vocabulary_size}
tgt_vocab_size: {vocabulary_size}
save_model: "{folder}/model"
encoder_type: rnn
decoder_type: rnn
rnn_type: LSTM
enc_layers: 4
dec_layers: 4
hidden_size: 512
word_vec_size: 512
global_attention: general
input_feed: 1
dropout: [{dropout}]
batch_type: sents
batch_size: {batch_size}
bucket_size: {bucket_size}
num_workers: 0
optim: adam
learning_rate: {learning_rate}
train_steps: {updates}
save_checkpoint_steps: {updates}
valid_steps: 1000000
report_every: 4
seed: {seed}
label_smoothing: {label_smoothing}
max_grad_norm: {clip_norm}
"""


class OpenNMT(Peer):
    """Driven by its own commands onmt_train and onmt_translate."""

    name = "opennmt"
    title = "OpenNMT-py 3.5.1"
    note = "Luong's general attention"
    bucket_size = 262_144
    """Pairs that are sorted by length together before they are cut into batches; its default, which holds a small
    corpus whole: the least padding."""

    def prepare(self, text: Text, threads: int) -> None:
        configuration = self._configure(text, ".", batch_size=TRAINING_BATCH_SIZE, updates=UPDATES, bucket_size=512)
        arguments = ("train", self.report, "-config", configuration)
        self.drive(*arguments, log="train.log", environment=on_threads(threads))

    def train(self, text: Text, task: TrainingTask) -> TrainingSpeed:
        configuration = self._configure(
            text, "training", batch_size=task.batch_size, updates=ENDLESS, bucket_size=self.bucket_size, seed=task.seed
        )
        return self.measure_training("-config", configuration, task=task)

    def _configure(
        self, text: Text, folder: str, *, batch_size: int, updates: int, bucket_size: int, seed: int = 1
    ) -> Path:
        """Write vocabulary, text and configuration into a folder of the working folder."""
        entries = text.vocabulary(["<unk>", "<blank>", "<s>", "</s>"])
        self.write(f"{folder}/vocabulary.txt", [f"{word}\t1" for word in entries])
        self.write(f"{folder}/train.source", text.training_source)
        self.write(f"{folder}/train.target", text.training_target)
        configuration = CONFIGURATION.format(
            folder=self.work / folder,
            vocabulary_size=VOCABULARY_SIZE,
            batch_size=batch_size,
            updates=updates,
            bucket_size=bucket_size,
            seed=seed,
            dropout=DROPOUT,
            learning_rate=LEARNING_RATE,
            label_smoothing=LABEL_SMOOTHING,
            clip_norm=CLIP_NORM,
        )
        return self.write(f"{folder}/train.yaml", configuration.splitlines())

    def _decode(self, source: Path, output: Path, task: Task) -> Report:
        options = {
            "-model": self.work / f"model_step_{UPDATES}.pt",
            "-src": source,
            "-output": output,
            "-beam_size": task.beam,
            "-batch_size": task.batch_size,
            "-batch_type": "sents",
            "-min_length": task.tokens,
            "-max_length": task.tokens,
        }
        words = [str(word) for option in options.items() for word in option]
        # Its checkpoints hold more than tensors, which PyTorch refuses to load unless told that they are trusted.
        environment = {**on_threads(task.threads), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        printed = self.drive(
            "translate", self.report, *words, "-report_time", log="decode.log", environment=environment
        )
        # The average is written to a tenth of a millisecond and the total only to a tenth of a second.
        average = re.search(r"Average translation time \(ms\): ([0-9.]+)", printed)
        if not average:
            raise PeerError("it did not say how long it took")
        sentences = len(source.read_text(encoding="utf-8").splitlines())
        return self.read_report(seconds=float(average[1]) / 1000 * sentences)


class OpenNMTInSmallBuckets(OpenNMT):
    """The same with more of a shuffle: short of sorting the whole corpus, and with more padding."""

    title = "OpenNMT-py 3.5.1, buckets of 4,096"
    bucket_size = 4_096
