"""The mean of several models' weights, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import ENGLISH, FRENCH
from training.average import average_models
from training.checkpoint import write_checkpoint
from training.errors import InputError
from training.kept_models import kept_model, kept_models, remove_older_models
from training.subwords import train_vocabulary
from translator import Translator
from translator.card import Card, Score, TrainingRecord
from translator.config import ModelConfig
from translator.directory import load_model, save_model
from translator.model import Seq2Seq

Make = Callable[..., Path]
SOURCE, _ = train_vocabulary(ENGLISH, size=400, model_type="unigram", seed=1)
TARGET, _ = train_vocabulary(FRENCH, size=400, model_type="unigram", seed=1)


def card(updates: int, **options: Any) -> Card:
    training = TrainingRecord(
        recipe="tiny", seed=1, updates=updates, epochs=1, target_tokens=1, minutes=1, device="", torch_version=""
    )
    settings: dict[str, Any] = {"name": "tiny", "source_language": "en", "target_language": "fr"}
    scores = [Score(test_set="dev", metric="BLEU", value=12.0)]
    return Card(**(settings | {"training": training, "scores": scores} | options))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a model directory with weights of its own."""

    def make_model(name: str, seed: int, *, storage: Any = "float32", shape: Any = None, **card_options: Any) -> Path:
        sizes = {"embedding_size": 16, "hidden_size": 16, "num_layers": 2} | (shape or {})
        config = ModelConfig(source_vocabulary_size=SOURCE.size, target_vocabulary_size=TARGET.size, **sizes)
        model = Seq2Seq(config)
        model.initialise(seed=seed)
        path = tmp_path / name
        save_model(
            path,
            model=model,
            source_vocabulary=card_options.pop("source_vocabulary", SOURCE),
            target_vocabulary=TARGET,
            card=card(100 * seed, **card_options),
            storage=storage,
        )
        return path

    return make_model


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).model.state_dict()


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("shape", [{}, {"tie_target_embedding": True}])
def test_each_weight_is_the_mean_of_the_models_weights(
    make: Make, tmp_path: Path, storage: str, shape: dict[str, Any]
) -> None:
    paths = [make(f"model-{seed}", seed, storage=storage, shape=shape) for seed in (1, 2, 3)]
    average_models(paths, tmp_path / "mean")
    members = [weights(path) for path in paths]
    for name, weight in weights(tmp_path / "mean").items():
        expected = torch.stack([member[name].double() for member in members]).mean(0)
        assert torch.equal(weight, expected.float()), name


def test_the_mean_of_equal_models_is_that_model_to_the_bit(make: Make, tmp_path: Path) -> None:
    path = make("model", 1)
    average_models([path] * 3, tmp_path / "mean")
    mean, model = weights(tmp_path / "mean"), weights(path)
    assert all(torch.equal(mean[name], model[name]) for name in model)


def test_a_shipped_model_is_known_by_its_name(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"networks of different shape: .*hidden_size 512 and 16"):
        average_models([Path("en-fr"), make("model", 1)], tmp_path / "mean")


def test_the_card_says_what_was_averaged_and_claims_no_score(make: Make, tmp_path: Path) -> None:
    paths = [make("late", 2), make("early", 1)]
    average_models(paths, tmp_path / "mean", storage="int8")
    written = load_model(tmp_path / "mean").card
    assert [(member.updates, member.weights_sha256) for member in written.averaged] == [
        (load_model(path).card.training.updates, load_model(path).card.files["model.safetensors"].sha256)  # type: ignore[union-attr]
        for path in paths
    ]
    assert written.training is not None
    assert written.training.updates == 200
    assert written.scores == []
    assert written.weight_storage == "int8"
    assert "mean of 2 models, after 200, 100 updates" in (tmp_path / "mean" / "README.md").read_text(encoding="utf-8")
    assert Translator.load(tmp_path / "mean").translate("Where is the station?").text is not None
    assert "averaged" not in load_model(paths[0]).card.model_dump()


def test_a_checkpoint_takes_its_vocabularies_from_its_run(make: Make, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    best, other = make("run/model", 1), make("other", 2)
    loaded = load_model(other)
    state = {"model": loaded.model.state_dict(), "shape": loaded.config.model_dump(), "position": {"update": 250}}
    write_checkpoint(tmp_path / "run" / "state" / "checkpoint.pt", state)
    average_models([best, tmp_path / "run" / "state" / "checkpoint.pt"], tmp_path / "mean")
    one, two, mean = weights(best), weights(other), weights(tmp_path / "mean")
    assert all(torch.allclose(mean[name], (one[name] + two[name]) / 2, atol=1e-8) for name in mean)
    assert [member.updates for member in load_model(tmp_path / "mean").card.averaged] == [100, 250]
    shutil.rmtree(best)
    with pytest.raises(InputError, match="run's model directory is missing"):
        average_models([other, tmp_path / "run" / "state" / "checkpoint.pt"], tmp_path / "mean-2")


def test_of_a_checkpoint_with_a_moving_average_that_is_taken_which_was_measured(make: Make, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    best, raw, moving = make("run/model", 1), make("raw", 2), make("moving", 3)
    state = {
        "model": weights(raw),
        "average": {"n_averaged": torch.tensor(7)} | {f"module.{name}": each for name, each in weights(moving).items()},
        "shape": load_model(raw).config.model_dump(),
        "position": {"update": 250},
    }
    write_checkpoint(tmp_path / "run" / "state" / "checkpoint.pt", state)
    average_models([best, tmp_path / "run" / "state" / "checkpoint.pt"], tmp_path / "mean")
    one, two, mean = weights(best), weights(moving), weights(tmp_path / "mean")
    assert all(torch.allclose(mean[name], (one[name] + two[name]) / 2, atol=1e-8) for name in mean)


def test_models_that_have_no_mean_are_refused(make: Make, tmp_path: Path) -> None:
    model = make("model", 1)
    # As many words, but others.
    others, _ = train_vocabulary([text.swapcase() for text in ENGLISH], size=SOURCE.size, model_type="unigram", seed=1)
    assert others.size == SOURCE.size
    refused = {
        "different shape: num_layers 2 and 3": make("deep", 1, shape={"num_layers": 3}),
        "different source vocabularies": make("words", 1, source_vocabulary=others),
        "target_language is fr and de": make("german", 1, target_language="de"),
        "nowhere": tmp_path / "nowhere",
    }
    for message, other in refused.items():
        with pytest.raises(InputError, match=message):
            average_models([model, other], tmp_path / "mean")
    with pytest.raises(InputError, match="two models at least"):
        average_models([model], tmp_path / "mean")
    with pytest.raises(InputError, match="exists already"):
        average_models([model, make("second", 2)], model)
    assert not (tmp_path / "mean").exists()


def test_the_last_models_are_kept_in_the_order_of_their_updates(tmp_path: Path) -> None:
    for update in (50, 200, 1000, 100):
        kept_model(tmp_path, update).mkdir(parents=True)
        (kept_model(tmp_path, update) / "card.json").touch()
    (tmp_path / "models" / ".1000-half-written").mkdir()
    remove_older_models(tmp_path, keep=3)
    assert [path.name for path in kept_models(tmp_path)] == ["100", "200", "1000"]
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["100", "1000", "200"]
    remove_older_models(tmp_path, keep=5)
    assert len(kept_models(tmp_path)) == 3
    assert kept_models(tmp_path / "nothing") == []
