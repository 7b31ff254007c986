"""OpenNMT-py: unidirectional encoder, attention of Luong's general kind with input feeding, fp32."""

from __future__ import annotations

import re
from pathlib import Path

from tests.benchmarks.peers.peer import (
    TRAINING_BATCH_SIZE,
    UPDATES,
    Peer,
    PeerError,
    Report,
    Task,
    on_threads,
)
from tests.benchmarks.peers.text import VOCABULARY_SIZE, Text

CONFIGURATION = """\
data:
  corpus_1: {{path_src: "{work}/train.source", path_tgt: "{work}/train.target"}}
src_vocab: "{work}/vocabulary.txt"
tgt_vocab: "{work}/vocabulary.txt"
src_vocab_size: {vocabulary_size}
tgt_vocab_size: {vocabulary_size}
save_model: "{work}/model"
encoder_type: rnn
decoder_type: rnn
rnn_type: LSTM
enc_layers: 4
dec_layers: 4
hidden_size: 512
word_vec_size: 512
global_attention: general
input_feed: 1
dropout: [0.2]
batch_type: sents
batch_size: {batch_size}
bucket_size: 512
num_workers: 0
optim: adam
learning_rate: 0.001
train_steps: {updates}
save_checkpoint_steps: {updates}
valid_steps: 1000000
report_every: 4
seed: 1
"""


class OpenNMT(Peer):
    """Driven by its own commands onmt_train and onmt_translate."""

    name = "opennmt"
    title = "OpenNMT-py 3.5.1"
    note = "Luong's general attention"

    def prepare(self, text: Text, threads: int) -> None:
        self.write("vocabulary.txt", [f"{word}\t1" for word in text.vocabulary(["<unk>", "<blank>", "<s>", "</s>"])])
        self.write("train.source", text.training_source)
        self.write("train.target", text.training_target)
        configuration = CONFIGURATION.format(
            work=self.work, vocabulary_size=VOCABULARY_SIZE, batch_size=TRAINING_BATCH_SIZE, updates=UPDATES
        )
        self.write("train.yaml", configuration.splitlines())
        arguments = ("train", self.report, "-config", self.work / "train.yaml")
        self.drive(*arguments, log="train.log", environment=on_threads(threads))

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
