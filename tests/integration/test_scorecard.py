"""`python -m training scorecard` and `figures` as a user runs them, on the smoke corpus with tiny networks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TINY = ("--width", "8", "--epochs", "0.2", "--depths", "1,2", "--ensemble", "2", "--n-best", "3")
SECONDS = 250


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "training", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "120"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.fixture(scope="module")
def grid(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[Path]]:
    """A scorecard that was stopped after its first model and called again: its folder, what the second call said, and
    the models that the first one had finished."""
    output = tmp_path_factory.mktemp("grid") / "smoke"
    arguments = ("scorecard", "smoke", "--prepared", str(prepared), "--output", str(output), *TINY)
    said = []
    with subprocess.Popen(command(*arguments), cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        for line in first.stderr:
            said.append(line)
            if line.startswith("1 of 16 models"):
                first.send_signal(signal.SIGINT)
        assert first.wait(SECONDS) == 1, said
    finished = [
        record.parent
        for record in output.glob("models/*/scorecard-run.json")
        if json.loads(record.read_text(encoding="utf-8"))["finished"]
    ]
    assert 1 <= len(finished) < 16
    before = {folder: (folder / "log.jsonl").stat().st_mtime_ns for folder in finished}
    second = run(*arguments)
    assert second.returncode == 0, second.stderr
    assert {folder: (folder / "log.jsonl").stat().st_mtime_ns for folder in finished} == before
    assert second.stdout == f"{output}/scorecard.md\n"
    return output, second.stderr, finished


@pytest.fixture(scope="module")
def card(grid: tuple[Path, str, list[Path]]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((grid[0] / "scorecard.json").read_text(encoding="utf-8"))
    return document


def test_finished_models_are_used_again(grid: tuple[Path, str, list[Path]]) -> None:
    _, said, finished = grid
    trained = re.findall(r"^\d+ of 16 models: (\S+)", said, flags=re.MULTILINE)
    assert len(trained) == 16 - len(finished)
    assert not {folder.name for folder in finished} & set(trained)


def test_every_row_of_the_paper_has_a_verdict(card: dict[str, Any]) -> None:
    assert [row["identifier"] for row in card["rows"]] == [f"P{number}" for number in range(1, 41)]
    for row in card["rows"]:
        assert row["claim"]
        assert row["paper"]
        assert row["ours"] or row["reason"]
        if row["verdict"] in ("not tested", "undecided"):
            assert row["reason"], row
        if row["interval"] is not None:
            assert row["interval"][0] <= row["interval"][1]


def test_what_needs_no_training_holds_and_what_cannot_be_tested_says_so(card: dict[str, Any]) -> None:
    verdicts = {row["identifier"]: row["verdict"] for row in card["rows"]}
    settings = [*range(1, 9), 10, 13, 14, 15, 16, 22, 23, 25, 40]
    assert {verdicts[f"P{number}"] for number in settings} == {"holds"}
    assert {verdicts[f"P{number}"] for number in (18, 19, 20, 21, 37)} == {"not tested"}


def test_the_grid_is_in_the_documents(grid: tuple[Path, str, list[Path]], card: dict[str, Any]) -> None:
    names = [f"{cell}-{way}-1" for cell in ("cudnn-gru", "rnn") for way in ("forward", "reversed")]
    names += [f"lstm-{way}-{depth}" for depth in (1, 2) for way in ("forward", "reversed")]
    assert {line["name"] for line in card["grid"]} == {*names, "2 × lstm-reversed-2"}
    assert all(len(line["bleu"]["12"]) == line["seeds"] for line in card["grid"])
    text = (grid[0] / "scorecard.md").read_text(encoding="utf-8")
    page = (grid[0] / "scorecard.html").read_text(encoding="utf-8")
    for document in (text, page):
        assert all(name in document for name in names)
        assert "width 8" in document
        assert card["signature"] in document
    assert len(re.findall(r"^\| P\d+ \|", text, flags=re.MULTILINE)) == 40
    assert "http" not in page  # it needs nothing from elsewhere


def test_a_finished_scorecard_is_not_measured_again(grid: tuple[Path, str, list[Path]], prepared: Path) -> None:
    output, _, _ = grid
    kept = [*output.glob("models/*/measurement.json"), *output.glob("ensembles/*.json"), output / "rescored.json"]
    assert len(kept) == 16 + 1 + 1
    before = {file: file.stat().st_mtime_ns for file in kept}
    result = run("scorecard", "smoke", "--prepared", str(prepared), "--output", str(output), *TINY)
    assert result.returncode == 0, result.stderr
    assert "models:" not in result.stderr
    assert {file: file.stat().st_mtime_ns for file in kept} == before


def test_other_settings_are_refused_in_the_same_folder(grid: tuple[Path, str, list[Path]], prepared: Path) -> None:
    result = run("scorecard", "smoke", "--prepared", str(prepared), "--output", str(grid[0]), *TINY, "--width", "6")
    assert result.returncode == 2
    assert "was trained with model.embedding_size = 8 and not 6" in result.stderr
    assert "choose another --output" in result.stderr


def test_a_dry_run_lists_the_models_and_writes_nothing(prepared: Path, tmp_path: Path) -> None:
    output = tmp_path / "grid"
    result = run("scorecard", "smoke", "--prepared", str(prepared), "--output", str(output), *TINY, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert len(re.findall(r"-seed\d", result.stdout)) == 16
    assert "16 models; training takes about" in result.stdout
    assert not output.exists()


def test_figures_of_the_grid(grid: tuple[Path, str, list[Path]], prepared: Path, tmp_path: Path) -> None:
    output, _, _ = grid
    model = output / "models" / "lstm-reversed-2-seed1" / "model"
    result = run(
        "figures", "--model", str(model), "--prepared", str(prepared), "--runs", str(output), "--output", str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    names = {"phrases", "beam-sizes", "bleu-by-length", "bleu-by-rank", "learning-curves", "positions"}
    assert {file.stem for file in tmp_path.glob("*.png")} == {file.stem for file in tmp_path.glob("*.json")} == names
    assert result.stdout.split() == [
        f"{tmp_path}/{name}.png"
        for name in ("phrases", "beam-sizes", "bleu-by-length", "bleu-by-rank", "learning-curves", "positions")
    ]
    assert "left out: attention map: the model has no attention" in result.stderr
    for figure in tmp_path.glob("*.png"):
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert figure.stat().st_size < 100_000
    positions = json.loads((tmp_path / "positions.json").read_text(encoding="utf-8"))
    forward, reverse = (line["name"] for line in positions["lines"])
    assert forward.startswith("forward, ")
    assert reverse == forward.replace("forward", "reversed")
    assert re.fullmatch(r"forward, [12] × 8, 2 seeds", forward)
    curves = json.loads((tmp_path / "learning-curves.json").read_text(encoding="utf-8"))
    assert len(curves["runs"]) == 16
    distances = json.loads((tmp_path / "phrases.json").read_text(encoding="utf-8"))["cosine_distances"]
    assert len(distances) == 8


def test_figures_that_lack_an_input_are_left_out_with_the_reason(
    grid: tuple[Path, str, list[Path]], tmp_path: Path
) -> None:
    result = run("figures", "--runs", str(grid[0]), "--output", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert {file.stem for file in tmp_path.glob("*.png")} == {"learning-curves"}
    for figure, reason in (("phrases", "--model"), ("bleu", "--model"), ("positions", "--prepared")):
        assert f"left out: {figure}: it needs {reason}" in result.stderr
    assert run("figures", "--runs", str(tmp_path / "nowhere")).returncode == 2
    assert run("figures").returncode == 2
