"""Bodies that are too large, too deep, compressed, or no text; and texts that are unusual and all right."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import zlib
from urllib.parse import quote

import pytest
import requests

from tests.integration.faults.support import GOOD, answer_of, assert_problem, head, send
from tests.integration.service.conftest import Server

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def as_json(q: object, **fields: object) -> bytes:
    return json.dumps({**GOOD, "q": q, **fields}).encode()


BAD = {
    "2 MiB of JSON": (JSON, as_json("x" * 2**21), 413),
    "2 MiB of form": (FORM, b"source=en&target=fr&q=" + b"x" * 2**21, 413),
    "100,000 brackets": (JSON, b"[" * 100_000, 400),
    "50,000 objects in each other": (JSON, b'{"q":' * 50_000, 400),
    "50,000 lists in q": (JSON, b'{"source":"en","target":"fr","q":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
    "a deep glossary": (JSON, as_json("a", glossary=json.loads('{"a":' * 500 + "1" + "}" * 500)), 400),
    "a deep glossary in a form": (FORM, b"q=a&source=en&target=fr&glossary=" + b"[" * 100_000, 400),
    "a million characters": (JSON, as_json("x" * 1_000_000), 400),
    "a million characters of form": (FORM, b"source=en&target=fr&q=" + b"x" * 1_000_000, 400),
    "300,000 characters of three bytes": (JSON, b'{"source": "en", "q": "' + "語".encode() * 300_000 + b'"}', 400),
    "10,000 texts": (JSON, as_json(["x"] * 10_000), 400),
    "10,000 texts in a form": (FORM, b"source=en&target=fr" + b"&q=x" * 10_000, 400),
    "100,000 empty texts": (JSON, as_json([""] * 100_000), 400),
    "100,000 fields": (JSON, json.dumps({**{str(n): n for n in range(50_000)}, "q": "x"}).encode(), 400),
    "a number of 9,000 digits": (JSON, b'{"q":"a","source":"en","target":"fr","beam_size":' + b"9" * 9_000 + b"}", 400),
    "invalid UTF-8": (JSON, b'{"q": "\xff\xfe", "source": "en", "target": "fr"}', 400),
    "an overlong encoding": (JSON, b'{"q": "\xc0\xaf", "source": "en", "target": "fr"}', 400),
    "UTF-8 that is cut": (JSON, b'{"q": "\xe2\x82", "source": "en", "target": "fr"}', 400),
    "half a surrogate pair": (JSON, b'{"q": "\\ud800", "source": "en", "target": "fr"}', 400),
    "the halves in the wrong order": (JSON, b'{"q": "\\udc00\\ud800", "source": "en", "target": "fr"}', 400),
    "half a pair in a name": (JSON, as_json("a", do_not_translate=["\ud800"]), 400),
    "half a pair as a language": (JSON, b'{"q": "a", "source": "\\udfff", "target": "fr"}', 400),
    "NUL": (JSON, as_json("a\0b"), 400),
    "NUL in a list": (JSON, as_json(["a", "\0"]), 400),
    "NUL in a form": (FORM, b"q=a%00b&source=en&target=fr", 400),
    "nothing but NUL": (JSON, b"\0" * 1_000, 400),
    "not a number": (JSON, b'{"q": "a", "source": "en", "target": "fr", "length_penalty": NaN}', 400),
    "no JSON": (JSON, b"\x80\x04\x95", 400),
    "a multipart form without its boundary": ("multipart/form-data", b"--x\r\n\r\n", 400),
}  # fmt: skip


def post(server: Server, content_type: str, body: bytes, *headers: str, path: str = "/translate") -> tuple:  # type: ignore[type-arg]
    """Even where the server answers before it has all."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=120.0)
    with contextlib.suppress(ConnectionError):
        connection.sendall(head(content_type, len(body), *headers, path=path) + body)
    return answer_of(connection)


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies_are_refused(sturdy: Server, name: str) -> None:
    content_type, body, status = BAD[name]
    assert_problem(post(sturdy, content_type, body), status)
    for path in ("/detect", "/v2/translate", "/translate_file"):
        assert post(sturdy, content_type, body, path=path)[0] in (200, status, 400, 415)
    assert requests.get(sturdy.url + "/health").status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip", "br", "zstd", "GZIP", "gzip, gzip"])
