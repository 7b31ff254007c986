"""Several models, exchanged while requests come in: real processes, real model directories."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from service.keys import create_key
from tests.integration.service.conftest import Server
from tests.integration.service.test_decoder_process import until
from tests.integration.service.test_observation import samples
from tests.integration.service.test_start import Run, assert_refused
from translator import Translator
from translator.directory import load_model, save_model

GOOD = {"q": "Where is the station?", "source": "en", "target": "fr"}


def write_model(path: Path, tiny: Path, *, seed: int, source: str = "en", target: str = "fr") -> None:
    """A model like the tiny one with other weights, in the place of what is there."""
    loaded = load_model(tiny)
    loaded.model.initialise(seed=seed)
    card = loaded.card.model_copy(
        update={"name": f"seed-{seed}", "source_language": source, "target_language": target, "files": {}}
    )
    fresh = path.with_name(f".{path.name}-{seed}")
    save_model(
        fresh,
        model=loaded.model,
        source_vocabulary=loaded.source_vocabulary,
        target_vocabulary=loaded.target_vocabulary,
        card=card,
    )
    if path.exists():
        shutil.rmtree(path)
    fresh.rename(path)


@pytest.fixture
def models(tmp_path: Path, tiny_model_directory: Path) -> Path:
    directory = tmp_path / "models"
    directory.mkdir()
    write_model(directory / "one", tiny_model_directory, seed=2)
    write_model(directory / "two", tiny_model_directory, seed=3, source="fr", target="de")
    return directory


def name_of(server: Server) -> str:
    return str(requests.get(server.url + "/model").json()["name"])


def ask(server: Server, **fields: object) -> requests.Response:
    return requests.post(server.url + "/translate", json=GOOD | fields)


def test_without_a_model_all_shipped_ones_are_served(start_server: Callable[..., Server]) -> None:
    server = start_server(arguments=[])
    assert "English → French, BLEU 4" in server.output
    assert "French → English, BLEU 4" in server.output
    assert requests.get(server.url + "/languages").json() == [
        {"code": "en", "name": "English", "targets": ["fr"]},
        {"code": "fr", "name": "French", "targets": ["en"]},
    ]
    there = ask(server, q="I am hungry.").json()["translatedText"]
    assert there == "J'ai faim."
    back = ask(server, q=there, source="auto", target="en").json()
    assert back["translatedText"] == "I'm hungry."
    assert back["detectedLanguage"]["language"] == "fr"


def test_a_directory_of_models(start_server: Callable[..., Server], models: Path) -> None:
    server = start_server(TRANSLATE_MODELS=str(models))
    assert "seed-2: English → French" in server.output
    assert "seed-3: French → German" in server.output
    first, second = (Translator.load(models / name) for name in ("one", "two"))
    between = first.translate(GOOD["q"])
    assert ask(server).json() == {"translatedText": between.text} | _warnings(between.warnings)
    onward = [second.translate(sentence.text) for sentence in between.sentences]
    answer = ask(server, target="de").json()
    assert answer["translatedText"] == "".join(one.text for one in onward)
    assert "pivot: translated by way of French (fr)" in answer["warnings"]
    assert requests.get(server.url + "/languages").json()[0]["targets"] == ["fr", "de"]
    loaded = requests.get(server.url + "/model").json()["serving"]
    assert [model["pair"] for model in loaded] == ["en-fr", "fr-de"]
    assert all(model["decoderResidentBytes"] > 50_000_000 for model in loaded)
    assert server.end() == 0


def _warnings(warnings: tuple[str, ...]) -> dict[str, list[str]]:
    return {"warnings": list(warnings)} if warnings else {}


def test_models_are_exchanged_without_a_lost_request(
    start_server: Callable[..., Server], models: Path, tmp_path: Path, tiny_model_directory: Path
) -> None:
    key = create_key(tmp_path / "keys.json", "boss", ("translate", "admin"), "")
    allowed = {"Authorization": f"Bearer {key}"}
    server = start_server(TRANSLATE_MODELS=str(models), TRANSLATE_API_KEYS=str(tmp_path / "keys.json"))
    done = threading.Event()
    statuses: list[int] = []
    failures: list[str] = []

    def keep_asking() -> None:
        while not done.is_set():
            answer = requests.post(server.url + "/translate", json=GOOD, headers=allowed)
            statuses.append(answer.status_code)
            failures.extend([] if answer.ok else [answer.text])

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for asker in askers:
        asker.start()

    write_model(models / "one", tiny_model_directory, seed=4)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: name_of(server) == "seed-4")
    write_model(models / "one", tiny_model_directory, seed=5)
    change = requests.post(server.url + "/admin/reload", headers=allowed).json()
    assert change["loaded"] == ["en-fr"]
    assert all(canary["before"] != canary["after"] for canary in change["canaries"])
    assert name_of(server) == "seed-5"
    assert requests.post(server.url + "/admin/rollback", headers=allowed).json()["loaded"] == ["en-fr"]
    assert name_of(server) == "seed-4"

    shutil.rmtree(models / "two")
    (models / "one" / "model.safetensors").write_bytes(b"broken")
    refused = requests.post(server.url + "/admin/reload", headers=allowed)
    assert refused.status_code == 409
    assert "model.safetensors" in refused.json()["error"]
    assert name_of(server) == "seed-4"

    done.set()
    for asker in askers:
        asker.join()
    assert failures == [], server.errors
    assert set(statuses) == {200}
    assert len(statuses) > 20
    assert server.end() == 0
    assert "models exchanged" in server.errors
    assert "Traceback" not in server.errors


def test_every_worker_exchanges_its_models(
    start_server: Callable[..., Server], models: Path, tmp_path: Path, tiny_model_directory: Path
) -> None:
    key = create_key(tmp_path / "keys.json", "boss", ("admin",), "")
    shutil.rmtree(models / "two")
    server = start_server(
        TRANSLATE_MODELS=str(models), TRANSLATE_WORKERS="2", TRANSLATE_API_KEYS=str(tmp_path / "keys.json")
    )
    allowed = {"Authorization": f"Bearer {key}"}
    # One that is starting may have another child for a moment.
    until(lambda: [len(worker.children()) for worker in psutil.Process(server.process.pid).children()] == [1, 1])
    write_model(models / "one", tiny_model_directory, seed=4)
    change = requests.post(server.url + "/admin/reload", headers=allowed).json()
    assert change["otherWorkers"] == 1
    until(lambda: server.errors.count("models exchanged") == 1)
    assert {name_of(server) for _ in range(20)} == {"seed-4"}
    requests.post(server.url + "/admin/rollback", headers=allowed)
    until(lambda: server.errors.count("models exchanged") == 2)
    assert {name_of(server) for _ in range(20)} == {"seed-2"}
    assert len(decoders(server)) == 4, "those from before are kept"
    assert server.end() == 0


def decoders(server: Server) -> list[int]:
    """The decoder processes of all workers."""
    workers = psutil.Process(server.process.pid).children()
    return [decoder.pid for worker in workers for decoder in worker.children()]


def test_a_decoder_never_takes_up_another_model_than_its_worker_has(
    start_server: Callable[..., Server], models: Path, tiny_model_directory: Path
) -> None:
    shutil.rmtree(models / "two")
    server = start_server(TRANSLATE_MODELS=str(models))
    write_model(models / "one", tiny_model_directory, seed=4)
    (decoder,) = decoders(server)
    os.kill(decoder, signal.SIGKILL)  # it would read the directory again
    assert server.wait() == 2
    assert "holds another model than a moment ago" in server.errors


def test_it_lets_go_of_the_memory_of_models_that_are_gone(
    start_server: Callable[..., Server], models: Path, tiny_model_directory: Path
) -> None:
    shutil.rmtree(models / "two")
    server = start_server(TRANSLATE_MODELS=str(models))
    for seed in (4, 5, 6):
        write_model(models / "one", tiny_model_directory, seed=seed)
        server.process.send_signal(signal.SIGHUP)
        until(lambda seed=seed: name_of(server) == f"seed-{seed}")  # type: ignore[misc]
    until(lambda: len(decoders(server)) == 2)
    assert samples(server, "translate_reloads_total") == {"swapped": 3.0}
    assert server.end() == 0


def test_bad_directories_of_models_stop_the_start(run: Run, tmp_path: Path, models: Path) -> None:
    assert_refused(run(TRANSLATE_MODELS=str(tmp_path / "none")), "there is no such directory")
    (tmp_path / "empty").mkdir()
    assert_refused(run(TRANSLATE_MODELS=str(tmp_path / "empty")), "holds no model directory")
    shutil.copytree(models / "one", models / "copy")
    result = run("--port", "0", TRANSLATE_MODELS=str(models))
    assert_refused(result, "Error: ", "both translate en into fr; keep one of them")
    shutil.rmtree(models / "copy")
    (models / "one" / "canaries.json").write_text('{"Where is the station?": "Nowhere."}')
    result = run("--port", "0", TRANSLATE_MODELS=str(models))
    assert_refused(result, "Error: ", "where canaries.json expects 'Nowhere.'")
    assert sum(line.startswith("Error") for line in result.stderr.splitlines()) == 1
