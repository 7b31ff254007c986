"""What must come through a translation unaltered: placeholders, addresses, numbers, names, and terms of a glossary.

Each is looked for in the source, and after decoding in the translation; a translation that lacks one does not hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

# Placeholders of common template languages, addresses, and characters of the private use area, which stand for markup
# within a sentence: "{name}", "{{ name }}", "${name}", "%s", "%1$s", "%(name)s", "$NAME", Weblate's "[X0X]". Every part
# that could be read in several ways has an end, so that no text takes more than a moment.
_PLACEHOLDER = (
    r"(?:https?|ftp)://[^\s<>\"\ue000-\uf8ff]+|www\.[^\s<>\"\ue000-\uf8ff]+"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
    r"|\{\{[^{}\n]*\}\}|\$?\{[^{}\s][^{}\n]*\}|\[X\d+X\]"
    r"|(?<!\d)%(?:\d{1,2}\$)?[-+#0]{0,5}\d{0,4}(?:\.\d{1,4})?(?:hh?|ll?|[Lqjzt])?[diouxXeEfFgGaAcs@](?![^\W\d_])"
    r"|%\(\w{1,64}\)[-+#0]{0,5}\d{0,4}(?:\.\d{1,4})?[a-zA-Z]|%%"
    r"|\$[A-Za-z_]\w*"
    r"|[\ue000-\uf8ff]"
)
_NUMBER = r"(?<!\w)(?<!\w[.,])\d+(?:[.,]\d+)*"
_ADDRESS = re.compile(r"(?:https?|ftp)://|www\.")
_AFTER_ADDRESS = ".,;:!?)]}'’»"
_NUMBER_PATTERN = re.compile(_NUMBER)
# Between the digits of a number in another language's spelling.
_GROUPING = "[.,' ’\u00a0\u202f\u2009]?"

Kind = Literal["placeholder", "number", "term"]


@dataclass(frozen=True)
class Item:
    """A protected part of a text: `source` from `start` to `end`, and what must stand for it in the translation."""

    start: int
    end: int
    source: str
    target: str
    kind: Kind


class Protection:
    """What is protected in the texts of one request."""

    def __init__(self, do_not_translate: Sequence[str] = (), glossary: Mapping[str, str] | None = None) -> None:
        """`glossary` says for terms of the source how they are to be translated. A term is found where it stands as a
        whole word; one that is written in small letters in any case.
        """
        self._targets = {term: term for term in do_not_translate}
        self._glossary = dict(glossary or {})
        self._targets |= self._glossary
        self._folded = {term.casefold(): term for term in self._glossary if term == term.lower()}
        alternatives = [f"(?P<placeholder>{_PLACEHOLDER})"]
        if self._targets:
            terms = sorted(self._targets, key=len, reverse=True)
            patterns = [f"(?i:{re.escape(term)})" if term in self._folded else re.escape(term) for term in terms]
            alternatives.insert(0, rf"(?P<term>(?<!\w)(?:{'|'.join(patterns)})(?!\w))")
        self._pattern = re.compile("|".join([*alternatives, f"(?P<number>{_NUMBER})"]))

    def find(self, text: str) -> list[Item]:
        """The protected parts of `text`, in order, without overlap."""
        items = []
        for match in self._pattern.finditer(text):
            found = match[0]
            if match.lastgroup == "number":
                items.append(Item(match.start(), match.end(), found, found, "number"))
            elif match.lastgroup == "term":
                items.append(Item(match.start(), match.end(), found, self._target(found), "term"))
            else:
                if _ADDRESS.match(found):
                    found = found.rstrip(_AFTER_ADDRESS)
                items.append(Item(match.start(), match.start() + len(found), found, found, "placeholder"))
        return items

    def _target(self, found: str) -> str:
        if found in self._targets:
            return self._targets[found]
        term = self._folded.get(found.casefold()) or next(
            term for term in self._folded.values() if re.fullmatch(re.escape(term), found, re.IGNORECASE)
        )  # "İ" is an "i" to a pattern, and no "i" when it is folded
        target = self._targets[term]
        return target[:1].upper() + target[1:] if found[0].isupper() else target

    def missing(self, items: Sequence[Item], translation: str) -> list[Item]:
        """Those of `items` that the translation lacks or has too often.

        A placeholder must stand there as often as in the source, a number or a term at least as often.
        """
        required = Counter(item.target for item in items)
        present = _counted(translation)
        faulty = set()
        for item in items:
            if item.kind == "term":
                least = required[item.target]
                if _occurrences(item.target, translation) < least:
                    faulty.add(item.target)
            elif present[item.target] < required[item.target]:
                faulty.add(item.target)
        wanted = {item.target for item in items}
        for target, count in present.items():
            if not _NUMBER_PATTERN.fullmatch(target) and target in wanted and count > required[target]:
                faulty.add(target)
        return [item for item in items if item.target in faulty]

    def invented(self, items: Sequence[Item], translation: str) -> bool:
        """Whether the translation has a placeholder that is not in the source."""
        known = " ".join(item.target for item in items)
        return any(found not in known for found in _counted(translation) if not _NUMBER_PATTERN.fullmatch(found))

    def holds(self, items: Sequence[Item], translation: str) -> bool:
        return not self.missing(items, translation) and not self.invented(items, translation)


def respelt(items: Sequence[Item], translation: str) -> str:
    """`translation` with its numbers spelt as in the source, where they differ in separators alone: 1 000 is 1,000."""
    for item in items:
        if item.kind != "number" or item.target in _counted(translation):
            continue
        digits = _GROUPING.join(re.findall(r"\d", item.target))
        pattern = rf"(?<!\d)(?<!\d[.,]){digits}(?!\d)(?![.,]\d)"
        translation = re.sub(pattern, item.target.replace("\\", r"\\"), translation, count=1)
    return translation


def renumbered(items: Sequence[Item], translation: str) -> tuple[str, list[tuple[str, str]]]:
    """`translation` with its wrong numbers replaced by those that it lacks, in order, if there are as many.

    Returned with it: what was replaced by what.
    """
    lacking = Counter(item.target for item in items if item.kind == "number")
    wrong = []
    for match in _NUMBER_PATTERN.finditer(translation):
        if lacking[match[0]] > 0:
            lacking[match[0]] -= 1
        else:
            wrong.append(match)
    missing: list[str] = []
    for item in reversed(items):
        if item.kind == "number" and lacking[item.target] > 0:
            lacking[item.target] -= 1
            missing.insert(0, item.target)
    if not missing or len(missing) != len(wrong):
        return translation, []
    for match, number in reversed(list(zip(wrong, missing, strict=True))):
        translation = translation[: match.start()] + number + translation[match.end() :]
    return translation, [(match[0], number) for match, number in zip(wrong, missing, strict=True)]


_ANYTHING = Protection()


def _counted(translation: str) -> Counter[str]:
    """How often each placeholder and each number stands in a translation."""
    return Counter(item.target for item in _ANYTHING.find(translation))


def _occurrences(term: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(term)}(?!\w)", text))
