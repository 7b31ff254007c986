"""Test sets by name: out of sacreBLEU's folder where they are there, and one clear line where they cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.errors import InputError
from training.parallel_text import ParallelText, published_test_set, read_parallel_text

ROOT = Path(__file__).parents[2]


def evaluate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process, because sacreBLEU looks for its folder when it is imported. No server listens on port 9."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [sys.executable, "-m", "training", "evaluate", *arguments],
        env=os.environ | proxies | {"SACREBLEU": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """A folder in which sacreBLEU has wmt14 for en-fr; the two lines are ours."""
    (tmp_path / "wmt14").mkdir()
    for part, lines in (
        ("src", "Where is the station?\nIt is raining.\n"),
        ("ref", "Où est la gare ?\nIl pleut.\n"),
        ("docid", "a\na\n"),
        ("genre", "news\nnews\n"),
        ("origlang", "en\nen\n"),
    ):
        (tmp_path / "wmt14" / f"wmt14.en-fr.{part}").write_text(lines, encoding="utf-8")
    return tmp_path


def test_a_test_set_that_is_there_needs_no_network(fetched: Path, tiny_model_directory: Path) -> None:
    # The language pair is the model's.
    result = evaluate(fetched, "--model", str(tiny_model_directory), "--test-set", "wmt14", "--beam-size", "1")
    assert result.returncode == 0, result.stderr
    assert "tiny-en-fr on wmt14 en-fr: 2 sentences" in result.stdout


def test_without_a_network_it_says_what_to_do(tmp_path: Path, tiny_model_directory: Path) -> None:
    result = evaluate(tmp_path, "--model", str(tiny_model_directory), "--test-set", "wmt14", "--language-pair", "en-fr")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    for part in ("test set wmt14 cannot be fetched", "sacrebleu -t wmt14 -l en-fr", "--source and --reference"):
        assert part in result.stderr


def test_what_sacrebleu_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match="no test set wmt1"):
        published_test_set("wmt1", "en-fr")
    with pytest.raises(InputError, match=r"wmt14 has no language pair en-xx; it has .*en-fr"):
        published_test_set("wmt14", "en-xx")


def test_lines_have_to_belong_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="source has 2 lines and the reference 1"):
        ParallelText("x", ["a", "b"], ["a"])
    with pytest.raises(InputError, match="empty"):
        ParallelText("x", [], [])
    for name in ("test.en", "test.fr"):
        (tmp_path / name).write_text("a\n", encoding="utf-8")
    assert read_parallel_text(tmp_path / "test.en", tmp_path / "test.fr").name == f"{tmp_path.name} test"
    assert read_parallel_text(tmp_path / "test.en", tmp_path / "test.fr", "mine").name == "mine"
