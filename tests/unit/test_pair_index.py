"""Training pairs found again by what they are like."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.support import ENGLISH, FRENCH
from training.__main__ import main
from translator.description import CHECKED_FILES, INDEX_FILE, ModelDirectoryError, read_description
from translator.directory import load_model, update_card
from translator.pair_index import PairIndex
from translator.scoring import sentence_vectors

PAIRS = list(zip(ENGLISH, FRENCH, strict=True))


def random_index(count: int = 30, numbers: int = 200) -> tuple[PairIndex, np.ndarray]:
    vectors_ND = np.random.default_rng(1).normal(size=(count, numbers)).astype(np.float32)
    return PairIndex.of([(f"source {number}", f"target {number}") for number in range(count)], vectors_ND), vectors_ND


def test_every_pair_is_its_own_nearest() -> None:
    index, vectors_ND = random_index()
    for number, vector_D in enumerate(vectors_ND):
        (first, second) = index.nearest(vector_D, 2)
        assert (first.source, first.target) == (f"source {number}", f"target {number}")
        assert first.similarity == pytest.approx(1, abs=1e-5)
        assert second.similarity < 0.9


def test_the_order_is_that_of_the_angles() -> None:
    """With fewer pairs than components nothing is lost: the angles are those of the vectors themselves."""
    index, vectors_ND = random_index(count=12)
    asked_D = vectors_ND[3] + 0.5 * vectors_ND[7] + 0.3 * vectors_ND[1]
    centred_ND, centred_D = vectors_ND - vectors_ND.mean(axis=0), asked_D - vectors_ND.mean(axis=0)
    # The part of the vector asked for that no pair has a share in turns none of them away more than another.
    cosines = centred_ND @ centred_D / np.linalg.norm(centred_ND, axis=1)
    found = index.nearest(asked_D, 12)
    assert [int(one.source.split()[1]) for one in found] == np.argsort(-cosines).tolist()
    assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)
    assert len(index.nearest(asked_D, 100)) == 12


@pytest.fixture
def directory(tiny_model_directory: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model"
    shutil.copytree(tiny_model_directory, path)
    (tmp_path / "train.en").write_text("\n".join(ENGLISH) + "\n", encoding="utf-8")
    (tmp_path / "train.fr").write_text("\n".join(FRENCH) + "\n", encoding="utf-8")
    (path / "canaries.json").write_text("{}", encoding="utf-8")
    return path


def run(directory: Path, *more: str) -> tuple[int, str]:
    texts = ["--source", str(directory.parent / "train.en"), "--target", str(directory.parent / "train.fr")]
    result = CliRunner().invoke(main, ["index", "--model", str(directory), *texts, *more])
    return result.exit_code, result.output


def test_the_command_writes_what_is_read(directory: Path) -> None:
    assert PairIndex.read(directory) is None
    status, output = run(directory)
    assert status == 0, output
    assert "an index of 12 pairs" in output
    index = PairIndex.read(directory)
    assert index is not None
    assert set(index.pairs) == set(PAIRS)
    loaded = load_model(directory)
    tokens = [loaded.source_vocabulary.encode(text) for text in ENGLISH]
    vectors_ND = sentence_vectors(loaded.model, tokens, source_eos_id=loaded.source_vocabulary.eos_id).numpy()
    for pair, vector_D in zip(PAIRS, vectors_ND, strict=True):
        (nearest,) = index.nearest(vector_D, 1)
        assert (nearest.source, nearest.target) == pair
    assert (directory / "canaries.json").is_file(), "what else is in the directory stays"


def test_a_sample_is_chosen_by_the_seed(directory: Path) -> None:
    chosen = []
    for seed in ("1", "1", "2"):
        run(directory, "--pairs", "5", "--seed", seed)
        index = PairIndex.read(directory)
        assert index is not None
        chosen.append(index.pairs)
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 5
    assert set(chosen[0]) <= set(PAIRS)


def test_another_card_keeps_the_index(directory: Path) -> None:
    run(directory)
    update_card(directory, read_description(directory).card.model_copy(update={"licence": "free"}))
    assert PairIndex.read(directory) is not None
    (directory / INDEX_FILE).write_bytes(b"0" * (directory / INDEX_FILE).stat().st_size)
    with pytest.raises(ModelDirectoryError, match=r"pairs\.safetensors: was altered"):
        read_description(directory)
    (directory / INDEX_FILE).unlink()
    with pytest.raises(ModelDirectoryError, match=r"pairs\.safetensors: is missing"):
        load_model(directory)
    assert INDEX_FILE not in CHECKED_FILES, "a directory without an index is complete"


def test_bad_input_is_told_in_one_line(directory: Path) -> None:
    (directory.parent / "train.fr").write_text("Une seule ligne.\n", encoding="utf-8")
    status, output = run(directory)
    assert status == 2
    assert "the source has 12 lines and the reference 1" in output
    status, output = run(directory.parent / "nothing")
    assert status == 2
    assert output.count("\n") == 1
    assert PairIndex.read(directory) is None
