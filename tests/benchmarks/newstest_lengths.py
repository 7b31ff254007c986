"""Sentence lengths of news text: how often a pair of lengths occurs, counted in words.

`newstest_lengths.json` holds, for every length of an English sentence of the WMT news test sets 2008 to 2011, how often
French sentences of which length translate it: no text, only counts. Punctuation marks are words, as in the paper's
text; they are split off as sacreBLEU's tokeniser 13a does.
"""

from __future__ import annotations

import collections
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FILE = Path(__file__).with_suffix(".json")


def newstest_lengths() -> NDArray[np.int64]:
    """Rows of source length, target length and how often they occur, [kinds, 3]."""
    counts = json.loads(_FILE.read_text(encoding="utf-8"))
    return np.array(
        [
            (int(source), int(target), count)
            for source, targets in counts.items()
            for target, count in targets.items()
        ],
        dtype=np.int64,
    )  # fmt: skip


def count_lengths(source: Path, target: Path) -> NDArray[np.int64]:
    """The same of two files of any corpus, a sentence a line. Raises ValueError where they do not fit together."""
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    tokenise = Tokenizer13a()
    sides = [file.read_text(encoding="utf-8").removesuffix("\n").split("\n") for file in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"{source} and {target} have {len(sides[0])} and {len(sides[1])} lines")
    lengths = (tuple(len(tokenise(line).split()) for line in pair) for pair in zip(*sides, strict=True))
    counted = collections.Counter(pair for pair in lengths if min(pair) > 0)
    return np.array([(*pair, count) for pair, count in sorted(counted.items())], dtype=np.int64)


def write_lengths(lengths: NDArray[np.int64], file: Path = _FILE) -> None:
    """Write rows as `newstest_lengths` reads them, a source length a line."""
    by_source: dict[int, dict[int, int]] = {}
    for source, target, count in lengths.tolist():
        by_source.setdefault(source, {})[target] = count
    lines = [
        f'"{source}": ' + json.dumps({str(target): count for target, count in targets.items()}, separators=(",", ":"))
        for source, targets in sorted(by_source.items())
    ]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def draw_pairs(lengths: NDArray[np.int64], pairs: int, seed: int) -> NDArray[np.int64]:
    """Source and target length of so many pairs, drawn as often as they occur, [pairs, 2]."""
    weights = lengths[:, 2] / lengths[:, 2].sum()
    drawn: NDArray[np.int64] = lengths[np.random.default_rng(seed).choice(len(lengths), pairs, p=weights), :2]
    return drawn
