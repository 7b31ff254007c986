"""The clients of LibreTranslate and DeepL, unmodified, over a real socket; and the requests of Mastodon and Weblate."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import deep_translator
import deepl
import docx
import pytest
import requests
from libretranslate_aio import AsyncLibreTranslate, BadRequestError, LibreTranslate
from libretranslatepy import LibreTranslateAPI

PATIENCE = 120.0
TEXT = "I would like a cup of coffee, please.\nThe train was late & I read a book."

Expected = Callable[[str], str]


def test_libretranslatepy(server: Any, expected: Expected) -> None:
    client = LibreTranslateAPI(server.url)
    assert client.translate(TEXT, "en", "fr") == expected(TEXT)
    guesses = client.detect("The children are playing in the garden.")
    assert guesses[0]["language"] == "en"
    assert 50 < guesses[0]["confidence"] <= 100
    assert client.languages() == [{"code": "en", "name": "English", "targets": ["fr"]}]
    assert LibreTranslateAPI(server.url, api_key="any").languages() == client.languages()


def test_libretranslate_aio(server: Any, expected: Expected, tmp_path: Path) -> None:
    with LibreTranslate(server.url) as client:
        assert client.translate(TEXT, "en", "fr").translated_text == expected(TEXT)
        several = client.translate([TEXT, "It's raining."], "en", "fr", alternatives=2)
        assert list(several.translated_text) == [expected(TEXT), expected("It's raining.")]
        assert client.detect(TEXT)[0].language == "en"
        assert [language.code for language in client.languages()] == ["en"]
        assert ".docx" in client.frontend_settings().supported_files_format
        assert client.health()
        with pytest.raises(BadRequestError, match="not available"):
            client.translate(TEXT, "en", "xx")
        document = docx.Document()
        document.add_paragraph("It's raining.")
        document.save(str(tmp_path / "letter.docx"))
        found = client.translate_file(tmp_path / "letter.docx", "en", "fr")
        (tmp_path / "lettre.docx").write_bytes(requests.get(found.translated_file_url).content)
        paragraphs = docx.Document(str(tmp_path / "lettre.docx")).paragraphs
        assert [paragraph.text for paragraph in paragraphs] == [expected("It's raining.")]

    async def ask() -> str | list[str]:
        async with AsyncLibreTranslate(server.url) as client:
            return (await client.translate(TEXT, "auto", "fr")).translated_text

    # A thread of its own: tests of pages, in the same run, leave an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: asyncio.run(ask())).result() == expected(TEXT)


def test_deep_translator(server: Any, expected: Expected) -> None:
    client = deep_translator.LibreTranslator(source="en", target="fr", api_key="any", custom_url=server.url + "/")
    text = "He never answers my letters. Naïve café & co."
    assert client.translate(text) == expected(text)
    assert client.translate_batch([text, "It's raining."]) == [expected(text), expected("It's raining.")]


def test_deepl(server: Any, expected: Expected) -> None:
    with contextlib.closing(deepl.Translator("any-key", server_url=server.url)) as client:
        found = client.translate_text(TEXT, target_lang="FR")
        assert isinstance(found, deepl.TextResult)
        assert (found.text, found.detected_source_lang, found.billed_characters) == (expected(TEXT), "EN", len(TEXT))
        several = client.translate_text(["It's raining.", TEXT], source_lang="EN", target_lang="FR", formality="more")
        assert isinstance(several, list)
        assert [one.text for one in several] == [expected("It's raining."), expected(TEXT)]
        tagged = client.translate_text("<p>It's raining.</p>", source_lang="EN", target_lang="FR", tag_handling="html")
        assert isinstance(tagged, deepl.TextResult)
        assert tagged.text.startswith("<p>")
        assert [language.code for language in client.get_source_languages()] == ["EN"]
        assert [language.code for language in client.get_target_languages()] == ["FR"]
        with pytest.raises(deepl.DeepLException, match="not available"):
            client.translate_text(TEXT, target_lang="DE")


NPM_PACKAGES = {
    "translate@3.1.0": (
        "import translate from 'translate';"
        "translate.engine = 'libre'; translate.url = URL + '/translate'; translate.key = 'any';"
        "console.log(JSON.stringify(await translate(TEXT, {from: 'en', to: 'fr'})));"
    ),
    # It asks for the languages first, and refuses a target that is no source.
    "libretranslate@1.0.1": (
        "import library from 'libretranslate';"
        "console.log(JSON.stringify(await library.translate("
        "{query: TEXT, source: 'en', target: 'en', apiurl: URL})));"
    ),
}


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm packages, without what only their development needs."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *NPM_PACKAGES]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install its packages here: {installed.stderr[-200:]}")
    return folder


@pytest.mark.parametrize("package", NPM_PACKAGES)
def test_npm_packages(server: Any, expected: Expected, node_modules: Path, package: str) -> None:
    program = f"const URL = {json.dumps(server.url)}; const TEXT = {json.dumps(TEXT)};\n"
    imported, rest = NPM_PACKAGES[package].split(";", 1)
    script = node_modules / f"{package.partition('@')[0]}.mjs"
    script.write_text(f"{imported};\n{program}{rest}", encoding="utf-8")
    ran = subprocess.run(
        ["node", str(script)], cwd=node_modules, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == (TEXT if package.startswith("libre") else expected(TEXT))


def test_the_requests_of_mastodon(server: Any, expected: Expected) -> None:
    json_type = {"Content-Type": "application/json"}
    languages = requests.get(server.url + "/languages", headers=json_type).json()
    assert [(language["code"], language["targets"]) for language in languages] == [("en", ["fr"])]
    body = {
        "q": ["<p>It&#39;s raining.</p>", "It's raining.", ""],
        "source": "en",
        "target": "fr",
        "format": "html",
        "api_key": "any",
    }
    answer = requests.post(server.url + "/translate", json=body)
    assert answer.headers["Content-Type"].startswith("application/json")
    paragraph, plain, empty = answer.json()["translatedText"]
    assert (paragraph, empty) == (f"<p>{plain}</p>", "")
    for source in (None, "auto"):
        asked = {**body, "source": source or "auto"}
        guessed = requests.post(server.url + "/translate", json=asked).json()
        assert guessed["detectedLanguage"][0]["language"] == "en"


def test_the_requests_of_weblate(server: Any, expected: Expected) -> None:
    texts = [f"The children number {number} are playing in the garden." for number in range(20)]
    body = {"api_key": "any", "q": texts, "source": "en", "target": "fr"}
    answer = requests.post(server.url + "/translate", json=body).json()
    assert len(answer["translatedText"]) == 20
    for number, translation in enumerate(answer["translatedText"]):
        assert str(number) in translation
    assert requests.get(server.url + "/languages").json()[0]["code"] == "en"


def test_sentences_come_one_by_one(server: Any, expected: Expected) -> None:
    body = {"q": TEXT, "source": "en", "target": "fr"}
    accept = {"Accept": "text/event-stream"}
    with requests.post(server.url + "/translate", json=body, headers=accept, stream=True) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in answer.iter_lines(decode_unicode=True) if line[:5] == "data:"]
    first, second, done = map(json.loads, events)
    assert first["text"] == expected(TEXT.split("\n")[0])
    assert first["text"] + second["separator"] + second["text"] == expected(TEXT) == done["translatedText"]
