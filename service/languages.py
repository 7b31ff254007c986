"""Languages: their names, which pairs are served, and which language a text is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from babel import Locale
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from service.problems import bad_request

AUTO = "auto"

# py3langid knows some 140 languages. On a line of text the small ones among them mostly catch what belongs to a large
# neighbour (creoles, regional languages), so only languages with many written texts compete.
_CANDIDATES = frozenset(
    {"ar", "az", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "eo", "es", "et", "eu", "fa", "fi", "fr", "ga", "gl"}
    | {"he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "ko", "lt", "lv", "mk", "ms", "nl", "no", "pl"}
    | {"pt", "ro", "ru", "sk", "sl", "sq", "sr", "sv", "sw", "ta", "th", "tl", "tr", "uk", "ur", "vi", "zh"}
)
# A served language counts as so many times likelier than another before the text is looked at: its speakers come here.
_PRIOR = 4.0
# From this probability on, a guess stands even where it is a language that is not served.
_CERTAIN = 0.8
_LISTED_GUESSES = 5
_NAMED_SOURCES = 4  # in an error
_USUAL_PIVOT = "en"


@dataclass(frozen=True)
class Guess:
    """A language and its probability in per cent."""

    language: str
    confidence: float

    def document(self) -> dict[str, object]:
        return {"confidence": self.confidence, "language": self.language}


class Languages:
    """Which languages are translated into which, and the guessing of languages around it. Safe for several threads."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        """`pairs` are those (source, target) that there are models for, the first being the one that pages show."""
        self.source, self.target = pairs[0]
        self._direct = frozenset(pairs)
        self._served = tuple(dict.fromkeys(language for pair in pairs for language in pair))
        self._identifier = _identifier(_CANDIDATES | set(self._served))
        self.targets = {
            source: [target for target in self._served if target != source and self._reaches(source, target)]
            for source in dict.fromkeys(source for source, _ in pairs)
        }
        """The languages that each is translated into, by one model or by two."""

    def pivot(self, source: str, target: str) -> str | None:
        """The language between, where there is no model for the pair itself; English, if that is possible."""
        if (source, target) in self._direct:
            return None
        between = [language for language in self._served if {(source, language), (language, target)} <= self._direct]
        return _USUAL_PIVOT if _USUAL_PIVOT in between else next(iter(between), None)

    def _reaches(self, source: str, target: str) -> bool:
        return (source, target) in self._direct or self.pivot(source, target) is not None

    def guesses(self, text: str) -> list[Guess]:
        """The likeliest languages of `text`, best first; where the text tells nothing, the served ones lead."""
        if not any(character.isalpha() for character in text):
            return [Guess(self.source, 0.0)]
        weighted = [
            (probability * (_PRIOR if language in self._served else 1.0), language)
            for language, probability in self._identifier.rank(text)
        ]
        total = sum(weight for weight, _ in weighted)
        weighted.sort(key=lambda guess: (-guess[0], guess[1] != self.source, guess[1]))
        best, *others = [
            Guess(language, round(100 * weight / total, 1)) for weight, language in weighted[:_LISTED_GUESSES]
        ]
        return [best, *(guess for guess in others if guess.confidence > 0)]

    def source_of(self, text: str, target: str) -> Guess:
        """The language to translate `text` from: the likeliest served one, unless the text is clearly in another.

        Raises `Problem` (400) where it clearly is, or where its language is not translated into `target`.
        """
        guesses = self.guesses(text)
        guess = guesses[0]
        if guess.language not in self._served and guess.confidence < 100 * _CERTAIN:
            guess = next((other for other in guesses if other.language in self._served), Guess(self.source, 0.0))
        self.check_pair(guess.language, target, guessed=True)
        return guess

    def check_pair(self, source: str, target: str, *, guessed: bool = False) -> None:
        """Raises `Problem` (400) unless `source` can be translated into `target`; into itself every language can."""
        if target in self.targets.get(source, ()) or (source == target and source in self._served):
            return
        pairs = self._in_words()
        if guessed and source not in self._served:
            raise bad_request(
                f"A text seems to be in {describe(source)}; this server translates {pairs}. "
                "Name the source language to translate it all the same."
            )
        for field, code in (("source", source), ("target", target)):
            if code not in self._served:
                raise bad_request(f"{field}: {describe(code)} is not available; this server translates {pairs}.")
        raise bad_request(
            f"{describe(source)} into {describe(target)} is not available; this server translates {pairs}."
        )

    def _in_words(self) -> str:
        each = [
            f"{describe(source)} into {', '.join(map(describe, targets))}" for source, targets in self.targets.items()
        ]
        named, others = each[:_NAMED_SOURCES], len(each) - _NAMED_SOURCES
        return "; ".join(named) + (f"; and from {others} other languages (see /languages)" if others > 0 else "")


@cache
def _identifier(candidates: frozenset[str]) -> LanguageIdentifier:
    """py3langid's model, with as many of `candidates` as it knows; read only, so that threads may share it."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(sorted(candidates.intersection(identifier.labels)))
    return identifier


def language_name(code: str) -> str:
    """The English name of a language, by the Unicode CLDR; the code itself where it has none."""
    return Locale("en").languages.get(code) or code


def describe(code: str) -> str:
    """'English (en)'."""
    name = language_name(code)
    return f"{name} ({code})" if name != code else f"'{code}'"
