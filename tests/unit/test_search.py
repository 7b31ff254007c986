"""Search against exhaustive search, greedy search, and itself in other company."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import EOS, PAD, network, search
from translator.config import SearchOptions
from translator.engines import ReferenceEngine
from translator.model import Seq2Seq
from translator.scoring import score_pairs
from translator.search import Hypothesis, maximum_length


def _model(seed: int, target_vocabulary_size: int = 14, scale: float = 1.5, **options: Any) -> Seq2Seq:
    return network(seed, scale=scale, dtype=torch.float64, target_vocabulary_size=target_vocabulary_size, **options)


def _engine(model: Seq2Seq, eos: int = EOS, forbidden: tuple[int, ...] = (PAD,)) -> ReferenceEngine:
    return ReferenceEngine(model, source_eos_id=EOS, target_eos_id=eos, forbidden=forbidden)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_what_exhaustive_search_finds(seed: int, length_penalty: float) -> None:
    """Two words and `<EOS>`: every target up to the maximum length is scored by teacher forcing and ranked."""
    model = _model(seed, target_vocabulary_size=3, scale=1.0)
    source, longest = [5, 3, 7], 4
    targets = [list(words) for length in range(longest + 1) for words in itertools.product([0, 1], repeat=length)]
    scores = score_pairs(model, [(source, target) for target in targets], source_eos_id=EOS, target_eos_id=EOS)
    penalised = [
        score / ((5 + len(target)) / 6) ** length_penalty for score, target in zip(scores, targets, strict=True)
    ]
    ranked = sorted(range(len(targets)), key=lambda index: -penalised[index])
    found = search(
        _engine(model, forbidden=()),
        [source],
        SearchOptions(beam_size=60, max_length=longest),
        length_penalty=length_penalty,
        count=5,
    )[0]
    assert [list(hypothesis.tokens) for hypothesis in found] == [targets[index] for index in ranked[:5]]
    assert all(hypothesis.finished for hypothesis in found)
    for hypothesis, index in zip(found, ranked, strict=False):
        assert hypothesis.log_probability == pytest.approx(scores[index], abs=1e-6)
        assert hypothesis.score == pytest.approx(penalised[index], abs=1e-6)


def _greedy(model: Seq2Seq, source: list[int], limit: int) -> tuple[list[int], bool]:
    """The most probable next word, again and again, through the network itself."""
    tokens: list[int] = []
    while True:
        features = model(torch.tensor([source]), torch.tensor([[EOS, *tokens]]), EOS)
        logits = model.logits(features)[0, -1]
        logits[0] = -torch.inf
        token = int(logits.argmax())
        if token == EOS:
            return tokens, True
        if len(tokens) == limit:
            return tokens, False
        tokens.append(token)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("options", [{}, {"residual": True, "feed_context": True}, {"attention": "dot"}], ids=str)
def test_beam_1_is_greedy_search(options: dict[str, Any], length_penalty: float) -> None:
    model = _model(4, **options)
    generator = torch.Generator().manual_seed(1)
    sources = [torch.randint(3, 12, (1 + index % 6,), generator=generator).tolist() for index in range(20)]
    found = search(_engine(model), sources, SearchOptions(beam_size=1, max_length=9), length_penalty=length_penalty)
    for source, (hypothesis,) in zip(sources, found, strict=True):
        assert (list(hypothesis.tokens), hypothesis.finished) == _greedy(model, source, 9)


SOURCES = st.lists(st.lists(st.integers(3, 11), min_size=0, max_size=6), min_size=1, max_size=7)


@settings(max_examples=40)
@given(
    sources=SOURCES,
    seed=st.integers(0, 5),
    beam_size=st.integers(1, 5),
    order=st.randoms(use_true_random=False),
    options=st.sampled_from([{}, {"residual": True, "feed_context": True}, {"attention": "dot"}]),
    method=st.sampled_from(["beam", "sample"]),
)
def test_a_translation_does_not_depend_on_its_neighbours(
    sources: list[list[int]], seed: int, beam_size: int, order: Any, options: dict[str, Any], method: Any
) -> None:
    """The same alone, in a batch, and in a batch in another order."""
    engine = _engine(_model(seed, **options))
    search_options = SearchOptions(beam_size=beam_size, max_length=8, method=method)

    def run(batch: list[list[int]]) -> list[list[Hypothesis]]:
        return search(engine, batch, search_options, length_penalty=0.6, count=2)

    alone = [run([source])[0] for source in sources]
    together = run(sources)
    shuffled = list(range(len(sources)))
    order.shuffle(shuffled)
    elsewhere = run([sources[index] for index in shuffled])
    for index in range(len(sources)):
        for other in (together[index], elsewhere[shuffled.index(index)]):
            assert [hypothesis.tokens for hypothesis in other] == [hypothesis.tokens for hypothesis in alone[index]]
            for one, two in zip(other, alone[index], strict=True):
                assert one.score == pytest.approx(two.score, abs=1e-9)


@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_scores_are_those_of_teacher_forcing_and_in_order(beam_size: int) -> None:
    model = _model(2)
    with torch.no_grad():
        model.decoder.output.bias[EOS] += 2.0
    source = [5, 3, 9, 4]
    found = search(
        _engine(model), [source], SearchOptions(beam_size=beam_size, max_length=12), length_penalty=0.0, count=beam_size
    )[0]
    assert [hypothesis.score for hypothesis in found] == sorted(
        (hypothesis.score for hypothesis in found), reverse=True
    )
    assert len({hypothesis.tokens for hypothesis in found}) == len(found)
    finished = [hypothesis for hypothesis in found if hypothesis.finished]
    assert finished
    expected = score_pairs(model, [(source, h.tokens) for h in finished], source_eos_id=EOS, target_eos_id=EOS)
    assert [h.log_probability for h in finished] == pytest.approx(expected, abs=1e-5)


def test_a_wider_beam_is_never_worse_here_and_padding_never_appears() -> None:
    model = _model(7)
    for source in ([4, 5], [9, 9, 3], [11]):
        scores = []
        for beam_size in (1, 3, 8, 30):
            best = search(
                _engine(model), [source], SearchOptions(beam_size=beam_size, max_length=6), length_penalty=0.0
            )[0][0]
            scores.append(best.log_probability if best.finished else -math.inf)
            assert 0 not in best.tokens
        assert scores[-1] == max(scores)


def test_a_sentence_that_finds_no_end_is_cut_and_marked() -> None:
    model = _model(1)
    with torch.no_grad():
        model.decoder.output.bias[EOS] = -1e4
    options = SearchOptions(beam_size=3)
    (hypothesis,) = search(_engine(model), [[4, 5]], options, length_penalty=0.0)[0]
    assert not hypothesis.finished
    assert len(hypothesis.tokens) == maximum_length(options, 2)


def test_an_immediate_end_is_an_empty_translation() -> None:
    model = _model(1)
    with torch.no_grad():
        model.decoder.output.bias[EOS] = 1e4
    (hypothesis,) = search(_engine(model), [[4, 5]], SearchOptions(), length_penalty=0.6)[0]
    assert hypothesis == Hypothesis((), pytest.approx(0.0), pytest.approx(0.0), finished=True)


def test_no_sources_no_hypotheses() -> None:
    assert search(_engine(_model(1)), [], SearchOptions(), length_penalty=0.0) == []


def test_sampling_follows_the_distribution() -> None:
    """First tokens of many samples against the model's own probabilities (a chi-square test at 1 in 10,000)."""
    model = _model(3, target_vocabulary_size=6, scale=0.6)
    engine = _engine(model)
    expected, _ = engine.log_probabilities(engine.encode([[4, 5]]), torch.tensor([EOS]))
    draws = 4000
    samples = search(
        engine, [[4, 5]], SearchOptions(method="sample", max_length=1, seed=11), length_penalty=0.0, count=draws
    )[0]
    counts = torch.zeros(6)
    for hypothesis in samples:
        counts[hypothesis.tokens[0] if hypothesis.tokens else EOS] += 1
    wanted = torch.softmax(expected[0], dim=0) * draws
    used = wanted > 0
    assert counts[0] == 0
    assert ((counts - wanted)[used] ** 2 / wanted[used]).sum() < 23.5


