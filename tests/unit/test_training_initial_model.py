"""A recipe that begins with a model: what it takes over, what it may still say, and what it refuses."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.support import ENGLISH, FRENCH
from training.errors import InputError
from training.first_network import first_network
from training.preparation import prepare, prepare_or_reuse
from training.prepared import Prepared, load_prepared
from training.recipe import Recipe, load_recipe
from training.subwords import train_vocabulary
from translator.card import Card
from translator.config import ModelConfig
from translator.description import Description, read_description
from translator.directory import load_model, save_model
from translator.model import Seq2Seq
from translator.vocabulary import Vocabulary

SMOKE = Path(__file__).parent.parent / "fixtures" / "smoke"
QUIET = Console(quiet=True)
SOURCE, _ = train_vocabulary(ENGLISH, size=330, model_type="bpe", seed=1)
TARGET, _ = train_vocabulary(FRENCH, size=335, model_type="bpe", seed=1)
SHAPE = {"embedding_size": 16, "hidden_size": 16, "num_layers": 2, "attention": "general", "tie_target_embedding": True}

Load = Callable[..., Recipe]


def write_model(
    path: Path, *, source: Vocabulary = SOURCE, target: Vocabulary = TARGET, name: str = "the-first"
) -> Path:
    """A model directory with weights in 8 bits."""
    sizes = {"source_vocabulary_size": source.size, "target_vocabulary_size": target.size}
    model = Seq2Seq(ModelConfig.model_validate(SHAPE | sizes))
    model.initialise(seed=7, initial_range=0.5)
    card = Card(name=name, source_language="en", target_language="fr")
    save_model(path, model=model, source_vocabulary=source, target_vocabulary=target, card=card, storage="int8")
    return path


@pytest.fixture
def initial(tmp_path: Path) -> Path:
    return write_model(tmp_path / "initial")


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a recipe that says of itself nothing but its name, its corpus and its languages."""
    file = tmp_path / "mine.toml"
    corpus = f'path = "{SMOKE}"\nsource_language = "en"\ntarget_language = "fr"'
    file.write_text(f'name = "mine"\n\n[corpus]\n{corpus}\n', encoding="utf-8")

    def load_it(initial_model: Path | str, *overrides: str) -> Recipe:
        return load_recipe(file, [f"initial_model={initial_model}", f"output.directory={tmp_path / 'run'}", *overrides])

    return load_it


@pytest.fixture
def prepared(load: Load, initial: Path, tmp_path: Path) -> Prepared:
    return prepare(load(initial), tmp_path / "prepared", console=QUIET)


def test_what_a_recipe_leaves_out_is_as_in_the_model(load: Load, initial: Path) -> None:
    recipe = load(initial)
    shape = recipe.model.configuration(recipe.subwords.source_vocabulary_size, recipe.subwords.target_vocabulary_size)
    assert shape == load_model(initial).config
    assert Recipe.model_validate(recipe.model_dump()) == recipe


def test_what_does_not_say_the_shape_may_be_anything(load: Load, initial: Path) -> None:
    stated = ("model.num_layers=2", f"subwords.target_vocabulary_size={TARGET.size}")
    recipe = load(initial, *stated, "model.dropout=0.4", "model.word_dropout=0.1", "model.embedding_deviation=1")
    assert (recipe.model.dropout, recipe.model.word_dropout, recipe.model.hidden_size) == (0.4, 0.1, 16)


def test_another_shape_is_refused_with_both_values_and_what_to_do(load: Load, initial: Path) -> None:
    stated = (
        *("model.num_layers=4", "model.attention=dot", "model.residual=true"),
        "subwords.source_vocabulary_size=8000",
    )
    with pytest.raises(InputError) as caught:
        load(initial, *stated)
    for part in (
        "model.num_layers is 4 in the recipe and 2 in the model",
        'model.attention is "dot" in the recipe and "general" in the model',
        "model.residual is true in the recipe and false in the model",
        f"subwords.source_vocabulary_size is 8000 in the recipe and {SOURCE.size} in the model",
        "leave these keys out (--set model.num_layers= --set",
    ):
        assert part in str(caught.value)
    assert "hidden_size" not in str(caught.value)
    left_out = [override.partition("=")[0] + "=" for override in stated]
    assert load(initial, *stated, *left_out) == load(initial)


