from __future__ import annotations

from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.markup import Markup


def shout(document: str) -> str:
    markup = Markup(document)
    return markup.join([text.upper() for text in markup.texts])


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("<p>Hello <b class=x>big</b> world</p>", "<p>HELLO <b class=x>BIG</b> WORLD</p>"),
        ("plain text", "PLAIN TEXT"),
        ("<p>one<p>two", "<p>ONE<p>TWO"),
        ("a<br>b<br/>c<img alt='no change' src=x>d", "A<br>B<br/>C<img alt='no change' src=x>D"),
        ("<!-- comment -->x<?php y ?><![CDATA[z]]>w", "<!-- comment -->X<?php y ?><![CDATA[z]]>W"),
        ("<!DOCTYPE html>\n<p>x</p>\n", "<!DOCTYPE html>\n<p>X</p>\n"),
        ("run <code>ls -l</code> now", "RUN <code>ls -l</code> NOW"),
        ("<code>a <b translate=yes>b</b></code> c", "<code>a <b translate=yes>b</b></code> C"),
        ("<script>if (a<b) x()</script>after", "<script>if (a<b) x()</script>AFTER"),
        ("<style>p > a {}</style>after", "<style>p > a {}</style>AFTER"),
        ('<p translate="no">name</p> x', '<p translate="no">name</p> X'),
        ('<p translate="no">a <i translate="yes">b</i> c</p>', '<p translate="no">a <i translate="yes">B</i> c</p>'),
        ("<p>one<p translate=no>two<p>three", "<p>ONE<p translate=no>two<p>THREE"),
        ('<a href="https://example.org/?a=1&b=2">x</a>', '<a href="https://example.org/?a=1&b=2">X</a>'),
        ("<p>x</b></p>y", "<p>X</b></p>Y"),
        ("<svg><text>x</text></svg>y<svg/>z", "<svg><text>x</text></svg>Y<svg/>Z"),
    ],
)
def test_text_is_translated_and_markup_left_alone(document: str, expected: str) -> None:
    assert shout(document) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>", "<p>&lt;SCRIPT&gt;ALERT(1)&lt;/SCRIPT&gt;</p>"),
        ("&#60;img onerror=x&#62;", "&lt;IMG ONERROR=X&gt;"),
        ("&#x3c;b&#x3e;", "&lt;B&gt;"),
        ("a &amp;lt;b", "A &amp;LT;B"),
        ("salt &amp; pepper", "SALT &amp; PEPPER"),
        ("caf&eacute;&nbsp;x", "CAFÉ&nbsp;X"),
        ("1 < 2 and a", "1 &lt; 2 AND A"),
    ],
)
def test_entities_are_never_made_live(document: str, expected: str) -> None:
    assert shout(document) == expected


def test_what_the_translator_makes_up_is_no_markup() -> None:
    markup = Markup("<p>Hello</p>")
    assert markup.join(["<script>alert('&')</script>"]) == "<p>&lt;script&gt;alert('&amp;')&lt;/script&gt;</p>"


def test_what_does_not_change_comes_back_as_it_was_written() -> None:
    document = "&copy; 2024&nbsp;&#8212; &quot;x&quot; &amp"
    markup = Markup(document)
    assert markup.texts == ['© 2024\xa0— "x" &']
    assert markup.join(markup.texts) == document


def test_the_number_of_translations_must_fit() -> None:
    with pytest.raises(ValueError, match="2 translations for 1 texts"):
        Markup("x").join(["a", "b"])


TOKENS = [
    "<",
    ">",
    "&",
    "p",
    "b",
    "/",
    " ",
    '"',
    "'",
    "=",
    "\n",
    "\r",
    "!--",
    "-->",
    "<p>",
    "</p>",
    "&lt;",
    "&gt;",
    "&#60",
]
TOKENS += [
    "<script>",
    "</script>",
    "<code>",
    "</code>",
    "translate=no",
    "<br/>",
    "é",
    "<![CDATA[",
    "]]>",
    "<?",
    "\0",
    "<textarea>",
]


class _Tags(HTMLParser):
    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag}{attrs}")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append("/" + tag)


@given(st.lists(st.sampled_from(TOKENS), max_size=25).map("".join))
def test_any_document_comes_back_whole(document: str) -> None:
    markup = Markup(document)
    assert markup.join(markup.texts) == document


@given(st.lists(st.sampled_from(TOKENS), max_size=25).map("".join), st.text(alphabet="<>&;/ab\"'!-", max_size=12))
def test_no_translation_adds_a_tag(document: str, translation: str) -> None:
    markup = Markup(document)
    joined = markup.join([translation + "." for _ in markup.texts])
    assert len(_Tags(joined).tags) <= len(_Tags(document).tags)


@given(st.text(alphabet=st.characters(exclude_characters="<&\r\0", exclude_categories=["Cs"]), min_size=1))
def test_text_without_markup_is_one_text(text: str) -> None:
    assert "".join(Markup(text).texts) == ("" if text.isspace() else text) == unescape("" if text.isspace() else text)
