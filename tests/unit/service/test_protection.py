"""What is protected, and how a translation that lacks it is put right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.faithful import Faithful
from service.protection import Protection, renumbered, respelt
from translator.segmentation import Segments
from translator.translation import Alternative, SentenceTranslation, Translation, assemble

ANYTHING = Protection()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello {name}, {{ user.name }} and ${x}.", ["{name}", "{{ user.name }}", "${x}"]),
        ("%s of %1$s or %(count)d, %.2f, 100%%.", ["%s", "%1$s", "%(count)d", "%.2f", "100", "%%"]),
        ("50% of them, 5% discount", ["50", "5"]),
        (
            "See https://example.org/a_(b)?c=%20d#e. Or www.example.org!",
            ["https://example.org/a_(b)?c=%20d#e", "www.example.org"],
        ),
        ("Write to a.b+c@example.co.uk, please.", ["a.b+c@example.co.uk"]),
        ("It has 1,234.5 m, and 7.", ["1,234.5", "7"]),
        ("MP3 and x86 are words, 25km is not.", ["25"]),
        ("$25 is not $HOME", ["25", "$HOME"]),
        ("[X12X] stays", ["[X12X]"]),
        ("nothing { } here", []),
    ],
)
def test_what_is_found(text: str, found: list[str]) -> None:
    assert [item.source for item in ANYTHING.find(text)] == found
    assert all(text[item.start : item.end] == item.source for item in ANYTHING.find(text))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        *("%" + "0" * 50_000 + "!", "%(x)" + "0" * 50_000 + "!", "a" * 50_000, "a." * 25_000, "1" * 50_000),
        *("1," * 25_000, "a@" * 25_000, "a@a" + ".a" * 25_000 + "@", "{" * 50_000, "{{a" * 20_000, "$" * 50_000),
    ],
)
def test_no_text_takes_time(text: str) -> None:
    for _ in range(5):
        ANYTHING.find(text)


@pytest.mark.parametrize("term", ["İstanbul", "ıstanbul", "ISTANBUL", "Istanbul", "istanbul"])
def test_a_term_that_folds_to_another_word_is_found(term: str) -> None:
    (item,) = Protection(glossary={"istanbul": "constantinople"}).find(f"I live in {term}.")
    assert item.source == term
    assert item.target.casefold() == "constantinople"


def test_terms_are_whole_words() -> None:
    protection = Protection(["Acme", "New York"], {"car": "voiture", "US": "États-Unis"})
    items = protection.find("Acme's Cars: a car, Car and CAR in New York, US; us, acme.")
    assert [(item.source, item.target) for item in items] == [
        ("Acme", "Acme"),
        ("car", "voiture"),
        ("Car", "Voiture"),
        ("CAR", "Voiture"),
        ("New York", "New York"),
        ("US", "États-Unis"),
    ]


@pytest.mark.parametrize(
    ("source", "translation", "missing"),
    [
        ("{a} and {b}", "{b} et {a}", []),
        ("{a} and {b}", "{b} et {A}", ["{a}"]),
        ("{a} and {a}", "{a}", ["{a}", "{a}"]),
        ("{a}", "{a} {a}", ["{a}"]),
        ("5 and 5", "5 + 5", []),
        ("5", "5 x 5", []),
        ("15", "5", ["15"]),
        ("see http://a.b", "voir http://a.b/c", ["http://a.b"]),
    ],
)
def test_what_is_missing(source: str, translation: str, missing: list[str]) -> None:
    assert [item.source for item in ANYTHING.missing(ANYTHING.find(source), translation)] == missing


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("1,000 books", "1 000 livres", "1,000 livres"),
        ("1000 books", "1\u202f000 livres", "1000 livres"),
        ("3.5 euros", "3,5 euros", "3.5 euros"),
        ("3.5 and 3,5", "3,5 et 3,5", "3.5 et 3,5"),
        ("1,000", "11 000", "11 000"),
        ("1,000", "1 000,5", "1 000,5"),
    ],
)
def test_numbers_are_spelt_as_in_the_source(source: str, translation: str, expected: str) -> None:
    assert respelt(ANYTHING.find(source), translation) == expected


def test_wrong_numbers_are_put_right_where_it_is_clear_which() -> None:
    items = ANYTHING.find("In 1984, 12 eggs and 3 cats.")
    assert renumbered(items, "En 1979, 50 œufs et 3 chats.") == (
        "En 1984, 12 œufs et 3 chats.",
        [("1979", "1984"), ("50", "12")],
    )
    assert renumbered(items, "En 1979, des œufs et 3 chats.")[1] == []
    assert renumbered(items, "En 1984, 12 œufs et 3 chats.")[1] == []


class Model:
    """Translates by a rule, sentence by sentence (one a line); notes what it was asked."""

    def __init__(self, rule: Callable[[str], Sequence[str]]) -> None:
        self.rule = rule
        self.asked: list[list[str]] = []

    def translate(self, text: str) -> Translation:
        sentences = []
        for start, end in Segments.of(text, language="en").spans:
            best, *others = self.rule(text[start:end])
            alternatives = tuple(Alternative(other, -2.0, -2.0) for other in others)
            sentences.append(SentenceTranslation(start, end, 0, 0, text[start:end], best, -1.0, -1.0, alternatives, ()))
        return assemble(text, sentences)

    def ask(self, texts: Sequence[str]) -> list[Translation]:
        self.asked.append(list(texts))
        return [self.translate(text) for text in texts]


def repair(
    text: str, rule: Callable[[str], Sequence[str]], protection: Protection = ANYTHING
) -> tuple[Translation, Model]:
    model = Model(rule)
    (translation,) = Faithful(protection, model.ask).repaired([(text, model.translate(text))])
    return translation, model


def test_what_holds_is_left_alone() -> None:
    translation, model = repair("Hello {name}.\n\tBye.", lambda text: [text.replace("Hello", "Salut")])
    assert translation.text == "Salut {name}.\n\tBye."
    assert model.asked == []
    assert translation.warnings == ()


def test_an_alternative_that_holds_is_taken_and_those_that_do_not_are_dropped() -> None:
    translation, model = repair("Hello {name}.", lambda text: ["Salut.", "Hé {nom}.", "Bonjour {name}.", "Ô {name}."])
    assert translation.text == "Bonjour {name}."
    assert [other.text for other in translation.alternatives] == ["Ô {name}."]
    assert model.asked == []


def test_a_common_word_stands_in() -> None:
    translation, model = repair(
        "Hello {name}, bye.", lambda text: [text.replace("Hello", "Salut").replace("{name}", "nom")]
    )
    assert translation.text == "Salut {name}, bye."
    assert translation.warnings == ()
    assert len(model.asked) == 1


def test_only_the_sentence_that_lacks_it_is_tried_again() -> None:
    translation, model = repair("One thing.\n\n  See %s now. 2 more.", lambda text: [text.upper()])
    assert translation.text == "ONE THING.\n\n  SEE %s NOW. 2 MORE."
    assert not any("thing" in text for asked in model.asked for text in asked)


def test_in_the_end_the_model_never_sees_it() -> None:
    translation, _ = repair("Hello {name}, bye {name}!", lambda text: ["Quoi {x} ?" if "{" in text else "Quoi."])
    assert translation.text == "Quoi{name}, Quoi {name}!".replace("Quoi{", "Quoi {")
    assert translation.warnings == ("parts: a sentence was translated in parts, so that '{name}' comes through",)


def test_a_model_that_makes_things_up_everywhere_is_not_listened_to() -> None:
    translation, _ = repair("Hello {name}, bye.", lambda text: ["Voir {url}."])
    assert translation.text == "Hello {name}, bye."
    (warning,) = translation.warnings
    assert warning.startswith("untranslated: ")


def test_a_sentence_in_which_nothing_is_protected_gets_no_placeholder_either() -> None:
    translation, model = repair(
        "I have 3 dogs.\nGood morning.", lambda text: ["Bonjour %s."] if "morning" in text else [text.upper()]
    )
    assert translation.text == "I HAVE 3 DOGS.\nGood morning."
    assert model.asked == []
    assert [warning.partition(":")[0] for warning in translation.warnings] == ["untranslated"]
    translation, _ = repair("I have 3 dogs.\nBye.", lambda text: ["{x}", "Adieu."] if "Bye" in text else [text])
    assert translation.text == "I have 3 dogs.\nAdieu."


def test_what_reaches_over_sentences() -> None:
    protection = Protection(["Yahoo! Inc"])
    translation, _ = repair("We like Yahoo! Inc a lot.", lambda text: [text.upper()], protection)
    assert "Yahoo! Inc" in translation.text
    assert translation.text.startswith("WE LIKE ")


def test_a_sentence_of_nothing_else() -> None:
    translation, model = repair("{name}\n%s: %d", lambda text: ["Rien."])
    assert translation.text == "{name}\n%s: %d"
    assert translation.warnings == ()
    assert model.asked == []


PIECES = [
    "Hello",
    "{name}",
    "%s",
    "12",
    "1,000",
    " ",
    ", ",
    ". ",
    "\n",
    "https://a.bc/d",
    "me@a.bc",
    "Acme",
    "car",
    "\ue000",
    "é",
]
RULES: list[Callable[[str], Sequence[str]]] = [
    lambda text: [text.upper()],
    lambda text: ["Rien du tout."],
    lambda text: [text[::-1]],
    lambda text: [text + " " + text],
    lambda text: [text, "x"],
    lambda text: ["{made} up %d", text.lower()],
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join), st.sampled_from(RULES))
def test_whatever_the_model_does_everything_protected_comes_through(
    text: str, rule: Callable[[str], Sequence[str]]
) -> None:
    protection = Protection(["Acme"], {"car": "voiture"})
    translation, _ = repair(text, rule, protection)
    items = protection.find(text)
    if items:
        assert protection.holds(items, translation.text)
        for other in translation.alternatives:
            assert protection.holds(items, other.text)
