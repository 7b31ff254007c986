from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching import Batcher
from service.jobs import (
    Amount,
    Client,
    ClientGoneError,
    DrainingError,
    QueueFullError,
    TooMuchWorkError,
    TranslationFailedError,
)
from service.metrics import Metrics
from tests.unit.service.capitals import PATIENCE, CapitalsTranslator, NearDecoder
from translator.config import SearchOptions
from translator.decoder import ContinuousDecoder
from translator.ticket import DeadlineError
from translator.translation import Translation

OPTIONS = SearchOptions()
GREEDY = SearchOptions(beam_size=1)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def make_batcher(translator: Any) -> Iterator[Callable[..., Batcher]]:
    batchers: list[Batcher] = []

    def make(*, client: Client | None = None, **bounds: int) -> Batcher:
        rows, work = bounds.pop("batch_rows", 512), bounds.pop("work_per_request", 10_000)
        most = Amount(**{"texts": 200, "characters": 10_000, "sentences": 200, "tokens": 1_000, **bounds})
        decoder = NearDecoder(translator.engine, rows=rows)
        metrics = Metrics().pair("en-fr")
        batchers.append(
            Batcher(
                translator,
                decoder,
                bounds=most,
                batch_rows=rows,
                work_per_request=work,
                metrics=metrics,
                client=client or Client(),
            )
        )
        return batchers[-1]

    yield make
    translator.may_go_on.set()
    for batcher in batchers:
        assert batcher.stop(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "this never came true"
        time.sleep(0.002)


class Turnstile:
    """In the place of the engine's event: lets one step through at a time."""

    def __init__(self) -> None:
        self.steps = threading.Semaphore(0)

    def wait(self, timeout: float) -> bool:
        return self.steps.acquire(timeout=timeout)


def test_what_is_certain_is_told_before_the_sentence_is_there(
    make_batcher: Any, translator: Any, pool: ThreadPoolExecutor
) -> None:
    batcher = make_batcher()
    turnstile = translator.engine.may_go_on = Turnstile()
    options = SearchOptions(beam_size=1, prefixes=True)
    stream = batcher.stream(["one\ntwo"], options, seconds=PATIENCE)
    turnstile.steps.release()  # both sentences' first token; their end is held back
    number, draft, beginning = pool.submit(next, stream).result(PATIENCE)
    assert (number, draft.segments.text, beginning) == (0, "one\ntwo", "ONE")
    turnstile.steps.release(10)
    found = list(stream)
    assert [part.text for _, _, part in found if isinstance(part, Translation)] == ["ONE", "TWO"]
    plain = batcher.stream(["one\ntwo"], SearchOptions(beam_size=1), seconds=PATIENCE)
    assert [type(part) for *_, part in plain] == [Translation, Translation]


def test_vectors_come_in_the_order_of_the_texts(make_batcher: Any) -> None:
    batcher = make_batcher()
    texts = ["salt", "pepper", "salt", ""]
    vectors_ND = batcher.vectors(texts, seconds=PATIENCE)
    assert vectors_ND.tolist() == [NearDecoder.vector(text).tolist() for text in texts]
    with pytest.raises(QueueFullError):
        batcher.vectors(["a"] * 201, seconds=PATIENCE)


def texts_of(translations: Sequence[Translation]) -> list[str]:
    return [translation.text for translation in translations]


class Crowd:
    """Requests that wait behind one that holds the decoder."""

    def __init__(self, batcher: Batcher, translator: Any, pool: ThreadPoolExecutor) -> None:
        self.batcher = batcher
        self.translator = translator
        self.pool = pool
        translator.may_go_on.clear()
        self.futures: list[Future[list[Translation]]] = [self._submit(["first"], OPTIONS)]
        assert translator.entered.acquire(timeout=PATIENCE)

    def _submit(self, texts: list[str], options: SearchOptions) -> Future[list[Translation]]:
        return self.pool.submit(self.batcher.translate, texts, options, seconds=PATIENCE)

    def wait_with(self, texts: list[str], options: SearchOptions = OPTIONS) -> Future[list[Translation]]:
        before = self.batcher.load
        future = self._submit(texts, options)
        until(lambda: self.batcher.load > before)
        self.futures.append(future)
        return future

    def release(self) -> list[list[str]]:
        """Let the decoder go on; the sentences that were read together, after the first."""
        self.translator.may_go_on.set()
        for future in self.futures:
            future.exception(PATIENCE)
        return self.translator.calls[1:]  # type: ignore[no-any-return]


@pytest.fixture
def make_crowd(make_batcher: Callable[..., Batcher], translator: Any, pool: ThreadPoolExecutor) -> Callable[..., Crowd]:
    return lambda **bounds: Crowd(make_batcher(**bounds), translator, pool)


def test_requests_that_wait_together_are_decoded_together(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    futures = [crowd.wait_with([f"a{number}", f"b{number}"]) for number in range(5)]

    calls = crowd.release()

    assert len(calls) == 1
    assert sorted(calls[0]) == sorted(f"{letter}{number}" for letter in "ab" for number in range(5))
    for number, future in enumerate(futures):
        assert texts_of(future.result()) == [f"A{number}", f"B{number}"]


def test_what_comes_joins_the_batch_that_runs(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    crowd.wait_with(["second"])

    crowd.release()

    assert crowd.translator.engine.steps == [["first"], ["first", "second"], ["second"]]


def test_different_searches_share_the_batch(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    futures = [
        crowd.wait_with([f"text {number}"], SearchOptions(beam_size=1 + number, length_penalty=0.1 * number))
        for number in range(4)
    ]

    assert crowd.release() == [["text 0", "text 1", "text 2", "text 3"]]
    assert [texts_of(future.result()) for future in futures] == [[f"TEXT {number}"] for number in range(4)]


def test_the_batch_is_bounded_in_hypotheses(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(batch_rows=16)
    future = crowd.wait_with([f"text {number}" for number in range(7)], SearchOptions(beam_size=5))

    crowd.release()

    assert max(map(len, crowd.translator.engine.steps)) == 3
    assert texts_of(future.result()) == [f"TEXT {number}" for number in range(7)]


def test_a_batch_of_one_row_is_one_sentence_at_a_time_however_wide_its_beam(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(batch_rows=1)
    crowd.wait_with(["a", "b"], GREEDY)
    crowd.wait_with(["c"], SearchOptions(beam_size=9))

    assert crowd.release() == [["a"], ["c"], ["b"]]
    assert all(len(step) == 1 for step in crowd.translator.engine.steps)


@pytest.mark.parametrize("separator", [None, "\n"], ids=["of many texts", "of one text of many sentences"])
def test_a_long_request_does_not_block_a_short_one(make_crowd: Callable[..., Crowd], separator: str | None) -> None:
    crowd = make_crowd(batch_rows=4)
    sentences = [f"long {number}" for number in range(100)]
    long = crowd.wait_with([separator.join(sentences)] if separator else sentences, GREEDY)
    short = crowd.wait_with(["short"], GREEDY)

    assert "short" in crowd.release()[0]
    assert texts_of(short.result()) == ["SHORT"]
    assert "\n".join(texts_of(long.result())) == "\n".join(sentences).upper()


def test_a_long_request_gets_its_turn_among_short_ones(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(batch_rows=1)
    crowd.wait_with(["long 0", "long 1", "long 2"])
    for number in range(3):
        crowd.wait_with([f"short {number}"])

    calls = crowd.release()

    assert [*itertools.chain(*calls)] == ["long 0", "short 0", "short 1", "short 2", "long 1", "long 2"]


def test_a_text_waits_until_its_last_sentence_is_taken(
    make_batcher: Callable[..., Batcher], translator: CapitalsTranslator, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = make_batcher(batch_rows=1, texts=4)
    loads: dict[str, float] = {}
    step = translator.engine.step

    def watched(rows: list[int], beams: Any) -> Any:
        loads[translator.engine.sentences[rows[0]]] = batcher.load
        return step(rows, beams)

    monkeypatch.setattr(translator.engine, "step", watched)
    batcher.translate(["one\ntwo\nthree", "four", " "], OPTIONS, seconds=PATIENCE)

    assert loads == {"one": 0.5, "two": 0.5, "three": 0.25, "four": 0.0}


def test_what_a_request_repeats_is_decoded_once(make_batcher: Callable[..., Batcher], translator: Any) -> None:
    batcher = make_batcher()
    translations = batcher.translate(["a", "b\na", "a", "b"], OPTIONS, seconds=PATIENCE)
    assert texts_of(translations) == ["A", "B\nA", "A", "B"]
    assert translator.calls == [["a", "b"]]
    assert batcher.load == 0.0


def test_a_failing_request_does_not_fail_its_neighbours(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    good = [crowd.wait_with(["good"]), crowd.wait_with(["fine", "too"])]
    bad = crowd.wait_with(["well", "fail"])

    crowd.release()

    assert [texts_of(future.result()) for future in good] == [["GOOD"], ["FINE", "TOO"]]
    with pytest.raises(TranslationFailedError) as raised:
        bad.result()
    assert isinstance(raised.value.__cause__, ValueError)
    assert crowd.batcher.alive


def test_when_one_sentence_fails_the_request_s_others_leave_the_decoder(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    good = crowd.wait_with(["good"])
    bad = crowd.wait_with(["before", "fail", *(f"after {number}" for number in range(20))])

    crowd.release()

    assert isinstance(bad.exception(), TranslationFailedError)
    assert texts_of(good.result()) == ["GOOD"]
    until(lambda: crowd.batcher._decoder.idle)
    assert not any("after" in sentence for step in crowd.translator.engine.steps for sentence in step)


@pytest.mark.parametrize("part", ["draft", "finish"])
def test_an_error_before_or_after_the_decoder_fails_its_own_request(
    make_crowd: Callable[..., Crowd], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    crowd = make_crowd()
    original = getattr(crowd.translator, part)

    def picky(what: Any, other: Any) -> Any:
        if "bad" in (what if part == "draft" else what.segments.text):
            raise ValueError("what is that?")
        return original(what, other)

    monkeypatch.setattr(crowd.translator, part, picky)
    good = crowd.wait_with(["good"])
    bad = crowd._submit(["fine", "bad"], OPTIONS)
    crowd.futures.append(bad)

    crowd.release()

    assert texts_of(good.result()) == ["GOOD"]
    with pytest.raises(TranslationFailedError) as raised:
        bad.result()
    assert str(raised.value.__cause__) == "what is that?"
    assert crowd.batcher.load == 0.0


def test_after_an_error_that_nobody_foresaw_the_decoder_begins_anew(
    make_crowd: Callable[..., Crowd], monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = make_crowd()
    monkeypatch.setattr(ContinuousDecoder, "_admit", lambda _: 1 / 0)
    waiting = crowd.wait_with(["waiting"])

    crowd.release()

    for future in (crowd.futures[0], waiting):
        error = future.exception()
        assert isinstance(error, TranslationFailedError)
        assert isinstance(error.__cause__, ZeroDivisionError)
    monkeypatch.undo()
    assert texts_of(crowd.batcher.translate(["again"], OPTIONS, seconds=PATIENCE)) == ["AGAIN"]
    assert crowd.translator.engine.steps == [["first"], ["again"], ["again"]]


def test_while_the_decoder_is_started_again_requests_wait_for_it(
    make_crowd: Callable[..., Crowd], monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = make_crowd()
    restart, entered, may_go_on = NearDecoder.restart, threading.Event(), threading.Event()

    def slow(decoder: NearDecoder) -> None:
        entered.set()
        assert may_go_on.wait(PATIENCE)
        restart(decoder)

    monkeypatch.setattr(NearDecoder, "restart", slow)
    monkeypatch.setattr(ContinuousDecoder, "_admit", lambda _: 1 / 0)
    crowd.translator.may_go_on.set()
    crowd.futures.append(crowd._submit(["in it"], OPTIONS))  # which the decoder may take at once
    assert entered.wait(PATIENCE)
    monkeypatch.undo()
    assert crowd.batcher.restarting
    patient = crowd._submit(["patient"], OPTIONS)
    until(lambda: crowd.batcher.load > 0)

    may_go_on.set()

    assert texts_of(patient.result(PATIENCE)) == ["PATIENT"]
    assert not crowd.batcher.restarting


def test_where_the_decoder_cannot_begin_anew_everybody_is_told(
    make_crowd: Callable[..., Crowd], monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = make_crowd(batch_rows=1)
    monkeypatch.setattr(NearDecoder, "restart", lambda _: 1 / 0)
    monkeypatch.setattr(ContinuousDecoder, "_end", lambda *_: 1 / 0)
    waiting = crowd.wait_with(["waiting"])

    crowd.release()

    assert isinstance(crowd.futures[0].exception(), TranslationFailedError)
    assert isinstance(waiting.exception(), TranslationFailedError)
    until(lambda: not crowd.batcher.alive)
    with pytest.raises(DrainingError):
        crowd.batcher.translate(["new"], OPTIONS, seconds=PATIENCE)
    assert crowd.batcher.load == 0.0


def test_the_queue_is_bounded_in_texts(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(texts=3)
    accepted = crowd.wait_with(["1", "2"])
    with pytest.raises(QueueFullError):
        crowd.batcher.translate(["3", "4"], OPTIONS, seconds=PATIENCE)
    last = crowd.wait_with(["3"])
    assert crowd.batcher.load == 1.0

    crowd.release()

    assert texts_of(accepted.result()) == ["1", "2"]
    assert texts_of(last.result()) == ["3"]
    assert crowd.batcher.load == 0.0


def test_the_queue_is_bounded_in_characters(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(characters=10)
    crowd.wait_with(["123456"])
    with pytest.raises(QueueFullError):
        crowd.batcher.translate(["12345"], OPTIONS, seconds=PATIENCE)
    crowd.release()


def test_past_its_deadline_a_request_gives_up_and_its_texts_are_dropped(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    with pytest.raises(DeadlineError):
        crowd.batcher.translate(["too", "late"], OPTIONS, seconds=0.01)
    assert crowd.batcher.load == 0.0
    on_time = crowd.wait_with(["on time"])

    assert crowd.release() == [["on time"]]
    assert texts_of(on_time.result()) == ["ON TIME"]


def test_past_its_deadline_a_request_leaves_the_batch(
    make_batcher: Callable[..., Batcher], translator: Any, pool: ThreadPoolExecutor
) -> None:
    batcher = make_batcher()
    translator.may_go_on.clear()
    late = pool.submit(batcher.translate, ["late", "too"], OPTIONS, seconds=0.2)
    assert translator.entered.acquire(timeout=PATIENCE)
    on_time = pool.submit(batcher.translate, ["on time"], OPTIONS, seconds=PATIENCE)
    assert isinstance(late.exception(PATIENCE), DeadlineError)
    until(lambda: batcher.load > 0)

    translator.may_go_on.set()

    assert texts_of(on_time.result(PATIENCE)) == ["ON TIME"]
    assert translator.engine.steps == [["late", "too"], ["on time"], ["on time"]]
    until(lambda: batcher._decoder.idle)


def test_draining_refuses_the_new_and_answers_the_accepted(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    accepted = crowd.wait_with(["accepted"])
    crowd.batcher.drain()
    with pytest.raises(DrainingError):
        crowd.batcher.translate(["new"], OPTIONS, seconds=PATIENCE)
    assert not crowd.batcher.stop(0.0), "it cannot have ended while a batch is held"

    crowd.release()

    assert texts_of(accepted.result()) == ["ACCEPTED"]
    assert crowd.batcher.stop(PATIENCE)
    assert not crowd.batcher.alive


def test_a_request_that_is_still_being_prepared_is_answered_before_the_end(
    make_batcher: Callable[..., Batcher], translator: Any, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = make_batcher()
    draft, entered, may_go_on = translator.draft, threading.Event(), threading.Event()

    def slow(text: str, options: SearchOptions) -> Any:
        entered.set()
        assert may_go_on.wait(PATIENCE)
        return draft(text, options)

    monkeypatch.setattr(translator, "draft", slow)
    accepted = pool.submit(batcher.translate, ["accepted"], OPTIONS, seconds=PATIENCE)
    assert entered.wait(PATIENCE)
    assert batcher.load > 0, "it has its place in the queue already"
    assert not batcher.stop(0.0)

    may_go_on.set()

    assert texts_of(accepted.result(PATIENCE)) == ["ACCEPTED"]
    assert batcher.stop(PATIENCE)


def test_nothing_to_translate_needs_no_decoder(make_batcher: Callable[..., Batcher], translator: Any) -> None:
    batcher = make_batcher()
    assert batcher.translate([], OPTIONS, seconds=PATIENCE) == []
    assert texts_of(batcher.translate([" ", ""], OPTIONS, seconds=PATIENCE)) == [" ", ""]
    assert translator.calls == []
    assert batcher.load == 0.0


ANY_TEXT = st.text(max_size=8).filter(lambda text: "fail" not in text)  # on which the translator would


@given(
    requests=st.lists(st.tuples(st.lists(ANY_TEXT, min_size=1, max_size=6), st.integers(1, 4)), max_size=12),
    batch_rows=st.integers(1, 9),
)
def test_every_request_gets_its_own_answers_in_order(requests: list[tuple[list[str], int]], batch_rows: int) -> None:
    translator = CapitalsTranslator()
    decoder = NearDecoder(translator.engine, rows=batch_rows)
    batcher = Batcher(
        translator,
        decoder,
        bounds=Amount(1_000, 10_000, 1_000, 10_000),
        batch_rows=batch_rows,
        work_per_request=10_000,
        metrics=Metrics().pair("en-fr"),
        client=Client(),
    )
    with ThreadPoolExecutor(len(requests) or 1) as pool:
        futures = [
            pool.submit(batcher.translate, texts, SearchOptions(beam_size=beam_size), seconds=PATIENCE)
            for texts, beam_size in requests
        ]
        for future, (texts, _) in zip(futures, requests, strict=True):
            assert texts_of(future.result(PATIENCE)) == [text.upper() for text in texts]
    assert all(len(step) <= batch_rows for step in translator.engine.steps)
    assert batcher.load == 0.0
    assert batcher.stop(PATIENCE)
    assert decoder.closed


def test_sentences_are_streamed_in_order(make_batcher: Callable[..., Batcher]) -> None:
    batcher = make_batcher(batch_rows=1)
    streamed = list(batcher.stream(["a\nb", "", "c\na"], OPTIONS, seconds=PATIENCE))
    assert [(number, draft.segments.text) for number, draft, _ in streamed] == [(0, "a\nb")] * 2 + [(2, "c\na")] * 2
    assert texts_of([one for _, _, one in streamed]) == ["A", "B", "C", "A"]
    assert batcher.load == 0


def test_a_sentence_is_there_before_the_next_is_decoded(
    make_batcher: Callable[..., Batcher], translator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = translator.engine.step
    seen = threading.Event()

    def patient_step(rows: list[int], beams: Any) -> Any:
        if any(translator.engine.sentences[row] == "last" for row in rows):
            assert seen.wait(PATIENCE)
        return step(rows, beams)

    monkeypatch.setattr(translator.engine, "step", patient_step)
    batcher = make_batcher(batch_rows=1)
    streamed = batcher.stream(["first\nlast"], GREEDY, seconds=PATIENCE)
    assert next(streamed)[2].text == "FIRST"
    streamed.close()  # the client has gone
    seen.set()
    assert texts_of(batcher.translate(["next"], OPTIONS, seconds=PATIENCE)) == ["NEXT"]


def test_a_stream_fails_as_a_whole_does(make_batcher: Callable[..., Batcher]) -> None:
    batcher = make_batcher()
    with pytest.raises(TranslationFailedError):
        list(batcher.stream(["fine", "fail"], OPTIONS, seconds=PATIENCE))
    batcher.drain()
    with pytest.raises(DrainingError):
        next(batcher.stream(["late"], OPTIONS, seconds=PATIENCE))


# A sentence of the test's engine has two tokens, with its end.
@pytest.mark.parametrize("bounds", [{"sentences": 3}, {"tokens": 6}], ids=["sentences", "tokens"])
def test_the_queue_is_bounded_in_sentences_and_tokens(make_crowd: Callable[..., Crowd], bounds: dict[str, int]) -> None:
    crowd = make_crowd(**bounds)
    crowd.wait_with(["1\n2"])
    with pytest.raises(QueueFullError):
        crowd.batcher.translate(["3\n4"], OPTIONS, seconds=PATIENCE)
    last = crowd.wait_with(["3"])
    assert crowd.batcher.load == 1.0
    crowd.release()
    assert texts_of(last.result()) == ["3"]
    assert crowd.batcher.load == 0.0


def test_a_request_larger_than_the_queue_is_taken_in_where_nothing_waits(
    make_crowd: Callable[..., Crowd],
) -> None:
    crowd = make_crowd(sentences=2, tokens=3)
    large = crowd.wait_with(["1\n2\n3\n4"])
    assert crowd.batcher.load == 1.0
    crowd.release()
    assert texts_of(large.result()) == ["1\n2\n3\n4"]


def test_a_request_s_work_is_bounded(make_batcher: Callable[..., Batcher], translator: Any) -> None:
    batcher = make_batcher(work_per_request=12)
    assert texts_of(batcher.translate(["a\nb"], SearchOptions(beam_size=3), seconds=PATIENCE)) == ["A\nB"]
    with pytest.raises(TooMuchWorkError, match=r"are 16; at most 12 are allowed"):
        batcher.translate(["a\nb"], SearchOptions(beam_size=4), seconds=PATIENCE)
    assert batcher.load == 0.0
    assert len(translator.calls) == 1


def test_what_nobody_waits_for_any_more_leaves_the_batch(
    make_batcher: Callable[..., Batcher], translator: Any, pool: ThreadPoolExecutor
) -> None:
    gone = threading.Event()
    leaver: list[int] = []

    class Leaver(Client):
        def waits(self) -> bool:
            return not (gone.is_set() and threading.get_ident() in leaver)

    def leave() -> list[Translation]:
        leaver.append(threading.get_ident())
        return batcher.translate(["left", "behind"], OPTIONS, seconds=PATIENCE)

    batcher = make_batcher(client=Leaver())
    translator.may_go_on.clear()
    left = pool.submit(leave)
    assert translator.entered.acquire(timeout=PATIENCE)
    staying = pool.submit(batcher.translate, ["staying"], OPTIONS, seconds=PATIENCE)
    until(lambda: batcher.load > 0)

    gone.set()
    assert isinstance(left.exception(PATIENCE), ClientGoneError)
    translator.may_go_on.set()

    assert texts_of(staying.result(PATIENCE)) == ["STAYING"]
    assert translator.engine.steps == [["left", "behind"], ["staying"], ["staying"]]


@given(
    st.lists(st.tuples(*[st.integers(0, 9)] * 4), max_size=5),
    st.tuples(*[st.integers(1, 9)] * 4),
)
def test_amounts_add_up(values: list[tuple[int, ...]], most: tuple[int, ...]) -> None:
    amounts = [Amount(*value) for value in values]
    total = Amount.sum(amounts)
    assert total == tuple(sum(value[place] for value in values) for place in range(4))
    for amount in amounts:
        assert total.minus(amount).plus(amount) == total
    assert (total.share_of(Amount(*most)) <= 1) is all(one <= two for one, two in zip(total, most, strict=True))


def test_while_it_drains_what_was_accepted_may_come_back_for_more(
    make_batcher: Callable[..., Batcher], translator: Any
) -> None:
    class Returning(Client):
        taken = 0

        def accepted(self) -> bool:
            return self.taken > 0

        def accept(self) -> None:
            self.taken += 1

    client = Returning()
    batcher = make_batcher(client=client)
    batcher.translate(["first"], OPTIONS, seconds=PATIENCE)
    assert client.taken == 1
    batcher.drain()
    assert texts_of(batcher.translate(["second"], OPTIONS, seconds=PATIENCE)) == ["SECOND"]
    client.taken = 0
    with pytest.raises(DrainingError):
        batcher.translate(["new"], OPTIONS, seconds=PATIENCE)
