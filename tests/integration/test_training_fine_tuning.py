"""Training that begins with a model: from its loss on, killed and resumed, by several processes, on other text."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from training.checkpoint import read_checkpoint, write_checkpoint
from training.distributed import World
from training.errors import InputError
from training.prepared import load_prepared
from training.recipe import Recipe, load_recipe
from training.trainer import Trainer, train
from training.validation import Validation, validate
from translator.directory import load_model, save_model

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "fixtures" / "smoke"
QUIET = Console(quiet=True)
SMALL = ("evaluation.bleu_sentences=10", "evaluation.length_penalties=[0.0]")
# What a run has to carry over an interruption: the optimiser, the generator of dropout, the moving average.
DEMANDING = (
    *("optimisation.epochs=2", "evaluation.every_epochs=0.5", "optimisation.learning_rate=0.001"),
    *("model.dropout=0.2", "model.word_dropout=0.1", "optimisation.weight_average=0.9"),
    "optimisation.deterministic=true",  # which a GPU needs to end with the same bits
)

Result = subprocess.CompletedProcess[str]


def smoke(directory: Path, *overrides: str, resume: bool = False) -> Recipe:
    return load_recipe("smoke", [f"output.directory={directory}", *SMALL, *overrides], resume=resume)


def command(directory: Path, prepared: Path | None, *overrides: str) -> list[str]:
    settings = (f"output.directory={directory}", f"corpus.path={SMOKE}", *SMALL, *overrides)
    folder = [] if prepared is None else ["--prepared", str(prepared)]
    return ["train", "smoke", *folder, *(part for setting in settings for part in ("--set", setting))]


def run(arguments: list[str], *, folder: Path = ROOT, torchrun: tuple[str, ...] = ()) -> Result:
    return subprocess.run(
        [sys.executable, *torchrun, "-m", "training", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.fixture(scope="module")
def initial(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt something, in 8 bits."""
    options = ("optimisation.epochs=2", "evaluation.every_epochs=2", "output.weight_storage=int8")
    directory = tmp_path_factory.mktemp("initial")
    return train(smoke(directory, *options), load_prepared(prepared), resume=False, world=World.alone(), console=QUIET)


