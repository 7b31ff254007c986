"""The evaluation: known scores, perplexity against step-by-step decoding, and the card it writes."""

from __future__ import annotations

import base64
import json
import math
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sacrebleu
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from tests.engines import ScriptedEngine
from training import evaluation
from training.__main__ import main
from training.comparison import ComparisonReport
from training.errors import InputError
from training.evaluation_report import EvaluationReport, evaluate_translator, scored_card
from training.measures import bleu_by_length
from training.text_files import read_lines
from translator import SearchOptions, Translator
from translator.card import Score
from translator.directory import load_model, update_card
from translator.engines import ReferenceEngine

SOURCES = [
    "Where is the station?",
    "The station is near the old bridge.",
    "I would like a cup of coffee, please.",
    "She reads. Can you?",
]
REFERENCES = [
    "Où est la gare ?",
    "La gare est près du vieux pont.",
    "Je voudrais une tasse de café, s'il vous plaît.",
    "Elle lit. Peux-tu ?",
]


@pytest.fixture(scope="module")
def translator(tiny_model_directory: Path) -> Translator:
    return Translator.load(tiny_model_directory)


@pytest.fixture(scope="module")
def report(translator: Translator) -> EvaluationReport:
    return evaluate_translator(
        translator, SOURCES, REFERENCES, test_set="four lines", options=SearchOptions(max_length=30)
    )


class AnswerEngine(ScriptedEngine):
    """Says the answer that it was given for a source, token by token."""

    def __init__(self, answers: dict[tuple[int, ...], list[int]], eos_id: int, vocabulary_size: int) -> None:
        super().__init__(eos_id, vocabulary_size)
        self.answers = answers

    def script(self, source: Sequence[int]) -> list[int]:
        return [*self.answers[tuple(source)], self.eos_id]

    def weights(self, row: list[int], token: int) -> tuple[Tensor, list[int]]:
        logits_V = torch.full((self.vocabulary_size,), -50.0)
        logits_V[row[0]] = 0.0
        return logits_V, row[1:] or row


def with_answers(translator: Translator, answers: list[str]) -> Translator:
    source, target = translator.loaded.source_vocabulary, translator.loaded.target_vocabulary
    tokens = {tuple(source.encode(text)): target.encode(answer) for text, answer in zip(SOURCES, answers, strict=True)}
    return Translator(translator.loaded, engine=AnswerEngine(tokens, target.eos_id, target.size))


def test_perfect_translations_have_perfect_scores(translator: Translator) -> None:
    report = evaluate_translator(with_answers(translator, REFERENCES), SOURCES, REFERENCES, test_set="itself")
    assert report.bleu.value == pytest.approx(100)
    assert report.chrf.value == pytest.approx(100)
    assert report.length_ratio == 1


def test_bleu_is_cased_and_tokenised_and_counts_what_is_too_short(translator: Translator) -> None:
    # Counted by hand in 13a tokens, where punctuation stands apart: one capital is wrong (4 n-grams lost, one of each
    # order), and the last sentence lacks its second half: 27 of the references' 29 tokens.
    answers = ["où est la gare ?", REFERENCES[1], REFERENCES[2], "Elle lit."]
    report = evaluate_translator(with_answers(translator, answers), SOURCES, REFERENCES, test_set="x")
    precisions = (26 / 27) * (22 / 23) * (18 / 19) * (14 / 15)
    assert report.bleu.value == pytest.approx(100 * math.exp(1 - 29 / 27) * precisions**0.25, abs=1e-3)
    assert report.length_ratio == pytest.approx(27 / 29, abs=1e-4)


def test_scores_carry_their_signatures_and_settings(report: EvaluationReport) -> None:
    assert report.bleu.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert report.chrf.signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert report.ter.signature.startswith("nrefs:1|case:lc|tok:tercom|norm:no|punct:yes|asian:no|version:")
    assert report.multi_bleu.signature.startswith("multi-bleu|case:mixed|tok:moses-fr|smooth:none|sacremoses:")
    for score in (report.bleu, report.chrf, report.ter, report.multi_bleu):
        assert (score.test_set, score.beam_size, score.length_penalty, score.sentences) == ("four lines", 5, 0.6, 4)


def test_a_line_is_one_sentence(report: EvaluationReport, translator: Translator) -> None:
    expected = translator.translate(SOURCES[3], SearchOptions(max_length=30), split_sentences=False)
    assert len(expected.sentences) == 1
    assert report.samples[3].translation == expected.text
    assert [sample.source for sample in report.samples] == SOURCES


