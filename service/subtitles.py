"""SubRip subtitles: numbers and times stay, the text of each subtitle is translated as one, over its lines.

They are read line by line: the expressions of libraries for them take minutes for a few thousand digits or empty lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.inline import Gap, Text, Token
from service.markup import tokens
from service.problems import bad_request

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_CLOCK = r"\d{1,4}(?:[,.:]\d{1,4}){2,3}"
_TIMES = re.compile(rf"\s{{0,8}}{_CLOCK}\s{{0,8}}-->\s{{0,8}}{_CLOCK}(?!\d)")
_NUMBER = re.compile(r"\s{0,8}\d{1,9}\s*$")


def subtitle_tokens(text: str) -> Iterator[Token]:
    """The tokens of a file of subtitles. Raises `Problem` (400) where it is none."""
    position = 0
    for start, end in _contents(text):
        yield Gap(text[position:start])
        for token in tokens(text[start:end]):  # subtitles know a few tags, but no character references
            yield Text(token.raw, token.raw) if isinstance(token, Text) else token
        position = end
    yield Gap(text[position:])


def _contents(text: str) -> list[tuple[int, int]]:
    """Where the text of each subtitle begins and ends."""
    lines = [match.span() for match in _LINE.finditer(text)]
    times = [number for number, (start, end) in enumerate(lines) if _TIMES.match(text, start, end)]
    if not times:
        if text.strip():
            raise bad_request("The file has no subtitles.")
        return []
    if text[: lines[_head(text, lines, times[0])][0]].strip():
        raise bad_request("The file is not in the format of SubRip subtitles.")
    contents = []
    for number, following in zip(times, [*times[1:], None], strict=True):
        last = len(lines) if following is None else _head(text, lines, following)
        block = [line for line in lines[number + 1 : last] if text[slice(*line)].strip()]
        if block:
            start, end = block[0][0], block[-1][1]
            contents.append((start, start + len(text[start:end].rstrip("\r\n"))))
    return contents


def _head(text: str, lines: list[tuple[int, int]], times: int) -> int:
    """Which line a subtitle begins with: that of its number, where it has one before that of its times."""
    return times - 1 if times and _NUMBER.match(text, *lines[times - 1]) else times
