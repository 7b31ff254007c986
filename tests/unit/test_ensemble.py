"""Ensembles against exhaustive search, against their equations written out, and against a single model."""

from __future__ import annotations

import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import EOS, PAD, all_drawn, network, search, stepped
from training.subwords import train_vocabulary
from translator import SearchOptions, Translator
from translator.config import Combination
from translator.description import ModelDirectoryError
from translator.directory import LoadedModel, load_model, save_model
from translator.engines import CPUEngine, Engine, EnsembleEngine, ReferenceEngine, make_engine
from translator.engines.native_library import instruction_sets
from translator.ensemble import model_paths
from translator.model import Seq2Seq
from translator.scoring import score_texts, score_tokens
from translator.texts import Texts

COMBINATIONS: list[Combination] = ["average", "log-linear"]
ENGINE_NAMES = ["reference", "cpu-float32"] if instruction_sets() else ["reference"]


def engines(models: list[Seq2Seq], name: str = "reference", forbidden: tuple[int, ...] = (PAD,)) -> list[Engine[Any]]:
    return [
        make_engine(model, source_eos_id=EOS, target_eos_id=EOS, forbidden=forbidden, name=name) for model in models
    ]


def distributions(model: Seq2Seq, source: list[int], target: list[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """p of the token after each prefix of `target`, [positions, vocabulary], through the network itself."""
    features = model(torch.tensor([source]), torch.tensor([[EOS, *target]]), EOS)
    return np.asarray(torch.softmax(model.logits(features)[0], dim=1).detach().numpy(), dtype=np.float64)


def log_probability(models: list[Seq2Seq], source: list[int], target: list[int], combination: Combination) -> float:
    """The ensemble's log p(target | source) by its definition."""
    each = np.stack([distributions(model, source, target) for model in models])
    if combination == "average":
        combined = each.mean(axis=0)
    else:
        combined = np.exp(np.log(each).mean(axis=0))
        combined /= combined.sum(axis=1, keepdims=True)
    return math.fsum(math.log(combined[place, token]) for place, token in enumerate([*target, EOS]))


def double(seed: int, **options: Any) -> Seq2Seq:
    return network(seed, scale=1.0, dtype=torch.float64, **options)


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("first_seed", range(4))
def test_a_wide_beam_finds_what_exhaustive_search_finds(
    first_seed: int, length_penalty: float, combination: Combination
) -> None:
    """Two words and `<EOS>`; the members have different architectures."""
    architectures: list[dict[str, Any]] = [{}, {"num_layers": 1, "attention": "dot"}, {"reverse_source": False}]
    models = [
        double(10 * first_seed + number, target_vocabulary_size=3, **options)
        for number, options in enumerate(architectures)
    ]
    source, longest = [5, 3, 7], 4
    targets = [list(words) for length in range(longest + 1) for words in itertools.product([0, 1], repeat=length)]
    scores = {tuple(target): log_probability(models, source, target, combination) for target in targets}
    penalised = {target: score / ((5 + len(target)) / 6) ** length_penalty for target, score in scores.items()}
    ranked = sorted(penalised, key=lambda target: -penalised[target])
    engine = EnsembleEngine(engines(models, forbidden=()), combination=combination)
    options = SearchOptions(beam_size=60, max_length=longest)
    (found,) = search(engine, [source], options, length_penalty=length_penalty, count=5)
    assert [hypothesis.tokens for hypothesis in found] == ranked[:5]
    for hypothesis in found:
        assert hypothesis.log_probability == pytest.approx(scores[hypothesis.tokens], abs=1e-6)
    by_teacher_forcing = score_tokens(
        models,
        [(source, target) for target in targets],
        source_eos_id=EOS,
        target_eos_id=EOS,
        combination=combination,
    )
    assert [math.fsum(each) for each in by_teacher_forcing] == pytest.approx(list(scores.values()), abs=1e-5)


def test_the_two_combinations_rank_differently_somewhere() -> None:
    """Else the tests above could not tell them apart."""
    models = [double(seed) for seed in range(3)]
    steps = [
        next(stepped(EnsembleEngine(engines(models), combination=each), [[4, 5]], [[EOS]])) for each in COMBINATIONS
    ]
    assert np.abs(np.exp(steps[0]) - np.exp(steps[1])).max() > 0.01


@settings(max_examples=25)
@given(
    sources=st.lists(st.lists(st.integers(3, 11), max_size=6), min_size=1, max_size=6),
    beam_size=st.integers(1, 4),
    combination=st.sampled_from(COMBINATIONS),
    name=st.sampled_from(ENGINE_NAMES),
    method=st.sampled_from(["beam", "sample"]),
)
def test_a_model_twice_is_the_model_once(
    sources: list[list[int]], beam_size: int, combination: Combination, name: str, method: Any
) -> None:
    model = network(3, attention="dot")
    options = SearchOptions(beam_size=beam_size, max_length=8, method=method)
    (single,) = engines([model], name, forbidden=())  # else a log-linear mean would share out what `<pad>` had
    twice = EnsembleEngine(engines([model, model], name, forbidden=()), combination=combination)
    for one, two in zip(search(single, sources, options), search(twice, sources, options), strict=True):
        assert one[0].tokens == two[0].tokens
        assert one[0].log_probability == pytest.approx(two[0].log_probability, abs=1e-4)


@settings(max_examples=25)
@given(
    sources=st.lists(st.lists(st.integers(3, 11), max_size=6), min_size=1, max_size=6),
    beam_size=st.integers(1, 4),
    combination=st.sampled_from(COMBINATIONS),
)
def test_a_translation_does_not_depend_on_its_neighbours(
    sources: list[list[int]], beam_size: int, combination: Combination
) -> None:
    engine = EnsembleEngine(engines([double(seed, attention="dot") for seed in (1, 2)]), combination=combination)
    options = SearchOptions(beam_size=beam_size, max_length=8)
    together = search(engine, sources, options, count=2)
    for source, found in zip(sources, together, strict=True):
        (alone,) = search(engine, [source], options, count=2)
        assert [hypothesis.tokens for hypothesis in alone] == [hypothesis.tokens for hypothesis in found]


@pytest.mark.skipif(not instruction_sets(), reason="the cpu engine's library is not built")
def test_every_engine_can_be_a_member() -> None:
    models = [network(seed, attention="dot") for seed in (1, 2)]
    members = [
        CPUEngine(models[0], source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD], precision="float32"),
        ReferenceEngine(models[1], source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD]),
    ]
    mixed, plain = EnsembleEngine(members), EnsembleEngine(engines(models))
    sources, targets = [[4, 5, 6], [9, 3, 8, 8]], [[EOS, 3, 7], [EOS, 5, 5]]
    for found, expected in zip(stepped(mixed, sources, targets), stepped(plain, sources, targets), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert mixed.precision == "float32"
    assert mixed.describe().startswith("ensemble of 2, probabilities averaged: cpu, float32")


def test_a_member_that_is_certain_of_nothing_forbids_nothing() -> None:
    """A token that one member gives no probability keeps half of the other's in an average, and none in a log-linear
    mean.
    """
    models = [double(1), double(2)]
    refusing = make_engine(models[0], source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD, 5], name="reference")
    (willing,) = engines([models[1]])
    alone = next(stepped(willing, [[4]], [[EOS]]))[0]
    for combination, expected in (("average", alone[5] - math.log(2)), ("log-linear", -math.inf)):
        found = next(stepped(EnsembleEngine([refusing, willing], combination=combination), [[4]], [[EOS]]))[0]
        assert found[5] == pytest.approx(expected)
        assert found[PAD] == -math.inf


