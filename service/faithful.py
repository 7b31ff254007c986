"""Translations in which everything protected stands unaltered, however the model mangles it.

Of the hypotheses for a sentence, the best that has everything is taken. Where none has, the sentence is tried with
common names or numbers in the place of what is protected, and if that does not help, in parts. The first way whose
result holds is taken. The last one always does: what is protected is then kept out of the model altogether, and a
warning says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from service.protection import Item, Protection, renumbered, respelt
from translator.segmentation import is_blank
from translator.translation import Alternative, SentenceTranslation, Translation, assemble

Ask = Callable[[Sequence[str]], list[Translation]]
"""Translates texts, with as many alternatives as cost nothing."""

# Words that the training text of nearly every model has, and that most translations leave as they are.
_NAMES = ("Tom", "Paris", "Boston", "John", "Berlin", "Peter", "Madrid", "Anna")
_NUMBERS = ("10", "20", "30", "50", "12", "15", "25", "40")
_UNTRANSLATED = "untranslated: a sentence was left as it is, because the model made up a placeholder"
_INTEGER = re.compile(r"%.*[diu]$")
_LEADING = re.compile(r"[\W_]*")
_ENDING = re.compile(r"[\s\u00a0\u202f]*[.!?…]+$")


@dataclass(frozen=True)
class _Plan:
    """One way to translate a sentence: `parts` are texts to translate and items to keep; joined they are the whole."""

    parts: tuple[str | Item, ...]
    stand_ins: tuple[tuple[str, str], ...] = ()  # and what they stand for in the translation

    @property
    def whole(self) -> bool:
        """Whether it is the sentence as a whole that is translated."""
        return len(self.parts) == 1 and isinstance(self.parts[0], str)

    @property
    def texts(self) -> list[str]:
        if self.whole:
            return [str(self.parts[0])]
        return [core(part)[1] for part in self.parts if isinstance(part, str) and not is_blank(part)]


class Faithful:
    """Puts translations right. For one request."""

    def __init__(self, protection: Protection, ask: Ask) -> None:
        self._protection = protection
        self._ask = ask

    def repaired(self, pairs: Sequence[tuple[str, Translation]]) -> list[Translation]:
        """The translation of each text, with everything that is protected in it; alternatives that come along help."""
        checked = [self._checked(text, translation) for text, translation in pairs]
        faulty = [
            (number, place, sentence)
            for number, sentences in enumerate(checked)
            for place, sentence in enumerate(sentences or [])
            if self._lacks(sentence)
        ]
        for (number, place, _), repaired in zip(faulty, self._tried([one for *_, one in faulty]), strict=True):
            sentences = checked[number]
            assert sentences is not None
            sentences[place] = repaired
        results = []
        for (text, translation), sentences in zip(pairs, checked, strict=True):
            results.append(translation if sentences is None else self._whole(text, assemble(text, sentences)))
        return results

    def _checked(self, text: str, translation: Translation) -> list[SentenceTranslation] | None:
        """The sentences with their numbers put right and without alternatives that do not hold; None where nothing is
        protected.
        """
        if not self._protection.find(text):
            return None
        return [self._righted(sentence) for sentence in translation.sentences]

    def _righted(self, sentence: SentenceTranslation) -> SentenceTranslation:
        items = self._protection.find(sentence.source)
        others = []
        for other in sentence.alternatives:
            text, _ = renumbered(items, respelt(items, other.text))
            if self._protection.holds(items, text):
                others.append(replace(other, text=text))
        text, exchanged = renumbered(items, respelt(items, sentence.text))
        if not self._protection.holds(items, text) and others:
            best = others.pop(0)
            return replace(sentence, text=best.text, score=best.score, log_probability=best.log_probability,
                           alternatives=tuple(others))  # fmt: skip
        warnings = tuple(
            f"number: the model wrote {wrong} for {right}, which was put right" for wrong, right in exchanged
        )
        return replace(sentence, text=text, alternatives=tuple(others), warnings=sentence.warnings + warnings)

    def _lacks(self, sentence: SentenceTranslation) -> bool:
        return not self._protection.holds(self._protection.find(sentence.source), sentence.text)

    def _tried(self, sentences: Sequence[SentenceTranslation]) -> list[SentenceTranslation]:
        """The sentences by the first of their plans whose result holds; in parts only where the others have failed."""
        results: dict[int, SentenceTranslation] = {}
        for whole in (True, False):
            plans = {
                number: [plan for plan in self._plans(sentence.source, sentence.text) if plan.whole is whole]
                for number, sentence in enumerate(sentences)
                if number not in results
            }
            texts = list(dict.fromkeys(text for some in plans.values() for plan in some for text in plan.texts))
            found = dict(zip(texts, self._ask(texts) if texts else [], strict=True))
            for number, some in plans.items():
                tried = (self._carried_out(plan, sentences[number], found) for plan in some)
                if result := next((result for result in tried if result is not None), None):
                    results[number] = result
        return [results.get(number) or _left_alone(sentence) for number, sentence in enumerate(sentences)]

    def _plans(self, source: str, translation: str) -> Iterator[_Plan]:
        items = self._protection.find(source)
        if not items:  # the model has made up a placeholder
            return
        missing = self._protection.missing(items, translation)
        if not is_blank(_without(source, items)):
            masked = [item for item in items if item.kind != "number"]
            numbers_first = any(_INTEGER.match(item.source) for item in masked)
            for words in (_NUMBERS, _NAMES) if numbers_first or not masked else (_NAMES, _NUMBERS):
                free = [word for word in words if word not in source]
                if len(masked or items) <= len(free) and (masked or words is _NUMBERS):
                    text = _replaced(source, masked or items, free)
                    targets = (item.target for item in masked or items)
                    yield _Plan((text,), tuple(zip(free, targets, strict=False)))
        if missing and missing != items:
            yield _Plan(tuple(_parts(source, missing)))
        yield _Plan(tuple(_parts(source, items)))

    def _carried_out(
        self, plan: _Plan, sentence: SentenceTranslation, found: dict[str, Translation]
    ) -> SentenceTranslation | None:
        """The sentence as the plan has it; None where that does not hold. The last plan's result always does."""
        items = self._protection.find(sentence.source)
        if plan.whole:
            return self._chosen(items, plan, sentence, found[plan.texts[0]])
        text, score = _put_together(plan, found)
        kept = ", ".join(dict.fromkeys(_shown(part) for part in plan.parts if isinstance(part, Item)))
        warning = f"parts: a sentence was translated in parts, so that {kept} comes through"
        if not self._protection.holds(items, text):
            if plan.parts != tuple(_parts(sentence.source, items)):
                return None
            # What the model made up is worse than what it was asked about.
            text = "".join(part.target if isinstance(part, Item) else part for part in plan.parts)
            warning = _UNTRANSLATED
        warnings = sentence.warnings + ((warning,) if plan.texts else ())
        return replace(sentence, text=text, score=score, log_probability=score, alternatives=(), warnings=warnings)

    def _chosen(
        self, items: Sequence[Item], plan: _Plan, sentence: SentenceTranslation, translation: Translation
    ) -> SentenceTranslation | None:
        """The best hypothesis for a whole sentence that holds, the others that do as alternatives."""
        sound: dict[str, Alternative] = {}
        for candidate in (
            Alternative(translation.text, translation.score, translation.score),
            *translation.alternatives,
        ):
            text = _unmasked(candidate.text, plan.stand_ins)
            if text is not None:
                text, _ = renumbered(items, respelt(items, text))
                if self._protection.holds(items, text):
                    sound.setdefault(text, replace(candidate, text=text))
        if not sound:
            return None
        best, *others = sound.values()
        return replace(
            sentence,
            text=best.text,
            score=best.score,
            log_probability=best.log_probability,
            alternatives=tuple(others),
        )

    def _whole(self, text: str, translation: Translation) -> Translation:
        """Where something protected reaches from one sentence into the next, the text is translated around it."""
        items = self._protection.find(text)
        if self._protection.holds(items, translation.text):
            others = tuple(other for other in translation.alternatives if self._protection.holds(items, other.text))
            return replace(translation, alternatives=others)
        kept = tuple(warning for warning in translation.warnings if not warning.startswith(("parts:", "untranslated:")))
        lone = SentenceTranslation(0, len(text), 0, 0, text, "", 0.0, 0.0, (), kept)
        plan = _Plan(tuple(_parts(text, items)))
        texts = list(dict.fromkeys(plan.texts))
        found = dict(zip(texts, self._ask(texts) if texts else [], strict=True))
        result = self._carried_out(plan, lone, found)
        assert result is not None
        return assemble(text, [result])


