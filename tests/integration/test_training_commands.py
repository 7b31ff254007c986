"""`python -m training` as a user runs it: a process, its exit status and what it prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from training.prepared import load_prepared

ROOT = Path(__file__).parent.parent.parent
SMOKE = ROOT / "tests" / "fixtures" / "smoke"

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]

# Hides packages from Python, as though they had not been installed. Python runs a file of this name when it starts.
HIDING = """
import importlib.machinery, os, sys

class Hiding(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["HIDDEN"].split():
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Hiding if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `python -m training` in an empty folder."""

    def run_training(*arguments: str, timeout: float = 120, hidden: str = "", **environment: str) -> Result:
        paths = [str(ROOT)]
        if hidden:
            (tmp_path / "hiding").mkdir(exist_ok=True)
            (tmp_path / "hiding" / "sitecustomize.py").write_text(HIDING)
            paths.insert(0, str(tmp_path / "hiding"))
        (tmp_path / "work").mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-m", "training", *arguments],
            cwd=tmp_path / "work",
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HIDDEN": hidden, "COLUMNS": "120"} | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run_training


def complaint(result: Result) -> str:
    """What a user reads of a refused command: one error, no traceback, nothing on standard output."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    return result.stderr


def test_prepare_writes_a_folder_that_opens(run: Run, tmp_path: Path) -> None:
    result = run("prepare", "smoke", "--set", f"corpus.path={SMOKE}", "--output", "here")
    assert result.returncode == 0, result.stderr
    assert "Left out of train: 0 empty" in result.stderr
    assert len(load_prepared(tmp_path / "work" / "here").train) == 600


def test_train_prepares_by_itself_and_prints_the_model_directory(run: Run, tmp_path: Path) -> None:
    corpus = f"corpus.path={SMOKE}"
    result = run("train", "smoke", "--set", corpus, "--set", "optimisation.epochs=0.1")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "runs/smoke/model\n"
    assert (tmp_path / "work" / "prepared" / "smoke" / "prepared.json").is_file()


def test_training_on_a_prepared_folder_needs_neither_datasets_nor_a_corpus(run: Run) -> None:
    assert run("prepare", "smoke", "--set", f"corpus.path={SMOKE}", "--output", "here").returncode == 0
    result = run(
        *("train", "smoke", "--prepared", "here", "--set", "optimisation.epochs=0.1", "--set", "corpus.kind=hub"),
        *("--set", "corpus.name=owner/name"),
        hidden="datasets pyarrow pandas huggingface_hub",
    )
    assert (result.returncode, result.stdout) == (0, "runs/smoke/model\n"), result.stderr


@pytest.mark.parametrize("arguments", [(), ("train", "smoke"), ("prepare", "smoke", "--set", "corpus.kind=hub")])
def test_without_the_extra_it_says_what_to_install(run: Run, arguments: tuple[str, ...]) -> None:
    more = ("--set", "corpus.name=owner/name") if "corpus.kind=hub" in arguments else ()
    result = run(*arguments, *more, hidden="datasets sacrebleu matplotlib", HF_ENDPOINT="http://127.0.0.1:9")
    assert "pip install '.[train]'" in complaint(result)


def test_without_a_command_it_shows_the_commands(run: Run) -> None:
    shown = complaint(run())
    assert all(command in shown for command in ("prepare", "train", "evaluate"))


@pytest.mark.parametrize("recipe", ["sutskever2014-wmt14-en-fr", "multi30k-de-en"])
def test_without_a_network_the_hub_is_given_up_and_files_are_shown(run: Run, tmp_path: Path, recipe: str) -> None:
    # Nothing listens on port 9. The time-out is the promise: half a minute, also on a busy machine.
    result = run(
        *("prepare", recipe, "--set", "corpus.kind=hub"),
        timeout=30,
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path / "empty"),
    )
    assert "the hub cannot be reached" in (message := complaint(result))
    assert "--set corpus.kind=moses --set corpus.path=FOLDER" in message
    assert not (tmp_path / "work" / "prepared" / recipe).exists()


@pytest.mark.parametrize("shape", ["columns", "translation"])
def test_a_data_set_gives_its_parts(run: Run, tmp_path: Path, shape: str) -> None:
    folder = tmp_path / "work" / "pairs"
    folder.mkdir(parents=True)
    for part, name in (("train", "train"), ("dev", "validation"), ("test", "test")):
        lines = ((SMOKE / f"{part}.{code}").read_text(encoding="utf-8").splitlines() for code in ("en", "fr"))
        rows = [{"en": english, "fr": french} for english, french in zip(*lines, strict=True)]
        text = "".join(json.dumps(row if shape == "columns" else {"translation": row}) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    hub = ("--set", "corpus.kind=hub", "--set", "corpus.name=./pairs")
    result = run("prepare", "smoke", *hub, HF_HOME=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stderr
    prepared = load_prepared(tmp_path / "work" / "prepared" / "smoke")
    assert prepared.record.pairs == {"train": 600, "dev": 40, "test": 40}
    assert prepared.dev_target == (SMOKE / "dev.fr").read_text(encoding="utf-8").splitlines()
    other = run("prepare", "smoke", *hub, "--set", "corpus.target_language=de", HF_HOME=str(tmp_path / "cache"))
    assert "has no sentences in 'de', only columns en, fr" in complaint(other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prepare", "nothing"), "nothing: no such recipe; give a TOML file or one of"),
        (("train", "smoke", "--set", "corpus.pth=x"), "unknown key 'corpus.pth'; did you mean 'corpus.path'?"),
        (("prepare", "tatoeba-en-fr"), "corpora/tatoeba-en-fr: there is no such corpus folder"),
        (("train", "smoke", "--prepared", "nowhere"), "nowhere: not a prepared folder"),
        (("prepare", "smoke", "--loud"), "No such option"),
    ],
)
def test_bad_input_is_one_clear_error(run: Run, arguments: tuple[str, ...], message: str) -> None:
    assert message in " ".join(complaint(run(*arguments)).split())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_libreoffice_help_is_downloaded_and_aligned(run: Run, tmp_path: Path) -> None:
    known = subprocess.run(["apt-cache", "policy", "libreoffice-help-fr"], capture_output=True, text=True, check=False)
    if "Candidate:" not in known.stdout:
        pytest.skip("needs apt's package lists")
    result = run("prepare", "libreoffice-help-en-fr", timeout=600)
    if "check the network" in result.stderr:
        pytest.skip("needs a network")
    assert result.returncode == 0, result.stderr
    prepared = load_prepared(tmp_path / "work" / "prepared" / "libreoffice-help-en-fr")
    assert prepared.record.pairs["train"] > 30_000
    assert prepared.record.pairs["dev"] == prepared.record.pairs["test"] == 1000
    pairs = dict(zip(prepared.dev_source, prepared.dev_target, strict=True))
    assert len(pairs) == 1000
    assert all(source != target for source, target in pairs.items())