def test_compressed_bodies_are_refused_unread(sturdy: Server, coding: str) -> None:
    """A bomb: 200 KB that are 200 MB."""
    bomb = zlib.compress(b" " * 200_000_000, 9) if coding == "deflate" else gzip.compress(b" " * 2**20 * 190)
    for path in ("/translate", "/detect", "/v2/translate", "/translate_file"):
        said = assert_problem(post(sturdy, JSON, bomb, f"Content-Encoding: {coding}", path=path), 415)
        assert "Content-Encoding" in said


def test_an_encoding_that_is_none_is_no_encoding(sturdy: Server) -> None:
    assert post(sturdy, JSON, as_json("Hello."), "Content-Encoding: identity")[0] == 200


UNUSUAL = {
    "right to left": "שלום עולם. مرحبا بالعالم؟",
    "directions overridden": "\u202eabc\u202c \u2067x\u2069 \u200f",
    "one letter under 1,000 marks": "a" + "\u0301" * 1_000,
    "joined pictures": "👩‍👩‍👧‍👦" * 100 + "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "beyond the basic plane": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 \U0010fffd",
    "no characters": "\ufffe\uffff\ufdd0",
    "private use": "\ue000\uf8ff\U000f0000",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "blanks": "\u00a0\u2003\u3000\u200b\ufeff \t\r\n\v\f\u2028\u2029",
    "5,000 times the same": "x" * 5_000,
    "5,000 sentences": "." * 5_000,
    "2,500 lines": "a\n" * 2_500,
    "templates": "{{ 7*7 }} ${x} %s %(a)s {0.__class__} <script>alert(1)</script> ' OR 1=1 --",
    "escapes": "\\ud800 \\x00 %00 &#0; \\\\ \x1b[31m",
}


@pytest.mark.parametrize("form", ["text", "html"])
@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_texts_are_translated(sturdy: Server, name: str, form: str) -> None:
    text = UNUSUAL[name]
    answer = requests.post(sturdy.url + "/translate", json={**GOOD, "q": text, "format": form})
    assert answer.status_code == 200, answer.text
    answer.json()["translatedText"].encode()
    encoded = f"q={quote(text)}&source=en&target=fr&format={form}"
    answer = requests.post(sturdy.url + "/translate", data=encoded, headers={"Content-Type": FORM})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("ending", ["txt", "md", "srt", "html"])
def test_unusual_files_are_translated(sturdy: Server, ending: str) -> None:
    for name, text in UNUSUAL.items():
        answer = requests.post(
            sturdy.url + "/translate_file",
            data={"source": "en", "target": "fr"},
            files={"file": (f"a.{ending}", text.encode())},
        )
        if ending == "srt" and answer.status_code == 400:  # not every text is one of subtitles
            continue
        assert answer.status_code == 200, f"{name}: {answer.text}"
        assert requests.get(answer.json()["translatedFileUrl"]).status_code == 200


def test_names_of_files_lead_nowhere(sturdy: Server) -> None:
    for name in (
        "../../etc/passwd.txt",
        "/etc/x.txt",
        "C:\\x.txt",
        "..\\..\\x.txt",
        "\u202etxt.exe.txt",
        "é\0.txt",
        "." * 300 + ".txt",
    ):
        body = b"".join(
            b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % part
            for part in (
                (b"source", b"", b"en"),
                (b"target", b"", b"fr"),
                (b"file", b'; filename="' + name.encode() + b'"', b"Hello."),
            )
        )
        status, _, document = post(
            sturdy, "multipart/form-data; boundary=b", body + b"--b--\r\n", path="/translate_file"
        )
        assert status in (200, 400), document
        if status == 200:
            assert document["translatedFileUrl"].startswith("http://x/download_file/")
            assert requests.get(sturdy.url + document["translatedFileUrl"].removeprefix("http://x")).status_code == 200


@pytest.mark.parametrize("content_type", [JSON, FORM, "text/plain"])
def test_half_a_body_does_not_pass_for_a_whole_one(sturdy: Server, content_type: str) -> None:
    half = as_json("a") if content_type == JSON else b"source=en&target=fr&q=The first half"
    connection = send(sturdy.port, head(content_type, 500) + half)
    connection.shutdown(socket.SHUT_WR)
    assert f"ended after {len(half)} bytes of 500" in assert_problem(answer_of(connection), 400)
