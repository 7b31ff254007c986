"""A model directory that is spoilt while its model is served: it is found out, and the old model goes on."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from service.keys import create_key
from tests.integration.faults.support import GOOD
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.integration.service.test_models import decoders, name_of, write_model
from translator.card import CARD_FILE
from translator.description import CHECKED_FILES

FILES = [*CHECKED_FILES, CARD_FILE]
REGIONS = 8


@dataclass
class Served:
    """A service, the directory that it serves, and the answer that its model gives."""

    server: Server
    directory: Path
    allowed: dict[str, str]
    answer: object

    def assert_refused(self, name: str, what: str) -> None:
        refused = requests.post(self.server.url + "/admin/reload", headers=self.allowed)
        assert refused.status_code == 409, f"{name}, {what}: {refused.text}"
        assert name in refused.json()["error"]
        self.assert_as_before()

    def assert_as_before(self) -> None:
        answer = requests.post(self.server.url + "/translate", json=GOOD, headers=self.allowed)
        assert (answer.status_code, answer.json()) == (200, self.answer)
        assert requests.get(self.server.url + "/ready").status_code == 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model_directory: Path) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("served")
    directory = Path(shutil.copytree(tiny_model_directory, place / "model"))
    key = create_key(place / "keys.json", "boss", ("translate", "admin"), "")
    allowed = {"Authorization": f"Bearer {key}"}
    server = Server(["--model", str(directory)], {"TRANSLATE_API_KEYS": str(place / "keys.json")})
    try:
        answer = requests.post(server.url + "/translate", json=GOOD, headers=allowed).json()
        yield Served(server, directory, allowed, answer)
        assert server.end() == 0
        assert "Traceback" not in server.errors
    finally:
        server.kill()


@pytest.fixture
def mended(served: Served, tiny_model_directory: Path) -> Iterator[Served]:
    yield served
    shutil.rmtree(served.directory)
    shutil.copytree(tiny_model_directory, served.directory)
    change = requests.post(served.server.url + "/admin/reload", headers=served.allowed)
    assert change.json()["loaded"] == [], "it is the same model as ever"


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_a_wrong_bit_anywhere_is_found(mended: Served, name: str) -> None:
    file = mended.directory / name
    content = file.read_bytes()
    for region in range(REGIONS + 1):
        place = min(region * len(content) // REGIONS, len(content) - 1)
        spoilt = bytearray(content)
        spoilt[place] ^= 1
        file.write_bytes(spoilt)
        mended.assert_refused(name, f"bit {8 * place} is wrong")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_short_replaced_or_gone_is_found(mended: Served, name: str) -> None:
    file = mended.directory / name
    content = file.read_bytes()
    # A line break at the end of the card is nothing that it says.
    for length in (0, 1, len(content) // 2, len(content.rstrip()) - 1):
        file.write_bytes(content[:length])
        mended.assert_refused(name, f"{length} bytes of {len(content)}")
    for others in (b"\0" * len(content), content + b"x"):
        file.write_bytes(others)
        mended.assert_refused(name, f"other {len(others)} bytes")
    file.unlink()
    mended.assert_refused(name, "missing")
    file.mkdir()
    mended.assert_refused(name, "a directory")


def test_weights_that_are_written_over_in_place_are_those_of_the_next_model_alone(
    tmp_path: Path, tiny_model_directory: Path
) -> None:
    directory = Path(shutil.copytree(tiny_model_directory, tmp_path / "model"))
    server = Server(["--model", str(directory)], {})
    try:
        before = requests.post(server.url + "/translate", json=GOOD).json()
        decoder = decoders(server)
        weights = directory / "model.safetensors"
        for content in (b"\0" * weights.stat().st_size, b"broken"):
            with weights.open("r+b") as file:
                file.write(content)
                file.truncate()
            answer = requests.post(server.url + "/translate", json=GOOD)
            assert (answer.status_code, answer.json()) == (200, before)
        assert decoders(server) == decoder
        assert server.end() == 0
    finally:
        server.kill()


@pytest.mark.parametrize("what", ["gone", "a file", "empty"])
def test_without_its_directory_the_model_goes_on(mended: Served, what: str) -> None:
    aside = mended.directory.with_name("aside")
    mended.directory.rename(aside)
    if what == "a file":
        mended.directory.write_text("no directory")
    elif what == "empty":
        mended.directory.mkdir()
    mended.assert_refused(mended.directory.name, what)
    before = mended.server.errors.count("models not exchanged")
    mended.server.process.send_signal(signal.SIGHUP)
    until(lambda: mended.server.errors.count("models not exchanged") > before)
    mended.assert_as_before()
    if what == "a file":
        mended.directory.unlink()
    elif what == "empty":
        mended.directory.rmdir()
    aside.rename(mended.directory)


def test_a_spoilt_model_is_not_loaded_on_sighup_and_a_whole_one_is(mended: Served, tiny_model_directory: Path) -> None:
    weights = mended.directory / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 128]))
    before = mended.server.errors.count("models not exchanged")
    mended.server.process.send_signal(signal.SIGHUP)
    until(lambda: mended.server.errors.count("models not exchanged") > before)
    mended.assert_as_before()
    write_model(mended.directory, tiny_model_directory, seed=9)
    mended.server.process.send_signal(signal.SIGHUP)
    until(lambda: name_of(mended.server) == "seed-9")
    requests.post(mended.server.url + "/admin/rollback", headers=mended.allowed)
    mended.assert_as_before()
