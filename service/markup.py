"""HTML around text: which parts of a document are text to translate, and the same document again with them translated.

The document is cut into pieces by the standard library's tokenizer; all pieces that are not text to translate come
back as they stand, character for character. A translation is put in with `&`, `<` and `>` escaped, so that
`&lt;script&gt;` in the text stays text whatever the translator makes of it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from html.parser import HTMLParser

_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
# Code, and elements whose content a browser does not read as text with character references.
_UNTRANSLATED = frozenset(
    {"code", "kbd", "samp", "var", "script", "style", "textarea", "title", "template", "svg", "math"}
    | {"xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"}
)
_FOREIGN = frozenset(["svg", "math"])
_TRANSLATE_VALUES = {"no": False, "yes": True, "": True}
# An element of these kinds ends where another of its kind begins, with or without an end tag.
_CLOSED_BY_NEXT = frozenset(["p", "li", "dt", "dd", "tr", "td", "th", "option"])


class Markup:
    """A document as pieces: `texts` are those to translate, with character references resolved."""

    def __init__(self, document: str) -> None:
        tokenizer = _Tokenizer(document)
        self._pieces = tokenizer.pieces()
        self.texts = [html.unescape(piece) for piece, is_text in self._pieces if is_text]

    def join(self, translations: Sequence[str]) -> str:
        """The document with `translations` in the places of `texts`; raises `ValueError` where their numbers differ."""
        if len(translations) != len(self.texts):
            raise ValueError(f"{len(translations)} translations for {len(self.texts)} texts")
        replacements = iter(zip(self.texts, translations, strict=True))
        parts = []
        for piece, is_text in self._pieces:
            if is_text:
                text, translation = next(replacements)
                # What did not change comes back as it was written, with its own way to spell a character.
                parts.append(piece if translation == text else _escape(translation))
            else:
                parts.append(piece)
        return "".join(parts)


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("\xa0", "&nbsp;")


class _Tokenizer(HTMLParser):
    """Notes where in the document each token begins and whether it is text to translate."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=False)
        self._document = document
        self._line_starts = [0]
        for position, character in enumerate(document):
            if character == "\n":
                self._line_starts.append(position + 1)
        self._marks: list[tuple[int, bool]] = [(0, False)]
        # Open elements, innermost last: name, and whether its content is to be translated.
        self._open: list[tuple[str, bool]] = []
        self.feed(document)
        self.close()

    def pieces(self) -> list[tuple[str, bool]]:
        """The document cut up: (piece, is text to translate). Joined they are the document; no two texts touch."""
        ends = [start for start, _ in self._marks[1:]] + [len(self._document)]
        joined: list[tuple[str, bool]] = []
        for (start, is_text), end in zip(self._marks, ends, strict=True):
            piece = self._document[start:end]
            if joined and joined[-1][1] == is_text:
                joined[-1] = (joined[-1][0] + piece, is_text)
            elif piece:
                joined.append((piece, is_text))
        return [(piece, is_text and not piece.isspace()) for piece, is_text in joined]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._mark(is_text=False)
        if tag in _VOID:
            return
        if tag in _CLOSED_BY_NEXT and self._open and self._open[-1][0] == tag:
            self._open.pop()
        translate = self._translating
        for name, value in attrs:
            if name == "translate" and (value or "").lower() in _TRANSLATE_VALUES:
                translate = _TRANSLATE_VALUES[(value or "").lower()]
                break
        if tag in _UNTRANSLATED or any(name in _UNTRANSLATED for name, _ in self._open):
            translate = False
        self._open.append((tag, translate))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _FOREIGN:
            self._mark(is_text=False)
        else:  # in HTML, "<b/>" opens an element all the same
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._mark(is_text=False)
        names = [name for name, _ in self._open]
        if tag in names:
            del self._open[len(names) - 1 - names[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        self._mark(is_text=self._translating)

    def handle_entityref(self, name: str) -> None:
        self._mark(is_text=self._translating)

    def handle_charref(self, name: str) -> None:
        self._mark(is_text=self._translating)

    def handle_comment(self, data: str) -> None:
        self._mark(is_text=False)

    def handle_decl(self, decl: str) -> None:
        self._mark(is_text=False)

    def handle_pi(self, data: str) -> None:
        self._mark(is_text=False)

    def unknown_decl(self, data: str) -> None:
        self._mark(is_text=False)

    @property
    def _translating(self) -> bool:
        return self._open[-1][1] if self._open else True

    def _mark(self, *, is_text: bool) -> None:
        line, column = self.getpos()
        position = self._line_starts[line - 1] + column
        if position >= self._marks[-1][0]:
            self._marks.append((position, is_text))
