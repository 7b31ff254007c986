"""A language model from text to generated text, by the commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from training.errors import InputError
from training.language_model_recipe import LanguageModelRecipe
from training.language_text import load_language_data
from training.progress import read_log
from training.recipe_file import read_recipe, shipped_recipes
from translator.generation import predict
from translator.language_model_directory import load_language_model

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "fixtures" / "smoke"

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SMALL = {
    "model.hidden_size": "96",
    "model.embedding_size": "32",
    "model.num_layers": "1",
    "optimisation.epochs": "15",
    "optimisation.learning_rate": "0.01",
    "optimisation.warmup_updates": "0",
    "optimisation.batch_sentences": "16",
    "training.every_epochs": "5",
    "text.dev": "",
    "text.held_out": "100",
}


def options(directory: Path, train: Path, **changes: str) -> list[str]:
    settings = SMALL | {"text.train": json.dumps([str(train)]), "output.directory": str(directory)}
    settings |= {key.replace("__", "."): value for key, value in changes.items()}
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def run(*arguments: str) -> Result:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English and French sentences of a small grammar, each with its language as a label."""
    file = tmp_path_factory.mktemp("text") / "labelled.tsv"
    lines = [
        f"{label}\t{line}\n"
        for label, code in (("english", "en"), ("french", "fr"))
        for line in (SMOKE / f"train.{code}").read_text(encoding="utf-8").splitlines()
    ]
    file.write_text("".join(lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def trained(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "labelled"
    given = options(directory, labelled, text__labelled="true")
    result = run("training", "train-language-model", "char-language-model", *given)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{directory}/model\n"
    return directory


def test_it_learns_to_predict_text_and_the_card_says_how_well(trained: Path) -> None:
    bits = [e["bits_per_character"] for e in read_log(trained / "log.jsonl") if e["event"] == "validation"]
    assert len(bits) == 3
    assert bits[2] < bits[1] < bits[0]
    assert bits[2] < 1.0  # 26 letters, alike and independent, would be 4.7
    card = load_language_model(trained / "model").card
    (score,) = [score for score in card.scores if score.metric == "bits per character"]
    assert score.value == pytest.approx(min(bits), abs=1e-3)
    assert (score.sentences, card.train_texts) == (100, 1100)


def test_a_label_says_what_is_generated(trained: Path) -> None:
    loaded = load_language_model(trained / "model")
    assert loaded.model.config.labels == ("english", "french")
    known = {code: set((SMOKE / f"train.{code}").read_text(encoding="utf-8").split()) for code in ("en", "fr")}
    for label, own, other in (("english", "en", "fr"), ("french", "fr", "en")):
        drawn = run(
            "translator", "generate", str(trained / "model"), "--label", label, "--count", "20", "--top-p", "0.9"
        )
        assert drawn.returncode == 0, drawn.stderr
        words = drawn.stdout.split()
        assert len(drawn.stdout.splitlines()) == 20
        assert sum(word in known[own] for word in words) > 3 * sum(word in known[other] for word in words)
        lines = (SMOKE / f"dev.{own}").read_text(encoding="utf-8").splitlines()
        right, wrong = (
            predict(loaded, lines, [each] * len(lines)).bits_per_character
            for each in (label, "french" if label == "english" else "english")
        )
        assert right < wrong


def test_a_prefix_is_gone_on_from(trained: Path) -> None:
    arguments = [str(trained / "model"), "--prefix", "The old ", "--label", "english", "--count", "3", "--json"]
    first, again = (run("translator", "generate", *arguments) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    texts = [json.loads(line) for line in first.stdout.splitlines()]
    assert len(texts) == 3
    assert all(text["text"].startswith("The old ") and len(text["text"]) > 8 for text in texts)


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_with_the_same_bits(labelled: Path, trained: Path, tmp_path: Path) -> None:
    directory = tmp_path / "stopped"
    given = options(directory, labelled, text__labelled="true")
    process = subprocess.Popen(
        command("training", "train-language-model", "char-language-model", *given),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (directory / "model" / "card.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 1, message
    assert b"go on with --resume" in message
    again = run("training", "train-language-model", "char-language-model", *given)
    assert again.returncode == 2
    assert "holds a run already" in again.stderr
    resumed = run("training", "train-language-model", "char-language-model", *given, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    weights = [(each / "model" / "model.safetensors").read_bytes() for each in (trained, directory)]
    assert weights[0] == weights[1]


def test_paragraphs_keep_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "poem.txt"
    file.write_text("One line\nand two  \n\n\n  three\n\nfour" + "\n\nmore\nmore" * 8, encoding="utf-8")
    settings = [f"text.train=['{file}']", "text.dev=", "text.held_out=2", "text.unit=paragraph"]
    data = load_language_data(read_recipe("char-language-model", settings, LanguageModelRecipe))
    texts = [data.vocabulary.decode(each.tolist()) for each in data.train] + [text.text for text in data.dev]
    assert sorted(texts) == sorted(["One line\nand two", "  three", "four"] + ["more\nmore"] * 8)


def test_the_vocabulary_of_a_translation_model_is_taken(tiny_model_directory: Path, tmp_path: Path) -> None:
    file = tiny_model_directory / "target.model"
    settings = [f"text.train=['{SMOKE}/train.fr']", f"text.dev=['{SMOKE}/dev.fr']", f"text.vocabulary={file}"]
    data = load_language_data(read_recipe("char-language-model", settings, LanguageModelRecipe))
    assert data.vocabulary.model_bytes == file.read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["text.train=['nowhere.txt']"], "nowhere.txt: No such file"),
        (["text.train=['{file}']", "text.dev=", "text.held_out=9"], "has 3 texts, of which 9 were to be held out"),
        (["text.train=['{file}']", "text.labelled=true"], "line 2: has no label"),
        (["text.train=['{file}']", "text.dev=['{file}']", "text.vocabulary={file}"], "not a SentencePiece model"),
        (["text.tran=['{file}']"], "unknown key 'text.tran'; did you mean 'text.train'?"),
        (["text.labelled=true", "text.unit=paragraph"], "labelled texts are lines"),
        (["optimisation.batch_target_tokens=100"], "optimisation.batch_target_tokens is for translators alone"),
        (["optimisation.deterministic=true"], "optimisation.deterministic is for translators alone"),
    ],
)
def test_bad_input_is_one_clear_error(settings: list[str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("a\tone\ntwo\nthree\n", encoding="utf-8")
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        load_language_data(
            read_recipe("char-language-model", [s.replace("{file}", str(file)) for s in settings], LanguageModelRecipe)
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no such directory"),
        (["{model}", "--label", "german"], "the model has no label german; its labels are: english, french"),
        (["{model}", "--top-p", "2"], "--top-p:"),
        (["{model}", "--device", "abacus"], "abacus"),
    ],
)
def test_generate_says_what_is_wrong(trained: Path, arguments: list[str], message: str) -> None:
    result = run("translator", "generate", *(a.replace("{model}", str(trained / "model")) for a in arguments))
    assert result.returncode == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_shipped_recipe_of_a_language_model_loads_under_its_name() -> None:
    (name,) = shipped_recipes(of_language_models=True)
    assert read_recipe(name, [], LanguageModelRecipe).name == name == "char-language-model"
    assert name not in shipped_recipes()


def test_a_language_model_has_a_say_in_translate(tiny_model_directory: Path, tmp_path: Path) -> None:
    given = options(
        tmp_path / "run", SMOKE / "train.fr", text__vocabulary=str(tiny_model_directory / "target.model"),
        optimisation__epochs="1", output__weight_storage="int8",
    )  # fmt: skip
    assert run("training", "train-language-model", "char-language-model", *given).returncode == 0
    arguments = [*command("translator", "translate", "--model", str(tiny_model_directory), "--beam-size", "2")]
    fused = [*arguments, "--language-model", str(tmp_path / "run" / "model"), "--language-model-weight", "5"]
    found = [
        subprocess.run(
            each, input=b"Where is the station?\n", capture_output=True, timeout=120, check=False, env=os.environ
        )
        for each in (arguments, fused, [*arguments, "--language-model", str(tmp_path)])
    ]
    assert [each.returncode for each in found] == [0, 0, 2], found
    assert found[0].stdout != found[1].stdout
    assert b"holds no language model" in found[2].stderr or b"is missing" in found[2].stderr
