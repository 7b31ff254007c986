"""The servers under load: real processes on 127.0.0.1, always stopped again, and what they keep in memory.

Linux only: memory is read from /proc.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import click

from tests.benchmarks.load_generator import HOST
from tests.support import unused_port
from translator.description import model_path

REPOSITORY = Path(__file__).parents[2]
MOST_CLIENTS = 128

BATCHING_OFF = {"TRANSLATE_BATCH_ROWS": "1"}
"""The service's setting that has one sentence decoded at a time."""

_ADMISSION = "TRANSLATE_CONCURRENT_REQUESTS"
# More than clients: a place is given back a moment after the client has its answer, and may have sent the next request.
_ADMITTED = MOST_CLIENTS + 32
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_SHOWN_LINES = 15


@dataclass(frozen=True)
class Contender:
    """A way to serve the model: a command, in which PORT and MODEL are replaced, and its settings."""

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)

    def start_command(self, port: int, model: str) -> list[str]:
        return [part.replace("PORT", str(port)).replace("MODEL", model) for part in self.command]


_SERVICE = (sys.executable, "-m", "service", "--port", "PORT", "--model", "MODEL")
_ONE_AT_A_TIME = (
    *(sys.executable, "-m", "gunicorn", "--bind", f"{HOST}:PORT", "--workers", "1", "--timeout", "300"),
    *("--worker-class", "gthread", "--threads", str(_ADMITTED), "--keep-alive", "5", "--log-level", "warning"),
    "tests.benchmarks.one_at_a_time:create_app('MODEL')",
)


def service() -> Contender:
    """The service as `make run` starts it, let alone that it lets in all our clients where it would not by itself."""
    admitted = int(_service_settings().get(_ADMISSION, _ADMITTED))
    return Contender("service", _SERVICE, {_ADMISSION: str(_ADMITTED)} if admitted < MOST_CLIENTS else {})


def service_without_batching() -> Contender | None:
    """The same with one sentence decoded at a time; None where the service has no such setting."""
    if not BATCHING_OFF.keys() <= _service_settings().keys():
        return None
    return Contender("batching off", _SERVICE, {**service().settings, **BATCHING_OFF})


def one_at_a_time() -> Contender:
    """LibreTranslate's way of working; see `one_at_a_time.py`."""
    return Contender("one at a time", _ONE_AT_A_TIME)


def _service_settings() -> dict[str, str]:
    """The service's settings by default: variable and value."""
    listed = subprocess.run(
        [sys.executable, "-m", "service", "--print-settings"],
        cwd=REPOSITORY, env=_environment({}), capture_output=True, text=True, timeout=_START_SECONDS, check=True,
    )  # fmt: skip
    return dict(re.findall(r"^(\w+)=(.*)$", listed.stdout, flags=re.MULTILINE))


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our own environment without a person's settings of the service."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRANSLATE_")}
    return {**kept, **settings}


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    port: int
    worker: int
    """gunicorn's worker process."""

    def resident_bytes(self) -> int:
        """Memory that the worker and its children have resident at the moment; 0 where they are gone.

        The service decodes in a child of its worker. Libraries that both have loaded count twice.
        """
        return sum(map(_resident_bytes, (self.worker, *_children(self.worker))))


@contextlib.contextmanager
def running(contender: Contender, model: str) -> Iterator[Server]:
    """Start the contender on a free port, wait until it answers, and stop it at the end, whatever happens.

    Raises:
        click.ClickException: it did not start; with the last lines that it wrote.
    """
    port = unused_port()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            contender.start_command(port, model),
            cwd=REPOSITORY,
            env=_environment(contender.settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what is left of it in the end can be killed as a whole
        )
        try:
            _wait_for_health(contender, process, port, output)
            yield Server(port, _largest_child(process.pid))
        finally:
            _stop(process)


def _wait_for_health(contender: Contender, process: subprocess.Popen[bytes], port: int, output: IO[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    output.seek(0)
    last = output.read().decode(errors="replace").splitlines()[-_SHOWN_LINES:]
    raise click.ClickException("\n".join([f"{contender.name} did not start:", *last]))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, and kill what is left of its processes."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_SECONDS)


def end_in_order_on_sigterm() -> None:
    """Have SIGTERM raise SystemExit, so that the servers are stopped then, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _children(process: int) -> list[int]:
    children = []
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            children += map(int, tasks.read_text().split())
    return children


def _largest_child(master: int) -> int:
    """gunicorn's worker: the child of its master that has the most memory."""
    children = _children(master)
    if not children:
        raise click.ClickException("the server's worker is not to be found in /proc; this needs Linux")
    return max(children, key=_resident_bytes)


def _resident_bytes(process: int) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
        if found:
            return 1024 * int(found[1])
    return 0


def model_languages(model: str) -> tuple[str, str]:
    """Source and target language of a model directory, or of a shipped model.

    Raises:
        click.ClickException: there is no such model.
    """
    card = model_path(model) / "card.json"
    try:
        document = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{card}: {error}") from None
    return document["source_language"], document["target_language"]
