from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inline import Document, Text
from service.markup import escape, tokens
from tests.unit.service.shouting import join


def html(document: str) -> Document:
    return Document(tokens(document), language="en", escape=escape)


def shout(document: str) -> str:
    return join(html(document)).text


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("<p>Hello <b class=x>big</b> world</p>", "<p>HELLO <b class=x>BIG</b> WORLD</p>"),
        ("plain text", "PLAIN TEXT"),
        ("<p>one<p>two", "<p>ONE<p>TWO"),
        ("a<br>b<br/>c<img alt='no change' src=x>d", "A<br>B<br/>C<img alt='no change' src=x>D"),
        ("<!-- comment -->x<?php y ?><![CDATA[z]]>w", "<!-- comment -->X<?php y ?><![CDATA[z]]>W"),
        ("<!DOCTYPE html>\n<p>x</p>\n", "<!DOCTYPE html>\n<p>X</p>\n"),
        ("a <![foo[ x ]]> b", "A <![foo[ x ]]> B"),
        ("a <![1 x> b", "A <![1 x> B"),
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
    joined = join(html("<p>Hello</p>"), lambda _: "<script>alert('&')</script>")
    assert joined.text == "<p>&lt;script&gt;alert('&amp;')&lt;/script&gt;</p>"


def test_what_does_not_change_comes_back_as_it_was_written() -> None:
    document = "&copy; 2024&nbsp;&#8212; &quot;x&quot; &amp"
    assert html(document).texts == ['© 2024\xa0— "x" &']
    assert join(html(document), str).text == document


def test_a_sentence_is_one_text_across_its_tags() -> None:
    assert html("<p>Hello <b>big</b> world.</p><p>Bye.").texts == ["Hello big world.", "big", "Bye."]
    assert html("<p><b>All of it.</b> And <i>more</i></p>").texts[:2] == ["All of it.", "And more"]
    assert html("<p>one</p><p>two<br>three</p>").texts == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("document", "known", "expected"),
    [
        (
            "The <b>red</b> car.",
            {"The red car.": ["La voiture rouge."], "red": ["Le rouge.", "Rouge."]},
            "La voiture <b>rouge</b>.",
        ),
        (
            "The <b>red</b> <i class=x>car</i>.",
            {"The red car.": ["La voiture rouge."], "red": ["Rouge"], "car": ["voiture"]},
            "La <i class=x>voiture</i> <b>rouge</b>.",
        ),
        (
            "The <b>red <i>car</i></b>.",
            {"The red car.": ["La voiture rouge."], "red car": ["Voiture rouge."], "car": ["voiture"]},
            "La <b><i>voiture</i> rouge</b>.",
        ),
        (
            "<a>Stop</a>, he said. <a>Stop</a>!",
            {"Stop, he said.": ["Arrête, dit-il."], "Stop!": ["Arrête !"], "Stop": ["Arrête !"]},
            "<a>Arrête</a>, dit-il. <a>Arrête</a> !",
        ),
        (
            "A <b>car</b> is a car.",
            {"A car is a car.": ["Une auto est une auto."], "car": ["Auto"]},
            "Une <b>auto</b> est une auto.",
        ),
    ],
)
def test_tags_stand_around_their_words(document: str, known: dict[str, list[str]], expected: str) -> None:
    joined = join(html(document), **known)
    assert joined.text == expected
    assert joined.warnings == ()


@pytest.mark.parametrize("document", ["The red</b> car.", "The <b>red car.", "<b>One. Two</b> three."])
def test_tags_without_counterparts_cut_their_sentence(document: str) -> None:
    joined = join(html(document))
    assert _Tags(joined.text).tags == _Tags(document).tags
    assert joined.text.lower() == document.lower()
    assert joined.warnings == ("markup: a sentence was translated in parts, from tag to tag",)


