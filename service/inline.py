"""Documents with markup within their sentences: which texts are to be translated, and the same document again with
them translated.

A document is a row of tokens. What stands between two gaps is a run of text, in which tags and things may occur. A run
is translated sentence by sentence, each as a whole across its tags, which are then put where their words have gone.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.tagged import FIRST_THING, LAST_THING, Atom, TaggedSentence
from translator.segmentation import Segments, is_blank
from translator.translation import Translation

_MOST_THINGS = 2_000  # in a run; the text itself may have other characters for private use
_LINE_BREAKS = re.compile(r"[\r\n]")


@dataclass(frozen=True)
class Text:
    """Text as it is written in the document (`raw`), and as it is meant."""

    raw: str
    text: str


@dataclass(frozen=True)
class Tag:
    """The beginning or the end of an element within a sentence. A beginning ends with the next end of its name."""

    raw: str
    name: str
    closing: bool = False


@dataclass(frozen=True)
class Thing:
    """What stays as it is, at its place within the sentence: a picture, code, a name that is not to be translated."""

    raw: str


@dataclass(frozen=True)
class Gap:
    """What stays as it is, and between sentences."""

    raw: str


Token = Text | Tag | Thing | Gap


@dataclass(frozen=True)
class Joined:
    """A translated document."""

    text: str
    alternatives: tuple[str, ...]
    score: float
    warnings: tuple[str, ...]


class Document:
    """A document cut up. Joined with translations that change nothing, it is itself, character for character."""

    def __init__(
        self,
        tokens: Iterable[Token],
        *,
        language: str,
        escape: Callable[[str], str] = str,
        keep_order: bool = False,
    ) -> None:
        """`language` is that of the text; `escape` writes a translation as the document needs it. With `keep_order`,
        elements must follow each other in the translation as in the source.
        """
        self._escape = escape
        self._language = language
        self._keep_order = keep_order
        self._parts: list[str | TaggedSentence] = []
        run: list[Text | Tag | Thing] = []
        things = 0  # in this run
        for token in _without_empty(tokens):
            if isinstance(token, Thing):
                things += 1
            if isinstance(token, Gap) or (isinstance(token, Thing) and things > _MOST_THINGS):
                self._parts += [*self._run(run), token.raw]
                run, things = [], 0
            else:
                run.append(token)
        self._parts += self._run(run)

    @property
    def tagged(self) -> bool:
        """Whether a sentence has an element whose words must be found in its translation."""
        return any(isinstance(part, TaggedSentence) and part.elements for part in self._parts)

    @property
    def characters(self) -> int:
        """Of the text that is translated."""
        return sum(part.characters for part in self._parts if isinstance(part, TaggedSentence))

    @property
    def texts(self) -> list[str]:
        """The texts to translate, each once."""
        found = (text for part in self._parts if isinstance(part, TaggedSentence) for text in part.texts)
        return list(dict.fromkeys(found))

    def join(self, translations: Mapping[str, Translation]) -> Joined:
        """The document with the translations of its `texts` in their places.

        The k-th alternative of a document takes the k-th of every sentence, or the last that it has.
        """
        rendered = [
            part if isinstance(part, str) else part.rendered(translations, keep_order=self._keep_order)
            for part in self._parts
        ]
        text = "".join(part if isinstance(part, str) else part.candidates[0] for part in rendered)
        sentences = [part for part in rendered if not isinstance(part, str)]
        alternatives: list[str] = []
        for rank in range(1, max((len(sentence.candidates) for sentence in sentences), default=1)):
            alternative = "".join(
                part if isinstance(part, str) else part.candidates[min(rank, len(part.candidates) - 1)]
                for part in rendered
            )
            if alternative not in (text, *alternatives):
                alternatives.append(alternative)
        warnings = dict.fromkeys(warning for sentence in sentences for warning in sentence.warnings)
        return Joined(text, tuple(alternatives), sum(one.score for one in sentences), tuple(warnings))

    def _run(self, tokens: Sequence[Text | Tag | Thing]) -> Iterator[str | TaggedSentence]:
        atoms = list(_atoms(tokens))
        text = "".join(atom.text for atom in atoms)
        if is_blank(text):
            yield "".join(atom.raw for atom in atoms)
            return
        flat = _LINE_BREAKS.sub(" ", text)
        if flat == text and all(atom.kind == "text" for atom in atoms):
            spans: Sequence[tuple[int, int]] = [(0, len(text))]
        else:
            spans = Segments.of(flat, language=self._language).spans
        yield from _sentences(_split(atoms, spans), spans, self._escape)


def _without_empty(tokens: Iterable[Token]) -> list[Token]:
    """An element without content is a thing, such as an icon."""
    kept: list[Token] = []
    for token in tokens:
        last = kept[-1] if kept else None
        if (
            isinstance(token, Tag)
            and token.closing
            and isinstance(last, Tag)
            and not last.closing
            and last.name == token.name
        ):
            kept[-1] = Thing(last.raw + token.raw)
        else:
            kept.append(token)
    return kept


def _atoms(tokens: Sequence[Text | Tag | Thing]) -> Iterator[Atom]:
    """The tokens with their places in the run's text, in which a character stands for each thing."""
    used = {character for token in tokens if isinstance(token, Text) for character in token.text}
    free = (chr(code) for code in range(FIRST_THING, LAST_THING + 1) if chr(code) not in used)
    position = 0
    for token in tokens:
        if isinstance(token, Tag):
            yield Atom("close" if token.closing else "open", position, token.raw, "", token.name)
        else:
            text = token.text if isinstance(token, Text) else next(free)
            yield Atom("text" if isinstance(token, Text) else "thing", position, token.raw, text)
            position += len(text)


