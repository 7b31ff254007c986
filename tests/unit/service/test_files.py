"""Files go in and come out with their structure; a broken or dangerous one is refused."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import docx
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from service import file_store, markdown
from service.files import KINDS
from service.inline import Document
from service.problems import Problem
from tests.unit.service.shouting import join

PAIR = {"source": "en", "target": "fr"}


def post(client: FlaskClient, name: str, content: bytes, **fields: str) -> Any:
    data = {"file": (io.BytesIO(content), name), **PAIR, **fields}
    return client.post("/translate_file", data=data, content_type="multipart/form-data")


def translate(client: FlaskClient, name: str, content: bytes | str, **fields: str) -> bytes:
    response = post(client, name, content.encode() if isinstance(content, str) else content, **fields)
    assert response.status_code == 200, response.text
    address = response.json["translatedFileUrl"]
    assert address.startswith("http://localhost/download_file/")
    answer = client.get(address)
    assert answer.status_code == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    assert f"filename={Path(name).stem}.fr{Path(name).suffix}" in answer.headers["Content-Disposition"]
    return answer.data  # type: ignore[no-any-return]


def test_plain_text(client: FlaskClient) -> None:
    text = "One thing.\r\n\r\n\tTwo {name}  \nthree"
    assert translate(client, "a.txt", text).decode() == "ONE THING.\r\n\r\n\tTWO {name}  \nTHREE"
    assert translate(client, "a.txt", "\ufeffé").decode() == "\ufeffÉ"
    assert translate(client, "a.txt", "\ufeffé".encode("utf-16-le")) == "\ufeffÉ".encode("utf-16-le")
    assert translate(client, "a.txt", "") == b""
    assert translate(client, "a.txt", "Acme is here.", do_not_translate="Acme") == b"Acme IS HERE."
    assert translate(client, "a.txt", "où est-elle ?", source="auto") == "où est-elle ?".encode()


def test_many_lines_are_more_than_the_queue_holds_at_once(make_client: Any) -> None:
    client = make_client(queue_texts=60, texts_per_request=60)
    lines = [f"line {number}x" for number in range(300)]
    assert translate(client, "a.txt", "\n".join(lines)).decode() == "\n".join(lines).upper()


def test_subtitles(client: FlaskClient) -> None:
    text = (
        "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Hello there.</i>\r\nHow are\r\nyou?\r\n\r\n"
        "2\r\n00:00:03,000 --> 00:00:04,000 X1:5\r\n2\r\n\r\n3\n00:00:05.000 --> 00:00:06.000\nTom & co\n"
    )
    expected = text.replace("Hello there", "HELLO THERE").replace("How are\r\nyou", "HOW ARE\r\nYOU")
    assert translate(client, "a.srt", text).decode() == expected.replace("Tom & co", "TOM & CO")


def test_subtitles_without_numbers_or_text(client: FlaskClient) -> None:
    text = "\n\n00:01 --> 00:02\nno clock\n00:00:01,000 --> 00:00:02,000\n\n00:00:03,000 --> 00:00:04,000\nthree\n\n\n"
    assert post(client, "a.srt", text.encode()).status_code == 400  # what comes first is no subtitle
    text = text.replace("00:01 --> 00:02\nno clock\n", "")
    assert translate(client, "a.srt", text).decode() == text.replace("three", "THREE")
    assert translate(client, "a.srt", "\n \n").decode() == "\n \n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text", ["1" * 100_000, "\n" * 100_000 + "x", "1\n" * 100_000, "1:" * 100_000, "1 --> " * 50_000]
)
def test_what_is_no_file_of_subtitles_takes_no_time(client: FlaskClient, text: str) -> None:
    assert post(client, "a.srt", text.encode()).status_code == 400


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["<a " * 20_000, '<a b="' * 20_000, "<a " + "a=a " * 20_000, "<a" + "/a" * 20_000])
def test_tags_without_an_end_are_refused(client: FlaskClient, text: str) -> None:
    response = post(client, "a.html", text.encode())
    assert response.status_code == 400
    assert "tags that do not end" in response.json["error"]


def test_a_picture_within_a_page_is_no_endless_tag(client: FlaskClient) -> None:
    text = f'<p>One <img src="data:image/png;base64,{"iVBO" * 20_000}"> two.</p>'
    assert translate(client, "a.html", text).decode() == text.replace("One", "ONE").replace("two", "TWO")


def test_html(client: FlaskClient) -> None:
    text = (
        "<!DOCTYPE html>\n<html><head><title>t</title></head><body><p>One <b>two</b> &amp; three.</p></body></html>\n"
    )
    expected = text.replace("One <b>two</b> &amp; three", "ONE <b>TWO</b> &amp; THREE")
    assert translate(client, "a.html", text).decode() == expected


MARKDOWN = """---
title: kept
---
# A *small* title