def test_other_languages_are_refused(load: Load, initial: Path) -> None:
    """Also where they are the model's the other way round."""
    with pytest.raises(InputError, match=r"translates en to fr, .* corpus is fr to en; name a model with one of these"):
        load(initial, "corpus.source_language=fr", "corpus.target_language=en")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere", r"nowhere: there is no such model directory; .*shipped models: en-fr"),
        ("{folder}/empty", r"empty/config\.json: is missing; is this a model directory\?"),
        ("{folder}/run", r"is this a model directory\? did you mean .*run/model\?"),
        ("{folder}/damaged", r"damaged/target\.model: .*copy the directory again"),
        ("{folder}/mine.toml", r"there is no such model directory"),
        ("{folder}/initial,en-fr", r"is one model, and no ensemble; .*training average.*training distill"),
        ('["en-fr", "en-fr"]', r"initial_model: is one model, and no ensemble"),
        ("[]", r"initial_model: is one model, and no ensemble"),
        ("3", r"initial_model: .*string"),
    ],
)
def test_what_is_no_model_is_refused(load: Load, initial: Path, tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(initial, tmp_path / "run" / "model")
    (shutil.copytree(initial, tmp_path / "damaged") / "target.model").write_bytes(b"damage")
    with pytest.raises(InputError, match=complaint):
        load(name.replace("{folder}", str(tmp_path)))


def test_a_shipped_model_is_known_by_its_name() -> None:
    """Its own recipe says its own shape, and takes the model back out."""
    plain = load_recipe("tatoeba-en-fr")
    begun = load_recipe("tatoeba-en-fr", ["initial_model=en-fr"])
    assert begun == plain.model_copy(update={"initial_model": "en-fr"})
    assert load_recipe("tatoeba-en-fr", ["initial_model=en-fr", "initial_model="]) == plain


def test_the_vocabularies_are_the_model_s_byte_for_byte(prepared: Prepared, initial: Path) -> None:
    for side in ("source", "target"):
        written = (prepared.path / f"{side}.model").read_bytes()
        assert written == (initial / f"{side}.model").read_bytes()
        assert prepared.record.vocabularies_sha256[side] == hashlib.sha256(written).hexdigest()
    sentence = (SMOKE / "train.en").read_text(encoding="utf-8").splitlines()[5]
    assert prepared.train.source(5).tolist() == SOURCE.encode(sentence)


def test_a_prepared_folder_is_reused_with_the_same_vocabularies_alone(
    load: Load, initial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = (f"subwords.{side}_vocabulary_size={voc.size}" for side, voc in (("source", SOURCE), ("target", TARGET)))
    same_settings = (*sizes, "subwords.model_type=bpe")

    def inode(initial_model: Path | str) -> int:
        folder = prepare_or_reuse(load(initial_model, *same_settings), console=QUIET).path
        return (folder / "prepared.json").stat().st_ino

    made = inode(initial)
    moved = Path(shutil.copytree(initial, tmp_path / "moved"))
    assert inode(initial) == inode(moved) == made
    other, _ = train_vocabulary([text.upper() for text in FRENCH], size=TARGET.size, model_type="bpe", seed=1)
    assert other.size == TARGET.size
    of_the_same_size = inode(write_model(tmp_path / "other", target=other))
    assert of_the_same_size != made
    learnt = inode("")
    assert learnt != of_the_same_size
    folder = load_prepared(tmp_path / "prepared" / "mine")
    assert "vocabularies_sha256" not in folder.record.model_dump()


def test_vocabularies_that_were_learnt_are_those_of_the_model_that_was_trained_with_them(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a run's model may be gone on with from the folder that the run was trained on."""
    monkeypatch.chdir(tmp_path)
    sizes = (f"subwords.{side}_vocabulary_size={size}" for side, size in (("source", 330), ("target", 335)))
    settings = (*sizes, "subwords.model_type=bpe")
    learnt = prepare_or_reuse(load("", *settings), console=QUIET)
    inode = (learnt.path / "prepared.json").stat().st_ino
    model = write_model(tmp_path / "trained", source=learnt.source_vocabulary, target=learnt.target_vocabulary)
    for initial_model in (model, ""):
        assert (
            prepare_or_reuse(load(initial_model, *settings), console=QUIET).path / "prepared.json"
        ).stat().st_ino == inode
    (learnt.path / "source.model").write_bytes(b"damage")
    again = prepare_or_reuse(load(model, *settings), console=QUIET)
    assert again.source_vocabulary.model_bytes == learnt.source_vocabulary.model_bytes
    other_settings = prepare_or_reuse(load(model, *settings, "corpus.maximum_length=150"), console=QUIET)
    assert other_settings.record.corpus.maximum_length == 150


def test_the_first_network_computes_what_the_model_computes(load: Load, prepared: Prepared, initial: Path) -> None:
    """In float32, though the model is stored in 8 bits, and every weight can be learnt."""
    model, record = first_network(load(initial), prepared)
    expected = load_model(initial)
    assert record is not None
    assert (record.name, record.weights_sha256) == ("the-first", expected.card.files["model.safetensors"].sha256)
    weights = model.state_dict()
    for name, weight in expected.model.state_dict().items():
        assert weights[name].dtype == torch.float32
        assert torch.equal(weights[name], weight), name
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.decoder.output.weight is model.decoder.embedding.weight
    source_BS, inputs_BT = torch.tensor([[5, 6, 7]]), torch.tensor([[2, 8]])
    features = model(source_BS, inputs_BT, SOURCE.eos_id)
    torch.testing.assert_close(features, expected.model(source_BS, inputs_BT, SOURCE.eos_id))


def test_without_an_initial_model_the_weights_are_drawn(load: Load, prepared: Prepared, initial: Path) -> None:
    shape = [f"model.{key}={str(value).lower()}" for key, value in SHAPE.items()]
    model, record = first_network(load("", *shape, "model.initial_range=0.1"), prepared)
    assert record is None
    drawn, given = (network.state_dict().values() for network in (model, load_model(initial).model))
    assert max(float(weight.abs().max()) for weight in drawn) < 0.101
    assert max(float(weight.abs().max()) for weight in given) > 0.4


def test_a_folder_prepared_with_other_vocabularies_is_refused(load: Load, initial: Path, tmp_path: Path) -> None:
    sizes = ("subwords.model_type=bpe", "subwords.source_vocabulary_size=330", "subwords.target_vocabulary_size=335")
    of_its_own = prepare(load("", *sizes), tmp_path / "prepared", console=QUIET)
    with pytest.raises(InputError, match=r"source vocabulary is not that of the initial model .*leave --prepared out"):
        first_network(load(initial), of_its_own)


def test_a_run_does_not_write_over_what_it_began_with(load: Load, initial: Path, tmp_path: Path) -> None:
    """It is refused as the recipe is loaded, before a corpus is prepared. The name is no way out: see `load`."""
    recipe = load(initial)
    own = Path(shutil.copytree(initial, recipe.run_directory / "model"))
    with pytest.raises(InputError, match=r"is where this run writes its own model; choose .* with --set output\.dir"):
        load(own)
    assert load(own, f"output.directory={tmp_path / 'elsewhere'}").initial_model == str(own)
    assert load_recipe(tmp_path / "mine.toml", [f"initial_model={own}"]).run_directory == Path("runs/mine")


@pytest.mark.parametrize(
    ("corpus", "advice"),
    [
        ((), "--set name=NAME or --set output.directory=DIR"),
        (("corpus.path=",), "--set name=NAME --set corpus.path=corpora/mine or --set output.directory=DIR"),
        (("corpus.path=", "corpus.kind=hub", "corpus.name=some/pairs"), "--set name=NAME or --set output"),
    ],
)
def test_another_name_keeps_the_corpus(
    load: Load, initial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: tuple[str, ...], advice: str
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path(shutil.copytree(initial, Path("runs") / "mine" / "model"))
    with pytest.raises(InputError) as caught:
        load(own, "output.directory=", *corpus)
    assert f"choose another place with {advice}" in str(caught.value)
    kept = [setting for setting in advice.replace("NAME", "other").split(" or ")[0].split() if setting != "--set"]
    before, after = load(initial, *corpus), load(own, "output.directory=", *corpus, *kept)
    assert after.prepared_directory != before.prepared_directory
    if before.corpus.kind != "hub":
        assert after.corpus_path == before.corpus_path


def test_a_run_that_goes_on_needs_the_shape_and_the_vocabularies_alone(
    load: Load, prepared: Prepared, initial: Path, tmp_path: Path
) -> None:
    """Those of the run's own model will do, which is what is advised where the initial model is gone."""
    with pytest.raises(InputError, match=r"gone: there is no such .* such as its own: --set initial_model=RUN/model$"):
        load_recipe(tmp_path / "mine.toml", [f"initial_model={tmp_path / 'gone'}"], resume=True)
    own = Path(shutil.copytree(initial, load(initial).run_directory / "model"))
    overrides = [f"initial_model={own}", f"output.directory={tmp_path / 'run'}"]
    recipe = load_recipe(tmp_path / "mine.toml", overrides, resume=True)
    model, record = first_network(recipe, prepared, resume=True)
    assert model.config == load_model(initial).config
    assert record is not None
    assert record.name == "the-first"
    with pytest.raises(InputError, match="is where this run writes its own model"):
        first_network(recipe, prepared)


def test_a_file_that_cannot_be_read_is_named(load: Load, initial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path / "model.safetensors"))

    monkeypatch.setattr("training.initial_model.read_description", refuse)
    with pytest.raises(InputError, match=r"^initial_model: .*model\.safetensors: cannot be read: Permission denied$"):
        load(initial)


def test_the_directory_is_read_once_and_again_where_it_was_changed(
    load: Load, initial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(path: Path) -> Description:
        read.append(path)
        return read_description(path)

    monkeypatch.setattr("training.initial_model.read_description", counted)
    assert load(initial) == load(initial)
    assert read == [initial]
    (initial / "target.model").write_bytes((initial / "target.model").read_bytes()[::-1])
    with pytest.raises(InputError, match="was altered"):
        load(initial)


def test_a_card_without_an_initial_model_is_as_before(initial: Path) -> None:
    assert "initial_model" not in load_model(initial).card.model_dump()
