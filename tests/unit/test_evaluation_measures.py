"""What is measured on text, against known answers, against definitions written out, and against resampling by hand."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import WORDS
from training.measures import (
    bleu_by_rank,
    empty_rate,
    length_ratio,
    measure,
    repetition_rate,
    tokenised_bleu,
    worst,
)


def sentences(count: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(5, 12))) for _ in range(count)]


def damaged(texts: list[str], rate: float, seed: int) -> list[str]:
    """Each word is replaced with probability `rate`."""
    generator = random.Random(seed)
    return [
        " ".join(generator.choice(WORDS) if generator.random() < rate else word for word in text.split())
        for text in texts
    ]


def resampled_differences(first: list[str], second: list[str], references: list[str]) -> list[float]:
    """BLEU of the second minus that of the first on resampled test sets, by the library's public face alone."""
    generator, metric = random.Random(5), sacrebleu.BLEU()
    differences = []
    for _ in range(400):
        chosen = generator.choices(range(len(references)), k=len(references))
        scores = [
            metric.corpus_score([texts[index] for index in chosen], [[references[index] for index in chosen]]).score
            for texts in (first, second)
        ]
        differences.append(scores[1] - scores[0])
    return differences


def test_p_values_and_intervals_are_those_of_resampling_by_hand() -> None:
    references = sentences(60, 1)
    first = damaged(references, 0.30, 2)
    found_one_sided = []
    for rate, seed in ((0.30, 6), (0.26, 4), (0.24, 8), (0.15, 9)):
        second = damaged(references, rate, seed)
        differences = np.array(resampled_differences(first, second, references))
        _, found = measure([first, second], references)
        p_value = found["BLEU"].p_value
        assert p_value is not None
        by_hand = 2 * min((differences <= 0).mean(), (differences >= 0).mean())
        assert p_value == pytest.approx(by_hand, abs=0.12)
        assert (p_value < 0.05) == (by_hand < 0.05)
        found_one_sided.append(by_hand)
        exact = sacrebleu.corpus_bleu(second, [references])
        assert found["BLEU"].value == pytest.approx(exact.score)
        assert found["BLEU"].low < exact.score < found["BLEU"].high
    assert min(found_one_sided) < 0.05 < max(found_one_sided)


def test_a_system_cannot_be_told_apart_from_itself() -> None:
    references = sentences(40, 1)
    output = damaged(references, 0.3, 2)
    first, again = measure([output, output], references)
    assert {found.p_value for found in first.values()} == {None}
    assert {found.p_value for found in again.values()} == {1.0}


def test_no_interval_goes_beyond_what_the_metric_can_be() -> None:
    references = sentences(6, 1)
    for translations in ([*references[:-1], "none of these"], ["none of these", *references[1:3], "x", "y", "z"]):
        for name, found in measure([translations], references)[0].items():
            assert 0.0 <= found.low <= found.value <= found.high, name
            assert name == "TER" or found.high <= 100.0


def test_equal_systems_are_rarely_told_apart() -> None:
    """About one in twenty may look significant where nothing differs; one-sided p-values would give one in ten."""
    wrong = 0
    for trial in range(60):
        references = sentences(30, trial)
        outputs = [damaged(references, 0.3, 1000 + 2 * trial + number) for number in range(2)]
        p_value = measure(outputs, references)[1]["chrF"].p_value
        assert p_value is not None
        wrong += p_value < 0.05
    assert wrong <= 6


def test_fewer_resamples_for_test_sets_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    references = sentences(30, 1)
    assert measure([references], references)[0]["BLEU"].resamples == 1000
    monkeypatch.setattr("training.measures._RESAMPLED_SENTENCES", 6000)
    assert measure([references], references)[0]["BLEU"].resamples == 200


def multi_bleu(hypotheses: list[list[str]], references: list[list[str]]) -> float:
    """multi-bleu.perl's arithmetic on tokens, written out."""
    log_precisions = []
    for order in range(1, 5):
        matches = total = 0
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            grams, wanted = (
                Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))
                for tokens in (hypothesis, reference)
            )
            matches += sum((grams & wanted).values())
            total += sum(grams.values())
        if not matches:
            return 0.0
        log_precisions.append(math.log(matches / total))
    lengths = [sum(map(len, texts)) for texts in (hypotheses, references)]
    brevity = min(0.0, 1 - lengths[1] / lengths[0])
    return 100 * math.exp(brevity + sum(log_precisions) / 4)


