"""SubRip subtitles: numbers and times stay, the text of each subtitle is translated as one, over its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

import srt

from service.inline import Gap, Text, Token
from service.markup import tokens
from service.problems import bad_request

_TIMES = re.compile(r"-->[^\r\n]*")


def subtitle_tokens(text: str) -> Iterator[Token]:
    """The tokens of a file of subtitles. Raises `Problem` (400) where it is none."""
    position = 0
    for content in _contents(text):
        times = _TIMES.search(text, position)
        # `srt` turns line breaks into '\n'.
        lines = re.compile("\r?\n".join(map(re.escape, content.split("\n"))))
        found = lines.search(text, times.end()) if times else None
        if found is None:
            raise bad_request("The file is not in the format of SubRip subtitles.")
        yield Gap(text[position : found.start()])
        for token in tokens(found[0]):  # subtitles know a few tags, but no character references
            yield Text(token.raw, token.raw) if isinstance(token, Text) else token
        position = found.end()
    yield Gap(text[position:])


def _contents(text: str) -> list[str]:
    try:
        subtitles = list(srt.parse(text))
    except (srt.SRTParseError, srt.TimestampParseError, ValueError, OverflowError):
        raise bad_request("The file is not in the format of SubRip subtitles.") from None
    if not subtitles and text.strip():
        raise bad_request("The file has no subtitles.")
    return [subtitle.content for subtitle in subtitles]
