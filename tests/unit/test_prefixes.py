"""What is said of a translation before it is there: its certain beginning; and how probable each token of it was."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engines import EOS, PAD, network
from tests.support import ENGLISH, FRENCH
from tests.unit.test_decoder import ENGINE_NAMES, queries, real_engine
from training.subwords import train_vocabulary
from translator import Translator
from translator.config import SearchOptions
from translator.decoder import ContinuousDecoder
from translator.engines import ReferenceEngine
from translator.prefixes import certain_prefix
from translator.scoring import score_tokens
from translator.search import Findings, Hypothesis, Query
from translator.texts import Texts
from translator.ticket import Ticket


def decoded(engine: Any, wanted: Sequence[Query]) -> tuple[list[Ticket], dict[Ticket, list[tuple[int, ...]]]]:
    """The tickets when they are done, and what was said of each before. Every second one joins two steps later."""
    decoder = ContinuousDecoder(engine)
    said: dict[Ticket, list[tuple[int, ...]]] = {}
    tickets = [decoder.submit(query) for query in wanted[::2]]
    for step in itertools.count():
        if step == 2:
            tickets += [decoder.submit(query) for query in wanted[1::2]]
        decoder.step()
        for ticket in decoder.grown():
            said.setdefault(ticket, []).append(ticket.prefix)
        if decoder.idle and step >= 2:
            return tickets, said
    raise AssertionError


def asking(query: Query, **options: bool) -> Query:
    return Query(query.source, query.options.model_copy(update=options), query.length_penalty, query.count)


@pytest.mark.parametrize("engine", ENGINE_NAMES)
@given(wanted=st.lists(queries(), min_size=1, max_size=4))
def test_what_is_said_to_be_certain_is_how_the_best_hypothesis_begins(engine: str, wanted: list[Query]) -> None:
    tickets, said = decoded(real_engine(engine), [asking(query, prefixes=True) for query in wanted])
    for ticket in tickets:
        prefixes = said.get(ticket, [])
        assert [len(prefix) for prefix in prefixes] == sorted({len(prefix) for prefix in prefixes})
        for prefix in prefixes:
            assert ticket.result()[0].tokens[: len(prefix)] == prefix


def test_greedy_search_is_certain_of_every_token_at_once() -> None:
    query = Query((3, 4, 5), SearchOptions(beam_size=1, prefixes=True, max_length=9))
    (ticket,), said = decoded(real_engine("reference"), [query])
    tokens = ticket.result()[0].tokens
    assert len(tokens) > 1
    assert said[ticket] == [tokens[: length + 1] for length in range(len(said[ticket]))]
    assert len(said[ticket]) >= len(tokens) - 1, "the last one may come with the end"


def test_a_beam_of_several_is_certain_of_something_before_its_end() -> None:
    translator = Translator.load("en-fr")
    options = SearchOptions(prefixes=True)
    wanted = [query for text in translator.card.examples for query in translator.draft(text, options).queries]
    _, said = decoded(translator.engine, wanted)
    assert len(said) >= len(wanted) / 2


def test_hypotheses_that_can_win_no_more_have_no_say() -> None:
    query = Query((3,), SearchOptions(max_length=4))
    findings = Findings(query)
    history_WT = np.array([[5, 6, 7], [5, 6, 8], [9, 6, 7]], dtype=np.int32)
    scores_W = np.array([-1.0, -1.5, -3.0], dtype=np.float32)
    assert certain_prefix(query, findings, history_WT, scores_W) == ()
    findings.add([5, 6], -2.0, finished=True)
    assert certain_prefix(query, findings, history_WT, scores_W) == (5, 6)
    findings.add([5, 1], -0.5, finished=True)
    assert certain_prefix(query, findings, history_WT, scores_W) == (5, 1)


@pytest.mark.parametrize("name", ["beam", "sample"])
def test_the_probabilities_are_those_of_teacher_forcing(name: Any) -> None:
    model = network(5, dtype=torch.float64)
    engine = ReferenceEngine(model, source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])
    options = SearchOptions(method=name, beam_size=4, max_length=7, probabilities=True)
    wanted = [Query((3, 4, 5, token), options, 0.6, 3) for token in range(3, 9)]
    tickets, _ = decoded(engine, [*wanted, Query((3, 4), SearchOptions(max_length=12))])
    for ticket in tickets[:-1]:
        if not ticket.query.options.probabilities:
            assert ticket.result()[0].log_probabilities == ()
            continue
        for hypothesis in ticket.result():
            (expected,) = score_tokens(
                [model],
                [(ticket.query.source, hypothesis.tokens)],
                source_eos_id=EOS,
                target_eos_id=EOS,
                forbidden=[PAD],
            )
            each = hypothesis.log_probabilities
            assert len(each) == len(hypothesis.tokens) + hypothesis.finished
            assert each == pytest.approx(expected[: len(each)], abs=1e-4)
            assert sum(each) == pytest.approx(hypothesis.log_probability, abs=1e-5)


@given(wanted=st.lists(queries(), min_size=1, max_size=4), which=st.lists(st.booleans(), min_size=4, max_size=4))
def test_asking_changes_nothing(wanted: list[Query], which: list[bool]) -> None:
    engine = real_engine("reference")
    before, _ = decoded(engine, wanted)
    asked = [asking(query, probabilities=on, prefixes=not on) for query, on in zip(wanted, which, strict=False)]
    after, _ = decoded(engine, asked)

    def plain(ticket: Ticket) -> list[Hypothesis]:
        return [Hypothesis(*(one.tokens, one.log_probability, one.score, one.finished)) for one in ticket.result()]

    assert [plain(ticket) for ticket in after] == [ticket.result() for ticket in before]


@pytest.fixture(scope="module")
def texts(tiny_model_directory: Any) -> Texts:
    return Texts.read(tiny_model_directory)


@given(data=st.data())
def test_beginnings_are_beginnings(texts: Texts, data: st.DataObject) -> None:
    """Whatever tokens follow, bytes and white space among them: the text of a prefix is a prefix of the text."""
    vocabulary = texts._target_vocabulary
    byte = [token for token in range(vocabulary.size) if not vocabulary.without_last_bytes([token])]
    assert len(byte) == 256
    token = (
        st.integers(0, vocabulary.size - 1) | st.sampled_from(byte) | st.sampled_from(vocabulary.encode(" é\n\ue000"))
    )
    tokens = data.draw(st.lists(token, max_size=12))
    length = len(tokens)
    hypothesis = Hypothesis(tuple(tokens), -1.0, -1.0, True, tuple([-0.5] * (length + 1)))
    draft = texts.draft("Where?", SearchOptions(probabilities=True))
    (sentence,) = texts.finish(draft, [[hypothesis]]).sentences
    for end in range(length + 1):
        assert sentence.text.startswith(texts.beginning(tokens[:end]))
    assert "".join(piece.text for piece in sentence.pieces) == sentence.text
    assert all(0 < piece.probability <= 1 for piece in sentence.pieces)


def test_pieces_of_a_translation(tiny_model_directory: Any) -> None:
    translator = Translator.load(tiny_model_directory)
    text = " ".join(ENGLISH[:3])
    plain = translator.translate(text)
    assert all(sentence.pieces == () for sentence in plain.sentences)
    translation = translator.translate(text, SearchOptions(probabilities=True))
    assert translation.text == plain.text
    assert [sentence.pieces != () for sentence in translation.sentences] == [bool(one.text) for one in plain.sentences]


def test_bytes_at_the_end_are_left_out() -> None:
    vocabulary, _ = train_vocabulary(FRENCH, size=400, model_type="unigram", seed=1)
    tokens = vocabulary.encode("gare 漢")
    assert vocabulary.decode(vocabulary.without_last_bytes(tokens)).strip() == "gare"
    assert vocabulary.without_last_bytes(vocabulary.encode("gare")) == vocabulary.encode("gare")
    assert vocabulary.without_last_bytes([]) == []
