from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching import Batcher, DeadlineError, DrainingError, QueueFullError, TranslationFailedError
from translator.config import SearchOptions
from translator.pipeline import Translation

PATIENCE = 30.0
OPTIONS = SearchOptions()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def make_batcher(translator: Any) -> Iterator[Callable[..., Batcher]]:
    batchers: list[Batcher] = []

    def make(**bounds: int) -> Batcher:
        defaults = {"queue_texts": 100, "queue_characters": 10_000, "batch_texts": 100, "batch_characters": 10_000}
        batchers.append(Batcher(translator, **(defaults | bounds)))
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
        """Let the decoder go on; the texts of the calls after the first."""
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


def test_different_searches_are_not_mixed(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    narrow, wide = SearchOptions(beam_size=1), SearchOptions(beam_size=9)
    for number in range(4):
        crowd.wait_with([f"text {number}"], narrow if number % 2 == 0 else wide)

    calls = crowd.release()

    assert calls == [["text 0", "text 2"], ["text 1", "text 3"]]
    assert crowd.translator.options[1:] == [narrow, wide]


def test_batches_are_bounded_in_texts(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(batch_texts=3)
    future = crowd.wait_with([f"text {number}" for number in range(7)])

    assert [len(call) for call in crowd.release()] == [3, 3, 1]
    assert texts_of(future.result()) == [f"TEXT {number}" for number in range(7)]


def test_batches_are_bounded_in_characters_but_a_long_text_goes_alone(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(batch_characters=10)
    crowd.wait_with(["12345", "1234", "12", "a very long text", "1"])

    assert crowd.release() == [["12345", "1234"], ["12"], ["a very long text"], ["1"]]


def test_a_long_request_does_not_block_a_short_one(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(batch_texts=2)
    crowd.wait_with([f"long {number}" for number in range(10)])
    crowd.wait_with(["short"])

    assert crowd.release()[0] == ["long 0", "short"]


def test_a_request_with_another_search_gets_its_turn_before_a_long_one_is_done(
    make_crowd: Callable[..., Crowd],
) -> None:
    crowd = make_crowd(batch_texts=2)
    crowd.wait_with([f"long {number}" for number in range(10)])
    crowd.wait_with(["short"], SearchOptions(beam_size=1))

    assert crowd.release()[:2] == [["long 0", "long 1"], ["short"]]


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


def test_a_translator_that_loses_a_text_is_an_error(make_batcher: Callable[..., Batcher], translator: Any) -> None:
    translator.translate = lambda texts, options: []
    with pytest.raises(TranslationFailedError):
        make_batcher().translate(["lost"], OPTIONS, seconds=PATIENCE)


def test_the_queue_is_bounded_in_texts(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd(queue_texts=3)
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
    crowd = make_crowd(queue_characters=10)
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


def test_nothing_to_translate_needs_no_decoder(make_batcher: Callable[..., Batcher], translator: Any) -> None:
    assert make_batcher().translate([], OPTIONS, seconds=PATIENCE) == []
    assert translator.calls == []


@given(
    requests=st.lists(st.tuples(st.lists(st.text(max_size=8), min_size=1, max_size=6), st.integers(1, 2)), max_size=12),
    batch_texts=st.integers(1, 5),
    batch_characters=st.integers(1, 12),
)
def test_every_request_gets_its_own_answers_in_order(
    requests: list[tuple[list[str], int]], batch_texts: int, batch_characters: int
) -> None:
    class Echo:
        lock = threading.Lock()

        def translate(self, texts: Sequence[str], options: SearchOptions) -> list[Translation]:
            assert self.lock.acquire(blocking=False), "two threads in the translator"
            try:
                assert len(texts) <= batch_texts
                assert len(texts) == 1 or sum(map(len, texts)) <= batch_characters
                return [Translation(f"{options.beam_size}:{text}", 0.0, (), (), ()) for text in texts]
            finally:
                self.lock.release()

    batcher = Batcher(
        Echo(),  # type: ignore[arg-type]
        queue_texts=1_000,
        queue_characters=10_000,
        batch_texts=batch_texts,
        batch_characters=batch_characters,
    )
    with ThreadPoolExecutor(len(requests) or 1) as pool:
        futures = [
            pool.submit(batcher.translate, texts, SearchOptions(beam_size=beam_size), seconds=PATIENCE)
            for texts, beam_size in requests
        ]
        for future, (texts, beam_size) in zip(futures, requests, strict=True):
            assert texts_of(future.result(PATIENCE)) == [f"{beam_size}:{text}" for text in texts]
    assert batcher.load == 0.0
    assert batcher.stop(PATIENCE)