> quoted and
> **more** `code` of [a link](http://x.y "the title") here\\* &amp; there.

- an item
  goes on
1. ![picture](x.png) and <b>bold</b> <https://x.y>.

| head | b |
|------|---|
| cell | *c* |

```python
print("kept")
```

    kept

Last  \nline
"""


def test_markdown(client: FlaskClient) -> None:
    translated = translate(client, "a.md", MARKDOWN).decode()
    assert translated == (
        MARKDOWN.replace("A *small* title", "A *SMALL* TITLE")
        .replace("quoted and", "QUOTED AND")
        .replace("**more**", "**MORE**")
        .replace(" of [a link]", " OF [A LINK]")
        .replace("here\\* &amp; there", "HERE\\* & THERE")
        .replace("an item", "AN ITEM")
        .replace("goes on", "GOES ON")
        .replace(" and <b>bold", " AND <b>BOLD")
        .replace("head | b", "HEAD | B")
        .replace("cell | *c*", "CELL | *C*")
        .replace("Last", "LAST")
        .replace("line\n", "LINE\n")
    )


def html_of(text: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)  # type: ignore[no-any-return]


PIECES = [
    "a",
    "*",
    "**",
    "_",
    "`",
    "``",
    "[",
    "](x)",
    "![",
    "](<y z> 't')",
    "\n",
    "\n\n",
    "> ",
    "- ",
    "# ",
    "<b>",
    "</b>",
]
PIECES += [
    "&amp;",
    "\\",
    "|",
    "|--|",
    " ",
    "  \n",
    "<http://a.b>",
    "~~",
    "\t",
    "1. ",
    "---\n",
    "```\n",
    "[r]: x\n",
    "é",
    "\r\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_markdown_comes_back_whole(text: str) -> None:
    document = Document(markdown.markdown_tokens(text), language="en", escape=markdown.escape)
    assert join(document, str).text == text


@given(st.text(alphabet="ab *_`[]()<>#&;|~\\-+.1!:'\"", max_size=15).map(str.strip))
def test_a_translation_adds_no_markdown(translation: str) -> None:
    document = Document(markdown.markdown_tokens("text"), language="en", escape=markdown.escape)
    html = html_of(join(document, lambda _: translation).text)
    assert html.count("<") == (2 if translation else 0), html


def word_file(*paragraphs: list[tuple[str, bool]]) -> bytes:
    document = docx.Document()
    for runs in paragraphs:
        paragraph = document.add_paragraph(style="Heading 1" if len(runs) == 1 else None)
        for text, bold in runs:
            paragraph.add_run(text).bold = bold or None
    document.sections[0].header.paragraphs[0].text = "on top"
    document.add_table(1, 1).cell(0, 0).text = "in a cell"
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def test_word_documents(client: FlaskClient) -> None:
    content = word_file(
        [("The title", False)], [("One ", False), ("bo", True), ("ld", True), (" word.", False)], [("tab\there", False)]
    )
    translated = docx.Document(io.BytesIO(translate(client, "a.docx", content)))
    title, text, tabs, *_ = translated.paragraphs
    assert (title.text, title.style.name) == ("THE TITLE", "Heading 1")
    assert [(run.text, bool(run.bold)) for run in text.runs if run.text] == [
        ("ONE ", False),
        ("BOLD", True),
        (" WORD.", False),
    ]
    assert tabs.text == "TAB\tHERE"
    assert translated.sections[0].header.paragraphs[0].text == "ON TOP"
    assert translated.tables[0].cell(0, 0).text == "IN A CELL"


def test_a_word_document_of_which_nothing_changes_keeps_its_text(client: FlaskClient) -> None:
    content = word_file(
        [("A", False), ("B", True), ("\n", False), ("C", True), (" D", False)], [("12", False), (" %s", True)]
    )
    before = docx.Document(io.BytesIO(content))
    after = docx.Document(io.BytesIO(translate(client, "a.docx", content)))
    assert [paragraph.text for paragraph in after.paragraphs] == [paragraph.text for paragraph in before.paragraphs]
    assert [run.bold for one in after.paragraphs for run in one.runs] == [
        run.bold for one in before.paragraphs for run in one.runs
    ]


def changed(content: bytes, name: str, part: bytes) -> bytes:
    """A Word document with one part replaced."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, part if info.filename == name else old.read(info))
    return result.getvalue()


def renamed(content: bytes, name: str, other: str) -> bytes:
    """A Word document in which a part has another name, wherever it is named."""
    result = io.BytesIO()
    short, new_short = (each.removeprefix("word/").encode() for each in (name, other))
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(other if info.filename == name else info.filename, old.read(info).replace(short, new_short))
    assert result.getvalue() != content
    return result.getvalue()


def test_a_word_document_with_a_name_space_of_no_meaning(client: FlaskClient) -> None:
    good = word_file([("One ", False), ("two", True)])
    xml = zipfile.ZipFile(io.BytesIO(good)).read("word/document.xml")
    assert b"<w:b/>" in xml
    odd = changed(good, "word/document.xml", xml.replace(b"<w:b/>", b'<w:b xmlns:x="rel" x:y="1"/>'))
    assert docx.Document(io.BytesIO(translate(client, "a.docx", odd))).paragraphs[0].text == "ONE TWO"


def broken_word_files() -> list[bytes]:
    good = word_file([("a", False)])
    xml = zipfile.ZipFile(io.BytesIO(good)).read("word/document.xml")
    entities = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("word/document.xml", b" " * 100_000_000)
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as package:
        for number in range(3_000):
            package.writestr(str(number), b"")
    return [
        b"",
        b"PK",
        b"no zip at all",
        good[: len(good) // 2],
        bytes(byte ^ (position % 97 == 5) for position, byte in enumerate(good)),
        changed(good, "word/document.xml", b"<unclosed"),
        changed(good, "word/document.xml", b"<a/>"),
        changed(good, "word/document.xml", xml.replace(b"?>", b"?>" + entities, 1)),
        changed(good, "word/document.xml", b"<w>" * 100_000),
        changed(good, "[Content_Types].xml", b"<Types/>"),
        bomb.getvalue(),
        many.getvalue(),
        renamed(good, "word/document.xml", "word/document.bin"),
        renamed(good, "word/header1.xml", "word/header1.bin"),
    ]


@pytest.mark.parametrize("content", broken_word_files(), ids=range(14))
def test_broken_and_dangerous_word_files(make_client: Any, content: bytes) -> None:
    client = make_client(body_bytes=4 * 1024 * 1024)
    response = post(client, "a.docx", content)
    assert response.status_code == 400, response.text
    assert response.json["error"]
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"\xff\xfe\xfd"),
        ("a.txt", b"caf\xe9"),
        ("a.txt", b"a\0b"),
        ("a.txt", b"x" * 50_001),
        ("a.srt", b"nonsense"),
        ("a.srt", b"1\n99999999999999999999:00:01,000 --> 00:00:02,500\nx\n"),
        ("a.exe", b"x"),
        ("a", b"x"),
        ("", b"x"),
    ],
)
def test_files_that_are_refused(client: FlaskClient, name: str, content: bytes) -> None:
    response = post(client, name, content)
    assert response.status_code == 400
    assert response.json["error"]


