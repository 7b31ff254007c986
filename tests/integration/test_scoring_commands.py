"""`python -m translator score`, `embed` and n-best lists as real processes; ensembles on the command line."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from translator import SearchOptions, Translator
from translator.directory import load_model
from translator.scoring import score_texts, sentence_vectors

PAIRS = [("Where is the station?", "Où est la gare ?"), ("", "Rien."), ("The train was late.", "")]


def run(*arguments: str | Path, stdin: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "translator", *map(str, arguments)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=os.environ,
        timeout=120,
        check=False,
    )


def complaint(result: subprocess.CompletedProcess[bytes]) -> str:
    message = result.stderr.decode()
    assert result.returncode == 2, message
    assert "Traceback" not in message
    return message


def test_score_prints_a_number_for_every_pair(tiny_model_directory: Path, second_model_directory: Path) -> None:
    text = "\ufeff" + "".join(f"{source}\t{target}\r\n" for source, target in PAIRS)
    for models in ([tiny_model_directory], [tiny_model_directory, second_model_directory]):
        options = [option for model in models for option in ("--model", model)]
        result = run("score", *options, stdin=text)
        assert result.returncode == 0, result.stderr
        scores = score_texts(Translator.load(models, engine="reference"), PAIRS)
        expected = [score.log_probability for score in scores]
        assert [float(line) for line in result.stdout.splitlines()] == pytest.approx(expected, abs=1e-4)
        tokens = run("score", *options, "--per-token", stdin=text)
        documents = [json.loads(line) for line in tokens.stdout.splitlines()]
        assert [document["log_probability"] for document in documents] == pytest.approx(expected, abs=1e-4)
        assert [len(document["tokens"]) for document in documents] == [len(score.pieces) for score in scores]
        for document in documents:
            total = sum(token["log_probability"] for token in document["tokens"])
            assert total == pytest.approx(document["log_probability"], abs=1e-4)


def test_score_says_which_line_is_no_pair(tiny_model_directory: Path) -> None:
    for line, found in (("no tab", "0 tabs"), ("a\tb\tc", "2 tabs")):
        message = complaint(run("score", "--model", tiny_model_directory, stdin=f"a\tb\n{line}\n"))
        assert f"line 2 of the input has {found}" in message
    assert "line 1 of the input is not UTF-8" in complaint(
        run("score", "--model", tiny_model_directory, stdin=b"\xe9\tx\n")
    )


def test_embed_writes_an_array_or_json_lines(tiny_model_directory: Path, tmp_path: Path) -> None:
    lines = ["Where is the station?", "", "Can you open the window?"]
    stdin = "".join(f"{line}\n" for line in lines)
    loaded = load_model(tiny_model_directory)
    expected = sentence_vectors(
        loaded.model,
        loaded.source_vocabulary.encode_batch(lines),
        source_eos_id=loaded.source_vocabulary.eos_id,
    ).numpy()
    result = run("embed", "--model", tiny_model_directory, "--output", tmp_path / "vectors", stdin=stdin)
    assert (result.returncode, result.stdout) == (0, b""), result.stderr
    array = np.load(io.BytesIO((tmp_path / "vectors").read_bytes()))
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, expected, atol=1e-6)
    printed = run("embed", "--model", tiny_model_directory, stdin=stdin)
    documents = [json.loads(line) for line in printed.stdout.splitlines()]
    assert [document["text"] for document in documents] == lines
    np.testing.assert_array_equal(np.array([document["vector"] for document in documents], dtype=np.float32), array)
    empty = run("embed", "--model", tiny_model_directory, "--output", tmp_path / "empty")
    assert empty.returncode == 0
    assert np.load(tmp_path / "empty").shape == (0, expected.shape[1])


def test_embed_refuses_what_it_cannot_do(
    tiny_model_directory: Path, second_model_directory: Path, tmp_path: Path
) -> None:
    message = complaint(run("embed", "--model", tiny_model_directory, "--output", tmp_path / "no" / "x.npy"))
    assert "make it first" in message
    assert "name one model" in complaint(run("embed", "--model", f"{tiny_model_directory},{second_model_directory}"))


def test_embed_on_a_full_disk_leaves_the_old_file(tiny_model_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "vectors.npy").write_bytes(b"old")

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    command = [sys.executable, "-m", "translator", "embed", "--model", str(tiny_model_directory)]
    result = subprocess.run(
        [*command, "--output", str(tmp_path / "vectors.npy")],
        input=b"Hello.\n" * 100, preexec_fn=small_disk, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert b"vectors.npy: cannot be written: " in result.stderr
    assert b"None" not in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["vectors.npy"]
    assert (tmp_path / "vectors.npy").read_bytes() == b"old"


def test_an_n_best_list_has_the_searchs_hypotheses(tiny_model_directory: Path) -> None:
    lines = ["Where is the station? I would like a cup of coffee, please.", "", "He never answers my letters."]
    result = run(
        "translate", "--model", tiny_model_directory, "--n-best", "3", stdin="".join(f"{line}\n" for line in lines)
    )
    assert result.returncode == 0, result.stderr
    translator = Translator.load(tiny_model_directory)
    expected = []
    for number, translation in enumerate(
        translator.translate(lines, SearchOptions(alternatives=2), split_sentences=False)
    ):
        best = sum(sentence.log_probability for sentence in translation.sentences)
        expected.append((str(number), translation.text, best, translation.score))
        expected += [(str(number), one.text, one.log_probability, one.score) for one in translation.alternatives]
    found = [line.split(" ||| ") for line in result.stdout.decode().removesuffix("\n").split("\n")]
    assert [(number, text) for number, text, *_ in found] == [(number, text) for number, text, *_ in expected]
    for (*_, feature, score), (*_, log_probability, expected_score) in zip(found, expected, strict=True):
        name, value = feature.split()
        assert name == "LogProbability="
        assert float(value) == pytest.approx(log_probability, abs=1e-5)
        assert float(score) == pytest.approx(expected_score, abs=1e-5)


def test_an_ensemble_translates(tiny_model_directory: Path, second_model_directory: Path) -> None:
    line = "The children are playing in the garden.\n"
    models = ("--model", tiny_model_directory, "--model", second_model_directory)
    result = run("translate", *models, "--combination", "log-linear", stdin=line)
    assert result.returncode == 0, result.stderr
    ensemble = Translator.load([tiny_model_directory, second_model_directory], combination="log-linear")
    assert result.stdout.decode() == ensemble.translate(line.strip()).text + "\n"


def test_n_best_and_alternatives_exclude_each_other(tiny_model_directory: Path) -> None:
    message = complaint(run("translate", "--model", tiny_model_directory, "--n-best", "3", "--alternatives", "2"))
    assert "exclude each other" in message
