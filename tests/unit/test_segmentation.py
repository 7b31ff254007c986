"""Sentences come out whole, and everything else comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translator.segmentation import Segments, is_blank

# Any Unicode, with what ends, joins and surrounds sentences made likely.
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(
            list(".!?…\"'()[]{}«»“”‘’ \t\n\r\v\f\u2028\u0085\u00a0aAbZ19*-•;:,，。日\u0301\u200d\ufe0f\u20e3😀")
        ),
    ),
    max_size=80,
)


def sentences(text: str, language: str = "en") -> list[str]:
    return Segments.of(text, language=language).sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I came. I saw! Did I conquer?", ["I came.", "I saw!", "Did I conquer?"]),
        (
            "Mr. Smith met Dr. Jones at 5 p.m. today. They spoke.",
            ["Mr. Smith met Dr. Jones at 5 p.m. today.", "They spoke."],
        ),
        ("Fruit, e.g. apples, i.e. food. Yes.", ["Fruit, e.g. apples, i.e. food.", "Yes."]),
        ("It costs $3.50 or 1,000.5 yen. Buy it.", ["It costs $3.50 or 1,000.5 yen.", "Buy it."]),
        ("Wait... what? Hmm... I see.", ["Wait... what?", "Hmm... I see."]),
        ('"Stop!" he cried. “Why?” she asked.', ['"Stop!" he cried.', "“Why?” she asked."]),
        ('He said, "Go away." She left.', ['He said, "Go away."', "She left."]),
        ("That’s it.) Next one.", ["That’s it.)", "Next one."]),
        ("See example.com or Node.js for more.", ["See example.com or Node.js for more."]),
        ("ASP.Net is old.Really.", ["ASP.Net is old.Really."]),
        ("日本語です。はい。", ["日本語です。", "はい。"]),
        ("One line\nanother line\r\n\r\nthird\u2028fourth", ["One line", "another line", "third", "fourth"]),
        ("Shopping:\n- milk\n* 2 eggs\n  3. Some bread\n(4) tea", ["Shopping:", "milk", "2 eggs", "Some bread", "tea"]),
    ],
)
def test_sentences_of_known_texts(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_language_decides_what_is_an_abbreviation() -> None:
    text = "Es gibt viele Tiere, z.B. Hunde. Ja."
    assert sentences(text, "de") == ["Es gibt viele Tiere, z.B. Hunde.", "Ja."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("J'ai vu M. Martin hier. Il dort.", ["J'ai vu M. Martin hier.", "Il dort."]),
        ("M. Dupont est là. Où est Mme. Durand ?", ["M. Dupont est là.", "Où est Mme. Durand ?"]),
        ("Le Dr. Martin dort. Le prof. Petit aussi.", ["Le Dr. Martin dort.", "Le prof. Petit aussi."]),
        ("J. Dupont habite à St. Denis.", ["J. Dupont habite à St. Denis."]),
        ("Demandez à M.\nMartin.", ["Demandez à M.", "Martin."]),  # a line break always ends a sentence
        ("Il est là. Elle dort.", ["Il est là.", "Elle dort."]),
        ("C'est le fram. Il dort.", ["C'est le fram.", "Il dort."]),  # the end of a word is no abbreviation
    ],
)
def test_french_titles_and_initials_end_no_sentence(text: str, expected: list[str]) -> None:
    assert sentences(text, "fr") == expected


def test_many_initials_take_no_time() -> None:
    text = "M. " * 100_000
    found = sentences(text, "fr")
    assert " ".join(found) == text.strip()
    assert len(found) < 100  # blocks are looked at one by one


@pytest.mark.parametrize(
    "text", ["", " \t\n", "\u00a0\u3000", "... ?!", "😀", "👩‍👩‍👧 🇫🇷", "1️⃣ ℹ️ ™️", "-- \n *", "#⃣", "7", "3.14", "½", "① "]
)
def test_blank_text_has_no_sentence(text: str) -> None:
    assert is_blank(text)
    segments = Segments.of(text, language="en")
    assert segments.spans == ()
    assert segments.join([]) == (text, [])


@pytest.mark.parametrize("text", ["a", " é ", "日", "1 a. ", "…ok…", "½ x"])
def test_text_with_a_letter_is_not_blank(text: str) -> None:
    assert not is_blank(text)


@given(TEXTS, st.booleans())
def test_joining_the_sentences_gives_the_text(text: str, split: bool) -> None:
    segments = Segments.of(text, language="en", split_sentences=split)
    joined, spans = segments.join(segments.sentences)
    assert joined == text
    assert tuple(spans) == segments.spans


@given(TEXTS, st.booleans())
def test_what_stands_between_sentences_has_no_word(text: str, split: bool) -> None:
    segments = Segments.of(text, language="en", split_sentences=split)
    for sentence in segments.sentences:
        assert sentence == sentence.strip()
        assert not is_blank(sentence)
        if split:
            assert len(sentence.splitlines()) == 1
    if not split:
        assert len(segments.spans) == (0 if is_blank(text) else 1)
        assert all(is_blank(separator) for separator in segments.separators)


@given(TEXTS)
def test_only_list_markers_and_blanks_are_not_translated(text: str) -> None:
    for separator in Segments.of(text, language="en").separators:
        # A marker: at most three digits or one letter, closed by a full stop or a bracket.
        for piece in separator.split():
            assert is_blank(piece) or (piece.strip("(.)").isalnum() and len(piece.strip("(.)")) <= 3)


@given(TEXTS.filter(lambda text: not is_blank(text)), st.lists(st.text(max_size=5), min_size=1))
def test_join_reports_where_each_translation_stands(text: str, translations: list[str]) -> None:
    segments = Segments.of(text, language="en")
    given_translations = [translations[i % len(translations)] for i in range(len(segments.spans))]
    joined, spans = segments.join(given_translations)
    assert [joined[start:end] for start, end in spans] == given_translations


def test_join_needs_one_translation_for_each_sentence() -> None:
    with pytest.raises(ValueError, match="longer"):
        Segments.of("One. Two.", language="en").join(["Un."])


def test_a_block_border_of_the_splitter_tears_no_sentence() -> None:
    text = "He met Mr. Brown in Paris, e.g. at noon. " * 400
    assert set(sentences(text)) == {"He met Mr. Brown in Paris, e.g. at noon."}


def test_a_line_without_sentence_end_is_cut_at_white_space_only() -> None:
    words = ["word"] * 5000
    assert [word for sentence in sentences(" ".join(words)) for word in sentence.split(" ")] == words


def words(text: str) -> int:
    return len(text.split())


def divide(text: str, limit: int) -> list[str]:
    segments, _ = Segments.of(text, language="en", split_sentences=False).divide(limit, words)
    return segments.sentences


def test_long_sentences_are_cut_behind_a_clause_first() -> None:
    assert divide("one two three, four five six seven", 4) == ["one two three,", "four five six seven"]
    assert divide("one, two three, four five six", 4) == ["one, two three,", "four five six"]
    assert divide("one two three four five six", 4) == ["one two three four", "five six"]


def test_a_clause_in_the_first_half_is_no_place_to_cut() -> None:
    assert divide("one, two three four five six seven eight nine", 8) == [
        "one, two three four five six seven eight",
        "nine",
    ]


def test_text_without_white_space_is_cut_between_characters_and_no_accent_is_torn_off() -> None:
    segments, _ = Segments.of("e\u0301" * 9, language="en").divide(5, len)
    assert segments.sentences == ["e\u0301" * 2] * 4 + ["e\u0301"]
    family = "a👩\u200d👩\u200d👧b"
    assert divide_characters(family * 2, 7) == [family, family]


def divide_characters(text: str, limit: int) -> list[str]:
    return Segments.of(text, language="en").divide(limit, len)[0].sentences


def test_divided_parts_know_the_length_of_their_sentence() -> None:
    segments, tokens_before_cut = Segments.of("Short one. a b c d e f g.", language="en").divide(4, words)
    assert segments.sentences == ["Short one.", "a b c d", "e f g."]
    assert tokens_before_cut == {1: 7, 2: 7}


@given(TEXTS, st.integers(1, 20))
def test_division_keeps_the_text_and_the_limit(text: str, limit: int) -> None:
    segments, tokens_before_cut = Segments.of(text, language="en").divide(limit, len)
    assert segments.join(segments.sentences)[0] == text
    assert all(len(sentence) <= limit for sentence in segments.sentences)
    assert all(tokens > limit for tokens in tokens_before_cut.values())
