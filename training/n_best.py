"""N-best lists of any system: Moses's format and JSON lines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import InputError
from training.text_files import read_lines

Format = Literal["moses", "jsonl"]

_SEPARATOR = " ||| "
_BARS = re.compile(r"\s*\|\|\|\s*")


@dataclass(frozen=True)
class Candidate:
    """A translation with its system's score, the higher the better."""

    text: str
    score: float


class _JSONCandidate(BaseModel):
    """A line of a list as JSON; further members are of no interest."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    id: int = Field(ge=0, strict=True)
    text: str
    score: float


@dataclass(frozen=True)
class NBestList:
    """The candidates of every sentence, in the order of the file, and the format they were written in."""

    sentences: list[list[Candidate]]
    format: Format


def read_n_best(file: Path, count: int) -> NBestList:
    """The list of `count` source lines, each with at least one candidate.

    Moses: "number ||| text ||| features ||| score", or "number ||| text ||| score", numbers from 0; what follows the
    score (word alignments) is passed over. JSON lines: {"id": number, "text": …, "score": …}. The first character says
    which it is.

    Raises `InputError`, which names the line, where it is neither or does not belong to the source.
    """
    lines = list(read_lines(file))
    form: Format = "jsonl" if next((line for line in lines if line.strip()), "").lstrip().startswith("{") else "moses"
    sentences: list[list[Candidate]] = [[] for _ in range(count)]
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            sentence, candidate = _json(line) if form == "jsonl" else _moses(line)
        except ValueError as error:
            raise InputError(f"{file}: line {number} {error}") from error
        if sentence >= count:
            raise InputError(
                f"{file}: line {number} is about sentence {sentence}, and the source has {count:,} (counted from 0)"
            )
        sentences[sentence].append(candidate)
    for sentence, candidates in enumerate(sentences):
        if not candidates:
            raise InputError(f"{file}: has nothing about sentence {sentence} (counted from 0)")
    return NBestList(sentences, form)


def n_best_lines(sentences: Iterable[Sequence[Candidate]], form: Format) -> str:
    """The list as `read_n_best` reads it, in the order given."""
    lines = []
    for number, candidates in enumerate(sentences):
        for candidate in candidates:
            if form == "jsonl":
                document = {"id": number, "text": candidate.text, "score": candidate.score}
                lines.append(json.dumps(document, ensure_ascii=False))
            else:
                lines.append(_SEPARATOR.join((str(number), candidate.text, f"{candidate.score:.6f}")))
    return "".join(f"{line}\n" for line in lines)


def _json(line: str) -> tuple[int, Candidate]:
    try:
        found = _JSONCandidate.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(map(str, fault["loc"]))
        raise ValueError(
            f'is not {{"id": number, "text": …, "score": …}} ({name + ": " if name else ""}{fault["msg"]})'
        ) from error
    return found.id, Candidate(found.text, found.score)


def _moses(line: str) -> tuple[int, Candidate]:
    fields = _BARS.split(line.strip())
    try:
        number = int(fields[0])
        score = float(fields[2] if len(fields) == 3 else fields[3])
        if number < 0 or not math.isfinite(score):
            raise ValueError
    except (ValueError, IndexError):
        raise ValueError('is not "number ||| text ||| features ||| score"') from None
    return number, Candidate(fields[1], score)
