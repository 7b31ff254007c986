"""The Translator: what reaches the model, what comes back, and that nothing else changes.

Most tests use an engine that copies its source, so that every character's way through the pipeline can be followed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.engines import ScriptedEngine
from training.subwords import train_vocabulary
from translator import SearchOptions, Translation, Translator
from translator.card import Card, TrainingLengths
from translator.config import ModelConfig
from translator.decoder import decode
from translator.description import ModelDirectoryError
from translator.directory import LoadedModel, load_model
from translator.engines import ENGINES, ReferenceEngine
from translator.engines.native_library import instruction_sets
from translator.model import Seq2Seq
from translator.search import Hypothesis
from translator.segmentation import Segments, is_blank
from translator.vocabulary import Vocabulary

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(list(".!?…\"'() \t\n\r\u2028\u00a0aAbZ19*-,。日\u0301\u200d\ufe0f😀")),
    ),
    max_size=50,
)
LENGTHS = TrainingLengths(
    source_mean=10,
    source_99th_percentile=30,
    source_maximum=40,
    target_mean=10,
    target_99th_percentile=30,
    target_maximum=40,
)
LINES = ["Where is the station?", "The bridge is old.", "I would like some coffee, please."]


class CopyEngine(ScriptedEngine):
    """Says the source again, token by token; a token `doubtful` may be left out, with a little less probability."""

    def __init__(self, vocabulary: Vocabulary, doubtful: int = -1) -> None:
        super().__init__(vocabulary.eos_id, vocabulary.size)
        self.doubtful = doubtful
        self.decoded: list[list[list[int]]] = []

    def encode(self, sources: Sequence[Sequence[int]]) -> list[list[int]]:
        self.decoded.append([list(source) for source in sources])
        return super().encode(sources)

    def script(self, source: Sequence[int]) -> list[int]:
        return [self.eos_id, *source, self.eos_id]

    def weights(self, row: list[int], token: int) -> tuple[Tensor, list[int]]:
        logits_V = torch.full((self.vocabulary_size,), -40.0, dtype=torch.float64)
        if token in row[:2]:
            row = row[row.index(token) + 1 :] or [self.eos_id]
        logits_V[row[0]] = 0.0
        if row[0] == self.doubtful:
            logits_V[row[1]] = -0.5
        return logits_V, row


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return train_vocabulary(LINES * 5, size=330, model_type="unigram", seed=1)[0]


def loaded_model(vocabulary: Vocabulary, lengths: TrainingLengths | None = LENGTHS) -> LoadedModel:
    config = ModelConfig(
        source_vocabulary_size=vocabulary.size, target_vocabulary_size=vocabulary.size, embedding_size=4, hidden_size=4
    )
    card = Card(name="copy", source_language="en", target_language="en", training_lengths=lengths)
    return LoadedModel(Path("copy"), config, Seq2Seq(config).eval(), vocabulary, vocabulary, card)


def copier(vocabulary: Vocabulary, lengths: TrainingLengths | None = LENGTHS, doubtful: str = "") -> Translator:
    doubtful_id = vocabulary.encode(doubtful)[-1] if doubtful else -1
    return Translator(loaded_model(vocabulary, lengths), engine=CopyEngine(vocabulary, doubtful_id))


def engine_of(translator: Translator) -> CopyEngine:
    engine = translator.engine
    assert isinstance(engine, CopyEngine)
    return engine


GREEDY = SearchOptions(beam_size=1)


@settings(max_examples=60)
@given(TEXTS, st.booleans())
def test_what_is_no_sentence_comes_back_character_for_character(vocabulary: Vocabulary, text: str, split: bool) -> None:
    translation = copier(vocabulary, lengths=None).translate(text, GREEDY, split_sentences=split)
    segments = Segments.of(text, language="en", split_sentences=split)
    assert len(translation.sentences) == len(segments.spans)
    restored, position = "", 0
    for sentence, (start, end) in zip(translation.sentences, segments.spans, strict=True):
        assert (sentence.source_start, sentence.source_end, sentence.source) == (start, end, text[start:end])
        assert translation.text[sentence.target_start : sentence.target_end] == sentence.text
        restored += translation.text[position : sentence.target_start] + sentence.source
        position = sentence.target_end
    assert restored + translation.text[position:] == text


def test_a_copied_text_is_the_text(vocabulary: Vocabulary) -> None:
    text = "\n  Where is it?  The bridge is old.\r\n\r\n\t- Mr. Coffee: “please”! \u2028 …\n😀 The end\n"
    assert copier(vocabulary).translate(text).text == text


def test_the_model_reads_composed_letters_and_the_source_keeps_its_own(vocabulary: Vocabulary) -> None:
    decomposed = unicodedata.normalize("NFD", "Où est la cafétéria ?")
    translation = copier(vocabulary).translate(decomposed)
    assert translation.text == unicodedata.normalize("NFC", decomposed)
    assert translation.sentences[0].source == decomposed


@pytest.mark.parametrize("unseen", ["\ufeff", "\u200b", "\u2060", "\u00ad", "\u202a", "\u200f"])
def test_what_nobody_sees_is_not_read(vocabulary: Vocabulary, unseen: str) -> None:
    source = f"{unseen}Where is the sta{unseen}tion?"
    translation = copier(vocabulary).translate(source)
    assert translation.text == "Where is the station?"
    assert translation.sentences[0].source == source


def test_a_fine_space_is_a_space_and_joined_emoji_stay_joined(vocabulary: Vocabulary) -> None:
    text = "Where\u2009is the 👩‍👩‍👧? Là\u202f: ici\u00a0!"
    assert copier(vocabulary).translate(text).text == text.replace("\u2009", " ")


def test_texts_may_come_one_by_one(vocabulary: Vocabulary) -> None:
    lines = ["Where is it?", "The end"]
    assert [each.text for each in copier(vocabulary).translate(line for line in lines)] == lines


@pytest.mark.parametrize("text", ["", " ", "\n\n", "?!", "😀 👩‍👩‍👧", "\u00a0", "12", "3.14 %"])
def test_blank_text_never_reaches_the_model(vocabulary: Vocabulary, text: str) -> None:
    translator = copier(vocabulary)
    for split in (True, False):
        assert translator.translate(text, split_sentences=split) == Translation(text, 0.0, (), (), ())
    assert engine_of(translator).decoded == []


def test_one_text_gives_one_translation_and_a_list_a_list(vocabulary: Vocabulary) -> None:
    translator = copier(vocabulary)
    alone = [translator.translate(line) for line in LINES]
    assert [translation.text for translation in alone] == LINES
    assert translator.translate(LINES) == alone
    assert translator.translate(tuple(LINES)) == alone
    assert translator.translate([]) == []


def test_an_equal_sentence_is_decoded_once(vocabulary: Vocabulary) -> None:
    translator = copier(vocabulary)
    translator.translate(["The bridge. The bridge.", "The bridge.\nWhere?", "Where?"])
    assert sum(len(batch) for batch in engine_of(translator).decoded) == 2


def test_batches_hold_sentences_of_about_equal_length_within_the_budget(vocabulary: Vocabulary) -> None:
    translator = copier(vocabulary, lengths=None)
    texts = [f"{'old ' * (number % 7)}bridge {number}" for number in range(300)]
    translator.translate(texts, SearchOptions(beam_size=8, max_length=1))
    batches = engine_of(translator).decoded
    # 512 rows are 64 sentences with a beam of 8, and all of a batch are done with at once.
    assert [len(batch) for batch in batches] == [64, 64, 64, 64, 44]
    for earlier, later in pairwise(batches):
        assert min(map(len, earlier)) >= max(map(len, later))


def test_progress_counts_every_text_once(vocabulary: Vocabulary) -> None:
    steps: list[int] = []
    texts = ["", "One. Two. Three.", "Two.", " ", *(f"Bridge {number}." for number in range(200))]
    copier(vocabulary).translate(texts, SearchOptions(max_length=2), progress=steps.append)
    assert sum(steps) == len(texts)
    assert len(steps) > 1
    assert min(steps) > 0


def test_alternatives_are_distinct_and_keep_their_probability(vocabulary: Vocabulary) -> None:
    translator = copier(vocabulary, doubtful="%")
    translation = translator.translate("The bridge% is old.", SearchOptions(alternatives=1))
    assert translation.text == "The bridge% is old."
    assert [alternative.text for alternative in translation.alternatives] == ["The bridge is old."]
    assert translation.alternatives[0].log_probability == pytest.approx(translation.score - 0.5, abs=1e-6)
    assert translation.sentences[0].alternatives == translation.alternatives


def test_alternatives_of_a_text_join_those_of_its_sentences(vocabulary: Vocabulary) -> None:
    translator = copier(vocabulary, doubtful="%")
    translation = translator.translate(
        "Old% station? \n Where? So (%) it is.", SearchOptions(alternatives=1, beam_size=2)
    )
    assert translation.text == "Old% station? \n Where? So (%) it is."
    first, second, third = translation.sentences
    # A sentence without an alternative stands in the alternative of the text as it is.
    second_choice = second.alternatives[0].text if second.alternatives else second.text
    assert [alternative.text for alternative in translation.alternatives] == [
        f"Old station? \n {second_choice} So () it is."
    ]
    assert translation.score == pytest.approx(first.score + second.score + third.score)


def test_another_kind_of_space_is_no_alternative(vocabulary: Vocabulary) -> None:
    texts = ["Where is it ?", "Where is it\u00a0?", "Where is it\u202f?", "Where is he ?", "Where is he\u00a0?"]
    found = [
        Hypothesis(tuple(vocabulary.encode(text)), -float(rank), -float(rank), True) for rank, text in enumerate(texts)
    ]
    translator = copier(vocabulary)
    translation = translator.finish(translator.draft("Where?", SearchOptions(alternatives=4)), [found])
    assert translation.text == "Where is it ?"
    assert [(alternative.text, alternative.score) for alternative in translation.alternatives] == [
        ("Where is he ?", -3)
    ]


@settings(max_examples=20)
@given(st.integers(0, 8), st.integers(1, 6))
def test_no_two_alternatives_are_equal_as_text(
    double_translator: Translator, alternatives: int, beam_size: int
) -> None:
    options = SearchOptions(alternatives=alternatives, beam_size=beam_size, max_length=12)
    for translation in double_translator.translate(LINES, options):
        texts = [translation.text, *(alternative.text for alternative in translation.alternatives)]
        assert len(set(texts)) == len(texts) <= alternatives + 1
        scores = [translation.score, *(alternative.score for alternative in translation.alternatives)]
        assert scores == sorted(scores, reverse=True)


def test_a_sentence_longer_than_any_of_the_training_is_divided_and_marked(vocabulary: Vocabulary) -> None:
    translator = copier(vocabulary)
    text = "The old bridge, the old station, the coffee, " * 9 + "please. The end."
    translation = translator.translate(text)
    assert translation.text == text
    *parts, end = translation.sentences
    assert len(parts) > 3
    for part in parts:
        assert len(vocabulary.encode(part.source)) <= translator.longest_source == 37
        assert [warning.partition(":")[0] for warning in part.warnings] == ["split"]
    assert end.warnings == ()
    assert len(translation.warnings) == 1
    assert str(len(vocabulary.encode(text.removesuffix(" The end.")))) in translation.warnings[0]


def test_a_sentence_longer_than_99_percent_of_the_training_is_marked(vocabulary: Vocabulary) -> None:
    text = "xyz" * 11
    assert 30 < len(vocabulary.encode(text)) <= 37
    (warning,) = copier(vocabulary).translate(text).warnings
    assert warning.startswith("long: ")
    assert copier(vocabulary, lengths=None).translate(text).warnings == ()


@pytest.mark.parametrize(
    ("percentile", "maximum", "longest"), [(40, 100, 50), (40, 45, 45), (3, 5, 16), (100, 1000, 125)]
)
def test_where_sentences_are_divided_follows_the_training_lengths(
    vocabulary: Vocabulary, percentile: int, maximum: int, longest: int
) -> None:
    lengths = LENGTHS.model_copy(update={"source_99th_percentile": percentile, "source_maximum": maximum})
    assert copier(vocabulary, lengths).longest_source == longest


def test_a_translation_cut_at_its_maximum_length_is_marked(vocabulary: Vocabulary) -> None:
    translation = copier(vocabulary).translate("The bridge is old.", SearchOptions(max_length=3))
    (warning,) = translation.warnings
    assert warning.startswith("truncated: ")
    assert len(vocabulary.encode(translation.text)) <= 3


def test_unknown_words_are_marked() -> None:
    words, _ = train_vocabulary(LINES, size=20, model_type="word", seed=1)
    translation = copier(words).translate("Where is the zebra")
    assert any("unknown: 1 of 4 " in warning for warning in translation.warnings)
    assert copier(words).translate("Where is the station?").warnings == ()


def test_line_breaks_come_from_the_source_alone(vocabulary: Vocabulary) -> None:
    translator = copier(vocabulary, lengths=None)
    assert translator.translate("one\ntwo", split_sentences=False).text == "one two"


@pytest.mark.parametrize("texts", ["ok \ud83d", ["fine", "ok \ud83d"]])
def test_a_lone_surrogate_is_refused(vocabulary: Vocabulary, texts: str | list[str]) -> None:
    number = 1 if isinstance(texts, str) else 2
    with pytest.raises(ValueError, match=rf"text {number} is no valid Unicode: character 4 .*U\+D83D"):
        copier(vocabulary).translate(texts)


def test_what_is_no_text_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(TypeError, match="text 2 is a int"):
        copier(vocabulary).translate(["fine", 5])  # type: ignore[list-item]


@pytest.fixture(scope="module")
def double_translator(tiny_model_directory: Path) -> Translator:
    loaded = load_model(tiny_model_directory)
    loaded.model.double()
    vocabularies = loaded.source_vocabulary, loaded.target_vocabulary
    engine = ReferenceEngine(
        loaded.model,
        source_eos_id=vocabularies[0].eos_id,
        target_eos_id=vocabularies[1].eos_id,
        forbidden=[vocabularies[1].pad_id],
    )
    return Translator(loaded, engine=engine)


@pytest.fixture(scope="module")
def translators(tiny_model_directory: Path, double_translator: Translator) -> dict[str, Translator]:
    """By the engine's name; those of which a sentence's results do not depend on the batch."""
    found = {"reference": double_translator}
    if instruction_sets():
        for name in ("cpu", "cpu-bfloat16", "cpu-float32"):
            found[name] = Translator.load(tiny_model_directory, engine=name)
    return found


OPTIONS = st.sampled_from(
    [
        SearchOptions(max_length=10),
        SearchOptions(beam_size=1, max_length=10, alternatives=2),
        SearchOptions(beam_size=3, max_length=10, alternatives=1, length_penalty=1.0),
        SearchOptions(method="sample", max_length=10, alternatives=1, seed=3, top_k=50),
    ]
)


@pytest.mark.parametrize("name", [name for name in ENGINES if name not in ("auto", "cuda")])
@settings(max_examples=20)
@given(st.lists(TEXTS | st.sampled_from(LINES), max_size=6), OPTIONS, st.randoms(use_true_random=False))
def test_a_translation_does_not_depend_on_its_neighbours(
    translators: dict[str, Translator], name: str, texts: list[str], options: SearchOptions, random: object
) -> None:
    if name not in translators:
        pytest.skip("the cpu engine's library is not built")
    translator = translators[name]
    together = translator.translate(texts, options)
    assert together == [translator.translate(text, options) for text in texts]
    order = sorted(range(len(texts)), key=lambda index: random.random())  # type: ignore[attr-defined]
    shuffled = translator.translate([texts[index] for index in order], options)
    assert shuffled == [together[index] for index in order]


@settings(max_examples=20)
@given(TEXTS | st.just(" ".join(LINES * 2)), OPTIONS, st.booleans())
def test_a_draft_that_is_decoded_elsewhere_is_the_translation(
    double_translator: Translator, text: str, options: SearchOptions, split: bool
) -> None:
    draft = double_translator.draft(text, options, split_sentences=split)
    assert len(set(draft.sentences)) == len(draft.sentences) == len(draft.queries)
    found = decode(double_translator.engine, draft.queries)
    assert double_translator.finish(draft, found) == double_translator.translate(text, options, split_sentences=split)


@given(TEXTS)
@settings(max_examples=40)
def test_white_space_survives_a_model_that_knows_nothing(double_translator: Translator, text: str) -> None:
    translation = double_translator.translate(text, SearchOptions(beam_size=2, max_length=6))
    restored, position = "", 0
    for sentence in translation.sentences:
        restored += translation.text[position : sentence.target_start] + sentence.source
        position = sentence.target_end
    assert restored + translation.text[position:] == text
    assert bool(translation.sentences) == any(not is_blank(line) for line in Segments.of(text, language="en").sentences)


def test_the_length_penalty_is_that_of_the_card(double_translator: Translator) -> None:
    assert double_translator.card.length_penalty == 0.6
    by_default = double_translator.translate(LINES, SearchOptions(max_length=9))
    assert by_default == double_translator.translate(LINES, SearchOptions(max_length=9, length_penalty=0.6))
    without = double_translator.translate(LINES[0], SearchOptions(max_length=9, length_penalty=0.0))
    assert without.score == without.sentences[0].log_probability
    assert by_default[0].score != by_default[0].sentences[0].log_probability


def test_asking_for_alternatives_does_not_change_the_translation(double_translator: Translator) -> None:
    alone = double_translator.translate(LINES, SearchOptions(max_length=20))
    with_others = double_translator.translate(LINES, SearchOptions(max_length=20, alternatives=4))
    assert [replace(translation, alternatives=(), sentences=()) for translation in with_others] == [
        replace(translation, sentences=()) for translation in alone
    ]


def test_load_reads_a_directory_or_says_what_is_missing(tiny_model_directory: Path, tmp_path: Path) -> None:
    assert Translator.load(tiny_model_directory).card.name == "tiny-en-fr"
    with pytest.raises(ModelDirectoryError, match="no such model directory"):
        Translator.load(tmp_path / "nothing")
    with pytest.raises(ModelDirectoryError, match="xx-yy"):
        Translator.load("xx-yy")


def test_load_takes_an_engine_by_its_name_or_says_what_is_wrong(tiny_model_directory: Path) -> None:
    assert Translator.load(tiny_model_directory, engine="reference").engine.describe().startswith("reference, float32")
    with pytest.raises(ValueError, match="there is no engine abacus; choose one of auto, reference, cpu"):
        Translator.load(tiny_model_directory, engine="abacus")
    with pytest.raises(ValueError, match="device abacus cannot be used here"):
        Translator.load(tiny_model_directory, device="abacus")
