"""`python -m training recurrence` as a process: its figures, their numbers, and what it says of wrong arguments."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "fixtures" / "smoke"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", "recurrence", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)


@pytest.mark.slow
def test_the_command_writes_figures_and_numbers(tmp_path: Path) -> None:
    sentence = "The little cat sees a house."
    options = ("--share", "0.01", "--text", SMOKE / "train.en", "--sentence", sentence, "--output", tmp_path / "out")
    result = run(*options)
    assert result.returncode == 0, result.stderr
    names = ["gradients", "brackets", "characters", "gates"]
    figures = [tmp_path / "out" / f"recurrence-{name}.png" for name in names]
    assert result.stdout.splitlines() == [str(figure) for figure in figures]
    documents = {}
    for name, figure in zip(names, figures, strict=True):
        assert figure.read_bytes().startswith(b"\x89PNG")
        documents[name] = json.loads(figure.with_suffix(".json").read_text(encoding="utf-8"))
    models = {each["model"]: each["bits_per_character"] for each in documents["characters"]["models"]}
    assert {"1-gram", "6-gram", "HMM, 32 states", "rnn", "simplified-gru", "gru", "lstm"} <= set(models)
    assert models["3-gram"] < models["1-gram"]
    assert [each["cell"] for each in documents["gates"]["cells"]] == ["gru", "lstm"]
    assert len(documents["gates"]["cells"][0]["keeping"]) == len(sentence)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--text", "nowhere.txt"), "nowhere.txt"),
        (("--text", SMOKE / "train.en", "--sentence", "Ω"), "--sentence: .*does not have all of its characters"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments: tuple[str | Path, ...], expected: str, tmp_path: Path) -> None:
    result = run(*arguments, "--output", tmp_path / "out")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert re.search(expected, result.stderr)
    assert not (tmp_path / "out").exists()