def _split(atoms: Sequence[Atom], spans: Sequence[tuple[int, int]]) -> list[Atom]:
    """The atoms, those of text cut where a sentence begins or ends."""
    cuts = sorted({position for span in spans for position in span})
    split = []
    for atom in atoms:
        inside = cuts[bisect_right(cuts, atom.start) : bisect_left(cuts, atom.end)] if atom.kind == "text" else []
        for cut in inside:
            before, atom = atom.cut(cut)
            split.append(before)
        split.append(atom)
    return split


def _partners(atoms: Sequence[Atom]) -> dict[int, int]:
    """For the number of each tag that has a counterpart the number of that."""
    partner: dict[int, int] = {}
    open_tags: list[int] = []
    names: Counter[str] = Counter()
    for number, atom in enumerate(atoms):
        if atom.kind == "open":
            open_tags.append(number)
            names[atom.name] += 1
        elif atom.kind == "close" and names[atom.name]:
            while True:  # what was opened within it ends with it, and has no end of its own
                opened = open_tags.pop()
                names[atoms[opened].name] -= 1
                if atoms[opened].name == atom.name:
                    break
            partner[opened], partner[number] = number, opened
    return partner


def _sentences(
    atoms: Sequence[Atom], spans: Sequence[tuple[int, int]], escape: Callable[[str], str]
) -> Iterator[str | TaggedSentence]:
    """The sentences of a run, and what stands between them as it is."""
    partner = _partners(atoms)
    done = 0
    for start, end in spans:
        first = next(
            number for number in range(done, len(atoms)) if atoms[number].text and atoms[number].start >= start
        )
        last = first
        for number in range(first, len(atoms)):
            if atoms[number].end > end:
                break
            if atoms[number].text:
                last = number
        first, last, broken = _with_partners(atoms, partner, done, first, last)
        yield "".join(atom.raw for atom in atoms[done:first])
        yield TaggedSentence(atoms[first : last + 1], broken=broken, escape=escape)
        done = last + 1
    yield "".join(atom.raw for atom in atoms[done:])


def _with_partners(
    atoms: Sequence[Atom], partner: Mapping[int, int], least: int, first: int, last: int
) -> tuple[int, int, bool]:
    """The range of a sentence's atoms, widened by tags at its edges whose counterparts stand within it; and whether a
    tag within it has its counterpart elsewhere or none.
    """
    waiting = list(range(first, last + 1))
    while waiting:
        number = waiting.pop()
        other = partner.get(number, -1)
        if atoms[number].kind not in ("open", "close") or first <= other <= last:
            continue
        if least <= other < first and not any(atom.text for atom in atoms[other:first]):
            waiting += range(other, first)
            first = other
        elif other > last and not any(atom.text for atom in atoms[last + 1 : other + 1]):
            waiting += range(last + 1, other + 1)
            last = other
        else:
            return first, last, True
    return first, last, False
