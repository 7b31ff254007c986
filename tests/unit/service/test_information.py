"""What the service says of itself, and its page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.state import service_of


def test_languages_however_they_are_asked_for(client: FlaskClient) -> None:
    expected = [{"code": "en", "name": "English", "targets": ["fr"]}]
    assert client.get("/languages").json == expected
    assert (
        client.get("/languages", data=b"api_key=x", content_type="application/x-www-form-urlencoded").json == expected
    )
    assert client.get("/languages", content_type="application/json").json == expected


def test_frontend_settings_state_the_limits(make_client: Any) -> None:
    settings = make_client(characters_per_text=77, beam_size=4).get("/frontend/settings").json
    assert settings["charLimit"] == 77
    assert settings["limits"]["beam_size"] == 4
    assert settings["limits"]["deadline_seconds"] == 30.0
    for name in ("apiKeys", "keyRequired", "suggestions"):
        assert settings[name] is False
    assert settings["filesTranslation"] is True
    assert settings["supportedFilesFormat"] == [".txt", ".md", ".srt", ".html", ".docx"]
    assert settings["frontendTimeout"] > 0
    assert settings["language"] == {
        "source": {"code": "auto", "name": "Auto Detect"},
        "target": {"code": "fr", "name": "French"},
    }


def test_the_model_card(client: FlaskClient) -> None:
    card = client.get("/model").json
    assert card["name"] == "capitals"
    assert card["scores"][0]["value"] == 12.34
    assert card["scores"][0]["signature"] == "nrefs:1"
    assert card["config"]["num_layers"] == 4
    assert card["engine"] == "capitals, by hand"


def test_ready_only_after_the_warm_up(client: FlaskClient, translator: Any) -> None:
    assert client.get("/health").json == {"status": "ok"}
    assert client.get("/ready").status_code == 503
    service_of(client.application).warm_up()
    assert translator.calls == [["Where is the station?", "It's raining."]], "the card's examples"
    assert client.get("/ready").json == {"status": "ready"}


def test_the_page_says_what_the_model_is(client: FlaskClient) -> None:
    response = client.get("/")
    assert response.mimetype == "text/html"
    page = response.text
    for words in (
        "English",
        "French",
        "capitals",
        "BLEU 12.3",
        "on the test set",
        "translating.",
        "Where is the station?",
    ):
        assert words in page
    assert "tests &lt;b&gt;only&lt;/b&gt;." in page
    assert "curl -X POST http://localhost/translate" in page


@pytest.mark.parametrize("path", ["/", "/vectors"])
def test_the_pages_need_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\ssrc=)|\sstyle=|\son[a-z]+=", response.text), (
        "the policy forbids inline code"
    )
    assets = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert len(assets) >= 5
    for asset in assets:
        assert asset.startswith(("/", "#"))
        if asset.startswith("/"):
            with client.get(asset) as answer:
                assert answer.status_code == 200
    for link in re.findall(r'href="#([^"]+)"', response.text):
        assert f'id="{link}"' in response.text


@pytest.mark.parametrize(("path", "program"), [("/", "page.js"), ("/vectors", "vectors.js")])
def test_every_control_of_a_page_has_a_name(client: FlaskClient, path: str, program: str) -> None:
    page = client.get(path).text
    assert '<html lang="en">' in page
    for control in re.findall(r"<(?:textarea|select|input)[^>]*id=\"([\w-]+)\"", page):
        assert f'<label for="{control}"' in page
    for button in re.findall(r"<button[^>]*>(.*?)</button>", page, re.DOTALL):
        assert button.strip()
    with client.get(f"/static/{program}") as script:
        scripted = set(re.findall(r"element\(\"([\w-]+)\"\)", script.text))
    assert scripted
    assert scripted <= set(re.findall(r'id="([\w-]+)"', page))
