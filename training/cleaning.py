"""Leaving out what no translator should learn from, and counting it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from training.splitting import Pair

# Everything that ends a line somewhere (`str.splitlines`), and the tab: sentences are stored one a line.
_LINE_BREAKS = re.compile(r"[\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")


def tidy(sentence: str) -> str:
    """`sentence` on one line: tabs and line breaks become a space, white space at its ends goes, the rest stays."""
    return _LINE_BREAKS.sub(" ", sentence).strip()


@dataclass
class Cleaner:
    """Decides which training pairs are kept.

    Attributes:
        maximum_length: tokens that either side may have.
        maximum_ratio: how many times the shorter side's tokens the longer side may have; None: any number.
        removed: pairs left out so far, by reason.
    """

    maximum_length: int
    maximum_ratio: float | None
    removed: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("empty", "duplicates", "too long", "ratio"), 0)
    )

    def clean_text(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The tidied pairs of which neither side is empty, each once, in their order."""
        seen: set[bytes] = set()
        for pair in pairs:
            source, target = tidy(pair[0]), tidy(pair[1])
            if not source or not target:
                self.removed["empty"] += 1
                continue
            # Digests, since the sentences of a large corpus do not fit into memory.
            digest = hashlib.blake2b(f"{source}\n{target}".encode(), digest_size=12).digest()
            if digest in seen:
                self.removed["duplicates"] += 1
                continue
            seen.add(digest)
            yield source, target

    def accepts(self, source_length: int, target_length: int) -> bool:
        """Whether a pair of these lengths, in tokens, is kept; counts it if not."""
        longer, shorter = max(source_length, target_length), min(source_length, target_length)
        if longer > self.maximum_length:
            self.removed["too long"] += 1
            return False
        if self.maximum_ratio is not None and longer > self.maximum_ratio * shorter:
            self.removed["ratio"] += 1
            return False
        return True