def test_engines_of_other_vocabularies_are_refused() -> None:
    with pytest.raises(ValueError, match="one target vocabulary"):
        EnsembleEngine([*engines([network(1)]), *engines([network(1, target_vocabulary_size=15)])])


def test_rows_are_drawn_from_and_extended_in_one_step() -> None:
    """The search asks for extensions of some sentences and for whole distributions of others."""
    engine = EnsembleEngine(engines([double(1), double(2)]))
    rows = engine.encode([[4, 5], [6]])
    beams = all_drawn(np.array([EOS, EOS]), np.zeros(2, dtype=np.float32))
    extensions, rows = engine.step(rows, beams)
    assert extensions.log_probabilities_DV.shape == (2, engine.vocabulary_size)
    np.testing.assert_allclose(np.exp(extensions.log_probabilities_DV).sum(axis=1), 1, atol=0.5)
    assert len(rows) == 2


@pytest.fixture(scope="module")
def members(tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models of one vocabulary and different weights."""
    loaded = load_model(tiny_model_directory)
    paths = [tiny_model_directory]
    for seed in (2, 3):
        model = Seq2Seq(loaded.config)
        model.initialise(seed=seed, initial_range=0.4)
        path = tmp_path_factory.mktemp("members") / f"seed-{seed}"
        _save(path, loaded, model, name=f"seed-{seed}", length_penalty=0.3 * seed)
        paths.append(path)
    return paths


def _save(path: Path, loaded: LoadedModel, model: Seq2Seq, **changes: Any) -> None:
    save_model(
        path,
        model=model,
        source_vocabulary=loaded.source_vocabulary,
        target_vocabulary=loaded.target_vocabulary,
        card=loaded.card.model_copy(update=changes),
    )


def test_the_translator_of_several_directories_is_their_ensemble(members: list[Path]) -> None:
    ensemble = Translator.load(members, engine="reference")
    assert ensemble.card.name == "tiny-en-fr + seed-2 + seed-3"
    assert ensemble.card.length_penalty == pytest.approx((0.6 + 0.6 + 0.9) / 3)
    assert ensemble.card.parameters == 3 * load_model(members[0]).card.parameters
    assert ensemble.card.scores == []
    text = "Where is the station?"
    options = SearchOptions(max_length=12, beam_size=3, length_penalty=0.0)
    translation = ensemble.translate(text, options, split_sentences=False)
    again = Translator.load(",".join(map(str, members)), engine="reference")
    assert again.translate(text, options, split_sentences=False) == translation
    singles = [Translator.load(path, engine="reference").translate(text, options).text for path in members]
    assert translation.text not in singles
    assert Texts.read(",".join(map(str, members))).card == ensemble.card


def test_an_ensembles_translation_has_the_score_that_scoring_gives_it(members: list[Path]) -> None:
    for combination in COMBINATIONS:
        ensemble = Translator.load(members, engine="reference", combination=combination)
        text = "She reads a book."
        found = ensemble.translate(
            text, SearchOptions(beam_size=2, length_penalty=0.0, alternatives=3), split_sentences=False
        )
        vocabulary = ensemble.loaded.target_vocabulary
        for candidate in (found, *found.alternatives):
            # Subwords that the search chose may be others than those that the text is split into.
            (score,) = score_texts(ensemble, [(text, candidate.text)])
            tokens = vocabulary.encode(candidate.text)
            assert len(score.log_probabilities) == len(tokens) + 1
            if not any("truncated" in warning for warning in found.warnings):
                assert score.log_probability <= candidate.score + 1e-3


def test_another_engine_of_an_ensemble_is_one_again(members: list[Path]) -> None:
    ensemble = Translator.load(members, engine="reference", combination="log-linear")
    assert ensemble.another_engine("reference").describe() == ensemble.engine.describe()
    assert "log-probabilities averaged" in ensemble.engine.describe()


def test_models_that_do_not_fit_together_are_refused(
    tiny_model_directory: Path, members: list[Path], tmp_path: Path
) -> None:
    loaded = load_model(tiny_model_directory)
    _save(tmp_path / "german", loaded, loaded.model, target_language="de")
    other, _ = train_vocabulary(["un", "deux", "trois mots de plus"] * 30, size=300, model_type="unigram", seed=1)
    model = Seq2Seq(loaded.config.model_copy(update={"target_vocabulary_size": other.size}))
    model.initialise(seed=1)
    save_model(
        tmp_path / "other",
        model=model,
        source_vocabulary=loaded.source_vocabulary,
        target_vocabulary=other,
        card=loaded.card,
    )
    for path, message in (
        (tmp_path / "german", "german: translates en to de and .* en to fr"),
        (tmp_path / "other", "other: its target.model is not that of .*--prepared"),
        (tmp_path / "none", "no such model directory"),
    ):
        for load in (Translator.load, Texts.read):
            with pytest.raises(ModelDirectoryError, match=message):
                load([members[1], path])


def test_a_string_may_name_several_models(tmp_path: Path) -> None:
    with_comma = tmp_path / "a,b"
    with_comma.mkdir()
    assert model_paths(str(with_comma)) == [with_comma]
    assert model_paths(with_comma) == [with_comma]
    assert model_paths("x, y,") == [Path("x"), Path("y")]
    assert model_paths(["x,y", Path("z")]) == [Path("x,y"), Path("z")]
    for nothing in ("", " , ", []):
        with pytest.raises(ModelDirectoryError, match="no model is named"):
            model_paths(nothing)


def test_one_path_in_a_list_is_the_model_itself(tiny_model_directory: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_model_directory, tmp_path / "copy")
    assert not isinstance(Translator.load([copy], engine="reference").engine, EnsembleEngine)
