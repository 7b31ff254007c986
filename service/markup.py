"""HTML around text: a document's tokens, in which its text and the tags within sentences are told from all else.

The document is cut up by the standard library's tokenizer; all that is not text to translate comes back as it stands,
character for character. A translation is written with `&`, `<` and `>` escaped, so that `&lt;script&gt;` in the text
stays text whatever the translator makes of it.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal

from service.inline import Gap, Tag, Text, Thing, Token
from service.problems import bad_request

_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
# Code, and elements whose content a browser does not read as text with character references.
_UNTRANSLATED = frozenset(
    {"code", "kbd", "samp", "var", "script", "style", "textarea", "title", "template", "svg", "math"}
    | {"xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"}
)
# Elements within a sentence: those that are parts of it, and those that stand in it as they are.
_INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "data", "del", "dfn", "em", "font", "i", "ins", "label"}
    | {"mark", "q", "s", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u"}
)
_THINGS = frozenset(["code", "kbd", "samp", "var", "svg", "math", "img", "wbr"])
_FOREIGN = frozenset(["svg", "math"])
_TRANSLATE_VALUES = {"no": False, "yes": True, "": True}
# An element of these kinds ends where another of its kind begins, with or without an end tag.
_CLOSED_BY_NEXT = frozenset(["p", "li", "dt", "dd", "tr", "td", "th", "option"])

# The tokenizer's time goes with the square of the length of such.
_ENDLESS = re.compile(r"""(?:<[a-zA-Z/!?][^<>]*+){100}<|<[a-zA-Z][^<>"']{5000}""")


def tokens(document: str) -> list[Token]:
    """The tokens of an HTML document; together they are the document again. Raises `Problem` (400) for endless tags."""
    return list(_Tokenizer(document).tokens())


def visible_text(document: str) -> str:
    """What people read of an HTML document, without its tags."""
    return " ".join(token.text for token in tokens(document) if isinstance(token, Text))


def escape(text: str) -> str:
    return html.escape(text, quote=False).replace("\xa0", "&nbsp;")


@dataclass(frozen=True)
class _Mark:
    """Where a token begins, and what it is. Marks of one `group` are one thing."""

    position: int
    kind: Literal["text", "open", "close", "thing", "gap"]
    name: str = ""
    group: int = 0


@dataclass(frozen=True)
class _Open:
    """An open element: whether its content is to be translated, and can be; and the thing that it is part of."""

    name: str
    translate: bool
    translatable: bool
    verbatim: bool
    group: int


class _Tokenizer(HTMLParser):
    """Notes where in the document each token begins and what it is."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=False)
        self._document = document
        self._line_starts = [0]
        for position, character in enumerate(document):
            if character == "\n":
                self._line_starts.append(position + 1)
        self._marks = [_Mark(0, "gap")]
        self._open: list[_Open] = []  # innermost last
        self._names: Counter[str] = Counter()
        self._groups = 0
        self._no_things: set[int] = set()  # groups that turned out to be more than one thing
        if _ENDLESS.search(document):
            raise bad_request("The HTML has tags that do not end.")
        self.feed(document)
        self.close()

    def tokens(self) -> Iterator[Token]:
        self._no_things.update(element.group for element in self._open)
        ends = [mark.position for mark in self._marks[1:]] + [len(self._document)]
        thing, group = "", 0
        for mark, end in zip(self._marks, ends, strict=True):
            raw = self._document[mark.position : end]
            if mark.group != group and thing:
                yield Gap(thing) if group in self._no_things else Thing(thing)
                thing = ""
            group = mark.group
            if not raw:
                continue
            if mark.kind == "text":
                yield from _text(raw, verbatim=mark.name == "verbatim")
            elif group:
                thing += raw
            elif mark.kind == "gap":
                yield Gap(raw)
            elif mark.kind == "thing":
                yield Thing(raw)
            else:
                yield Tag(raw, mark.name, closing=mark.kind == "close")
        if thing:
            yield Gap(thing) if group in self._no_things else Thing(thing)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """A "<![" with what HTML does not know behind it is a comment, as browsers have it."""
        position = self.lineno, self.offset
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            self.lineno, self.offset = position  # where it stumbled otherwise
            return self.parse_bogus_comment(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self._mark("thing" if tag in _THINGS else "gap", group=self._group)
            return
        if tag in _CLOSED_BY_NEXT and self._open and self._open[-1].name == tag:
            self._pop()
        outer = self._open[-1] if self._open else _Open("", True, True, False, 0)
        translate = outer.translate
        for name, value in attrs:
            if name == "translate" and (value or "").lower() in _TRANSLATE_VALUES:
                translate = _TRANSLATE_VALUES[(value or "").lower()]
                break
        translatable = outer.translatable and tag not in _UNTRANSLATED
        translate = translate and translatable
        group = outer.group
        if translate and group:
            self._no_things.add(group)
            group = 0
        elif not translate and outer.translate and (tag in _THINGS or tag in _INLINE):
            self._groups += 1
            group = self._groups
        if translate:
            self._mark("open" if tag in _INLINE else "gap", tag)
        else:
            self._mark("gap", group=group)
        self._open.append(_Open(tag, translate, translatable, outer.verbatim or tag == "pre", group))
        self._names[tag] += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _FOREIGN:
            self._mark("thing", group=self._group)
        else:  # in HTML, "<b/>" opens an element all the same
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self._names[tag]:
            inside = not self._open or self._open[-1].translate
            self._mark("close" if inside and tag in _INLINE else "gap", tag, self._group)
            return
        while self._open[-1].name != tag:  # they have no end tags of their own
            self._no_things.add(self._open[-1].group)
            self._pop()
        element = self._open[-1]
        self._pop()
        if element.group:
            self._mark("gap", group=element.group)
            if element.group != self._group:
                self._groups += 1  # the next thing is another one, even if it touches this
        else:
            self._mark("close" if tag in _INLINE and element.translate else "gap", tag)

    def handle_data(self, data: str) -> None:
        outer = self._open[-1] if self._open else None
        if outer is None or outer.translate:
            self._mark("text", "verbatim" if outer and outer.verbatim else "")
        else:
            self._mark("gap", group=outer.group)

    def handle_entityref(self, name: str) -> None:
        self.handle_data("")

    def handle_charref(self, name: str) -> None:
        self.handle_data("")

    def handle_comment(self, data: str) -> None:
        self._mark("gap", group=self._group)

    def handle_decl(self, decl: str) -> None:
        self._mark("gap", group=self._group)

    def handle_pi(self, data: str) -> None:
        self._mark("gap", group=self._group)

    def unknown_decl(self, data: str) -> None:
        self._mark("gap", group=self._group)

    @property
    def _group(self) -> int:
        return self._open[-1].group if self._open else 0

    def _pop(self) -> None:
        self._names[self._open.pop().name] -= 1

    def _mark(self, kind: Literal["text", "open", "close", "thing", "gap"], name: str = "", group: int = 0) -> None:
        line, column = self.getpos()
        position = self._line_starts[line - 1] + column
        if position >= self._marks[-1].position:
            self._marks.append(_Mark(position, kind, name, group))


def _text(raw: str, *, verbatim: bool) -> Iterator[Token]:
    """Text is read with its character references resolved; preformatted text line by line."""
    if not verbatim:
        yield Text(raw, html.unescape(raw))
        return
    for line in raw.splitlines(keepends=True):
        content = line.rstrip("\r\n")
        yield Text(content, html.unescape(content))
        yield Gap(line[len(content) :])