def test_tokenised_bleu_is_that_of_multi_bleu_perl_on_mosess_tokens() -> None:
    # Moses's tokeniser leaves a French elision to the word before it and parts punctuation.
    hypotheses = ["L'eau est bonne, merci.", "Il n'a pas 3,5 chats."]
    references = ["L'eau est froide, merci.", "Il n'a pas 3,5 chiens."]
    tokens = (
        ["L' eau est bonne , merci .", "Il n' a pas 3,5 chats ."],
        [
            "L' eau est froide , merci .",
            "Il n' a pas 3,5 chiens .",
        ],
    )
    expected = multi_bleu(*([text.split() for text in texts] for texts in tokens))
    value, signature = tokenised_bleu(hypotheses, references, "fr")
    assert value == pytest.approx(expected, abs=1e-6)
    assert 0 < expected < 100
    assert "tok:moses-fr" in signature
    assert value != pytest.approx(sacrebleu.corpus_bleu(hypotheses, [references]).score, abs=0.1)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), rate=st.floats(0.0, 1.0))
def test_tokenised_bleu_of_plain_words_is_that_of_multi_bleu_perl(seed: int, rate: float) -> None:
    references = sentences(8, seed)
    hypotheses = damaged(references, rate, seed + 1)
    expected = multi_bleu([text.split() for text in hypotheses], [text.split() for text in references])
    assert tokenised_bleu(hypotheses, references, "en")[0] == pytest.approx(expected, abs=1e-6)


def test_ter_counts_edits_and_a_shift_is_one() -> None:
    (found,) = measure([["b c d a", "the cat sat"]], ["a b c d", "the dog sat"])
    assert found["TER"].value == pytest.approx(100 * 2 / 7)


def test_length_ratio_counts_tokens() -> None:
    assert length_ratio(["a b c.", "d"], ["a b c d e.", "f g"]) == pytest.approx(5 / 8)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("", False),
        ("the cat", False),
        ("the the cat", True),
        ("The cat, the cat sat", True),
        ("of the man of the man", True),
        ("one two three four one two three four", True),
        ("one two three four five one two three four five", False),
        ("the cat and the cat", False),
    ],
)
def test_repetitions_are_phrases_twice_in_a_row(text: str, repeats: bool) -> None:
    assert repetition_rate([text, "nothing of it"]) == repeats / 2


def test_empty_translations_are_those_of_something() -> None:
    assert empty_rate(["a", "", "b", "c"], ["", "", " \t", "x"]) == 0.5


def test_ranks_go_by_frequency_and_ties_share_theirs() -> None:
    # a: 4 times, rank 1; b and c: twice, ranks 2 and 3; d: once, rank 4.
    sources = ["a a", "a b", "b c", "a c", "d"]
    texts = ["the cat sat on the mat"] * 4 + ["something else"]
    references = ["the cat sat on the mat"] * 5
    scores = bleu_by_rank(sources, texts, references)
    assert [(score.minimum, score.maximum, score.sentences) for score in scores] == [
        (1.0, 1.0, 1),
        (1.75, 1.75, 1),
        (1.75, 1.75, 1),
        (2.5, 2.5, 1),
        (4.0, 4.0, 1),
    ]
    assert [round(score.bleu) for score in scores] == [100, 100, 100, 100, 0]


def test_ranks_may_come_from_other_text_and_classes_are_of_equal_size() -> None:
    sources = ["x"] * 3 + ["y"] * 3 + ["unseen"] * 7
    texts = [f"{number} is the number here" for number in range(13)]
    scores = bleu_by_rank(sources, texts, texts, frequency_text=["x x y z z z"])
    assert [score.sentences for score in scores] == [3, 3, 3, 2, 2]
    assert [(score.minimum, score.maximum) for score in scores] == [(2, 2), (3, 3), (4, 4), (4, 4), (4, 4)]
    assert len(bleu_by_rank(sources[:2], texts[:2], texts[:2])) == 2


def test_the_worst_come_first() -> None:
    references = ["a house on a hill", "a dog", "good morning", "thank you"]
    assert worst(["a house on a hill", "xyz", "good evening", "thank you"], references, 2) == [1, 2]
