"""The decoder in its own process: the same answers, and what happens when one of the two processes ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from service.decoder import card_identity
from service.remote_decoder import DecoderDiedError, DecoderLostError, RemoteDecoder
from tests.integration.service.conftest import Server
from translator import SearchOptions, Translator
from translator.decoder import decode
from translator.description import read_description
from translator.search import Query
from translator.ticket import DeadlineError, Ticket

PATIENCE = 120.0
GOOD = {"q": "Where is the station?", "source": "en", "target": "fr"}
LONG = Query(tuple(range(5, 25)), SearchOptions(max_length=10_000, beam_size=1), 0.0)


@pytest.fixture(params=[1, 3], ids=["one lane", "three lanes"])
def decoder(tiny_model_directory: Path, request: pytest.FixtureRequest) -> Iterator[RemoteDecoder]:
    decoder = RemoteDecoder(
        tiny_model_directory,
        identity=card_identity(read_description(tiny_model_directory).card),
        engine="cpu-float32",
        threads=request.param,
        rows=64,
    )
    decoder.wait_until_loaded()
    yield decoder
    decoder.close()


def later() -> float:
    return time.monotonic() + PATIENCE


def run(decoder: RemoteDecoder) -> list[Ticket]:
    done = []
    while not decoder.idle:
        done += decoder.step()
    return done


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    end = later()
    while not condition():
        assert time.monotonic() < end, "this never came true"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_finds_what_a_decoder_in_this_process_finds(decoder: RemoteDecoder, tiny_model_directory: Path) -> None:
    translator = Translator.load(tiny_model_directory, engine="cpu-float32")
    queries = [
        Query(tuple(range(5, 6 + number % 9)), SearchOptions(beam_size=1 + number % 4, alternatives=number % 3), 0.6, 2)
        for number in range(60)
    ]
    tickets = [decoder.submit(query, deadline=later()) for query in queries]

    assert set(run(decoder)) == set(tickets)

    expected = decode(translator.engine, queries)
    for ticket, hypotheses in zip(tickets, expected, strict=True):
        assert [one.tokens for one in ticket.result()] == [one.tokens for one in hypotheses]
        assert [one.score for one in ticket.result()] == pytest.approx([one.score for one in hypotheses], abs=1e-4)
    assert decoder.describe().startswith("cpu, float32")


def test_deadlines_hold_in_the_other_process(decoder: RemoteDecoder) -> None:
    late = decoder.submit(LONG, deadline=time.monotonic())
    assert run(decoder) == [late]
    with pytest.raises(DeadlineError):
        late.result()


def test_a_cancelled_sentence_does_not_come_back(decoder: RemoteDecoder) -> None:
    cancelled = decoder.submit(LONG, deadline=later())
    decoder.wake()
    assert decoder.step() == []
    decoder.cancel(cancelled)
    assert decoder.idle
    other = decoder.submit(Query((5, 6), SearchOptions(max_length=3)), deadline=later())
    assert run(decoder) == [other]
    assert other.result()


def test_a_lane_that_fails_says_where_without_the_users_text(
    decoder: RemoteDecoder, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second process is the first one whose output is captured
        decoder._channels[0].send("a secret")
        decoder.submit(LONG, deadline=later())
        with pytest.raises(DecoderDiedError):
            run(decoder)
        decoder.restart()
    said = capfd.readouterr().err
    assert '"exception_type": "ValueError"' in said
    assert "decoder_process.py:" in said
    assert "secret" not in said


def test_it_sends_more_than_the_socket_holds_at_once(decoder: RemoteDecoder) -> None:
    query = Query(tuple(range(5, 10)) * 400, SearchOptions(max_length=1, beam_size=1))
    tickets = {decoder.submit(query, deadline=later()) for _ in range(300)}
    assert set(run(decoder)) == tickets


def test_signals_to_the_group_leave_it_alone(decoder: RemoteDecoder) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(decoder.pid, number)
    ticket = decoder.submit(Query((5, 6), SearchOptions(max_length=3)), deadline=later())
    assert run(decoder) == [ticket]


def test_killed_it_is_started_again_but_not_for_ever(decoder: RemoteDecoder) -> None:
    for _ in range(2):
        decoder.submit(LONG, deadline=later())
        decoder.wake()
        decoder.step()
        before = decoder.pid
        kill(before)
        with pytest.raises(DecoderDiedError):
            run(decoder)
        decoder.restart()
        assert decoder.idle
        assert decoder.pid != before
        ticket = decoder.submit(Query((5, 6), SearchOptions(max_length=3)), deadline=later())
        assert run(decoder) == [ticket]
    kill(decoder.pid)
    with pytest.raises(DecoderDiedError):
        decoder.step()
    with pytest.raises(DecoderLostError, match="ended 3 times"):
        decoder.restart()


def test_it_says_why_it_cannot_load_the_model(tiny_model_directory: Path, tmp_path: Path) -> None:
    for model, engine, message in (
        (tmp_path, "auto", "config.json: is missing"),
        (tiny_model_directory, "steam", "there is no engine steam"),
    ):
        decoder = RemoteDecoder(model, identity="", engine=engine, threads=1, rows=64)
        with pytest.raises(ValueError, match=message):
            decoder.wait_until_loaded()
        decoder.close()
        assert not is_running(decoder.pid)


def child_of(pid: int) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                return int(process.name)
        except OSError:  # it has ended meanwhile
            continue
    return 0


def decoder_process(server: Server) -> int:
    return child_of(child_of(server.process.pid))


def test_the_service_outlives_its_decoder(start_server: Callable[..., Server]) -> None:
    server = start_server()
    kill(decoder_process(server))
    until(lambda: "started again" in server.errors)
    until(lambda: requests.get(server.url + "/ready").status_code == 200)
    assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert "decoder process ended" in server.errors
    assert "SIGKILL" in server.errors
    assert server.end() == 0, server.errors


def test_the_service_ends_when_its_decoder_ends_again_and_again(start_server: Callable[..., Server]) -> None:
    server = start_server()
    for deaths in (1, 2, 3):
        kill(decoder_process(server))
        until(lambda deaths=deaths: server.errors.count("decoder process ended") >= deaths)  # type: ignore[misc]
        until(lambda deaths=deaths: deaths == 3 or server.errors.count("started again") == deaths)  # type: ignore[misc]
    assert server.wait() == 2
    assert "Error: the service has ended, because its decoder cannot go on" in server.errors
    assert "Traceback" not in server.errors


def test_no_process_stays_behind(start_server: Callable[..., Server]) -> None:
    server = start_server()
    worker, decoder = child_of(server.process.pid), decoder_process(server)
    kill(worker)
    until(lambda: not is_running(decoder))
    until(lambda: bool(decoder_process(server)))
    decoder = decoder_process(server)
    assert server.end() == 0
    until(lambda: not is_running(decoder))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system decides what it gets back")
def test_beside_the_packed_weights_it_keeps_none(server: Server, start_server: Callable[..., Server]) -> None:
    """What it takes more than the process of a tiny model is less than its weights in float32 alone."""
    small, large = server, start_server(arguments=["--model", "en-fr"])
    if "int8" not in requests.get(large.url + "/model").json()["engine"]:
        pytest.skip("the cpu engine's library is not built")
    cards = [requests.get(each.url + "/model").json() for each in (small, large)]
    more = cards[1]["memory"]["decoderResidentBytes"] - cards[0]["memory"]["decoderResidentBytes"]
    assert more < 4 * cards[1]["parameters"], more
