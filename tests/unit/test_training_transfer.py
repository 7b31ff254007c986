"""A recipe that begins with a model of which one language is another (Zoph et al. 2016)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.support import ENGLISH, FRENCH
from training.first_network import first_network
from training.preparation import prepare_or_reuse
from training.recipe import Recipe, load_recipe
from training.subwords import train_vocabulary
from translator.card import Card
from translator.config import ModelConfig
from translator.description import read_description
from translator.directory import load_model, save_model
from translator.model import Seq2Seq
from translator.vocabulary import Vocabulary

SMOKE = Path(__file__).parent.parent / "fixtures" / "smoke"
QUIET = Console(quiet=True)
OTHER_LANGUAGE = 300  # entries of its vocabulary
SHAPE = {"embedding_size": 16, "hidden_size": 16, "num_layers": 2, "feed_context": True, "tie_target_embedding": True}


def write_model(path: Path, source: Vocabulary, target: Vocabulary, source_language: str = "en") -> Path:
    sizes = {"source_vocabulary_size": source.size, "target_vocabulary_size": target.size}
    model = Seq2Seq(ModelConfig.model_validate(SHAPE | sizes))
    model.initialise(seed=7, initial_range=0.5)
    card = Card(name="the-first", source_language=source_language, target_language="fr")
    save_model(path, model=model, source_vocabulary=source, target_vocabulary=target, card=card, storage="int8")
    return path


@pytest.fixture
def initial(tmp_path: Path) -> Path:
    source, _ = train_vocabulary(ENGLISH, size=330, model_type="bpe", seed=1)
    target, _ = train_vocabulary(FRENCH, size=335, model_type="bpe", seed=1)
    return write_model(tmp_path / "initial", source, target)


@pytest.fixture
def transferred(initial: Path, tmp_path: Path, side: str, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe whose language of `side` is not the model's: the smoke corpus in capitals."""
    monkeypatch.chdir(tmp_path)
    corpus = Path(shutil.copytree(SMOKE, tmp_path / "corpus"))
    for file in corpus.glob("*.en" if side == "source" else "*.fr"):
        file.with_suffix(".de").write_text(file.read_text(encoding="utf-8").upper(), encoding="utf-8")
        file.unlink()
    languages = {"source": "en", "target": "fr"} | {side: "de"}
    lines = [f'{each}_language = "{language}"' for each, language in languages.items()]
    file = tmp_path / "mine.toml"
    file.write_text("\n".join(['name = "mine"', "[corpus]", 'path = "corpus"', *lines]), encoding="utf-8")
    return load_recipe(file, [f"initial_model={initial}", f"subwords.{side}_vocabulary_size={OTHER_LANGUAGE}"])


@pytest.mark.parametrize("side", ["source", "target"])
def test_the_vocabulary_of_another_language_is_learnt(transferred: Recipe, initial: Path, side: str) -> None:
    kept = "target" if side == "source" else "source"
    assert transferred.subwords.model_type == "unigram"
    prepared = prepare_or_reuse(transferred, console=QUIET)
    assert prepared.vocabularies[side].size == OTHER_LANGUAGE
    assert prepared.vocabularies[kept].model_bytes == (initial / f"{kept}.model").read_bytes()
    assert list(prepared.record.vocabularies_sha256) == [kept]
    made = (prepared.path / "prepared.json").stat().st_ino
    assert (prepare_or_reuse(transferred, console=QUIET).path / "prepared.json").stat().st_ino == made


@pytest.mark.parametrize("side", ["source", "target"])
def test_an_entry_begins_as_the_one_that_is_written_the_same(transferred: Recipe, initial: Path, side: str) -> None:
    """Or as another one of the initial model; the layers and the other language are as they were, bit for bit."""
    prepared = prepare_or_reuse(transferred, console=QUIET)
    model, record = first_network(transferred, prepared)
    assert record is not None
    assert record.name == "the-first"
    before, after = load_model(initial).model.state_dict(), model.state_dict()
    by_entry = {"encoder.embedding.weight"} if side == "source" else set(before) - {"encoder.embedding.weight"}
    by_entry &= {"encoder.embedding.weight", "decoder.embedding.weight", "decoder.output.weight", "decoder.output.bias"}
    for name in set(before) - by_entry:
        assert torch.equal(after[name], before[name]), name
    old, new = read_description(initial).vocabularies[side], prepared.vocabularies[side]
    rows = {piece: row for row, piece in enumerate(old.pieces(range(old.size)))}
    pieces = new.pieces(range(OTHER_LANGUAGE))
    assert 200 < sum(piece in rows for piece in pieces) < OTHER_LANGUAGE  # the bytes, and what has no letters
    for name in by_entry:
        assert len(after[name]) == OTHER_LANGUAGE
        for row, piece in enumerate(pieces):
            if piece in rows:
                assert torch.equal(after[name][row], before[name][rows[piece]]), piece
            else:
                assert (after[name][row] == before[name]).reshape(old.size, -1).all(1).any(), piece
    assert model.decoder.output.weight is model.decoder.embedding.weight
    again, _ = first_network(transferred, prepared)
    assert all(torch.equal(weight, after[name]) for name, weight in again.state_dict().items())


@pytest.mark.parametrize("side", ["source"])
def test_a_run_in_another_language_goes_on_with_its_own_model(transferred: Recipe, initial: Path, side: str) -> None:
    """Whose vocabularies are both in the folder that was prepared, the one as it was, the other as it was learnt."""
    prepared = prepare_or_reuse(transferred, console=QUIET)
    own = write_model(transferred.run_directory / "model", *prepared.vocabularies.values(), source_language="de")
    shutil.rmtree(initial)
    recipe = Recipe.model_validate(transferred.model_dump() | {"initial_model": str(own)})
    made = (prepared.path / "prepared.json").stat().st_ino
    again = prepare_or_reuse(recipe, console=QUIET)
    assert (again.path / "prepared.json").stat().st_ino == made
    assert first_network(recipe, again, resume=True)[1] is not None
