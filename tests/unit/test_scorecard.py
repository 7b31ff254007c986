"""The scorecard: known answers, and checks of the paper's settings that have to fail where one is off."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu

from tests.support import WORDS
from training.errors import InputError
from training.recipe import Recipe, load_recipe
from training.scorecard.corpus_rows import corpus_rows, time_lags
from training.scorecard.grid import Budget, Member, member_recipe, members, parse_depths
from training.scorecard.preset import network_rows, paper_recipe
from training.scorecard.preset_training import training_rows
from training.scorecard.report import typeset
from training.scorecard.resampling import Bootstrap, Estimate, bleu_of, bleu_statistics, mean
from training.scorecard.results import by_thirds
from training.scorecard.rows import Verdict, judge, measured
from training.target_positions import encoded_pairs

BUDGET = Budget(width=16, epochs=3.0, depths=(1, 2, 4), seeds=2, ensemble=5, n_best=10)


def sentences(count: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(0, 12))) for _ in range(count)]


def estimate(value: float, low: float, high: float) -> Estimate:
    """One whose interval has (nearly) these ends."""
    return Estimate(value, np.linspace(low, high, 10_001))


# Resampling


def test_bleu_from_summed_statistics_is_sacrebleus() -> None:
    references, translations = sentences(60, 1), sentences(60, 2)
    statistics = bleu_statistics(translations, references)
    assert bleu_of(statistics.sum(axis=0)) == sacrebleu.BLEU().corpus_score(translations, [references]).score


def test_a_resampled_test_set_is_the_sentences_that_it_says() -> None:
    references, translations = sentences(30, 3), sentences(30, 4)
    bootstrap = Bootstrap(30, resamples=5)
    found = bootstrap.bleu(bleu_statistics(translations, references))
    for weights, bleu in zip(bootstrap.weights, found.resampled, strict=True):
        assert weights.sum() == 30
        drawn = [index for index, weight in enumerate(weights) for _ in range(weight)]
        texts, wanted = ([each[index] for index in drawn] for each in (translations, references))
        assert bleu == sacrebleu.BLEU().corpus_score(texts, [wanted]).score


def test_a_part_of_the_test_set_is_measured_by_itself() -> None:
    references, translations = sentences(30, 5), sentences(30, 6)
    found = Bootstrap(30).bleu(bleu_statistics(translations, references), np.arange(10))
    assert found.value == sacrebleu.BLEU().corpus_score(translations[:10], [references[:10]]).score


def test_estimates_are_paired() -> None:
    bootstrap = Bootstrap(50)
    numbers = np.random.default_rng(0).random(50)
    one, more = bootstrap.ratio(numbers, np.ones(50)), bootstrap.ratio(numbers + 0.25, np.ones(50))
    assert (more - one).value == pytest.approx(0.25)
    assert (more - one).interval == pytest.approx((0.25, 0.25))  # whichever sentences are drawn
    assert one.interval[0] < one.value < one.interval[1]
    assert mean([one, more]).value == pytest.approx(one.value + 0.125)
    assert (more / one).value == pytest.approx(more.value / one.value)


# Verdicts


@pytest.mark.parametrize(
    ("effect", "by_seed", "threshold", "expected"),
    [
        (estimate(1.0, 0.1, 1.9), [0.5, 1.5], 0.0, "holds"),
        (estimate(1.0, 0.1, 1.9), [], 0.0, "holds"),
        (estimate(1.0, 0.1, 1.9), [-0.5, 2.5], 0.0, "undecided"),  # the seeds disagree
        (estimate(0.5, -0.1, 1.1), [0.4, 0.6], 0.0, "undecided"),
        (estimate(1.0, 0.1, 1.9), [], 0.5, "undecided"),
        (estimate(-1.0, -1.9, -0.1), [-0.5, -1.5], 0.0, "does not hold"),
        (estimate(-1.0, -1.9, -0.1), [0.5, -2.5], 0.0, "undecided"),
        (estimate(0.3, 0.1, 0.4), [], 0.5, "does not hold"),
    ],
)
def test_a_verdict_needs_sentences_and_seeds(
    effect: Estimate, by_seed: list[float], threshold: float, expected: Verdict
) -> None:
    assert judge(effect, by_seed, threshold) == expected


def test_an_undecided_row_says_why() -> None:
    def row(effect: Estimate, by_seed: list[float]) -> str:
        return measured("P9", "", "", "", effect, name="BLEU", by_seed=by_seed).reason

    assert row(estimate(1.0, 0.1, 1.9), [-0.5, 2.5]) == "the seeds disagree"
    assert row(estimate(0.5, -0.1, 1.1), [0.5]) == "the interval holds 0"
    assert row(estimate(1.0, 0.1, 1.9), [1.0]) == ""


# The grid


def test_the_grid_has_every_network_with_every_seed_and_more_of_the_best() -> None:
    grid = members(BUDGET)
    assert len(grid) == len(set(grid)) == 3 * 2 * 2 + 3 + 2 * 2 * 2
    assert [member.seed for member in grid] == sorted(member.seed for member in grid)
    assert [member.name for member in grid if member.seed > 2] == [f"lstm-reversed-4-seed{seed}" for seed in (3, 4, 5)]
    assert {member.depth for member in grid if member.cell != "lstm"} == {1}


def test_a_members_network_is_the_papers_and_its_training_the_recipes(tmp_path: Any) -> None:
    recipe = load_recipe("multi30k-de-en")
    assert recipe.model.residual
    found = member_recipe(recipe, Member("rnn", False, 2, 7), BUDGET, tmp_path)
    model = found.model
    assert (model.cell, model.num_layers, model.hidden_size, model.embedding_size) == ("rnn", 2, 16, 16)
    assert [model.reverse_source, model.residual, model.feed_context] == [False, False, False]
    assert found.optimisation == recipe.optimisation.model_copy(
        update={"epochs": 3.0, "seed": 7, "halve_after_epochs": 0.5, "halve_every_epochs": 0.05}
    )
    assert found.run_directory == tmp_path
    assert found.corpus == recipe.corpus
    assert found.evaluation.length_penalties == (0.0,)


def test_no_member_begins_with_a_model(tmp_path: Path) -> None:
    """Which has another shape than the grid's; its vocabularies stay."""
    recipe = load_recipe("tatoeba-en-fr", ["initial_model=en-fr"])
    found = member_recipe(recipe, Member("lstm", True, 4, 1), BUDGET, tmp_path)
    assert (found.initial_model, found.subwords) == (None, recipe.subwords)


