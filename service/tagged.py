"""A sentence with tags within it, and where they belong in its translation.

Where the words of an element have gone is seen by translating them by themselves, too: an element is put around the
place of the sentence's translation at which one of the hypotheses for its own words stands, if there is just one such
place. Where there is none, its place is estimated by that in the source, and a warning says so. A sentence whose tags
have no counterparts within it is translated in parts, from tag to tag.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from service.faithful import core
from translator.segmentation import is_blank
from translator.translation import Translation

FIRST_THING, LAST_THING = 0xE000, 0xF8FF
"""Characters that stand for things: the private use area, where no text has a meaning that others know."""

_Span = tuple[int, int]

_WORD = re.compile(r"[\w\ue000-\uf8ff]+(?:[^\s\w]\w+)*")
_BREAK = re.compile(r"[^\S\r\n]*(?:\r\n|\r|\n)\s*")
_PUNCTUATION = r"[\s.,;:!?…\"'“”„«»‘’¡¿()\-–—]+"
_EDGES = re.compile(f"^{_PUNCTUATION}|{_PUNCTUATION}$")
_ESTIMATED = "markup: where tags stand within a sentence was estimated"
_IN_PARTS = "markup: a sentence was translated in parts, from tag to tag"


@dataclass(frozen=True)
class Atom:
    """A token at its place in a text: a tag has no characters there, a thing has one."""

    kind: Literal["text", "thing", "open", "close"]
    start: int
    raw: str
    text: str
    name: str = ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def cut(self, position: int) -> tuple[Atom, Atom]:
        """Two of it. A character reference goes to the first as a whole."""
        length = position - self.start
        plain = self.raw == self.text
        return (
            Atom("text", self.start, self.raw[:length] if plain else self.raw, self.text[:length]),
            Atom("text", position, self.raw[length:] if plain else "", self.text[length:]),
        )


@dataclass(frozen=True)
class _Element:
    """A pair of tags, and between which characters of the sentence they stand."""

    start: int
    end: int
    opening: str
    closing: str

    def holds(self, other: _Element) -> bool:
        return self.start <= other.start and other.end <= self.end


@dataclass(frozen=True)
class Rendered:
    """A sentence as the document needs it: its translation and its alternatives."""

    candidates: tuple[str, ...]
    score: float
    warnings: tuple[str, ...]


class TaggedSentence:
    """A sentence that begins and ends with the first and last of its atoms."""

    def __init__(self, atoms: Sequence[Atom], *, broken: bool, escape: Callable[[str], str]) -> None:
        """It is `broken` where a tag within it has its counterpart elsewhere or none."""
        self._atoms = atoms
        self._broken = broken
        self._escape = escape
        written = "".join(atom.text for atom in atoms)
        self._written = written
        self._raws = _raws(atoms)
        self._things = {atom.text: atom.raw for atom in atoms if atom.kind == "thing"}
        self.elements = [] if broken else _elements(atoms)

    @property
    def characters(self) -> int:
        return len(self._written)

    @property
    def texts(self) -> list[str]:
        """What is to be translated: the sentence and the words of its elements, or those between its tags."""
        if self._broken:
            between = ["".join(atom.text for atom in part) for part in self._parts() if isinstance(part, list)]
            return [core(_flat(text))[1] for text in between if not is_blank(text)]
        phrases = [phrase for element in self.elements if not is_blank(phrase := self._phrase(element))]
        return [_flat(self._written), *phrases]

    def rendered(self, translations: Mapping[str, Translation], *, keep_order: bool) -> Rendered:
        if self._broken:
            return self._in_parts(translations)
        whole = translations[_flat(self._written)]
        candidates: list[str] = []
        for text in (whole.text, *(other.text for other in whole.alternatives)):
            spans = [self._span(element, text, translations) for element in self.elements]
            if text == _flat(self._written):
                candidates.append("".join(atom.raw for atom in self._atoms))
            elif self._fit(spans, keep_order):
                candidates.append(self._placed(text, spans))
        if candidates:
            return Rendered(tuple(dict.fromkeys(candidates)), whole.score, whole.warnings)
        spans = [self._span(element, whole.text, translations) for element in self.elements]
        wide, narrow = (self._estimated(whole.text, least_words) for least_words in (1, 0))
        for estimates in (
            [span or estimate for span, estimate in zip(spans, wide, strict=True)],
            [span or estimate for span, estimate in zip(spans, narrow, strict=True)],
            wide,
        ):
            if self._fit(estimates, keep_order):
                break
        else:
            estimates = narrow  # which always fits
        return Rendered((self._placed(whole.text, estimates),), whole.score, (*whole.warnings, _ESTIMATED))

    def _fit(self, spans: Sequence[_Span | None], keep_order: bool) -> TypeGuard[Sequence[_Span]]:
        """Whether elements with these places in a translation are within each other, or apart, as in the source."""
        for number, (element, span) in enumerate(zip(self.elements, spans, strict=True)):
            if span is None:
                return False
            for other, other_span in zip(self.elements[:number], spans, strict=False):
                assert other_span is not None
                within = other_span[0] <= span[0] and span[1] <= other_span[1]
                behind = other_span[1] <= span[0]
                before = span[1] <= other_span[0] and not keep_order
                if not (within if other.holds(element) else behind or before):
                    return False
        return True

    def _estimated(self, text: str, least_words: int) -> list[_Span]:
        """Places of the elements in a translation that are as far into it as those in the source, in words; with so
        many words at least, where the element has any.
        """
        words = [match.span() for match in _WORD.finditer(text)]
        starts = [match.start() for match in _WORD.finditer(self._written)]
        spans: list[_Span] = []
        for number, element in enumerate(self.elements):
            first, last = (
                round(bisect_left(starts, place) * len(words) / max(len(starts), 1))
                for place in (element.start, element.end)
            )
            holders = [spans[one] for one in range(number) if self.elements[one].holds(element)]
            least, most = (
                (max(span[0] for span in holders), min(span[1] for span in holders)) if holders else (0, len(text))
            )
            apart = [spans[one][1] for one in range(number) if not self.elements[one].holds(element)]
            least = min(most, max(least, *apart, 0))
            if bisect_left(starts, element.start) < bisect_left(starts, element.end) and words:
                first = min(first, len(words) - least_words)
                last = max(last, first + least_words)
            start = words[first][0] if first < len(words) else len(text)
            end = words[last - 1][1] if last > first else start
            spans.append((min(max(start, least), most), min(max(end, least), most)))
        return spans

    def _placed(self, text: str, spans: Sequence[_Span]) -> str:
        """The translation `text` with the elements at these places."""
        breaks = _breaks(self._written, self._raws, text)
        return "".join(self._written_out(text, breaks, 0, len(text), list(range(len(self.elements))), spans))

    def _span(self, element: _Element, text: str, translations: Mapping[str, Translation]) -> _Span | None:
        """Where the element's words stand in the translation `text`."""
        if is_blank(self._written[: element.start]) and is_blank(self._written[element.end :]):
            outside = self._written[: element.start] + self._written[element.end :]
            if not outside:
                return 0, len(text)
            if not _EDGES.sub("", outside):
                return _without_edges(text)
        phrase = self._phrase(element)
        if is_blank(phrase):
            return None
        before = _places(phrase, self._written[: element.start] + self._written[element.start : element.end])
        occurrences = len(_places(phrase, self._written))
        own = translations[phrase]
        for candidate in (own.text, *(other.text for other in own.alternatives), phrase):
            places = _places(candidate, text)
            if len(places) == max(occurrences, 1):
                # What only looks like the phrase where the text is cut behind it makes one more.
                return places[min(max(len(before), 1), len(places)) - 1]
        return None

    def _phrase(self, element: _Element) -> str:
        return _flat(self._written[element.start : element.end]).strip()

    def _written_out(
        self,
        text: str,
        breaks: Mapping[int, str],
        start: int,
        end: int,
        numbers: Sequence[int],
        spans: Sequence[_Span],
    ) -> Iterator[str]:
        """`text` from `start` to `end` with those of the elements that `numbers` names."""
        outermost: list[int] = []
        inner: dict[int, list[int]] = {}
        for number in numbers:  # by their beginnings, outer ones first
            if outermost and self.elements[outermost[-1]].holds(self.elements[number]):
                inner[outermost[-1]].append(number)
            else:
                outermost.append(number)
                inner[number] = []
        for number in sorted(outermost, key=lambda one: spans[one]):
            element, (first, last) = self.elements[number], spans[number]
            yield self._plain(text, breaks, start, first)
            yield element.opening
            yield from self._written_out(text, breaks, first, last, inner[number], spans)
            yield element.closing
            start = last
        yield self._plain(text, breaks, start, end)

    def _plain(self, text: str, breaks: Mapping[int, str], start: int, end: int) -> str:
        parts = [""]
        for position in range(start, end):
            kept = breaks.get(position) or self._things.get(text[position])
            if kept is None:
                parts[-1] += text[position]
            else:
                parts[-1:] = [self._escape(parts[-1]), kept, ""]
        return "".join([*parts[:-1], self._escape(parts[-1])])

    def _parts(self) -> list[Atom | list[Atom]]:
        """The texts between the tags, and what stands between them."""
        parts: list[Atom | list[Atom]] = []
        for atom in self._atoms:
            if atom.kind != "text":
                parts.append(atom)
            elif parts and isinstance(parts[-1], list):
                parts[-1].append(atom)
            else:
                parts.append([atom])
        return parts

    def _in_parts(self, translations: Mapping[str, Translation]) -> Rendered:
        rendered: list[str] = []
        score = 0.0
        warnings = [_IN_PARTS]
        for part in self._parts():
            raw = part.raw if isinstance(part, Atom) else "".join(atom.raw for atom in part)
            written = "" if isinstance(part, Atom) else "".join(atom.text for atom in part)
            if isinstance(part, Atom) or is_blank(written):
                rendered.append(raw)
                continue
            before, words, after = core(_flat(written))
            translation = translations[words]
            text = before + translation.text + after
            breaks = _breaks(written, _raws(part), text)
            rendered.append(raw if translation.text == words else self._plain(text, breaks, 0, len(text)))
            score += translation.score
            warnings += translation.warnings
        return Rendered(("".join(rendered),), score, tuple(dict.fromkeys(warnings)))


