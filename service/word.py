"""Word documents: the text of every paragraph is translated, with its formatting, links and pictures in place.

Texts of a paragraph that have one formatting and follow each other are a group. Groups with another formatting than
most of the paragraph are elements within its sentences; their words are found in the translation, and written back.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, Literal

import docx
from docx.oxml.ns import qn
from lxml import etree

from service.inline import Document, Gap, Tag, Text, Thing, Token
from service.problems import bad_request

_MOST_BYTES = 50 * 1024 * 1024
_MOST_XML_BYTES = 16 * 1024 * 1024
_MOST_PARTS = 2_000
_CONTENT_TYPES = "[Content_Types].xml"
_RUN, _TEXT, _PARAGRAPH, _PROPERTIES = (qn(f"w:{name}") for name in ("r", "t", "p", "rPr"))
_BREAKS = frozenset(qn(f"w:{name}") for name in ("br", "tab", "cr", "ptab"))
_CONTAINERS = frozenset(qn(f"w:{name}") for name in ("hyperlink", "ins", "smartTag", "sdt", "sdtContent", "fldSimple"))
_UNSEEN = frozenset(qn(f"w:{name}") for name in ("rPr", "lastRenderedPageBreak", "delText"))
# Formatting that nobody sees.
_LANGUAGE = frozenset(qn(f"w:{name}") for name in ("lang", "noProof", "rtl"))
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_TEXT_PARTS = frozenset(["header", "footer", "footnotes", "endnotes"])
# Stands before and behind the number of a group, in what a translated paragraph is read back from.
_MARK = "\x1e"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class WordDocument:
    """A .docx file that has been read."""

    def __init__(self, content: bytes, language: str) -> None:
        """Raises `Problem` (400) where it is none, or would fill the memory."""
        try:
            _check(content)
            self._document = docx.Document(io.BytesIO(content))
            roots = list(self._roots())
            if self._document.part.element.tag != qn("w:document"):
                raise ValueError("another kind of document")
        except _TooLargeError:
            raise bad_request("The file is much larger unpacked than a Word document should be.") from None
        except Exception:  # whatever is wrong in the package; most of it has no error of its own
            raise bad_request("The file is no Word document (.docx), or is damaged.") from None
        paragraphs = [_Paragraph(element) for _, root in roots for element in root.iter(_PARAGRAPH)]
        self._changed = [(part, root) for part, root in roots if part is not None]
        self._paragraphs = [paragraph for paragraph in paragraphs if paragraph.has_text]
        self.documents = [
            Document(paragraph.tokens(), language=language, escape=_escape, keep_order=True)
            for paragraph in self._paragraphs
        ]

    def written(self, translations: list[str]) -> bytes:
        for paragraph, translation in zip(self._paragraphs, translations, strict=True):
            paragraph.write(translation)
        for part, root in self._changed:
            part._blob = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
        written = io.BytesIO()
        self._document.save(written)
        return written.getvalue()

    def _roots(self) -> Iterator[tuple[Any, Any]]:
        """The parts with text, as XML. With it the part, where python-docx knows it as bytes only (foot notes)."""
        yield None, self._document.part.element
        for related in self._document.part.rels.values():
            if not related.is_external and related.reltype.rpartition("/")[2] in _TEXT_PARTS:
                part = related.target_part
                if not part.partname.endswith(".xml"):
                    raise ValueError("XML under another name")
                element = getattr(part, "element", None)
                if element is not None:
                    yield None, element
                else:
                    yield part, etree.fromstring(part.blob, etree.XMLParser(resolve_entities=False, no_network=True))


class _TooLargeError(Exception):
    pass


def _check(content: bytes) -> None:
    """Refuse what grows without measure when it is unpacked, and declarations of entities, which no Word document has.

    Raises whatever `zipfile` does, too.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        parts = package.infolist()
        texts = [part for part in parts if part.filename.endswith((".xml", ".rels"))]
        if (
            len(parts) > _MOST_PARTS
            or sum(part.file_size for part in parts) > _MOST_BYTES
            or sum(part.file_size for part in texts) > _MOST_XML_BYTES
        ):
            raise _TooLargeError
        for part in texts:
            if b"<!" in package.read(part).replace(b"<!--", b""):
                raise ValueError("a document type declaration")
        for element in etree.fromstring(package.read(_CONTENT_TYPES)).iter("{*}*"):  # without comments
            named = element.get("PartName") or "." + element.get("Extension", "")
            kind = element.get("ContentType", "")
            is_parsed = kind.startswith("application/vnd.openxmlformats-") and kind.endswith("+xml")
            if is_parsed and not named.lower().endswith((".xml", ".rels")):
                raise ValueError("XML under another name, which was not counted above")


