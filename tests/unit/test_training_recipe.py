"""Recipes: the shipped ones, overrides, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import InputError
from training.recipe import Recipe, load_recipe
from training.recipe_file import shipped_recipes

MINIMAL = """
name = "mine"

[corpus]
source_language = "en"
target_language = "fr"
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(MINIMAL, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_under_its_name(name: str) -> None:
    assert load_recipe(name).name == name


def test_the_recipes_that_the_documentation_names_are_shipped() -> None:
    named = {"sutskever2014-wmt14-en-fr", "tatoeba-en-fr", "multi30k-de-en", "libreoffice-help-en-fr", "smoke"}
    assert named <= set(shipped_recipes())


def test_the_paper_s_recipe_is_section_3_4() -> None:
    recipe = load_recipe("sutskever2014-wmt14-en-fr")
    assert (recipe.subwords.model_type, recipe.corpus.name, recipe.corpus.configuration) == (
        "word",
        "wmt/wmt14",
        "fr-en",
    )
    shape = recipe.model.configuration(recipe.subwords.source_vocabulary_size, recipe.subwords.target_vocabulary_size)
    assert (shape.source_vocabulary_size, shape.target_vocabulary_size) == (160_000, 80_000)
    assert (shape.num_layers, shape.hidden_size, shape.embedding_size, shape.reverse_source) == (4, 1000, 1000, True)
    assert (shape.residual, shape.feed_context, shape.tie_target_embedding) == (False, False, False)
    assert (shape.attention, recipe.model.dropout, recipe.model.embedding_deviation) == ("none", 0.0, None)
    assert recipe.model.initial_range == 0.08
    steps = recipe.optimisation
    assert (steps.optimiser, steps.learning_rate, steps.epochs, steps.batch_sentences) == ("sgd", 0.7, 7.5, 128)
    assert (steps.schedule, steps.halve_after_epochs, steps.halve_every_epochs) == ("paper", 5.0, 0.5)
    assert (steps.clip_norm, steps.label_smoothing, steps.warmup_updates) == (5.0, 0.0, 0)
    assert steps.batch_target_tokens is None
    assert (recipe.evaluation.patience, recipe.evaluation.length_penalties) == (None, (0.0,))


def test_what_a_recipe_leaves_out_is_as_in_the_paper(recipe_file: Path) -> None:
    mine, paper = load_recipe(recipe_file), load_recipe("sutskever2014-wmt14-en-fr")
    assert (mine.model, mine.optimisation, mine.subwords) == (paper.model, paper.optimisation, paper.subwords)


def test_folders_follow_the_name(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert [str(path) for path in (recipe.corpus_path, recipe.prepared_directory, recipe.run_directory)] == [
        "corpora/mine",
        "prepared/mine",
        "runs/mine",
    ]
    moved = load_recipe(recipe_file, ["corpus.path=elsewhere/it", "output.directory=there"])
    assert [str(path) for path in (moved.corpus_path, moved.run_directory)] == ["elsewhere/it", "there"]


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("optimisation.epochs=2", "optimisation", "epochs", 2.0),
        ("optimisation.learning_rate = 1e-3", "optimisation", "learning_rate", 0.001),
        ("model.residual=true", "model", "residual", True),
        ("corpus.path=a folder/é", "corpus", "path", Path("a folder/é")),
        ("corpus.attribution=a = b", "corpus", "attribution", "a = b"),
        ('corpus.attribution="2014"', "corpus", "attribution", "2014"),
        ("evaluation.length_penalties=[0, 0.5]", "evaluation", "length_penalties", (0.0, 0.5)),
        ("corpus.licence=2014-01-01", "corpus", "licence", "2014-01-01"),
    ],
)
def test_an_override_is_toml_or_else_text(
    recipe_file: Path, override: str, section: str, key: str, value: object
) -> None:
    assert getattr(getattr(load_recipe(recipe_file, [override]), section), key) == value


def test_overrides_apply_in_order_and_an_empty_one_gives_the_default_back(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file, ["model.dropout=0.3", "model.dropout=0.4", "model.hidden_size=8", "model.hidden_size="]
    )
    assert (recipe.model.dropout, recipe.model.hidden_size) == (0.4, 1000)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("optimisation.learning_rat=1", "'optimisation.learning_rat'; did you mean 'optimisation.learning_rate'?"),
        ("model.epochs=3", "'model.epochs'; did you mean 'optimisation.epochs'?"),
        ("optimization.epochs=3", "'optimization'; did you mean 'optimisation'?"),
        (
            "corpus.kind=web",
            "corpus.kind: .*'hub', 'moses', 'tsv', 'jsonl', 'parquet' or 'libreoffice-help' .*'web' given",
        ),
        ("optimisation.epochs=0", "optimisation.epochs: .*greater than 0"),
        ("optimisation.epochs=inf", "optimisation.epochs: .*finite number"),
        ("evaluation.length_penalties=[nan, 0.0]", "evaluation.length_penalties.*finite number"),
        ("model.num_layers=4.5", "model.num_layers: "),
        ("corpus.kind=hub", "needs the name of a data set"),
        ("corpus.target_language=en", "are both 'en'"),
        ("corpus.columns=[1, 1]", "two different numbers"),
        ("corpus=", "the key 'corpus' is missing"),
        ("name=../up", "name: "),
        ("epochs", "--set epochs: expected KEY.SUBKEY=VALUE"),
        ("name.first=1", "name is not a section"),
    ],
)
def test_a_wrong_key_or_value_is_named(recipe_file: Path, override: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_recipe(recipe_file, [override])


def test_options_that_do_not_go_together_are_refused_at_once(recipe_file: Path) -> None:
    with pytest.raises(InputError, match="embedding_size equal to hidden_size"):
        load_recipe(recipe_file, ["model.tie_target_embedding=true", "model.embedding_size=8"])


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"smoke.*did you mean 'tatoeba-en-fr'\?"):
        load_recipe("tatoeba-enfr")


@pytest.mark.parametrize("content", [b"name = ", b"name = '\xff'"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.toml: not a TOML file"):
        load_recipe(file)


def test_recipes_cannot_be_changed(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "other"  # type: ignore[misc]
    assert Recipe.model_validate(recipe.model_dump()) == recipe


def test_the_recipes_of_tatoeba_differ_in_what_they_say_they_do() -> None:
    forth, back, student, both = (
        load_recipe(name)
        for name in ("tatoeba-en-fr", "tatoeba-fr-en", "tatoeba-en-fr-student", "tatoeba-libreoffice-help-en-fr")
    )
    assert (back.corpus.source_language, back.corpus.target_language) == ("fr", "en")
    assert back.corpus_path == forth.corpus_path
    assert (back.subwords, back.model, back.optimisation) == (forth.subwords, forth.model, forth.optimisation)
    # What `distill tatoeba-en-fr` writes if it is not told where.
    assert str(student.corpus_path) == f"corpora/{forth.name}-distilled"
    assert (student.model.num_layers, student.model.hidden_size) == (2, 256)
    assert [both.corpus_path, *both.corpus.further_paths] == [
        forth.corpus_path,
        load_recipe("libreoffice-help-en-fr").corpus_path,
    ]