def test_bad_requests(client: FlaskClient) -> None:
    assert client.post("/translate_file", data=PAIR).status_code == 400
    assert client.post("/translate_file", json=PAIR).status_code == 400
    assert post(client, "a.txt", b"x", target="xx").status_code == 400
    assert post(client, "a.txt", b"x", source="").status_code == 400
    assert client.get("/download_file/nothing").status_code == 404
    assert client.get("/download_file/..%2F..%2Fetc%2Fpasswd").status_code == 404


def test_names_cannot_lead_elsewhere(client: FlaskClient) -> None:
    address = post(client, "../../é x: y/e v il.txt", b"a").json["translatedFileUrl"]
    answer = client.get(address)
    assert answer.data == b"A"
    assert "\n" not in answer.headers["Content-Disposition"]


def test_files_are_kept_for_a_while_only(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    address = post(client, "a.txt", b"a").json["translatedFileUrl"]
    assert client.get(address).data == b"A"
    now = time.monotonic()
    monkeypatch.setattr(file_store.time, "monotonic", lambda: now + file_store.KEPT_SECONDS + 1)
    assert client.get(address).status_code == 404


def test_the_oldest_files_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_store, "_MOST_BYTES", 25)
    store = file_store.FileStore()
    kept = [store.put("a.txt", b"x" * 10) for _ in range(4)]
    assert [store.get(name) is not None for name in kept] == [False, False, True, True]
    assert len(set(kept)) == 4


def test_files_leave_half_of_the_room_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else writes into the folder for temporary files is not stopped by them."""
    room = 100

    def usage(folder: Path) -> Any:
        taken = sum(path.stat().st_size for path in folder.iterdir())
        return shutil._ntuple_diskusage(room, taken, room - taken)  # type: ignore[attr-defined]

    monkeypatch.setattr(file_store.shutil, "disk_usage", usage)
    store = file_store.FileStore()
    kept = [store.put("a.txt", b"x" * 10) for _ in range(8)]
    assert [store.get(name) is not None for name in kept] == [False] * 3 + [True] * 5


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60))
def test_whatever_bytes_are_sent_are_read_or_refused(kind: str, content: bytes) -> None:
    opened = None
    with contextlib.suppress(Problem):
        opened = KINDS[kind].read(content, "en")
    if opened and kind != ".docx":
        assert opened.written([join(document, str).text for document in opened.documents]) == content
