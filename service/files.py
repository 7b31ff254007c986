"""Files: their kinds, each with its way in and out of the translator, by the library that knows it."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from service import markdown, markup
from service.inline import Document, Gap, Text, Token
from service.problems import bad_request
from service.subtitles import subtitle_tokens
from service.word import WordDocument

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class OpenFile(Protocol):
    """A file that has been read: its documents, and the file again with translations in their places."""

    documents: list[Document]

    def written(self, translations: list[str]) -> bytes:
        """The file with one translation for each of its documents."""
        ...


@dataclass(frozen=True)
class FileKind:
    """A kind of file, by the ending of its name."""

    media_type: str
    read: Callable[[bytes, str], OpenFile]
    """From the file's bytes and the language of its text. Raises `Problem` (400) where it cannot be read."""


class TextFile:
    """A file that is one document of characters, in UTF-8 or as its byte order mark says."""

    def __init__(self, content: bytes, document: Callable[[str], Document]) -> None:
        mark, self._encoding = next(
            ((mark, name) for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), (b"", "utf-8")
        )
        self._mark = mark
        try:
            text = content[len(mark) :].decode(self._encoding)
        except UnicodeDecodeError:
            raise bad_request("The file is not encoded in UTF-8.") from None
        if "\0" in text:
            raise bad_request("The file contains the character NUL (U+0000): it is no text.")
        self.documents = [document(text)]

    def written(self, translations: list[str]) -> bytes:
        (text,) = translations
        return self._mark + text.encode(self._encoding)


def _text_kind(
    media_type: str, tokens_of: Callable[[str], Iterable[Token]], written_as: Callable[[str], str] = str
) -> FileKind:
    def read(content: bytes, language: str) -> TextFile:
        return TextFile(content, lambda text: Document(tokens_of(text), language=language, escape=written_as))

    return FileKind(media_type, read)


def _lines(text: str) -> Iterable[Token]:
    """Plain text: every line by itself, its line break as it is."""
    for line in text.splitlines(keepends=True):
        content = line.rstrip("\r\n")
        yield Text(content, content)
        yield Gap(line[len(content) :])


KINDS = {
    ".txt": _text_kind("text/plain; charset=utf-8", _lines),
    ".md": _text_kind("text/markdown; charset=utf-8", markdown.markdown_tokens, markdown.escape),
    ".srt": _text_kind("application/x-subrip", subtitle_tokens),
    ".html": _text_kind("text/html; charset=utf-8", markup.tokens, markup.escape),
    ".docx": FileKind("application/vnd.openxmlformats-officedocument.wordprocessingml.document", WordDocument),
}
"""The kinds of files that are translated."""
