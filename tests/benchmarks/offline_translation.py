"""Throughput without a service: `Translator.translate(sentences)`, with a load generator as busy beside it as beside
the service.

Run as a program, it is the process that translates: it reads the sentences as one line of JSON, says that it is ready,
and translates when it is told to.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass

import click

from tests.benchmarks.load_generator import CONTENT_LENGTH, HOST, PacedClients, probe
from tests.benchmarks.load_sentences import BEAM_SIZE, Rotation

_LOADING_SECONDS = 120.0
_TRANSLATION_SECONDS = 600.0
_LEAD_SECONDS = 0.5
_END_SECONDS = 10.0
_STUB_BODY = '{"translatedText": "La gare est près du vieux pont."}\n'.encode()
_STUB_ANSWER = (
    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(_STUB_BODY)}\r\n\r\n".encode()
    + _STUB_BODY
)


@dataclass(frozen=True)
class OfflineRun:
    """What was measured."""

    sentences: int
    seconds: float
    sentences_per_second: float
    requests_per_second: float
    """How many the load generator sent beside it; it may fall behind where the cores are taken."""
    generator_share: float
    """Share of one core that the load generator took, its stub server included."""


async def measure_offline(
    model: str,
    rotation: Rotation,
    languages: tuple[str, str],
    *,
    first: int,
    count: int,
    per_second: float,
    clients: int,
) -> OfflineRun:
    """Translate sentences `first` to `first + count - 1` in one call, in a process of its own.

    Meanwhile as many clients as loaded the service send `per_second` requests, and a prober asks for the health, all
    to a server in this process that does nothing. So the cost of generating load, which shares the cores with the
    service, is there in both measurements.

    Raises:
        click.ClickException: the translating process failed or took too long.
    """
    stub = await asyncio.start_server(_answer_stub, HOST, 0)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, model, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port: int = stub.sockets[0].getsockname()[1]
        process.stdin.write(json.dumps(rotation.stretch(first, count)).encode() + b"\n")
        if not await _line(process.stdout, _LOADING_SECONDS):
            raise click.ClickException("the process that translates offline did not start")
        load = PacedClients(
            port,
            Rotation(rotation.stretch(0, len(rotation))).requests(*languages),
            clients=clients,
            per_second=per_second,
        )
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(load.run(number, _TRANSLATION_SECONDS))
            group.create_task(probe(port, _TRANSLATION_SECONDS, lambda: load.running))
            await asyncio.sleep(_LEAD_SECONDS)
            start, processor, sent = time.perf_counter(), time.process_time(), load.sent
            process.stdin.write(b"go\n")
            said = await _line(process.stdout, _TRANSLATION_SECONDS)
            passed = time.perf_counter() - start
            processor, sent = time.process_time() - processor, load.sent - sent
            load.running = False
        if not said:
            raise click.ClickException("the process that translates offline failed or took too long")
        seconds = float(said)
        return OfflineRun(count, seconds, count / seconds, sent / passed, processor / passed)
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), _END_SECONDS)
        stub.close()


async def _line(stream: asyncio.StreamReader, seconds: float) -> bytes:
    """The next line, empty where none comes in time."""
    try:
        return await asyncio.wait_for(stream.readline(), seconds)
    except TimeoutError:
        return b""


async def _answer_stub(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """For `asyncio.start_server`: answer every request alike, at next to no cost."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if length := CONTENT_LENGTH.search(head):
                await reader.readexactly(int(length[1]))
            writer.write(_STUB_ANSWER)
    except (ConnectionError, EOFError):
        pass
    finally:
        writer.close()


@click.command()
@click.argument("model")
def main(model: str) -> None:
    """Translate the sentences of the first line of standard input when a second line comes; print the seconds."""
    from tests.benchmarks.one_at_a_time import use_all_cores
    from translator.config import SearchOptions
    from translator.pipeline import Translator

    sentences = json.loads(sys.stdin.readline())
    use_all_cores()
    translator = Translator.load(model)
    options = SearchOptions(beam_size=BEAM_SIZE)
    translator.translate(sentences[:64], options)  # sets things up, as the warm-up before the service is measured does
    print("ready", flush=True)
    if sys.stdin.readline():
        start = time.perf_counter()
        translator.translate(sentences, options)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