def _left_alone(sentence: SentenceTranslation) -> SentenceTranslation:
    warnings = (*sentence.warnings, _UNTRANSLATED)
    return replace(sentence, text=sentence.source, score=0.0, log_probability=0.0, alternatives=(), warnings=warnings)


def _put_together(plan: _Plan, found: dict[str, Translation]) -> tuple[str, float]:
    """The text of a plan in parts, and the sum of their scores."""
    text, score = "", 0.0
    for part in plan.parts:
        if isinstance(part, Item):
            text += part.target
        elif is_blank(part):
            text += part
        else:
            before, words, after = core(part)
            translated = found[words].text
            if not _ENDING.search(words):  # a model makes a sentence of everything
                translated = _ENDING.sub("", translated)
            text += before + translated + after
            score += found[words].score
    return text, score


def _parts(text: str, items: Sequence[Item]) -> Iterator[str | Item]:
    position = 0
    for item in items:
        if position < item.start:
            yield text[position : item.start]
        yield item
        position = item.end
    if position < len(text):
        yield text[position:]


def _without(text: str, items: Sequence[Item]) -> str:
    return "".join(part for part in _parts(text, items) if isinstance(part, str))


def _replaced(text: str, items: Sequence[Item], words: Sequence[str]) -> str:
    word_of = dict(zip(items, words, strict=False))
    return "".join(part if isinstance(part, str) else word_of.get(part, part.source) for part in _parts(text, items))


def _unmasked(text: str, stand_ins: Sequence[tuple[str, str]]) -> str | None:
    """`text` with what the stand-ins stand for; None unless each is there exactly once."""
    patterns = {word: re.compile(rf"(?<!\w){re.escape(word)}(?!\w)") for word, _ in stand_ins}
    if any(len(pattern.findall(text)) != 1 for pattern in patterns.values()):
        return None
    targets = dict(stand_ins)
    every = re.compile("|".join(pattern.pattern for pattern in patterns.values()))
    return every.sub(lambda match: targets[match[0]], text)


def core(part: str) -> tuple[str, str, str]:
    """A part of a sentence as what stands before, the words for the model, and the white space behind them."""
    leading = _LEADING.match(part)
    assert leading is not None
    before = leading[0]
    words = part[len(before) :].rstrip()
    return before, words, part[len(before) + len(words) :]


def _shown(item: Item) -> str:
    """An item for people; markup within a sentence has no name."""
    return "markup" if "\ue000" <= item.source[0] <= "\uf8ff" else f"'{item.target}'"
