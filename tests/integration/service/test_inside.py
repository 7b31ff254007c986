"""What a real server says of the inside of its model: certain beginnings, probabilities, vectors, training pairs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from click.testing import CliRunner

from tests.support import ENGLISH, FRENCH
from training.__main__ import main
from translator import Translator
from translator.scoring import sentence_vectors

PAIR = {"source": "en", "target": "fr"}
TEXT = "The train was late. She reads a book every evening. He never answers my letters."


def events(server: Any, **fields: Any) -> list[tuple[str, Any]]:
    accept = {"Accept": "text/event-stream"}
    with requests.post(server.url + "/translate", json=PAIR | fields, headers=accept, stream=True) as answer:
        lines = [line for line in answer.iter_lines(decode_unicode=True) if line]
    data = [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    return list(zip((line.removeprefix("event: ") for line in lines[::2]), data, strict=True))


def test_every_prefix_is_how_its_sentence_begins(start_server: Callable[..., Any]) -> None:
    server = start_server(arguments=["--model", "en-fr"])
    texts = [TEXT, TEXT + " I would like 2 cups of coffee, please."]
    for beam_size in (1, 5):
        # On a busy machine a sentence may be there before anything is told of it.
        tries = (events(server, q=texts, stream="tokens", beam_size=beam_size) for _ in range(50))
        found = next(found for found in tries if any(name == "prefix" for name, _ in found))
        check_prefixes(found)
        plain = events(server, q=texts, beam_size=beam_size)
        assert [event for event in found if event[0] != "prefix"] == plain


def check_prefixes(found: list[tuple[str, Any]]) -> None:
    begun: list[Any] = []
    for name, event in found[:-1]:
        if name == "prefix":
            begun.append(event)
            continue
        assert name == "sentence"
        for earlier in begun:
            assert (earlier["index"], earlier["separator"]) == (event["index"], event["separator"])
            assert event["text"].startswith(earlier["text"])
        lengths = [len(earlier["text"]) for earlier in begun]
        assert lengths == sorted(set(lengths))
        begun = []
    assert begun == []


def test_probabilities_multiply_to_the_translation(server: Any, tiny_model_directory: Path) -> None:
    answer = requests.post(server.url + "/translate", json=PAIR | {"q": TEXT, "probabilities": True}).json()
    assert "".join(piece["text"] for piece in answer["probabilities"]) == answer["translatedText"]
    translation = Translator.load(tiny_model_directory).translate(TEXT)
    assert answer["translatedText"] == translation.text
    known = [piece["probability"] for piece in answer["probabilities"] if piece["probability"] is not None]
    # The end of a sentence has a probability, too, which no piece shows.
    assert np.log(known).sum() >= sum(sentence.log_probability for sentence in translation.sentences) - 1e-3


def test_vectors_are_those_of_the_command_embed(server: Any, tiny_model_directory: Path) -> None:
    texts = [*ENGLISH, " ", "Naïve  café ", ENGLISH[0]]
    answer = requests.post(server.url + "/vectors", json={"q": texts, "vectors": True}).json()
    loaded = Translator.load(tiny_model_directory).loaded
    tokens = [loaded.source_vocabulary.encode(text.strip()) for text in texts]
    expected = sentence_vectors(loaded.model, tokens, source_eos_id=loaded.source_vocabulary.eos_id).numpy()
    assert np.array(answer["vectors"]) == pytest.approx(expected, abs=1e-6)
    assert len(answer["coordinates"]) == len(texts)


def test_vectors_do_not_hinder_translations(server: Any, expected: Callable[[str], str]) -> None:
    many = [f"{number} {text}" for number in range(8) for text in ENGLISH]
    assert len(requests.post(server.url + "/vectors", json={"q": many}).json()["coordinates"]) == len(many)
    answer = requests.post(server.url + "/translate", json=PAIR | {"q": TEXT}).json()
    assert answer["translatedText"] == expected(TEXT)


def test_an_ensemble_has_no_vectors(
    start_server: Callable[..., Any], tiny_model_directory: Path, second_model_directory: Path
) -> None:
    server = start_server(arguments=["--model", f"{tiny_model_directory},{second_model_directory}"])
    answer = requests.post(server.url + "/vectors", json={"q": "a"})
    assert answer.status_code == 400
    assert "ensemble" in answer.json()["error"]
    answer = requests.post(server.url + "/translate", json=PAIR | {"q": TEXT, "probabilities": True})
    assert "".join(piece["text"] for piece in answer.json()["probabilities"]) == answer.json()["translatedText"]


def test_training_pairs_are_found_again(
    tiny_model_directory: Path, start_server: Callable[..., Any], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model_directory, model)
    (tmp_path / "train.en").write_text("\n".join(ENGLISH) + "\n", encoding="utf-8")
    (tmp_path / "train.fr").write_text("\n".join(FRENCH) + "\n", encoding="utf-8")
    texts = ["--source", str(tmp_path / "train.en"), "--target", str(tmp_path / "train.fr")]
    result = CliRunner().invoke(main, ["index", "--model", str(model), *texts])
    assert result.exit_code == 0, result.output
    server = start_server(arguments=["--model", str(model)])
    for source, target in zip(ENGLISH, FRENCH, strict=True):
        found = requests.post(server.url + "/similar", json={"q": source, "count": 1}).json()["pairs"]
        assert [(pair["source"], pair["target"]) for pair in found] == [(source, target)]
        assert found[0]["similarity"] > 0.99
