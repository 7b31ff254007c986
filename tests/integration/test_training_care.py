"""Dry run, range test and averaging by real processes, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ENGLISH
from translator.directory import load_model

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "fixtures" / "smoke"

Result = subprocess.CompletedProcess[str]


def run(folder: Path, *arguments: str, **environment: str) -> Result:
    return subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the smoke recipe's prepared folder in it."""
    path = tmp_path_factory.mktemp("work")
    result = run(path, "prepare", "smoke", "--set", f"corpus.path={SMOKE}", "--output", "prepared/smoke")
    assert result.returncode == 0, result.stderr
    return path


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_a_dry_run_shows_everything_and_leaves_nothing(folder: Path) -> None:
    before = files(folder)
    result = run(folder, "train", "smoke", "--prepared", "prepared/smoke", "--dry-run")
    assert result.returncode == 0, result.stderr
    shown = result.stdout
    for title in ("Corpus", "Tokens of a sentence", "Network", "Batches", "Memory for the largest batch", "Time"):
        assert title in shown
    assert "4,499" in shown  # source tokens of train
    assert "336,804" in shown  # parameters
    assert re.search(r"updates\W+\d+ an epoch, \d+ in 8 epochs", shown)
    assert re.search(r"all updates\W+[\d.]+ [^(]+\([\d.]+ .+ to [\d.]+ .+\)", shown)
    assert files(folder) == before


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs a machine that says how much memory is free")
def test_a_dry_run_of_what_does_not_fit_tries_nothing(folder: Path) -> None:
    sizes = ("--set", "model.hidden_size=200000", "--set", "model.embedding_size=200000")
    result = run(folder, "train", "smoke", "--prepared", "prepared/smoke", "--dry-run", *sizes)
    assert result.returncode == 0, result.stderr
    assert "does not fit" in result.stdout


def test_the_range_test_suggests_a_rate_and_throws_the_run_away(folder: Path) -> None:
    before = files(folder)
    options = ("--updates", "60", "--lowest", "1e-5", "--highest", "10", "--output", "figures/rate.png")
    result = run(folder, "learning-rate", "smoke", "--prepared", "prepared/smoke", *options)
    assert result.returncode == 0, result.stderr
    suggested = float(result.stdout)
    assert 1e-4 < suggested < 1
    assert f"optimisation.learning_rate={suggested:.2g}" in result.stderr
    assert files(folder) - before == {Path("figures"), Path("figures/rate.png"), Path("figures/rate.json")}
    assert (folder / "figures" / "rate.png").read_bytes().startswith(b"\x89PNG")
    test = json.loads((folder / "figures" / "rate.json").read_text(encoding="utf-8"))
    assert test["recipe"]["name"] == "smoke"
    assert len(test["rates"]) == len(test["losses"]) == len(test["smoothed"])
    assert test["rates"][0] == pytest.approx(1e-5)
    assert min(test["smoothed"]) < 0.9 * test["smoothed"][0]


def test_the_rate_that_is_asked_for_is_the_one_that_is_used(folder: Path) -> None:
    """With rates of next to nothing the loss stays where it is, whatever the recipe says."""
    options = ("--updates", "20", "--lowest", "1e-14", "--highest", "1e-13", "--set", "optimisation.learning_rate=1")
    result = run(folder, "learning-rate", "smoke", "--prepared", "prepared/smoke", *options)
    assert result.returncode == 2
    assert "brings the loss down" in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("learning-rate", "smoke", "--lowest", "2", "--highest", "1"), "--lowest 2 is not below --highest 1"),
        (("learning-rate", "smoke", "--output", "rate.jpg"), "ends in .png"),
        (("learning-rate", "smoke", "--output", "prepared/smoke/prepared.json/rate.png"), "cannot be written"),
        (("average", "nowhere", "nothing", "--output", "mean"), "nowhere"),
        (("average", "runs", "--last", "3", "--output", "mean"), "output.keep_models=3"),
        (("average", "one", "two", "--last", "2", "--output", "mean"), "one run"),
        (("average", "one", "--output", "mean"), "two models at least"),
    ],
)
def test_bad_input_is_one_clear_error(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    more = ("--prepared", "prepared/smoke") if arguments[0] == "learning-rate" else ()
    before = files(folder)
    result = run(folder, *arguments, *more)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert message in " ".join(result.stderr.split())
    assert files(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_there_is_a_live_table(folder: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    settings = ("optimisation.epochs=1.5", "output.directory=runs/live", "evaluation.bleu_sentences=2")
    flags = [part for setting in settings for part in ("--set", setting)]
    process = subprocess.Popen(
        [sys.executable, "-m", "training", "train", "smoke", "--prepared", "prepared/smoke", *flags],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            output += os.read(ours, 65_536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0, output.decode()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode())
    assert re.search(r"loss +\d+\.\d{3} +perplexity", shown)
    assert re.search(r"learning rate +[\d.e-]+ +gradient norm +[\d.]+", shown)
    assert re.search(r"training ━+ 58/58", shown)


def test_two_trained_models_have_a_mean_that_translates(folder: Path) -> None:
    for seed in (1, 2):
        settings = (
            *(f"optimisation.seed={seed}", f"output.directory=runs/{seed}", "optimisation.epochs=0.5"),
            *("evaluation.length_penalties=[0.0]", "evaluation.bleu_sentences=2"),
        )
        flags = [part for setting in settings for part in ("--set", setting)]
        result = run(folder, "train", "smoke", "--prepared", "prepared/smoke", *flags)
        assert result.returncode == 0, result.stderr
    result = run(folder, "average", "runs/1/model", "runs/2/model", "--output", "runs/mean")
    assert (result.returncode, result.stdout) == (0, "runs/mean\n"), result.stderr
    card = load_model(folder / "runs" / "mean").card
    assert len(card.averaged) == 2
    models = folder / "runs" / "run" / "models"
    models.mkdir(parents=True)
    for name, seed in (("20", 2), ("100", 1)):
        (models / name).symlink_to(folder / "runs" / str(seed) / "model")
    result = run(folder, "average", "runs/run", "--last", "2", "--output", "runs/last")
    assert result.returncode == 0, result.stderr
    digests = [
        [record.weights_sha256 for record in load_model(folder / "runs" / name).card.averaged]
        for name in ("mean", "last")
    ]
    assert digests[0] == digests[1][::-1]
    translated = subprocess.run(
        [sys.executable, "-m", "translator", "translate", "--model", "runs/mean"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input="\n".join(ENGLISH[:2]) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert translated.returncode == 0, translated.stderr
    assert len(translated.stdout.splitlines()) == 2