@pytest.fixture(scope="module")
def whole(prepared: Path, initial: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a fine-tuning that nothing disturbed."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    result = run(command(directory, prepared, f"initial_model={initial}", *DEMANDING))
    assert result.returncode == 0, result.stderr
    return directory


def log(directory: Path, event: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [entry for entry in entries if entry["event"] == event]


def resumed(recipe: Recipe, prepared: Path) -> tuple[Trainer, str]:
    """The trainer of a finished run that is gone on with, and what it says."""
    console = Console(file=io.StringIO(), width=200)
    trainer = Trainer(recipe, load_prepared(prepared), world=World.alone(), console=console, resume=True)
    trainer.run()
    assert isinstance(console.file, io.StringIO)
    return trainer, console.file.getvalue()


def of_the_model(path: Path, prepared: Path) -> Validation:
    """What the model directory itself has on dev."""
    return validate(load_model(path).model, load_prepared(prepared), smoke(path), World.alone())


@pytest.mark.parametrize("average", ["", "0.9"])
def test_training_begins_with_the_model_s_loss(prepared: Path, initial: Path, tmp_path: Path, average: str) -> None:
    """Before the first update, and after one with a rate of next to nothing."""
    recipe = smoke(
        tmp_path / "run",
        *(f"initial_model={initial}", f"optimisation.weight_average={average}"),
        *("optimisation.epochs=1e-9", "optimisation.learning_rate=1e-12", "optimisation.schedule=constant"),
    )
    trainer = Trainer(recipe, load_prepared(prepared), world=World.alone(), console=QUIET)
    expected = of_the_model(initial, prepared)
    before = validate(trainer.updater.measured_model, trainer.prepared, recipe, trainer.world)
    assert (before.perplexity, before.bleu) == (expected.perplexity, expected.bleu)
    assert expected.perplexity < 0.25 * trainer.prepared.target_vocabulary.size  # unlike random weights
    trainer.run()
    first, after = log(tmp_path / "run", "validation")
    assert (first["update"], after["update"]) == (0, 1)
    assert (first["perplexity"], first["bleu"], first["best"]) == (expected.perplexity, expected.bleu, True)
    assert after["perplexity"] == pytest.approx(expected.perplexity, rel=1e-6)


def test_a_run_that_makes_it_worse_keeps_what_it_began_with(prepared: Path, initial: Path, tmp_path: Path) -> None:
    recipe = smoke(
        tmp_path / "run",
        *(f"initial_model={initial}", "optimisation.learning_rate=0.1", "optimisation.schedule=constant"),
        *("optimisation.epochs=1", "evaluation.every_epochs=0.25", "evaluation.patience=2"),
    )
    console = Console(file=io.StringIO(), width=200)
    path = train(recipe, load_prepared(prepared), resume=False, world=World.alone(), console=console)
    assert isinstance(console.file, io.StringIO)
    assert "Training made smoke no better on dev: the model is that which it began with." in console.file.getvalue()
    assert [entry["best"] for entry in log(tmp_path / "run", "validation")] == [True, False, False]  # patience
    kept = load_model(path)
    for name, weight in load_model(initial).model.state_dict().items():
        assert torch.equal(kept.model.state_dict()[name], weight), name
    assert kept.card.training is not None
    assert kept.card.training.updates == 0


def test_it_gets_better_from_there_and_the_card_says_where_it_began(prepared: Path, initial: Path, whole: Path) -> None:
    before = of_the_model(initial, prepared).perplexity
    assert [entry["perplexity"] < before for entry in log(whole, "validation")] == [False, *[True] * 4]
    loaded, first = load_model(whole / "model"), load_model(initial)
    assert loaded.card.initial_model is not None
    weights = (initial / "model.safetensors").read_bytes()
    assert loaded.card.initial_model.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert loaded.card.initial_model.name == first.card.name
    assert hashlib.sha256(weights).hexdigest() in (whole / "model" / "README.md").read_text(encoding="utf-8")
    for name in ("source.model", "target.model"):
        assert (whole / "model" / name).read_bytes() == (initial / name).read_bytes()


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(
    prepared: Path, initial: Path, whole: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "killed"
    arguments = command(directory, prepared, f"initial_model={initial}", *DEMANDING)
    checkpoint = directory / "state" / "checkpoint.pt"
    process = subprocess.Popen(
        [sys.executable, "-m", "training", *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    result = run([*arguments, "--resume"])
    assert result.returncode == 0, result.stderr
    assert "Resuming after update" in result.stderr
    one, two = (read_checkpoint(each / "state" / "checkpoint.pt") for each in (whole, directory))
    for part in ("model", "average"):
        for name, tensor in one[part].items():
            assert torch.equal(tensor, two[part][name]), name
    for name, state in one["optimiser"]["state"].items():
        assert all(torch.equal(value, two["optimiser"]["state"][name][key]) for key, value in state.items())
    assert torch.equal(one["random"][0]["torch"], two["random"][0]["torch"])
    files = ((each / "model" / "model.safetensors").read_bytes() for each in (whole, directory))
    assert len(set(files)) == 1


def test_a_run_does_not_go_on_from_another_beginning(prepared: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"checkpoint\.pt: began with the weights of smoke, and the recipe names no"):
        resumed(smoke(whole, *DEMANDING, "initial_model="), prepared)
    drawn = smoke(tmp_path / "drawn", "optimisation.epochs=0.1")
    train(drawn, load_prepared(prepared), resume=False, world=World.alone(), console=QUIET)
    model = drawn.run_directory / "model"
    with pytest.raises(InputError, match=r"checkpoint\.pt: began with random weights .*; leave initial_model out"):
        resumed(smoke(tmp_path / "drawn", f"initial_model={shutil.copytree(model, tmp_path / 'copy')}"), prepared)


def test_it_goes_on_when_its_initial_model_was_improved_or_is_gone(
    prepared: Path, initial: Path, whole: Path, tmp_path: Path
) -> None:
    """Weights and their record are the checkpoint's; another model, or the run's own, gives the shape."""
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    checkpoint = directory / "state" / "checkpoint.pt"
    loaded = load_model(initial)
    with torch.no_grad():
        loaded.model.decoder.output.bias[5] += 1.0
    improved = tmp_path / "improved"
    save_model(
        improved,
        model=loaded.model,
        source_vocabulary=loaded.source_vocabulary,
        target_vocabulary=loaded.target_vocabulary,
        card=loaded.card.model_copy(update={"name": "new"}),
    )
    moved = shutil.copytree(initial, tmp_path / "moved")
    state = read_checkpoint(checkpoint)
    for named, is_noted in ((moved, False), (improved, True), (directory / "model", True)):
        recipe = smoke(directory, *DEMANDING, f"initial_model={named}", resume=True)
        trainer, shown = resumed(recipe, prepared)
        assert (f"Note: {named} has other weights than those that this run began with" in shown) == is_noted
        assert trainer.initial_model == load_model(whole / "model").card.initial_model
        for name, weight in state["model"].items():
            assert torch.equal(trainer.model.state_dict()[name], weight), name


def test_a_checkpoint_knows_its_vocabularies(prepared: Path, whole: Path, initial: Path, tmp_path: Path) -> None:
    """Those of an equal size are others all the same. A checkpoint from before does not know its own."""
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    other = tmp_path / "prepared"
    shutil.copytree(prepared, other)
    (other / "source.model").write_bytes((prepared / "target.model").read_bytes())
    # Without an initial model, whose vocabularies are compared with the folder's before.
    checkpoint = directory / "state" / "checkpoint.pt"
    state = read_checkpoint(checkpoint)
    assert set(state["vocabularies"]) == {"source", "target"}
    state |= {"initial_model": None}
    write_checkpoint(checkpoint, state)
    recipe = smoke(directory, *DEMANDING, "initial_model=")
    with pytest.raises(InputError, match=r"trained with another source vocabulary than that of .*\(--prepared DIR\)"):
        resumed(recipe, other)
    resumed(recipe, prepared)
    for key in ("vocabularies", "initial_model_name"):
        del state[key]
    write_checkpoint(checkpoint, state)
    resumed(recipe, other)


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(prepared: Path, initial: Path, tmp_path: Path) -> None:
    """The same losses, and the same weights but for the order of sums."""
    options = (f"initial_model={initial}", "optimisation.epochs=1", "optimisation.learning_rate=0.001")
    states = []
    for name, torchrun in (("one", ()), ("two", ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"))):
        result = run(command(tmp_path / name, prepared, *options), torchrun=torchrun)
        assert result.returncode == 0, result.stderr
        states.append(read_checkpoint(tmp_path / name / "state" / "checkpoint.pt"))
    for name, tensor in states[0]["model"].items():
        torch.testing.assert_close(tensor, states[1]["model"][name], rtol=1e-3, atol=1e-4, msg=name)
    perplexities = [log(tmp_path / name, "validation")[-1]["perplexity"] for name in ("one", "two")]
    assert perplexities[1] == pytest.approx(perplexities[0], rel=1e-5)


def test_on_other_text_it_keeps_the_vocabularies(initial: Path, tmp_path: Path) -> None:
    """By the command alone, which prepares the text: a dry run, then the run."""
    corpus, work = tmp_path / "corpus", tmp_path / "work"
    for folder in (corpus, work):
        folder.mkdir()
    for file in SMOKE.iterdir():
        lines = file.read_text(encoding="utf-8").splitlines()
        text = "".join(f"{line.replace('city', 'hill').replace('ville', 'colline')}\n" for line in lines[:200])
        (corpus / file.name).write_text(text, encoding="utf-8")
    arguments = command(Path("run"), None, f"initial_model={initial}", f"corpus.path={corpus}", "optimisation.epochs=1")
    result = run([*arguments, "--dry-run"], folder=work)
    assert result.returncode == 0, result.stderr
    assert f"Initial weights and vocabularies: those of smoke ({initial})." in result.stdout
    assert sorted(path.name for path in work.iterdir()) == ["prepared"]
    result = run(arguments, folder=work)
    assert result.returncode == 0, result.stderr
    assert "prepared before from the same corpus and settings" in result.stderr
    assert f"Initial weights and vocabularies: those of smoke ({initial})." in result.stderr
    for name in ("source.model", "target.model"):
        for folder in (work / "prepared" / "smoke", work / "run" / "model"):
            assert (folder / name).read_bytes() == (initial / name).read_bytes()


def test_in_another_language_it_is_first_measured_when_it_has_learnt_something(initial: Path, tmp_path: Path) -> None:
    """What it begins with is no translator, whose BLEU by chance would be the one to beat."""
    corpus = Path(shutil.copytree(SMOKE, tmp_path / "corpus"))
    for file in corpus.glob("*.en"):
        file.rename(file.with_suffix(".de"))
    directory = Path("run")
    settings = ("corpus.source_language=de", "optimisation.epochs=0.5", "evaluation.every_epochs=0.5")
    arguments = command(directory, None, f"initial_model={initial}", f"corpus.path={corpus}", *settings)
    result = run(arguments, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "the source vocabulary (de, the model's is en) is learnt from the corpus." in " ".join(result.stderr.split())
    measured = [entry["update"] for entry in log(tmp_path / directory, "validation")]
    assert len(measured) == 1
    assert measured[0] > 0
    card = load_model(tmp_path / directory / "model").card
    assert card.training is not None
    assert (card.source_language, card.training.updates) == ("de", measured[0])
    assert card.initial_model is not None
    own = f"initial_model={directory / 'model'}"
    again = run([*arguments, "--set", own, "--set", "optimisation.epochs=1", "--resume"], folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "prepared before from the same corpus and settings" in again.stderr
    assert "Initial weights" not in again.stderr


def test_another_shape_is_one_line_and_leaves_nothing(initial: Path, tmp_path: Path) -> None:
    result = run(command(Path("run"), None, f"initial_model={initial}", "model.num_layers=3"), folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert "model.num_layers is 3 in the recipe and 4 in the model" in result.stderr
    assert list(tmp_path.iterdir()) == []
