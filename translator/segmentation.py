"""Text to sentences, and translated sentences back into the same text.

A `Segments` holds sentences by their character offsets in the text. Everything between them (white space, line breaks,
list markers, pieces without a letter) is a separator, which comes back character for character: joining the
sentences themselves gives the text again.

Sentence ends are found by `sentencex` (MIT, kept by the Wikimedia Foundation, some 300 languages): it returns every
character of its input, is made for machine translation (two sentences left together do less harm than one torn apart),
knows abbreviations of each language, to which a few are added here, and splits some 100 MB/s in compiled code. Of its
peers, pysbd, blingfire and syntok have seen no release since 2022, and the licences of sentence-splitter (LGPL) and
minisbd (AGPL) are not ours. A line break always ends a sentence here: models are trained on single lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import sentencex

Span = tuple[int, int]

# sentencex searches the rest of its input for the partner of a quotation mark: quadratic time for many unclosed ones.
_BLOCK_CHARACTERS = 4096
# What str.splitlines takes for line ends.
_LINE = re.compile("[^\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+")
# "- ", "* ", "• ", "3. ", "(12) ", "b) " at the start of a line mark an item of a list and are no part of its sentence.
_LIST_MARKER = re.compile(r"\s*(?:[-*+•‣◦–—>#]+|\(?\d{1,3}[.)]|\(?[a-z]\))\s+")
_CLOSING = frozenset(")]}»”’\"'")
# Any character in emoji presentation, and keycaps: letters or digits to `isalnum`, pictures to a reader.
_EMOJI = re.compile(".\ufe0f\u20e3?|[0-9#*]\u20e3", re.DOTALL)
_CLAUSE_END = re.compile(r"[,;:…–—](?=\s)|[、，；：。！？]|[.!?)\]”»](?=\s)")
_WHITE_SPACE = re.compile(r"\s+")
# What sentencex takes for the end of a sentence and is none: initials, titles and units before what they belong to.
_ABBREVIATED = {
    "fr": re.compile(
        r"(?:^|[\s('’«-])(?:[^\W\d_a-zß-ÿ]|MM|Drs?|Pr|[Pp]rof|Me|Mmes?|Mlles?|Mgr|Ste?|n|vol|pp?|approx)\.\s+$"
    ),
    "en": re.compile(r"(?:^|[\s(])(?:[Vv]ol|approx)\.\s+$"),
}
_LONGEST_ABBREVIATION = 16  # characters, white space included
_ZERO_WIDTH_JOINER = "\u200d"


def is_blank(text: str) -> bool:
    """Whether `text` has no letter: white space, punctuation, numbers, symbols and emoji need no translation."""
    return not any(character.isalpha() for character in _EMOJI.sub("", text))


@dataclass(frozen=True)
class Segments:
    """A text and the spans of its sentences: character offsets (start, end), in order, without overlap."""

    text: str
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, text: str, *, language: str, split_sentences: bool = True) -> Segments:
        """The sentences of `text`, written in `language` (a code such as 'en'), or all of it as one sentence.

        White space around a sentence is never part of it, and no sentence is blank.
        """
        found = _sentences(text, language) if split_sentences else [(0, len(text))]
        return cls(text, _trimmed(text, found))

    @property
    def sentences(self) -> list[str]:
        return [self.text[start:end] for start, end in self.spans]

    @property
    def separators(self) -> list[str]:
        """What stands before, between and behind the sentences: one more than there are sentences."""
        starts = [0, *(end for _, end in self.spans)]
        ends = [*(start for start, _ in self.spans), len(self.text)]
        return [self.text[start:end] for start, end in zip(starts, ends, strict=True)]

    def join(self, translations: Sequence[str]) -> tuple[str, list[Span]]:
        """The text with each sentence replaced by its translation, and where each translation stands in it.

        Raises `ValueError` unless there is one translation for every sentence.
        """
        separators = self.separators
        parts = [separators[0]]
        spans: list[Span] = []
        position = len(separators[0])
        for translation, separator in zip(translations, separators[1:], strict=True):
            spans.append((position, position + len(translation)))
            parts += [translation, separator]
            position += len(translation) + len(separator)
        return "".join(parts), spans

    def divide(self, limit: int, count_tokens: Callable[[str], int]) -> tuple[Segments, dict[int, int]]:
        """The same text with every sentence of more than `limit` tokens cut into parts of at most `limit`.

        A part ends, in order of preference, behind the punctuation of a clause, at white space, between characters.
        Returned with it: for each part (by its position in the new spans) the tokens of the sentence it was cut from.
        """
        spans: list[Span] = []
        tokens_before_cut: dict[int, int] = {}
        for start, end in self.spans:
            sentence = self.text[start:end]
            tokens = count_tokens(sentence)
            if tokens <= limit:
                spans.append((start, end))
                continue
            cuts = _cut(sentence, limit, count_tokens)
            parts = _trimmed(self.text, ((start + first, start + last) for first, last in cuts))
            tokens_before_cut |= dict.fromkeys(range(len(spans), len(spans) + len(parts)), tokens)
            spans += parts
        return Segments(self.text, tuple(spans)), tokens_before_cut


def _trimmed(text: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """`spans` without the white space at their ends, and without those that are blank."""
    trimmed = []
    for start, end in spans:
        piece = text[start:end]
        if not is_blank(piece):
            trimmed.append((start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())))
    return tuple(trimmed)


def _sentences(text: str, language: str) -> Iterator[Span]:
    for line in _LINE.finditer(text):
        marker = _LIST_MARKER.match(line[0])
        offset = line.start() + (marker.end() if marker else 0)
        content = text[offset : line.end()]
        start = 0
        for boundary in _boundaries(content, language):
            end = _behind_closing(content, boundary)
            # "Node.js", "example.com": a full stop between two letters ends nothing.
            within_word = content[end - 1] == "." and content[end : end + 1].isalnum()
            if start < end and not within_word and not _is_abbreviated(content, end, language):
                yield offset + start, offset + end
                start = end


def _is_abbreviated(content: str, end: int, language: str) -> bool:
    """Whether what ends there is an abbreviation that something follows."""
    abbreviated = _ABBREVIATED.get(language)
    if abbreviated is None or end == len(content):
        return False
    return abbreviated.search(content, max(0, end - _LONGEST_ABBREVIATION), end) is not None


def _boundaries(line: str, language: str) -> Iterator[int]:
    """Where sentencex sees the sentences of one line end; the last boundary is the line's length."""
    position = 0
    while position < len(line):
        block = line[position : position + _BLOCK_CHARACTERS]
        pieces = sentencex.segment(language, block)
        if "".join(pieces) != block:  # a sentence too long does less harm than a character lost
            pieces = [block]
        if position + len(block) < len(line):
            # The next block shows where the last sentence of this one ends, unless it fills the block.
            pieces = pieces[:-1] or [block[: _best_cut(block, 1, len(block))]]
        for piece in pieces:
            position += len(piece)
            yield position