@pytest.mark.parametrize(
    ("document", "known", "expected"),
    [
        ("The <b>red</b> car.", {"The red car.": ["L'auto pourpre roule."]}, "L'auto <b>pourpre</b> roule."),
        ("The <b>red</b> car.", {"The red car.": ["red red"], "red": ["RED"]}, "red <b>red</b>"),
        ("A <b>b <i>c</i></b> d", {"A b c d": ["1 2 3 4"]}, "1 <b>2 <i>3</i></b> 4"),
        ("A <b>b</b> <i>c</i> d", {"A b c d": ["1 c 2 3"], "c": ["c"]}, "1 <b>c</b> <i>2</i> 3"),
        ("A <b>b</b> d", {"A b d": ["..."]}, "...<b></b>"),
        ("A <b>b</b> c <i>d</i>", {"A b c d": ["x"]}, "<b>x</b><i></i>"),
    ],
)
def test_where_the_words_are_not_found_their_place_is_estimated(
    document: str, known: dict[str, list[str]], expected: str
) -> None:
    joined = join(html(document), **known)
    assert joined.text == expected
    assert joined.warnings == ("markup: where tags stand within a sentence was estimated",)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("Run <code>ls</code> now.", "now <code>ls</code> run."),
        ("See <img src=x> now.", "now <img src=x> run."),
        ("Ask <span translate=no>Acme</span> now.", "now <span translate=no>Acme</span> run."),
        ("An <i class=icon></i> is.", "now <i class=icon></i> run."),
    ],
)
def test_things_stay_in_their_sentence(document: str, expected: str) -> None:
    (text,) = html(document).texts
    (thing,) = (character for character in text if "\ue000" <= character <= "\uf8ff")
    assert join(html(document), lambda _: f"now {thing} run.").text == expected


def test_line_breaks_within_a_sentence_are_kept_where_there_is_room() -> None:
    document = "<p>one two\n   three four</p>"
    assert html(document).texts == ["one two three four"]
    assert join(html(document), lambda _: "un deux trois quatre").text == "<p>un deux\n   trois quatre</p>"
    assert join(html(document), lambda _: "un").text == "<p>un</p>"
    assert join(html("One.\n\tTwo.")).text == "ONE.\n\tTWO."
    assert html("<pre>one\ntwo</pre>").texts == ["one", "two"]


@pytest.mark.parametrize("document", ["a <![ b", "a <![1 b", "<![foo[ x", "<![", "<![CDATA[", "<![if x"])
def test_declarations_that_are_none_come_back(document: str) -> None:
    assert "".join(token.raw for token in tokens(document)) == document


def test_references_to_no_character_do_not_matter() -> None:
    assert html("a&#1;b <b>c</b>").texts[0] == "ab c"


def test_alternatives_take_those_of_their_sentences() -> None:
    document = html("<p>One.</p><p>Two.</p>")
    joined = join(document, **{"One.": ["Un.", "Une.", "Seul."], "Two.": ["Deux."]})
    assert joined.alternatives == ("<p>Une.</p><p>Deux.</p>", "<p>Seul.</p><p>Deux.</p>")
    assert joined.score == -2.0


def test_many_open_tags_all_come_through() -> None:
    """So many that anything quadratic would run into the tests' time-out."""
    for piece in ("<b>", "</i><b>", "<code>x", "<b>x</i>", "<i></i>", "x<img>"):
        html = piece * 20_000
        assert shout(html).count("<") == html.count("<")


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
    "&#1;",
    "a ",
    "<i>",
    "</i>",
    "<img>",
    ". B",
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
    assert join(html(document), str).text == document


@given(st.lists(st.sampled_from(TOKENS), max_size=25).map("".join), st.text(alphabet="<>&;/ab\"'!-", max_size=12))
def test_no_translation_adds_a_tag(document: str, translation: str) -> None:
    joined = join(html(document), lambda text: translation + ".")
    assert len(_Tags(joined.text).tags) <= len(_Tags(document).tags)


WELL_FORMED = st.recursive(
    st.sampled_from(["a ", "b", " ", ". C", "\n", "<img>", "<code>x</code>", "&amp;", "!"]),
    lambda inner: st.tuples(st.sampled_from(["b", "i", "a"]), st.lists(inner, max_size=4)).map(
        lambda pair: f"<{pair[0]}>{''.join(pair[1])}</{pair[0]}>"
    ),
    max_leaves=12,
)


@given(st.lists(WELL_FORMED, max_size=5).map("".join), st.text(alphabet="ab .!", max_size=9))
def test_well_formed_tags_stay_well_formed(document: str, translation: str) -> None:
    def translate(text: str) -> str:
        things = "".join(character for character in text if "\ue000" <= character <= "\uf8ff")
        return translation + things

    joined = join(html(document), translate)
    assert sorted(_Tags(joined.text).tags) == sorted(_Tags(document).tags)
    opened = []
    for tag in _Tags(joined.text).tags:
        if tag.startswith("/"):
            assert opened.pop() == tag[1:]
        elif not tag.startswith("img"):
            opened.append(tag[: -len("[]")])
    assert opened == []


@given(st.text(alphabet=st.characters(exclude_characters="<&\r\0", exclude_categories=["Cs"]), min_size=1))
def test_text_without_markup_is_all_text(text: str) -> None:
    assert [one.text for one in tokens(text) if isinstance(one, Text)] == [text]