def test_sampling_with_one_choice_is_greedy_and_seeds_differ() -> None:
    model = _model(5)
    source = [5, 3, 9]
    tokens, finished = _greedy(model, source, 10)
    for narrow in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-3}):
        options = SearchOptions.model_validate({"method": "sample", "max_length": 10} | narrow)
        (hypothesis,) = search(_engine(model), [source], options, length_penalty=0.0)[0]
        assert (list(hypothesis.tokens), hypothesis.finished) == (tokens, finished)
    texts = {
        search(_engine(model), [source], SearchOptions(method="sample", max_length=10, seed=seed), length_penalty=0.0)[
            0
        ][0].tokens
        for seed in range(10)
    }
    assert len(texts) > 1


def test_the_engine_equals_the_network_in_every_row() -> None:
    """Rows taken, repeated and appended go on as the network would over the whole sequence."""
    for options in ({}, {"residual": True, "feed_context": True}, {"attention": "dot", "tie_target_embedding": True}):
        model = _model(6, **options)
        engine = _engine(model, forbidden=())
        sources, targets = [[3, 4, 5], [6, 7], [8]], [[EOS, 4, 9, 5], [EOS, 6, 6, 3], [EOS, 11, 3, 4]]
        rows = engine.append(engine.encode(sources[:1]), engine.encode(sources[1:]))
        order = [2, 0, 1, 0]
        rows = engine.take(rows, np.array(order))
        for position in range(4):
            tokens = torch.tensor([targets[index][position] for index in order])
            log_probabilities, rows = engine.log_probabilities(rows, tokens)
            for row, index in enumerate(order):
                features = model(torch.tensor([sources[index]]), torch.tensor([targets[index][: position + 1]]), EOS)
                expected = torch.log_softmax(model.logits(features)[0, -1], dim=0)
                torch.testing.assert_close(log_probabilities[row], expected, rtol=0, atol=1e-10)
