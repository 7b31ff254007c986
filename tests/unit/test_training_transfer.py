"""A recipe that begins with a model of which one language is another (Zoph et al. 2016)."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from tests.support import ENGLISH, FRENCH
from training.errors import InputError
from training.first_network import first_network
from training.initial_model import begins_with_a_translator, describe_start
from training.preparation import open_prepared, prepare_or_reuse
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
SHAPE = {"embedding_size": 16, "hidden_size": 16, "num_layers": 2, "feed_context": True}
BY_ENTRY = {
    "source": ["encoder.embedding.weight"],
    "target": ["decoder.embedding.weight", "decoder.output.weight", "decoder.output.bias"],
}


def write_model(
    path: Path,
    source: Vocabulary,
    target: Vocabulary,
    *,
    source_language: str = "en",
    tied: bool = False,
) -> Path:
    sizes = {"source_vocabulary_size": source.size, "target_vocabulary_size": target.size}
    model = Seq2Seq(ModelConfig.model_validate(SHAPE | sizes | {"tie_target_embedding": tied}))
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
    lines += ["[subwords]", f"{side}_vocabulary_size = {OTHER_LANGUAGE}"]
    file.write_text("\n".join(['name = "mine"', "[corpus]", 'path = "corpus"', *lines]), encoding="utf-8")
    return load_recipe(file, [f"initial_model={initial}"])


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
    """Or as another one, all of it, though never as a symbol; the layers and the other language are as they were."""
    prepared = prepare_or_reuse(transferred, console=QUIET)
    model, record = first_network(transferred, prepared)
    assert record is not None
    assert record.name == "the-first"
    before, after = load_model(initial).model.state_dict(), model.state_dict()
    for name in before.keys() - BY_ENTRY[side]:
        assert torch.equal(after[name], before[name]), name
    taken = rows_taken(before, after, BY_ENTRY[side])
    old, new = read_description(initial).vocabularies[side], prepared.vocabularies[side]
    rows = {piece: row for row, piece in enumerate(old.pieces(range(old.size)))}
    pieces = new.pieces(range(OTHER_LANGUAGE))
    assert 200 < sum(piece in rows for piece in pieces) < OTHER_LANGUAGE  # the bytes, and what has no letters
    for piece, row in zip(pieces, taken, strict=True):
        if piece in rows:
            assert row == rows[piece], piece
        else:
            assert row not in (old.pad_id, old.unk_id, old.eos_id), piece
    assert rows_taken(before, first_network(transferred, prepared)[0].state_dict(), BY_ENTRY[side]) == taken
    optimisation = transferred.optimisation.model_copy(update={"seed": transferred.optimisation.seed + 1})
    other = first_network(transferred.model_copy(update={"optimisation": optimisation}), prepared)[0]
    assert rows_taken(before, other.state_dict(), BY_ENTRY[side]) != taken


def rows_taken(before: Mapping[str, Tensor], after: Mapping[str, Tensor], names: Collection[str]) -> list[int]:
    """For each row of these tensors the one that it was, which is the same in all of them."""
    one, other = (torch.cat([each[name].reshape(len(each[name]), -1) for name in names], 1) for each in (before, after))
    same = (other[:, None] == one[None]).all(2)
    assert same.any(1).all()
    return same.int().argmax(1).tolist()


@pytest.mark.parametrize("side", ["target"])
def test_a_tied_embedding_stays_tied(transferred: Recipe, initial: Path, tmp_path: Path) -> None:
    described = read_description(initial)
    tied = write_model(tmp_path / "tied", *described.vocabularies.values(), tied=True)
    recipe = load_recipe(tmp_path / "mine.toml", [f"initial_model={tied}"])
    model, _ = first_network(recipe, prepare_or_reuse(recipe, console=QUIET))
    assert model.decoder.output.weight is model.decoder.embedding.weight
    rows_taken(load_model(tied).model.state_dict(), model.state_dict(), BY_ENTRY["target"])


@pytest.mark.parametrize("side", ["source"])
def test_a_run_in_another_language_goes_on_with_its_own_model(
    transferred: Recipe, initial: Path, tmp_path: Path
) -> None:
    """Whose vocabularies are both in the folder that was prepared, the one as it was, the other as it was learnt."""
    prepared = prepare_or_reuse(transferred, console=QUIET)
    own = write_model(tmp_path / "run" / "model", *prepared.vocabularies.values(), source_language="de")
    shutil.rmtree(initial)
    overrides = [f"initial_model={own}", f"output.directory={tmp_path / 'run'}"]
    recipe = load_recipe(tmp_path / "mine.toml", overrides, resume=True)
    made = (prepared.path / "prepared.json").stat().st_ino
    again = prepare_or_reuse(recipe, console=QUIET)
    assert (again.path / "prepared.json").stat().st_ino == made
    resumed = first_network(recipe, again, resume=True)[0].state_dict()
    assert not torch.equal(
        resumed["decoder.output.weight"], load_model(own).model.state_dict()["decoder.output.weight"]
    )


@pytest.mark.parametrize("side", ["target"])
def test_what_it_begins_with_is_told_and_only_a_translator_is_measured(transferred: Recipe, initial: Path) -> None:
    assert describe_start(transferred) == (
        f"Initial weights and source vocabulary: those of the-first ({initial}); "
        "the target vocabulary (de, the model's is fr) is learnt from the corpus."
    )
    assert not begins_with_a_translator(transferred)
    corpus = transferred.corpus.model_copy(update={"target_language": "fr"})
    same = transferred.model_copy(update={"corpus": corpus})
    assert describe_start(same) == f"Initial weights and vocabularies: those of the-first ({initial})."
    assert begins_with_a_translator(same)


@pytest.mark.parametrize("side", ["source"])
def test_a_folder_of_other_languages_is_refused(transferred: Recipe, tmp_path: Path) -> None:
    folder = prepare_or_reuse(transferred, console=QUIET).path
    corpus = transferred.corpus.model_copy(update={"source_language": "en"})
    with pytest.raises(InputError, match="was prepared for de to fr, and the recipe's corpus is en to fr"):
        open_prepared(transferred.model_copy(update={"corpus": corpus}), folder, console=QUIET)
