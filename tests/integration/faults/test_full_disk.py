"""No room on the disk: for translated files, for the log, for what training writes."""

from __future__ import annotations

import hashlib
import io
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import docx
import psutil
import pytest
import requests

from tests.integration.faults.support import GOOD, PATIENCE
from tests.integration.service.conftest import REPOSITORY, Server
from tests.integration.service.test_observation import samples
from translator.directory import load_model

PAIR = {"source": "en", "target": "fr"}
needs_limits = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux's limits of other processes")


def document(picture_bytes: int) -> bytes:
    """A Word document of a sentence and a picture of about so many random bytes, which do not pack."""
    width = picture_bytes // (3 * 100)
    lines = b"".join(b"\0" + os.urandom(3 * width) for _ in range(100))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, 100, 8, 2, 0, 0, 0)
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    written = docx.Document()
    written.add_paragraph(GOOD["q"])
    written.add_picture(io.BytesIO(picture))
    content = io.BytesIO()
    written.save(content)
    return content.getvalue()


def limit_files(server: Server, most_bytes: int) -> None:
    """From here on the worker can write no file of more bytes, as on a disk with so much room."""
    for worker in psutil.Process(server.process.pid).children():
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


def upload(server: Server, content: bytes) -> requests.Response:
    return requests.post(server.url + "/translate_file", data=PAIR, files={"file": ("letter.docx", content)})


@needs_limits
@pytest.mark.parametrize("size", [200_000, 800_000], ids=["kept in memory", "kept on the disk"])
def test_a_file_for_which_there_is_no_room(start_server: Callable[..., Server], tmp_path: Path, size: int) -> None:
    server = start_server(TMPDIR=str(tmp_path))
    content = document(size)
    limit_files(server, 100_000)
    for _ in range(3):
        answer = upload(server, content)
        assert answer.status_code == 503, answer.text
        assert "no room" in answer.json()["error"]
        assert int(answer.headers["Retry-After"]) > 0
    (folder,) = tmp_path.glob("translation-service-*")
    assert list(folder.iterdir()) == [], "nothing half written takes up what room there is"
    assert requests.post(server.url + "/translate", json=GOOD).status_code == 200
    assert samples(server, "translate_rejections_total") == {"disk_full": 3.0}
    limit_files(server, resource.RLIM_INFINITY)
    answer = upload(server, content)
    assert answer.status_code == 200
    translated = requests.get(answer.json()["translatedFileUrl"]).content
    assert len(docx.Document(io.BytesIO(translated)).inline_shapes) == 1
    assert server.end() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("where", ["a full disk", "a reader that is gone"])
def test_a_log_that_cannot_be_written(tiny_model_directory: Path, where: str) -> None:
    if where == "a full disk":
        log = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, log = os.pipe()
        os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--port", "0", "--model", str(tiny_model_directory)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    os.close(log)
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if "http://" in line)
        url = re.findall(r"http://[\d.:]+", line)[0]
        for _ in range(20):
            assert requests.post(url + "/translate", json=GOOD).status_code == 200
        assert requests.post(url + "/translate", json={}).status_code == 400
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def train(folder: Path, *arguments: str, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """A command of `python -m training` that can write no file of more than so many bytes."""

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"}
    # Where coverage is measured, its own file would be one that has no room.
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    return subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=limit,
    )


def sums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    return errors[0]


def test_preparation_without_room_leaves_nothing(tmp_path: Path) -> None:
    smoke = REPOSITORY / "tests" / "fixtures" / "smoke"
    command = ("prepare", "smoke", "--set", f"corpus.path={smoke}", "--output", "prepared")
    for most_bytes in (0, 500, 4_000, 100_000):
        result = train(tmp_path, *command, most_bytes=most_bytes)
        if result.returncode == 0:
            assert most_bytes == 100_000
            return
        assert_one_line(result)
        assert sums(tmp_path) == {}
    assert train(tmp_path, *command).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("most_bytes", [1_000, 300_000, 2_000_000])
def test_training_without_room_keeps_what_was_written_and_goes_on_later(
    prepared: Path, tmp_path: Path, most_bytes: int
) -> None:
    """The checkpoint of the tiny network has some 4 MB, its model 1.3."""
    flags = [
        part
        for setting in (
            "output.directory=run",
            "evaluation.bleu_sentences=2",
            "evaluation.length_penalties=[0.0]",
            "evaluation.every_epochs=0.5",
        )
        for part in ("--set", setting)
    ]
    command = ("train", "smoke", "--prepared", str(prepared), *flags)
    short = train(tmp_path, *command, "--set", "optimisation.epochs=0.5")
    assert short.returncode == 0, short.stderr
    before = {name: digest for name, digest in sums(tmp_path / "run").items() if name.endswith(".pt")}
    assert before
    failed = train(tmp_path, *command, "--set", "optimisation.epochs=1.5", "--resume", most_bytes=most_bytes)
    assert_one_line(failed)
    after = sums(tmp_path / "run")
    assert {name: after.get(name) for name in before} == before, "the checkpoint is as it was"
    assert load_model(tmp_path / "run" / "model").card.name, "and the model is whole: that from before, or a newer one"
    assert not [name for name in after if "partial" in name or name.startswith("model/.")]
    resumed = train(tmp_path, *command, "--set", "optimisation.epochs=1.5", "--resume")
    assert resumed.returncode == 0, resumed.stderr
