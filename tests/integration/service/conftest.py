"""Real servers: `python -m service` as a process of its own, on a port of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from translator import Translator
from translator.card import LengthScore
from translator.directory import load_model, save_model

REPOSITORY = Path(__file__).parents[3]
PATIENCE = 120.0
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
BROWSER_FLAGS += ["--disable-component-update", "--disable-sync"]


class Server:
    """A process that serves; its output is collected in `output`."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "--port", "0", *arguments],
            cwd=REPOSITORY,
            env={**_clean_environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # so that a Ctrl-C can be sent to all of its processes, as a terminal does
        )
        self.output = ""
        self.errors = ""
        self._announced = threading.Event()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, "output")),
            threading.Thread(target=self._read, args=(self.process.stderr, "errors")),
        ]
        for reader in self._readers:
            reader.start()
        assert self._announced.wait(PATIENCE), "the server said nothing"
        found = re.search(r"http://127\.0\.0\.1:(\d+) ", self.output)
        assert found, self.errors
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def _read(self, stream: IO[str], name: str) -> None:
        for line in stream:
            setattr(self, name, getattr(self, name) + line)
            if name == "output" and line.startswith("  curl "):
                self._announced.set()
        self._announced.set()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TRANSLATE_")}


def run_service(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m service` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=REPOSITORY,
        env=_clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    if BROWSER is None:
        pytest.skip("needs chromium (apt-get install chromium)")
    driver.expect.set_options(timeout=60_000)
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, server: Server) -> Iterator[Callable[..., Any]]:
    """`open_page(path, server, **context)` is a page, and fails the test where its scripts complain."""
    contexts, complaints = [], []

    def open_it(path: str = "/", server: Server = server, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None
        )
        page.goto(server.url + path)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def two_models(tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of models: from English into French with BLEU by length on its card, and back."""
    folder = tmp_path_factory.mktemp("two")
    loaded = load_model(tiny_model_directory)
    vocabularies = {"source_vocabulary": loaded.source_vocabulary, "target_vocabulary": loaded.target_vocabulary}
    lengths = [LengthScore(minimum=0, maximum=3, sentences=90, bleu=40.0)]
    lengths += [LengthScore(minimum=4, maximum=5, sentences=10, bleu=20.0)]
    card = loaded.card.model_copy(update={"bleu_by_length": lengths})
    save_model(folder / "en-fr", model=loaded.model, card=card, **vocabularies)
    card = loaded.card.model_copy(
        update={
            "name": "tiny-fr-en",
            "source_language": "fr",
            "target_language": "en",
            "examples": ["Où est la gare ?"],
        }
    )
    save_model(folder / "fr-en", model=loaded.model, card=card, **vocabularies)
    return folder


@pytest.fixture(scope="session")
def two_way_server(two_models: Path) -> Iterator[Server]:
    server = Server([], {"TRANSLATE_MODELS": str(two_models), "TRANSLATE_DEADLINE_SECONDS": "600"})
    yield server
    assert server.end() == 0, server.errors


@pytest.fixture
def start_server(tiny_model_directory: Path) -> Iterator[Callable[..., Server]]:
    """`start_server(**environment)` is a server of the tiny model, if `arguments` name no other."""
    servers: list[Server] = []

    def start(*, arguments: list[str] | None = None, **environment: Any) -> Server:
        servers.append(Server(["--model", str(tiny_model_directory)] if arguments is None else arguments, environment))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def server(tiny_model_directory: Path) -> Iterator[Server]:
    """One server for all tests that leave it as they found it."""
    server = Server(["--model", str(tiny_model_directory)], {"TRANSLATE_DEADLINE_SECONDS": "600"})
    yield server
    assert server.end() == 0, server.errors


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    return run_service


@pytest.fixture(scope="session")
def expected(tiny_model_directory: Path) -> Callable[[str], str]:
    """What the model says, without a server."""
    translator = Translator.load(tiny_model_directory)
    return lambda text: translator.translate(text).text
