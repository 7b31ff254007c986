"""Markdown (CommonMark, with tables and strikethrough): only its text is translated; all else stays, to the character.

markdown-it-py says which parts of which lines are text with inline markup, and what that is made of. What cannot be
found again in the lines, such as a table's cell with an escaped bar or code over two lines, is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.helpers import parseLinkDestination, parseLinkTitle
from markdown_it.token import Token as Parsed

from service import markup
from service.inline import Gap, Tag, Text, Thing, Token

_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("text_join")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n.*?^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_SPECIAL = re.compile(r"[\\`*\[\]<~|]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|^(?:>|[#+=-](?=[\s#+=-]|$)|\d+(?=[.)](?:\s|$)))")
_MARKS = {
    **dict.fromkeys(["em_open", "strong_open", "s_open"], False),
    **dict.fromkeys(["em_close", "strong_close", "s_close"], True),
}


class _UnknownError(Exception):
    """What the parser found does not stand where it should."""


def markdown_tokens(text: str) -> Iterator[Token]:
    """The tokens of a document; together they are the document again."""
    matter = _FRONT_MATTER.match(text)
    position = matter.end() if matter else 0
    lines = [match.span() for match in _LINE.finditer(text, position)]
    yield Gap(text[:position])
    for block in _PARSER.parse(text[position:]):
        if block.type != "inline" or block.map is None or not block.children:
            continue
        spans = _located(text, lines[block.map[0] : block.map[1]], block.content.split("\n"), position)
        if not spans:
            continue
        start, end = spans[0][0], spans[-1][1]
        yield Gap(text[position:start])
        try:
            yield from list(_Inline(text, spans, block.content).tokens(block.children))
        except _UnknownError:
            yield Gap(text[start:end])
        position = end
    yield Gap(text[position:])


def escape(text: str) -> str:
    """`text` so that nothing of it is markup."""

    def escaped(match: re.Match[str]) -> str:
        if match[0] == "&":
            return "&amp;"
        return match[0] + "\\" if match[0].isdigit() else "\\" + match[0]

    return _SPECIAL.sub(escaped, text)


def _located(
    text: str, lines: Sequence[tuple[int, int]], contents: Sequence[str], position: int
) -> list[tuple[int, int]]:
    """Where the lines of a block's content stand in the text, from `position` on; nothing, where one does not."""
    spans = []
    for (start, end), content in zip(lines, contents, strict=False):
        found = text.find(content, max(start, position), end)
        if found < 0:
            return []
        spans.append((found, found + len(content)))
    return spans if len(spans) == len(contents) else []


class _Inline:
    """The content of a block, whose lines stand at `spans` in `text`."""

    def __init__(self, text: str, spans: Sequence[tuple[int, int]], content: str) -> None:
        self._breaks = iter([text[end:start] for (_, end), (start, _) in pairwise(spans)])
        self._content = content
        self._position = 0

    def tokens(self, children: Sequence[Parsed]) -> Iterator[Token]:
        """Raises `_UnknownError`."""
        skipped = 0  # so many of the next are parts of what was taken already
        for child in children:
            if skipped:
                skipped -= 1
                continue
            if child.type == "text" and not child.content:
                continue
            if not self._content.startswith(child.content or "\n", self._position) or child.type == "softbreak":
                yield from self._blank()
            if child.type == "softbreak":
                self._take("\n")
                yield Text(next(self._breaks), "\n")
            elif child.type == "hardbreak":
                yield Gap(self._take(self._matched(r"(?:\\| *)(?=\n)")))
                self._take("\n")
                yield Gap(next(self._breaks))
            elif child.type == "text":
                yield Text(self._take(child.content), child.content)
            elif child.type == "text_special":
                yield Text(self._take(child.markup), child.content)
            elif child.type in _MARKS:
                name = child.type.partition("_")[0]
                yield Tag(self._take(child.markup), name, closing=_MARKS[child.type])
            elif child.type == "link_open" and child.info == "auto":
                yield Thing(self._take(self._matched(r"<[^<>\n]*>")))
                skipped = 2
            elif child.type == "link_open":
                yield Tag(self._take("["), "link")
            elif child.type == "link_close":
                yield Tag(self._take(self._link_end()), "link", closing=True)
            elif child.type == "image":
                yield Thing(self._take("![" + self._label(self._position + 2)) + self._take(self._link_end()))
            elif child.type == "code_inline":
                mark = re.escape(child.markup)
                yield Thing(self._take(self._matched(rf"{mark}(?!`)[^\n]*?(?<!`){mark}(?!`)")))
            elif child.type == "html_inline":
                tag = markup.tokens(self._take(child.content))
                yield next((one for one in tag if isinstance(one, Tag | Thing)), Gap(child.content))
            else:
                raise _UnknownError
        yield from self._blank()
        if self._position != len(self._content):
            raise _UnknownError

    def _blank(self) -> Iterator[Token]:
        """Spaces that the parser leaves out."""
        blank = self._take(self._matched("[ \t]*"))
        if blank:
            yield Text(blank, blank)

    def _matched(self, pattern: str) -> str:
        match = re.compile(pattern).match(self._content, self._position)
        if match is None:
            raise _UnknownError
        return match[0]

    def _take(self, raw: str) -> str:
        if not self._content.startswith(raw, self._position) or ("\n" in raw and raw != "\n"):
            raise _UnknownError
        self._position += len(raw)
        return raw

    def _label(self, start: int) -> str:
        """What stands in brackets from `start` on, up to the bracket that closes them."""
        depth = 0
        position = start
        while position < len(self._content):
            character = self._content[position]
            if character == "]" and not depth:
                return self._content[start:position]
            depth += (character == "[") - (character == "]")
            position += 2 if character == "\\" else 1
        raise _UnknownError

    def _link_end(self) -> str:
        """From the bracket behind a link's text to the link's end."""
        content = self._content
        end = self._position + 1
        if content.startswith("(", end):
            end += 1 + len(content[end + 1 :]) - len(content[end + 1 :].lstrip())
            destination = parseLinkDestination(content, end, len(content))
            end = destination.pos if destination.ok else end
            end += len(content[end:]) - len(content[end:].lstrip())
            title = parseLinkTitle(content, end, len(content))
            end = title.pos if title.ok else end
            end += len(content[end:]) - len(content[end:].lstrip())
            if not content.startswith(")", end):
                raise _UnknownError
            end += 1
        elif content.startswith("[", end):
            end = content.find("]", end) + 1
        return content[self._position : end]
