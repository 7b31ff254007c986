"""What all tests share: small threads, hypothesis profiles, a free port and a tiny model directory."""

from __future__ import annotations

import os

# Two threads of OpenMP on a tiny matrix wait for each other longer than they compute. Set before torch is imported, and
# inherited by the processes that the tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.support import ENGLISH, FRENCH, unused_port
from training.subwords import train_vocabulary
from translator.card import Card, TrainingLengths
from translator.config import ModelConfig
from translator.directory import load_model, save_model
from translator.model import Seq2Seq

# A shell lets what it starts in the background ignore Ctrl-C, and the processes of the tests would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("fast", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", deadline=None, max_examples=1_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session", autouse=True)
def _surroundings() -> None:
    """One thread, and none of a person's own settings of the service."""
    torch.set_num_threads(1)
    for name in [name for name in os.environ if name.startswith("TRANSLATE_")]:
        del os.environ[name]


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listened on a moment ago."""
    return unused_port()


@pytest.fixture(scope="session")
def tiny_model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete English→French model directory with random weights: everything but good French."""
    source_vocabulary, _ = train_vocabulary(ENGLISH, size=400, model_type="unigram", seed=1)
    target_vocabulary, _ = train_vocabulary(FRENCH, size=400, model_type="unigram", seed=1)
    model = Seq2Seq(
        ModelConfig(
            source_vocabulary_size=source_vocabulary.size,
            target_vocabulary_size=target_vocabulary.size,
            embedding_size=16,
            hidden_size=16,
            num_layers=2,
            residual=True,
        )
    )
    model.initialise(seed=1)
    lengths = (
        [len(source_vocabulary.encode(text)) for text in ENGLISH],
        [len(target_vocabulary.encode(t)) for t in FRENCH],
    )
    card = Card(
        name="tiny-en-fr",
        source_language="en",
        target_language="fr",
        intended_use="Tests only: its weights are random.",
        not_for="Translating.",
        length_penalty=0.6,
        parameters=model.parameter_count(),
        training_lengths=TrainingLengths(
            source_mean=sum(lengths[0]) / len(ENGLISH),
            source_99th_percentile=max(lengths[0]),
            source_maximum=max(lengths[0]),
            target_mean=sum(lengths[1]) / len(FRENCH),
            target_99th_percentile=max(lengths[1]),
            target_maximum=max(lengths[1]),
        ),
        examples=list(ENGLISH[:3]),
    )
    path = tmp_path_factory.mktemp("models") / "tiny-en-fr"
    save_model(path, model=model, source_vocabulary=source_vocabulary, target_vocabulary=target_vocabulary, card=card)
    return path


@pytest.fixture(scope="session")
def second_model_directory(tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same vocabularies with other weights, for an ensemble with the first."""
    loaded = load_model(tiny_model_directory)
    model = Seq2Seq(loaded.config)
    model.initialise(seed=2, initial_range=0.5)
    path = tmp_path_factory.mktemp("second") / "second-en-fr"
    save_model(
        path,
        model=model,
        source_vocabulary=loaded.source_vocabulary,
        target_vocabulary=loaded.target_vocabulary,
        card=loaded.card.model_copy(update={"name": "second-en-fr"}),
    )
    return path
