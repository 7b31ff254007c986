"""The continuous decoder: company, order, budgets, cancelling, deadlines and failures change nothing for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.engines import EOS, PAD, ScriptedEngine, network
from translator.config import SearchOptions
from translator.decoder import ContinuousDecoder, decode
from translator.engines import Beams, Engine, Extensions, ReferenceEngine, make_engine
from translator.engines.base import Integers
from translator.engines.native_library import instruction_sets
from translator.search import Hypothesis, Query
from translator.ticket import DeadlineError, DecodingError, Ticket

NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "context": {"residual": True, "feed_context": True},
    "attention": {"attention": "dot"},
}
ENGINE_NAMES = ["cpu", "cpu-float32", "reference"] if instruction_sets() else ["reference"]


@cache
def real_engine(name: str, architecture: str = "plain") -> Engine[Any]:
    """The reference engine in float64, so that its batches agree to the last bit of float32 but for a rare rounding."""
    dtype = torch.float64 if name == "reference" else torch.float32
    return make_engine(
        network(5, dtype=dtype, **NETWORKS[architecture]),
        source_eos_id=EOS,
        target_eos_id=EOS,
        forbidden=[PAD],
        name=name,
    )


@st.composite
def queries(draw: st.DrawFn) -> Query:
    options = SearchOptions(
        method=draw(st.sampled_from(["beam", "beam", "sample"])),
        beam_size=draw(st.integers(1, 5)),
        max_length=draw(st.none() | st.integers(1, 9)),
        temperature=draw(st.sampled_from([0.5, 1.0, 2.0])),
        top_k=draw(st.none() | st.integers(1, 9)),
        top_p=draw(st.sampled_from([None, 0.5, 0.9])),
        seed=draw(st.integers(0, 2)),
    )
    source = draw(st.lists(st.integers(3, 11), max_size=6))
    return Query(tuple(source), options, draw(st.sampled_from([0.0, 0.6, 1.5])), draw(st.integers(1, 4)))


@dataclass(frozen=True)
class Tags:
    """Rows of another engine, each with the first source token that it came from and the steps it has made."""

    rows: Any
    tags: tuple[int, ...]
    ages: tuple[int, ...]


class WatchedEngine:
    """Passes everything on and notes it; fails where it sees a `bad` first source token.

    `places` are where it fails: "encode", "step" (when the row has made `age` steps), "append".
    """

    def __init__(self, engine: Engine[Any], *, bad: int = -1, place: str = "", age: int = 0) -> None:
        self.engine = engine
        self.eos_id, self.vocabulary_size, self.precision = engine.eos_id, engine.vocabulary_size, engine.precision
        self.bad, self.place, self.age = bad, place, age
        self.read: list[tuple[int, ...]] = []
        self.batches: list[tuple[int, int]] = []  # sentences and rows of each step
        self.failures = 0

    def encode(self, sources: Sequence[Sequence[int]]) -> Tags:
        self.read += map(tuple, sources)
        tags = tuple(source[0] if source else -2 for source in sources)
        self._check("encode", self.bad in tags)
        return Tags(self.engine.encode(sources), tags, (0,) * len(tags))

    def step(self, rows: Tags, beams: Beams) -> tuple[Extensions, Tags]:
        self.batches.append((len(beams.widths_N), int(beams.widths_N.sum())))
        self._check("step", (self.bad, self.age) in zip(rows.tags, rows.ages, strict=True))
        extensions, stepped = self.engine.step(rows.rows, beams)
        return extensions, Tags(stepped, rows.tags, tuple(age + 1 for age in rows.ages))

    def take(self, rows: Tags, indices: Integers) -> Tags:
        chosen = indices.tolist()
        return Tags(
            self.engine.take(rows.rows, indices),
            tuple(rows.tags[index] for index in chosen),
            tuple(rows.ages[index] for index in chosen),
        )

    def append(self, rows: Tags, others: Tags) -> Tags:
        self._check("append", self.bad in others.tags)
        return Tags(self.engine.append(rows.rows, others.rows), rows.tags + others.tags, rows.ages + others.ages)

    def describe(self) -> str:
        return "watched"

    def _check(self, place: str, fails: bool) -> None:
        if fails and place == self.place:
            self.failures += 1
            raise ArithmeticError("the engine broke")


def alone(name: str, architecture: str, query: Query) -> list[Hypothesis]:
    return decode(real_engine(name, architecture), [query])[0]


def assert_same(name: str, found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    if name != "reference":
        assert found == expected
        return
    assert [replace(h, score=0, log_probability=0) for h in found] == [
        replace(h, score=0, log_probability=0) for h in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-5)


def run(decoder: ContinuousDecoder, arriving: Sequence[tuple[int, Query]]) -> list[Ticket]:
    """Submit each query before the step of its number and go on until nothing is left to do; every ticket that is done
    comes back exactly once.
    """
    tickets: list[Ticket] = []
    returned: list[Ticket] = []
    last = max(time for time, _ in arriving)
    most = last + sum(query.maximum_length + 3 for _, query in arriving) * 3
    time = 0
    while time <= last or not decoder.idle:
        tickets += [decoder.submit(query) for when, query in arriving if when == time]
        returned += decoder.step()
        time += 1
        assert time <= most, "it goes on for ever"
    assert sorted(map(id, returned)) == sorted(map(id, tickets))
    assert all(ticket.done for ticket in tickets)
    return tickets


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("name", ENGINE_NAMES)
@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 12), queries()), min_size=1, max_size=12),
    st.integers(1, 24),
    st.integers(1, 50),
)
def test_what_is_found_does_not_depend_on_company_time_or_budget(
    name: str, architecture: str, arriving: list[tuple[int, Query]], max_rows: int, max_tokens: int
) -> None:
    engine = WatchedEngine(real_engine(name, architecture))
    arriving = sorted(arriving, key=lambda pair: pair[0])
    tickets = run(ContinuousDecoder(engine, max_rows=max_rows, max_tokens=max_tokens), arriving)
    for ticket, (_, query) in zip(tickets, arriving, strict=True):
        assert ticket.query is query
        assert_same(name, ticket.result(), alone(name, architecture, query))
    assert all(sentences == 1 or rows <= max_rows for sentences, rows in engine.batches)
    assert engine.read == [query.source for _, query in arriving], "the oldest come first, and each is read once"


@pytest.mark.slow
@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("name", ENGINE_NAMES)
@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 60), queries()), min_size=10, max_size=80),
    st.integers(1, 200),
    st.integers(1, 600),
)
def test_what_is_found_does_not_depend_on_much_company(
    name: str, architecture: str, arriving: list[tuple[int, Query]], max_rows: int, max_tokens: int
) -> None:
    decoder = ContinuousDecoder(real_engine(name, architecture), max_rows=max_rows, max_tokens=max_tokens)
    arriving = sorted(arriving, key=lambda pair: pair[0])
    for ticket, (_, query) in zip(run(decoder, arriving), arriving, strict=True):
        assert_same(name, ticket.result(), alone(name, architecture, query))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(queries(), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=10),
    st.integers(1, 20),
)
def test_whoever_leaves_leaves_the_others_alone(coming_and_going: list[tuple[Query, int, int]], max_rows: int) -> None:
    """Sentences are cancelled at any time: in the queue, in the batch, twice, or when they are done already."""
    name = ENGINE_NAMES[0]
    decoder = ContinuousDecoder(real_engine(name), max_rows=max_rows)
    tickets: dict[int, Ticket] = {}
    returned: list[Ticket] = []
    time = 0
    while time < 20 or not decoder.idle:
        for number, (query, comes, goes) in enumerate(coming_and_going):
            if comes == time:
                tickets[number] = decoder.submit(query)
            if number % 2 and comes + goes == time:
                decoder.cancel(tickets[number])
                decoder.cancel(tickets[number])
        returned += decoder.step()
        time += 1
    assert len({id(ticket) for ticket in returned}) == len(returned)
    for number, (query, _, _) in enumerate(coming_and_going):
        ticket = tickets[number]
        assert ticket.done
        assert (ticket in returned) == (ticket.hypotheses is not None)
        if number % 2 == 0 or ticket.hypotheses is not None:
            assert_same(name, ticket.result(), alone(name, "plain", query))


@pytest.mark.parametrize(("place", "age"), [("encode", 0), ("step", 0), ("step", 1), ("step", 3), ("append", 0)])
@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 6), queries()), min_size=1, max_size=9), st.integers(4, 40))
def test_a_failing_sentence_fails_alone(place: str, age: int, arriving: list[tuple[int, Query]], max_rows: int) -> None:
    """Every sentence that begins with token 11 makes the engine fail."""
    bad, name = 11, ENGINE_NAMES[0]
    engine = WatchedEngine(real_engine(name), bad=bad, place=place, age=age)
    arriving = sorted(arriving, key=lambda pair: pair[0])
    tickets = run(ContinuousDecoder(engine, max_rows=max_rows), arriving)
    failed = 0
    for ticket, (_, query) in zip(tickets, arriving, strict=True):
        # A sentence can be done before the engine fails, and one alone has nothing to be appended to.
        if query.source[:1] == (bad,) and ticket.error is not None:
            assert place != "append"
            failed += 1
            with pytest.raises(DecodingError, match=r"ArithmeticError: the engine broke") as raised:
                ticket.result()
            assert isinstance(raised.value.__cause__, ArithmeticError)
        else:
            assert_same(name, ticket.result(), alone(name, "plain", query))
            assert query.source[:1] != (bad,) or place == "append" or (place == "step" and age > 0)
    assert failed <= engine.failures


def test_after_a_failure_the_oldest_begin_again_first() -> None:
    """Each by itself, and who came later behind them."""
    engine = WatchedEngine(real_engine("reference"), bad=11, place="step", age=1)
    decoder = ContinuousDecoder(engine)
    options = SearchOptions(beam_size=2, max_length=5)
    tickets = [decoder.submit(Query((first, 4), options)) for first in (3, 11, 5)]
    for _ in range(2):
        assert decoder.step() == []
    late = decoder.submit(Query((7, 4), options))
    ended: list[Ticket] = []
    while not decoder.idle:
        ended += decoder.step()
    assert [source[0] for source in engine.read] == [3, 11, 5, 3, 11, 5, 7]
    assert ended == [*tickets, late]
    assert [isinstance(ticket.error, DecodingError) for ticket in ended] == [False, True, False, False]


def test_decode_raises_what_a_sentence_failed_of() -> None:
    fine, bad = Query((3, 4), SearchOptions(max_length=5)), Query((11, 4), SearchOptions(max_length=5))
    engine = WatchedEngine(real_engine("reference"), bad=11, place="step")
    with pytest.raises(DecodingError, match="the engine broke"):
        decode(engine, [fine, bad, fine])
    assert len(decode(engine, [fine, fine])) == 2
    assert decode(engine, []) == []


class Speaker(ScriptedEngine):
    """Says as many words 3 as a source's second token says, and then ends; notes what it reads.

    A source that begins with 99 gives no token a probability that is a number.
    """

    def __init__(self) -> None:
        super().__init__(EOS, 6)
        self.read: list[tuple[int, ...]] = []

    def script(self, source: Sequence[int]) -> list[int]:
        self.read.append(tuple(source))
        return [*source[:1], *[3] * source[1], EOS]

    def weights(self, row: list[int], token: int) -> tuple[Tensor, list[int]]:
        logits_V = torch.full((self.vocabulary_size,), -30.0)
        logits_V[row[1]] = 0.0
        if row[0] == 99:
            logits_V[:] = torch.nan
        return logits_V, [row[0], *row[2:]] if len(row) > 2 else row


def says(number: int, length: int, **options: Any) -> Query:
    """A sentence that takes `length` + 1 steps with a beam of 1; `number` names it."""
    return Query((number, length), SearchOptions(**{"beam_size": 1, "max_length": 50} | options))


def test_sentences_that_come_later_join_the_batch() -> None:
    decoder = ContinuousDecoder(Speaker())
    first = decoder.submit(says(1, 5))
    assert (decoder.idle, decoder.waiting, decoder.live) == (False, 1, 0)
    assert decoder.step() == []
    second, third = decoder.submit(says(2, 1)), decoder.submit(says(3, 9))
    assert (decoder.waiting, decoder.live) == (2, 1)
    assert decoder.step() == []
    assert (decoder.waiting, decoder.live) == (0, 3)
    assert decoder.step() == [second]
    assert (decoder.waiting, decoder.live) == (0, 2)
    done = [decoder.step() for _ in range(9)]
    assert done == [[], [], [first], [], [], [], [], [third], []]
    assert decoder.idle
    assert [len(ticket.result()[0].tokens) for ticket in (first, second, third)] == [5, 1, 9]


def test_newcomers_are_read_together_where_many_are_in_the_batch_and_none_waits_for_long() -> None:
    decoder = ContinuousDecoder(Speaker())
    query = says(1, 40)
    for _ in range(8):
        decoder.submit(query)
    decoder.step()
    assert decoder.live == 8
    decoder.submit(query)
    waited = 0
    while decoder.waiting:
        decoder.step()
        waited += 1
    assert (decoder.live, waited) == (9, 4)
    for _ in range(2):
        decoder.submit(query)
    decoder.step()
    assert (decoder.live, decoder.waiting) == (11, 0), "two are a quarter of nine"


def test_a_newcomer_beside_few_joins_at_once() -> None:
    decoder = ContinuousDecoder(Speaker())
    for count in range(1, 9):
        decoder.submit(says(1, 40))
        decoder.step()
        assert (decoder.live, decoder.waiting) == (count, 0)


def test_several_that_end_in_one_step_come_back_in_their_order() -> None:
    decoder = ContinuousDecoder(Speaker())
    tickets = [decoder.submit(says(number, 0)) for number in range(5)]
    assert decoder.step() == tickets


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(1, 9), st.integers(0, 6)), min_size=1, max_size=40),
    st.integers(1, 16),
)
def test_the_oldest_come_first(arriving: list[tuple[int, int, int]], max_rows: int) -> None:
    """In the order of submission, whatever their widths: nobody is overtaken, nobody waits for ever."""
    engine = Speaker()
    arriving = sorted(arriving, key=lambda sentence: sentence[0])
    run(
        ContinuousDecoder(engine, max_rows=max_rows),
        [
            (time, says(number, length, beam_size=width, max_length=8))
            for number, (time, width, length) in enumerate(arriving)
        ],
    )
    assert [source[0] for source in engine.read] == list(range(len(arriving)))


def test_a_wide_sentence_at_the_head_is_not_overtaken() -> None:
    """A stream of narrow sentences would always fit; the wide one waits for the free rows, and they behind it."""
    engine = Speaker()
    decoder = ContinuousDecoder(engine, max_rows=8)
    for number in range(4):
        decoder.submit(says(number, 6, beam_size=2))
    decoder.step()
    wide = decoder.submit(says(50, 2, beam_size=8))
    waited = 0
    while not wide.done:
        decoder.submit(says(60 + waited, 6, beam_size=1))
        decoder.step()
        waited += 1
        assert waited < 30
    read = [source[0] for source in engine.read]
    assert read[:5] == [0, 1, 2, 3, 50]


@pytest.mark.parametrize(("width", "length"), [(100, 2), (1, 60)])
def test_a_sentence_that_is_larger_than_the_budget_is_decoded_by_itself(width: int, length: int) -> None:
    engine = WatchedEngine(real_engine("reference"))
    decoder = ContinuousDecoder(engine, max_rows=8, max_tokens=40)
    small = Query((3, 4), SearchOptions(beam_size=2, max_length=6))
    large = Query((5,) * length, SearchOptions(beam_size=width, max_length=6))
    tickets = [decoder.submit(query) for query in (small, small, large, small, small)]
    alone_at = []
    while not decoder.idle:
        decoder.step()
        if decoder.live:
            alone_at.append(decoder.live)
    assert all(ticket.result() for ticket in tickets)
    assert engine.read == [small.source] * 2 + [large.source] + [small.source] * 2
    assert 1 in alone_at
    assert all(sentences == 1 for sentences, rows in engine.batches if rows > 8)


def test_the_tokens_of_a_batch_are_bounded() -> None:
    engine = Speaker()
    decoder = ContinuousDecoder(engine, max_tokens=10)
    for number in range(5):
        decoder.submit(says(number, 3))
    decoder.step()
    assert (decoder.live, decoder.waiting) == (3, 2)  # three times two tokens and `<EOS>`


def test_a_cancelled_sentence_frees_its_rows_at_the_next_step() -> None:
    decoder = ContinuousDecoder(Speaker(), max_rows=8)
    wide = decoder.submit(says(1, 9, beam_size=8))
    decoder.step()
    waiting = decoder.submit(says(2, 1, beam_size=2))
    gone = decoder.submit(says(3, 1, beam_size=2))
    decoder.step()
    assert (decoder.live, decoder.waiting) == (1, 2)
    decoder.cancel(wide)
    decoder.cancel(gone)
    assert wide.done
    assert gone.done
    assert decoder.step() == []
    assert (decoder.live, decoder.waiting) == (1, 0)
    assert waiting in decoder.step()
    assert decoder.idle


def test_cancelling_everything_leaves_nothing_to_do() -> None:
    engine = Speaker()
    decoder = ContinuousDecoder(engine, max_rows=4)
    tickets = [decoder.submit(says(number, 5, beam_size=2)) for number in range(5)]
    decoder.step()
    for ticket in tickets:
        decoder.cancel(ticket)
    assert decoder.step() == []
    assert decoder.idle
    assert [source[0] for source in engine.read] == [0, 1]


def test_a_deadline_ends_a_sentence_wherever_it_is() -> None:
    now = 100.0
    decoder = ContinuousDecoder(Speaker(), max_rows=2, clock=lambda: now)
    live = decoder.submit(says(1, 20), deadline=103.0)
    in_time = decoder.submit(says(2, 3), deadline=110.0)
    waiting = decoder.submit(says(3, 1), deadline=102.0)
    patient = decoder.submit(says(4, 1))
    ended = []
    for _ in range(12):
        ended.append(decoder.step())
        now += 1.0
    assert decoder.idle
    times = {id(ticket): 100 + number for number, step in enumerate(ended) for ticket in step}
    assert times == {id(waiting): 102, id(live): 103, id(in_time): 103, id(patient): 104}
    for late in (live, waiting):
        with pytest.raises(DeadlineError):
            late.result()
    assert [len(ticket.result()[0].tokens) for ticket in (in_time, patient)] == [3, 1]


def test_a_deadline_that_is_past_already_needs_no_engine() -> None:
    engine = Speaker()
    decoder = ContinuousDecoder(engine, clock=lambda: 5.0)
    ticket = decoder.submit(says(1, 1), deadline=5.0)
    assert decoder.step() == [ticket]
    assert isinstance(ticket.error, DeadlineError)
    assert (decoder.idle, engine.read) == (True, [])


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_a_sentence_without_probabilities_is_an_error_for_it_alone(method: Literal["beam", "sample"]) -> None:
    decoder = ContinuousDecoder(Speaker())
    fine = [decoder.submit(says(1, 4)), decoder.submit(says(2, 2, method="sample", top_k=1))]
    broken = decoder.submit(says(99, 4, method=method))
    after = decoder.submit(says(3, 4, beam_size=3))
    while not decoder.idle:
        decoder.step()
    with pytest.raises(DecodingError, match="no token a probability"):
        broken.result()
    assert [len(ticket.result()[0].tokens) for ticket in (*fine, after)] == [4, 2, 4]


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_a_model_that_is_not_a_number_is_an_error(method: Literal["beam", "sample"]) -> None:
    model = network(1)
    with torch.no_grad():
        model.decoder.output.bias[4] = torch.nan
    engine = ReferenceEngine(model, source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])
    with pytest.raises(DecodingError, match="no token a probability"):
        decode(engine, [Query((3, 4), SearchOptions(method=method), count=2)] * 3)


def test_histories_of_any_length_are_kept() -> None:
    """Longer than the room that a batch begins with, and joined by others when it has grown."""
    decoder = ContinuousDecoder(Speaker())
    long = decoder.submit(says(1, 300, max_length=400))
    for _ in range(150):
        decoder.step()
    short = decoder.submit(says(2, 40))
    while not decoder.idle:
        decoder.step()
    assert long.result()[0].tokens == (3,) * 300
    assert short.result()[0].tokens == (3,) * 40


def test_a_ticket_can_be_shown_at_any_time() -> None:
    decoder = ContinuousDecoder(Speaker())
    ticket = decoder.submit(says(1, 1))
    assert "Query" in repr(ticket)
    decoder.step()
    assert "Query" in repr(ticket)
