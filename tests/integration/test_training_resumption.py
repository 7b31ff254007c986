"""Going on with a run that has changed, or gone wrong: what is no run any more is refused, and nothing bad is kept."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import training.trainer
from training.checkpoint import read_checkpoint
from training.distributed import World
from training.errors import InputError
from training.language_model import LanguageModelTrainer
from training.language_model_recipe import LanguageModelRecipe
from training.language_text import load_language_data
from training.prepared import load_prepared
from training.recipe import load_recipe
from training.recipe_file import read_recipe
from training.trainer import Trainer
from training.updating import Outcome
from training.validation import Validation

SMOKE = Path(__file__).parents[1] / "fixtures" / "smoke"
UPDATES = 39  # of one epoch


def trainer(prepared: Path, directory: Path, *overrides: str, resume: bool = False, said: Any = None) -> Trainer:
    options = ("evaluation.bleu_sentences=4", "evaluation.every_epochs=0.5", "optimisation.epochs=1", *overrides)
    recipe = load_recipe("smoke", [f"output.directory={directory}", *options])
    console = Console(file=said or io.StringIO(), width=300)
    return Trainer(recipe, load_prepared(prepared), world=World.alone(), console=console, resume=resume)


def state_of(directory: Path) -> dict[str, Any]:
    return read_checkpoint(directory / "state" / "checkpoint.pt")


def log_of(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.timeout(120)
def test_a_run_that_is_beyond_its_new_end_ends_as_it_is(prepared: Path, tmp_path: Path) -> None:
    trainer(prepared, tmp_path / "run").run()
    before, said = state_of(tmp_path / "run"), io.StringIO()
    trainer(prepared, tmp_path / "run", "optimisation.epochs=0.5", resume=True, said=said).run()
    after = state_of(tmp_path / "run")
    assert after["position"] == before["position"]
    assert all(torch.equal(after["model"][name], weight) for name, weight in before["model"].items())
    assert f"Resuming after update {UPDATES}; the recipe has no more" in said.getvalue()


@pytest.mark.parametrize(("first", "then"), [("adam", "sgd"), ("sgd", "adam")])
def test_another_optimiser_is_refused(prepared: Path, tmp_path: Path, first: str, then: str) -> None:
    trainer(prepared, tmp_path, f"optimisation.optimiser={first}", "optimisation.epochs=0.2").run()
    again = trainer(prepared, tmp_path, f"optimisation.optimiser={then}", resume=True)
    with pytest.raises(InputError, match=r"does not fit the recipe: optimisation\.optimiser was changed"):
        again.run()


def test_epochs_of_another_length_are_told(prepared: Path, tmp_path: Path) -> None:
    trainer(prepared, tmp_path, "optimisation.epochs=0.5").run()
    said = io.StringIO()
    trainer(prepared, tmp_path, "optimisation.batch_sentences=8", resume=True, said=said).run()
    assert f"updates now and had {UPDATES} before" in said.getvalue()
    said = io.StringIO()
    trainer(prepared, tmp_path, "optimisation.batch_sentences=8", resume=True, said=said).run()
    assert "Note: an epoch" not in said.getvalue()


def worsen(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
    """Make the loss far too high, but a number, from update `at` on; once."""
    update = trainer.updater.update
    left = [1]

    def worse(*arguments: Any, **keywords: Any) -> Outcome:
        if trainer.position.update == at and left.pop():
            left.append(0)
            with torch.no_grad():
                trainer.model.decoder.output.bias[5] += 5000.0
        return update(*arguments, **keywords)

    monkeypatch.setattr(trainer.updater, "update", worse)


def test_bad_weights_are_not_kept(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurement after half an epoch is the first that sees a loss; there is no line of the log before."""
    bad = trainer(prepared, tmp_path)
    worsen(bad, monkeypatch, at=10)
    with pytest.raises(InputError, match=r"(?s)training went wrong.*checkpoint +none yet"):
        bad.run()
    assert not (tmp_path / "state" / "checkpoint.pt").exists()
    assert not (tmp_path / "model").exists()