@dataclass(frozen=True)
class _Piece:
    """What stands in a run: a text, a break between two lines or columns, or a thing such as a picture."""

    kind: Literal["text", "break", "thing"]
    element: Any
    formatting: tuple[int, bytes]  # of texts, with the container that they are in; distinct for all else


class _Paragraph:
    def __init__(self, element: Any) -> None:
        pieces = list(_pieces(element, count(), 0))
        self._groups = [list(group) for _, group in groupby(pieces, key=lambda piece: piece.formatting)]
        lengths: Counter[tuple[int, bytes]] = Counter()
        for piece in pieces:
            if piece.kind == "text":
                lengths[piece.formatting] += len(piece.element.text or "")
        self.has_text = bool(lengths.total())
        self._common = lengths.most_common(1)[0][0] if lengths else None

    def tokens(self) -> Iterator[Token]:
        for number, group in enumerate(self._groups):
            mark = f"{_MARK}{number}{_MARK}"
            if group[0].kind == "break":
                yield Gap(mark)
            elif group[0].kind == "thing":
                yield Thing(mark)
            else:
                text = "".join(piece.element.text or "" for piece in group)
                if group[0].formatting == self._common:
                    yield Text(text, text)
                else:
                    yield Tag(mark, str(number))
                    yield Text(text, text)
                    yield Tag(_MARK * 2, str(number), closing=True)

    def write(self, translation: str) -> None:
        """Give each group what stands within its marks, and the common formatting what stands between them."""
        texts: dict[int, str] = {}
        last, inside = -1, False
        for index, part in enumerate(translation.split(_MARK)):
            if index % 2 == 0:
                place = last if inside else self._place_behind(last)
                texts[place] = texts.get(place, "") + part
            elif part:
                last = int(part)
                inside = self._groups[last][0].kind == "text"
            else:
                inside = False
        for number, group in enumerate(self._groups):
            if group[0].kind == "text":
                for piece in group:
                    piece.element.text = texts.pop(number, "")
                    piece.element.set(_SPACE, "preserve")

    def _place_behind(self, number: int) -> int:
        """The group that takes up text between the group of this number and the next: best one of common formatting."""
        texts = [index for index, group in enumerate(self._groups) if group[0].kind == "text"]
        if number + 1 in texts and self._groups[number + 1][0].formatting == self._common:
            return number + 1
        return max((index for index in texts if index <= number), default=texts[0])


def _pieces(container: Any, numbers: Iterator[int], number: int) -> Iterator[_Piece]:
    """What stands in the runs of a paragraph, or of a link and the like in it, which has the given number."""
    for child in container:
        if child.tag in _CONTAINERS:
            yield from _pieces(child, numbers, 1 + next(numbers))
        elif child.tag == _RUN:
            for part in child:
                if part.tag == _TEXT:
                    yield _Piece("text", part, (number, _properties(child)))
                elif part.tag not in _UNSEEN:
                    kind: Literal["break", "thing"] = "break" if part.tag in _BREAKS else "thing"
                    yield _Piece(kind, part, (-1 - next(numbers), b""))


def _properties(run: Any) -> bytes:
    """The formatting of a run, as far as it is seen."""
    properties = run.find(_PROPERTIES)
    if properties is None:
        return b""
    seen = sorted(etree.tostring(one, with_tail=False) for one in properties if one.tag not in _LANGUAGE)
    return b"".join(seen)


def _escape(text: str) -> str:
    """Without what XML cannot hold."""
    return _NO_XML.sub("", text)