def test_perplexity_is_that_of_feeding_the_reference_step_by_step(
    report: EvaluationReport, translator: Translator
) -> None:
    vocabularies = translator.loaded.source_vocabulary, translator.loaded.target_vocabulary
    engine = ReferenceEngine(
        translator.loaded.model, source_eos_id=vocabularies[0].eos_id, target_eos_id=vocabularies[1].eos_id
    )
    total, tokens = 0.0, 0
    for source, reference in zip(SOURCES, REFERENCES, strict=True):
        rows = engine.encode([vocabularies[0].encode(source)])
        previous = engine.eos_id
        for token in [*vocabularies[1].encode(reference), engine.eos_id]:
            log_probabilities, rows = engine.log_probabilities(rows, torch.tensor([previous]))
            total += float(log_probabilities[0, token])
            tokens += 1
            previous = token
    assert report.perplexity.value == pytest.approx(math.exp(-total / tokens), rel=1e-4)


def test_bleu_by_length_puts_each_sentence_into_the_class_of_its_source() -> None:
    sources = ["w " * length for length in (1, 5, 6, 10, 11, 50, 51, 90)]
    references = ["the cat sat on the mat"] * 8
    translations = ["the cat sat on the mat"] * 2 + ["the dog sat on the mat"] * 2 + ["the cat sat on the mat"] * 4
    scores = bleu_by_length(sources, translations, references)
    classes = [(score.minimum, score.maximum, score.sentences) for score in scores]
    assert classes == [(0, 5, 2), (6, 10, 2), (11, 15, 1), (31, 50, 1), (51, None, 2)]
    expected = sacrebleu.corpus_bleu(translations[2:4], [references[2:4]]).score
    assert [score.bleu for score in scores] == pytest.approx([100, expected, 100, 100, 100], abs=1e-3)
    assert 0 < expected < 100


def test_progress_and_warnings_count_sentences(translator: Translator) -> None:
    steps: list[int] = []
    report = evaluate_translator(
        translator,
        SOURCES,
        REFERENCES,
        test_set="x",
        options=SearchOptions(max_length=1, beam_size=1),
        progress=steps.append,
    )
    assert sum(steps) == 4
    assert report.warnings.get("truncated", 0) + report.warnings.get("empty", 0) == 4


def test_a_test_set_needs_a_reference_for_each_source(translator: Translator) -> None:
    with pytest.raises(InputError, match="source has 4 lines and the reference 3"):
        evaluate_translator(translator, SOURCES, REFERENCES[:3], test_set="x")
    with pytest.raises(InputError, match="empty"):
        evaluate_translator(translator, [], [], test_set="x")