def _raws(atoms: Sequence[Atom]) -> list[str]:
    """How each character of their text is written; a character reference is at the first that it stands for."""
    return [
        raw
        for atom in atoms
        if atom.text
        for raw in (atom.raw if atom.raw == atom.text else [atom.raw, *[""] * (len(atom.text) - 1)])
    ]


def _flat(text: str) -> str:
    """A line break within a sentence is a space to the model."""
    return _BREAK.sub(" ", text)


def _elements(atoms: Sequence[Atom]) -> list[_Element]:
    """The pairs of tags, by their beginnings, the outer of two first."""
    found: dict[int, _Element] = {}
    opened: list[int] = []
    begin = atoms[0].start if atoms else 0
    for number, atom in enumerate(atoms):
        if atom.kind == "open":
            opened.append(number)
        elif atom.kind == "close":
            opening = opened.pop()
            first = atoms[opening]
            found[opening] = _Element(first.start - begin, atom.start - begin, first.raw, atom.raw)
    return [found[number] for number in sorted(found)]


def _places(phrase: str, text: str) -> list[tuple[int, int]]:
    """Where the words of `phrase` stand in `text`, whatever their case; nowhere, where it has none."""
    words = _EDGES.sub("", phrase)
    if is_blank(words) and not any(FIRST_THING <= ord(character) <= LAST_THING for character in words):
        return []
    pattern = r"\s+".join(map(re.escape, words.split()))
    return [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)]


def _without_edges(text: str) -> tuple[int, int]:
    """`text` without the punctuation at its ends."""
    inner = _EDGES.sub("", text)
    start = text.find(inner)
    return start, start + len(inner)


def _breaks(source: str, raws: Sequence[str], translation: str) -> dict[int, str]:
    """Which spaces of a translation become line breaks, so that its lines are about as long as the source's."""
    breaks: dict[int, str] = {}
    spaces = [match.start() for match in re.finditer(" ", translation)]
    for match in _BREAK.finditer(source):
        wanted = match.start() / len(source) * len(translation)
        free = [space for space in spaces if space > max(breaks, default=-1)]
        if free:
            breaks[min(free, key=lambda space: abs(space - wanted))] = "".join(raws[match.start() : match.end()])
    return breaks