def _behind_closing(line: str, boundary: int) -> int:
    """The boundary, moved behind closing brackets and quotation marks that follow it without white space."""
    while 0 < boundary < len(line) and line[boundary] in _CLOSING and not line[boundary - 1].isspace():
        boundary += 1
    return boundary


def _cut(text: str, limit: int, count_tokens: Callable[[str], int]) -> Iterator[Span]:
    """Parts of at most `limit` tokens that together are `text`; a single character may have more."""
    start = 0
    while start < len(text):
        longest = _longest_prefix(text, start, limit, count_tokens)
        end = start + longest
        if end < len(text):
            # Not before half of what fits: a sentence in shreds is translated worse than one cut at a lesser place.
            preferred = _best_cut(text, start + max(1, longest // 2), end)
            # Fewer characters can have more tokens, where a word is torn.
            end = preferred if count_tokens(text[start:preferred]) <= limit else end
        yield start, end
        start = end


def _longest_prefix(text: str, start: int, limit: int, count_tokens: Callable[[str], int]) -> int:
    """How many characters from `start` on have at most `limit` tokens; at least one."""
    fits, too_long = 1, limit
    while count_tokens(text[start : start + too_long]) <= limit:
        fits = too_long
        if start + fits >= len(text):
            return len(text) - start
        too_long *= 2
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if count_tokens(text[start : start + middle]) <= limit:
            fits = middle
        else:
            too_long = middle
    return fits


def _best_cut(text: str, first: int, last: int) -> int:
    """The best position in [first, last] to cut `text` at: behind a clause, at white space, between two characters."""
    for pattern in (_CLAUSE_END, _WHITE_SPACE):
        ends = [match.end() for match in pattern.finditer(text, first - 1, last + 1) if first <= match.end() <= last]
        if ends:
            return ends[-1]
    position = last
    while position > first and _belong_together(text[position - 1 : position + 1]):
        position -= 1
    return position if position > first else last


def _belong_together(pair: str) -> bool:
    """Whether two neighbouring characters make one letter or one picture: accents, variants, joined emoji."""
    return len(pair) == 2 and (unicodedata.category(pair[1]).startswith("M") or _ZERO_WIDTH_JOINER in pair)