def test_it_goes_back_to_weights_that_were_good(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = trainer(prepared, tmp_path, "optimisation.epochs=2", "optimisation.on_divergence=roll-back")
    worsen(bad, monkeypatch, at=55)
    bad.run()
    assert state_of(tmp_path)["position"]["roll_backs"] == 1
    entries = [entry for entry in log_of(tmp_path) if entry["event"] == "train"]
    assert all(entry["loss"] < 10 for entry in entries if entry["update"] != 50)


def test_of_models_with_the_same_bleu_the_less_perplexed_is_kept(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([9.0, 7.0, 8.0])
    measure: Callable[..., Validation] = lambda *_: Validation(next(found), 0.0, "signature", 1, 4)  # noqa: E731
    monkeypatch.setattr(training.trainer, "validate", measure)
    trainer(prepared, tmp_path, "evaluation.every_epochs=0.4").run()
    position = state_of(tmp_path)["position"]
    assert (position["best_perplexity"], position["best_update"]) == (7.0, 32)
    assert position["validations_without_gain"] == 1


TEXT = [
    f"the {colour} {thing} is {place}"
    for colour in ("red", "green", "old", "new")
    for thing in ("door", "house", "road")
    for place in ("here", "there", "gone")
]


@pytest.fixture
def language_model(tmp_path: Path) -> Callable[..., LanguageModelTrainer]:
    (tmp_path / "one.txt").write_text("\n".join(TEXT) + "\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text("\n".join(f"why {line} xyz" for line in TEXT) + "\n", encoding="utf-8")

    def make(*overrides: str, said: Any = None) -> LanguageModelTrainer:
        settings = {
            "text.train": json.dumps([str(tmp_path / "one.txt")]),
            "text.dev": json.dumps([str(tmp_path / "one.txt")]),
            "output.directory": str(tmp_path / "run"),
            "model.hidden_size": "8",
            "model.embedding_size": "8",
            "model.num_layers": "1",
            "optimisation.epochs": "2",
            "optimisation.batch_sentences": "4",
            "training.every_epochs": "1",
        }
        given = [*(f"{key}={value}" for key, value in settings.items()), *overrides]
        recipe = read_recipe("char-language-model", given, LanguageModelRecipe)
        console = Console(file=said or io.StringIO(), width=300)
        return LanguageModelTrainer(recipe, load_language_data(recipe), console=console)

    return make


def test_a_language_model_does_not_go_on_with_other_units(
    language_model: Callable[..., LanguageModelTrainer], tmp_path: Path
) -> None:
    """Of the same number, so that the network fits them."""
    units = ("units.model_type=bpe", "units.vocabulary_size=300")
    language_model(*units).run(resume=False)
    vocabulary = tmp_path / "run" / "model" / "vocabulary.model"
    both = f"text.train={json.dumps([str(tmp_path / 'one.txt'), str(tmp_path / 'two.txt')])}"
    with pytest.raises(InputError, match=r"another vocabulary.*--set text\.vocabulary=") as refused:
        language_model(*units, both, "optimisation.epochs=3").run(resume=True)
    assert str(vocabulary) in str(refused.value)
    said = io.StringIO()  # what it advises works
    language_model(*units, both, f"text.vocabulary={vocabulary}", "optimisation.epochs=3", said=said).run(resume=True)
    assert "updates now and had 9 before" in said.getvalue()


def test_a_language_model_that_is_measured_on_other_texts_looks_for_its_best_anew(
    language_model: Callable[..., LanguageModelTrainer], tmp_path: Path
) -> None:
    first = language_model()
    first.run(resume=False)
    said = io.StringIO()
    (tmp_path / "hard.txt").write_text("wwwwwwww\n" * 5, encoding="utf-8")
    dev = f"text.dev={json.dumps([str(tmp_path / 'hard.txt')])}"
    again = language_model(dev, "optimisation.epochs=3", "optimisation.learning_rate=1e-9", said=said)
    again.run(resume=True)
    assert "dev holds other texts" in said.getvalue()
    assert again.position.best_bits > first.position.best_bits


def test_a_language_model_refuses_another_optimiser(language_model: Callable[..., LanguageModelTrainer]) -> None:
    language_model("optimisation.optimiser=adam").run(resume=False)
    with pytest.raises(InputError, match=r"optimisation\.optimiser was changed"):
        language_model("optimisation.optimiser=sgd", "optimisation.epochs=3").run(resume=True)


def test_a_diverged_language_model_is_not_kept(
    language_model: Callable[..., LanguageModelTrainer], tmp_path: Path
) -> None:
    language_model("optimisation.optimiser=sgd", "optimisation.learning_rate=0.1").run(resume=False)
    kept = (tmp_path / "run" / "state" / "checkpoint.pt").read_bytes()
    wild = ("optimisation.learning_rate=1e36", "optimisation.clip_norm=1e36", "optimisation.epochs=3")
    with pytest.raises(InputError, match=r"training went wrong: .* go on with --resume"):
        language_model("optimisation.optimiser=sgd", *wild).run(resume=True)
    assert (tmp_path / "run" / "state" / "checkpoint.pt").read_bytes() == kept
    language_model("optimisation.optimiser=sgd", "optimisation.learning_rate=0.1", "optimisation.epochs=3").run(
        resume=True
    )


def test_labels_that_would_all_be_held_out_are_named(tmp_path: Path) -> None:
    file = tmp_path / "topics.tsv"
    file.write_text("".join(f"common\tline {number}\n" for number in range(30)) + "rare\tone line\n", encoding="utf-8")
    settings = [f"text.train=['{file}']", "text.dev=", "text.labelled=true", "text.held_out=30"]
    with pytest.raises(InputError, match=r"topics\.tsv: all texts with the label \w+ would be held out"):
        load_language_data(read_recipe("char-language-model", settings, LanguageModelRecipe))


def test_units_too_few_for_the_characters_of_a_text_are_told(tmp_path: Path) -> None:
    settings = [f"text.train=['{SMOKE}/train.fr']", f"text.dev=['{SMOKE}/dev.fr']", "units.vocabulary_size=200"]
    with pytest.raises(InputError, match=r"200 entries are too few: the characters of this text need [23]"):
        load_language_data(
            read_recipe("char-language-model", [*settings, "units.model_type=unigram"], LanguageModelRecipe)
        )