def test_a_card_keeps_the_scores_of_other_test_sets(report: EvaluationReport, translator: Translator) -> None:
    old = [
        Score(test_set="dev", metric="BLEU", value=1),
        Score(test_set="four lines", metric="BLEU", value=2, signature="old"),
    ]
    card = scored_card(translator.card.model_copy(update={"scores": old}), report)
    assert card.scores == [report.bleu, report.chrf, report.perplexity, old[0]]
    assert card.bleu_by_length == report.bleu_by_length


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\n\r\nb", ["a", "", "b"]),
        ("\ufeffa\u2028b\u0085\x0cc\n".encode(), ["a\u2028b\u0085\x0cc"]),
    ],
)
def test_only_line_feeds_end_lines(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    (tmp_path / "file").write_bytes(content)
    assert list(read_lines(tmp_path / "file")) == lines


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "somewhere"
    folder.mkdir()
    for name, lines in (("test.en", SOURCES), ("test.fr", REFERENCES)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder / "test.en", folder / "test.fr"


def run(model: Path, source: Path, reference: Path, *options: str | Path) -> Result:
    arguments = [
        "evaluate",
        "--model",
        model,
        "--source",
        source,
        "--reference",
        reference,
        "--beam-size",
        "2",
        *options,
    ]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_writes_report_figure_and_card(
    tiny_model_directory: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model_directory, tmp_path / "model")
    options = ["--json", tmp_path / "scores.json", "--figure", tmp_path / "scores.png", "--update-card"]
    result = run(model, *files, *options)
    assert result.exit_code == 0, result.output
    written = EvaluationReport.model_validate(json.loads((tmp_path / "scores.json").read_text(encoding="utf-8")))
    assert written.bleu.test_set == "somewhere test"
    assert written.bleu.beam_size == 2
    assert written.bleu.signature in result.stdout
    assert SOURCES[0] in result.stdout
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    card = load_model(model).card
    assert card.scores == [written.bleu, written.chrf, written.perplexity]
    assert card.bleu_by_length == written.bleu_by_length
    assert load_model(tiny_model_directory).card.scores == []


def test_without_update_card_the_model_stays_as_it_is(tiny_model_directory: Path, files: tuple[Path, Path]) -> None:
    before = (tiny_model_directory / "card.json").read_bytes()
    result = run(tiny_model_directory, *files, "--test-set-name", "[named]", "--length-penalty", "0.25")
    assert result.exit_code == 0, result.output
    assert "[named]" in result.stdout
    assert "length penalty 0.25" in result.stdout
    assert (tiny_model_directory / "card.json").read_bytes() == before


def test_what_cannot_be_measured_is_one_line_and_status_2(
    tiny_model_directory: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    source, reference = files
    short = tmp_path / "short"
    short.write_text("une ligne\n", encoding="utf-8")
    latin = tmp_path / "latin"
    latin.write_bytes("a\nb\nété\n".encode("latin-1"))
    cases = [
        (run(tiny_model_directory, source, short), "source has 4 lines and the reference 1"),
        (run(tiny_model_directory, source, latin), "latin, line 3: not UTF-8"),
        (run(tiny_model_directory, tmp_path / "none", reference), "none: No such file"),
        (run(tmp_path / "none", source, reference), "no such model directory"),
        (run(tiny_model_directory, source, reference, "--json", tmp_path / "no" / "x"), "there is no folder"),
        (run(tiny_model_directory, source, reference, "--figure", tmp_path / "x.txt"), "ends in .png"),
        (run(tiny_model_directory, source, reference, "--length-penalty", "9"), "--length-penalty: "),
        (run(tiny_model_directory, source, reference, "--device", "abacus"), "device abacus cannot be used"),
    ]
    for result, part in cases:
        assert result.exit_code == 2
        assert part in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert "BLEU" not in result.stdout


def test_the_files_are_written_where_nobody_reads_what_is_shown(
    tiny_model_directory: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(evaluation, "show", gone)
    run(tiny_model_directory, *files, "--json", tmp_path / "scores.json")
    EvaluationReport.model_validate_json((tmp_path / "scores.json").read_text(encoding="utf-8"))


def test_models_of_opposite_directions_are_not_compared(
    tiny_model_directory: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    other = shutil.copytree(tiny_model_directory, tmp_path / "other")
    turned = {"source_language": "fr", "target_language": "en", "name": "other"}
    update_card(other, load_model(other).card.model_copy(update=turned))
    result = command(tiny_model_directory, other, "--source", files[0], "--reference", files[1])
    assert result.exit_code == 2
    assert "tiny-en-fr translates en-fr and other fr-en: they cannot be compared" in result.stderr


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


@pytest.fixture
def output_file(tmp_path: Path) -> Path:
    """Another system's translations: markup is text like any other."""
    file = tmp_path / "other.fr"
    file.write_text("".join(f"{line} <b>&\n" for line in REFERENCES), encoding="utf-8")
    return file


def test_systems_are_compared_with_the_first(
    tiny_model_directory: Path,
    second_model_directory: Path,
    files: tuple[Path, Path],
    output_file: Path,
    tmp_path: Path,
) -> None:
    ensemble = f"{tiny_model_directory},{second_model_directory}"
    systems = ("--model", tiny_model_directory, ensemble, output_file)
    outputs = ("--json", tmp_path / "x.json", "--html", tmp_path / "x.html", "--figure", tmp_path / "x.svg")
    result = command(*systems, "--source", files[0], "--reference", files[1], "--beam-size", "2", *outputs)
    assert result.exit_code == 0, result.output
    report = ComparisonReport.model_validate_json((tmp_path / "x.json").read_text(encoding="utf-8"))
    names = [system.model for system in report.systems]
    assert names == ["tiny-en-fr", "tiny-en-fr + second-en-fr", "other.fr"]
    assert [each.system for each in report.comparisons] == names[1:]
    for comparison in report.comparisons:
        assert comparison.sentence in result.stdout
    weights = [load_model(path).card.files["model.safetensors"].sha256
               for path in (tiny_model_directory, second_model_directory)]  # fmt: skip
    assert [system.weights_sha256 for system in report.systems] == [weights[0], ",".join(weights), ""]
    expected = Translator.load(ensemble).translate(SOURCES, SearchOptions(beam_size=2), split_sentences=False)
    assert report.systems[1].samples[0].translation == expected[0].text
    other = report.systems[2]
    assert (other.perplexity, other.unknown, other.seconds, other.bleu.beam_size) == (None, None, None, None)
    texts = [f"{line} <b>&" for line in REFERENCES]
    assert other.bleu.value == pytest.approx(sacrebleu.corpus_bleu(texts, [REFERENCES]).score, abs=1e-3)
    assert other.multi_bleu.signature == report.systems[0].multi_bleu.signature


def test_an_ensembles_perplexity_is_between_its_members_best_and_worst_or_better(
    tiny_model_directory: Path, second_model_directory: Path
) -> None:
    """log of a mean is at least the mean of logs: the ensemble is no worse than the geometric mean of its members."""
    paths = [tiny_model_directory, second_model_directory]
    options = SearchOptions(beam_size=1, max_length=3)
    single = [
        evaluate_translator(Translator.load(path), SOURCES, REFERENCES, test_set="x", options=options).perplexity
        for path in paths
    ]
    both = evaluate_translator(Translator.load(paths), SOURCES, REFERENCES, test_set="x", options=options).perplexity
    assert both is not None
    values = [score.value for score in single if score is not None]
    assert min(values) / 2 < both.value <= math.sqrt(values[0] * values[1]) * 1.0001


class Assets(HTMLParser):
    """What a page would load from elsewhere, and its images."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.images: list[bytes] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action") and value is not None:
                if tag == "img" and value.startswith("data:image/png;base64,"):
                    self.images.append(base64.b64decode(value.partition(",")[2]))
                else:
                    self.loaded.append(value)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_beside_itself_and_quotes_text_as_text(
    tiny_model_directory: Path, files: tuple[Path, Path], output_file: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    result = command(
        tiny_model_directory, output_file, "--source", files[0], "--reference", files[1], "--beam-size", "1",
        "--html", page,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assets = Assets()
    assets.feed(text)
    assert assets.loaded == []
    assert "url(" not in text
    assert len(assets.images) == 3
    assert all(image.startswith(b"\x89PNG") for image in assets.images)
    assert f"{REFERENCES[0]} <b>&" in assets.text
    assert "<b>" not in text
    for part in ("tiny-en-fr", "other.fr", "TER", "multi-bleu", "nrefs:1|case:mixed"):
        assert part in assets.text


def test_models_of_one_name_go_by_what_they_were_called(
    tiny_model_directory: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    copies = [shutil.copytree(tiny_model_directory, tmp_path / name) for name in ("one", "two")]
    result = command(*copies, "--source", files[0], "--reference", files[1], "--beam-size", "1")
    assert result.exit_code == 0, result.output
    assert f"{copies[0]} and {copies[1]} cannot be told apart by BLEU" in result.stdout


def test_what_cannot_be_compared_is_refused(
    tiny_model_directory: Path, second_model_directory: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    text = ("--source", files[0], "--reference", files[1])
    short = tmp_path / "short.fr"
    short.write_text("une ligne\n", encoding="utf-8")
    cases = [
        (command(*text), "name a model"),
        (command(tiny_model_directory), "name the test set"),
        (command(tiny_model_directory, "--source", files[0]), "name the test set"),
        (command(tiny_model_directory, *text, "--test-set", "wmt14"), "takes the place of --source"),
        (command(tiny_model_directory, *text, "--language-pair", "de-en"), "translates en-fr and not de-en"),
        (command(short, "--test-set", "wmt14"), "needs --language-pair"),
        (command(tiny_model_directory, short, *text), "short.fr has 1 lines and the source 4"),
        (command(tiny_model_directory, second_model_directory, *text, "--update-card"), "for a single model"),
        (command("--model", tiny_model_directory, "--model", tiny_model_directory, *text, "--update-card"), "single"),
        (command(tiny_model_directory, *text, "--html", tmp_path / "no" / "x.html"), "there is no folder"),
    ]  # fmt: skip
    for result, part in cases:
        assert result.exit_code == 2, result.output
        assert part in result.stderr
        assert "BLEU" not in result.stdout