def test_depths_are_read_and_bad_ones_refused() -> None:
    assert parse_depths("4, 1,2") == (1, 2, 4)
    for text in ("", "one", "0,1", "33"):
        with pytest.raises(InputError, match="--depths"):
            parse_depths(text)


# Lengths


def test_time_lags_of_words_on_the_diagonal() -> None:
    assert time_lags(3, 3, reverses=False).tolist() == [3, 3, 3]
    assert time_lags(3, 3, reverses=True).tolist() == [1, 3, 5]
    assert time_lags(2, 4, reverses=True).tolist() == [1, 2, 4, 5]


def test_batches_of_one_length_save_what_padding_takes() -> None:
    recipe = load_recipe("smoke")
    lengths = [2, 30] * 64
    pairs = encoded_pairs([[3] * length for length in lengths], [[4] * length for length in lengths])
    rows = {row.identifier: row for row in corpus_rows(recipe, pairs, 1.0, "network")}
    assert rows["P17"].verdict == "holds"  # all batches at random hold a long sentence
    even = encoded_pairs([[3] * 5] * 64, [[4] * 5] * 64)
    rows = {row.identifier: row for row in corpus_rows(recipe, even, 1.0, "network")}
    assert rows["P17"].verdict == "does not hold"
    assert rows["P10"].verdict == "holds"


def test_thirds_of_sentences() -> None:
    low, middle, high = by_thirds([5, 1, 9, 2, 8, 4])
    assert (low.tolist(), middle.tolist(), high.tolist()) == ([1, 3], [0, 5], [2, 4])


# The paper's settings


def test_the_shipped_recipe_is_the_papers() -> None:
    recipe = paper_recipe()
    verdicts = {row.identifier: row.verdict for row in [*network_rows(recipe), *training_rows(recipe)]}
    numbers = [*range(1, 9), 13, 14, 15, 16, 22, 23, 25, 40]
    assert verdicts == {f"P{number}": "holds" for number in numbers}


@pytest.mark.parametrize(
    ("section", "change", "rows"),
    [
        ("model", {"num_layers": 3}, {"P2", "P3", "P4"}),
        ("model", {"hidden_size": 500}, {"P2", "P3", "P4"}),
        ("model", {"reverse_source": False}, {"P8"}),
        ("model", {"attention": "dot"}, {"P1", "P3", "P4", "P40"}),
        ("model", {"cell": "cudnn-gru"}, {"P1", "P2", "P3", "P4"}),
        ("model", {"initial_range": 0.1}, {"P13"}),
        ("model", {"embedding_deviation": 1.0}, {"P13"}),
        ("subwords", {"model_type": "bpe"}, {"P5", "P40"}),
        ("subwords", {"target_vocabulary_size": 50_000}, {"P4", "P5", "P6"}),
        ("optimisation", {"optimiser": "adam"}, {"P14", "P15"}),
        ("optimisation", {"halve_after_epochs": 4.0}, {"P14"}),
        ("optimisation", {"batch_sentences": 64}, {"P15"}),
        ("optimisation", {"clip_norm": 1.0}, {"P16"}),
        ("optimisation", {"label_smoothing": 0.1}, {"P15", "P22", "P40"}),
        ("evaluation", {"length_penalties": (0.6,)}, {"P23", "P40"}),
        ("evaluation", {"patience": 3}, {"P40"}),
    ],
)
def test_a_setting_that_is_not_the_papers_is_found(section: str, change: dict[str, Any], rows: set[str]) -> None:
    recipe = paper_recipe()
    changed: Recipe = recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=change)})
    found = {
        row.identifier for row in [*network_rows(changed), *training_rows(changed)] if row.verdict == "does not hold"
    }
    assert found == rows


# The document


def test_negative_numbers_get_minus_signs_and_words_keep_their_hyphens() -> None:
    assert typeset("BLEU -0.5; lstm-forward-2, n-best, (-1 to +2)") == "BLEU −0.5; lstm-forward-2, n-best, (−1 to +2)"
