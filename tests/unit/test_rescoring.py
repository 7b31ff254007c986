"""N-best lists read and written, and what is chosen from them, against choosing by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from training.__main__ import main
from training.errors import InputError
from training.n_best import Candidate, Format, n_best_lines, read_n_best
from training.rescoring import choose, corpus_bleu, mixed, model_scores, oracle, tuned_weight
from translator import Translator
from translator.scoring import score_texts

SOURCES = ["Where is the station?", "She reads a book every evening.", "It is raining again this morning."]
REFERENCES = ["Où est la gare ?", "Elle lit un livre tous les soirs.", "Il pleut encore ce matin."]
LISTS = [
    [Candidate("Où est le pont ?", -1.0), Candidate("Où est la gare ?", -1.5), Candidate("Quoi ?", -9.0)],
    [Candidate("Elle lit un livre tous les soirs.", -2.0), Candidate("Elle lit.", -1.9)],
    [Candidate("Il pleut encore.", -0.5), Candidate("Il pleut encore.", -0.7)],
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def translator(tiny_model_directory: Path) -> Translator:
    return Translator.load(tiny_model_directory, engine="reference")


MOSES = """\
0 ||| Où est le pont ? ||| LM0= -20.1 WordPenalty0= -5 ||| -1.0 ||| 0-0 1-1
0 ||| Où est la gare ? ||| LM0= -21.2 ||| -1.5
0 ||| Quoi ? ||| -9
1 |||  ||| LM0= 0 ||| -3e0

2 ||| Il pleut encore. ||| LM0= -1 ||| -0.5
"""


def test_mosess_format_is_read_with_and_without_features_and_alignments(tmp_path: Path) -> None:
    found = read_n_best(write(tmp_path / "list", MOSES), 3)
    assert found.format == "moses"
    assert found.sentences == [LISTS[0], [Candidate("", -3.0)], [LISTS[2][0]]]


def test_json_lines_are_read_in_any_order(tmp_path: Path) -> None:
    lines = [{"id": 1, "text": "b ||| c", "score": -2, "more": [1]}, {"id": 0, "text": "", "score": 0.5}]
    found = read_n_best(write(tmp_path / "list", "".join(json.dumps(line) + "\n" for line in lines)), 2)
    assert found.format == "jsonl"
    assert found.sentences == [[Candidate("", 0.5)], [Candidate("b ||| c", -2.0)]]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="|\ufeff{"), max_size=20)


@given(
    lists=st.lists(
        st.lists(st.builds(Candidate, TEXTS, st.integers(-1000, 1000).map(lambda n: n / 8)), min_size=1, max_size=4),
        min_size=1,
        max_size=5,
    ),
    form=st.sampled_from(["moses", "jsonl"]),
)
def test_what_is_written_is_read_again(
    lists: list[list[Candidate]], form: Format, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = write(tmp_path_factory.mktemp("lists") / "list", n_best_lines(lists, form))
    found = read_n_best(file, len(lists))
    assert (found.sentences, found.format) == (lists, form)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 ||| a ||| -1\nnonsense\n", 'line 2 is not "number'),
        ("0 ||| a ||| minus one\n", 'line 1 is not "number'),
        ("0 ||| a ||| nan\n", 'line 1 is not "number'),
        ("-1 ||| a ||| -1\n", 'line 1 is not "number'),
        ("0 ||| a\n", 'line 1 is not "number'),
        ("0 ||| a ||| -1\n2 ||| a ||| -1\n", "line 2 is about sentence 2, and the source has 2"),
        ("0 ||| a ||| -1\n", "has nothing about sentence 1"),
        ("", "has nothing about sentence 0"),
        ('{"id": 0, "text": "a", "score": -1}\n{"id": 1, "text": "a"}\n', "line 2 is not .*score: Field required"),
        ('{"id": "0", "text": "a", "score": -1}\n', "line 1 is not .*id: "),
        ('{"id": 0, "text": "a", "score": NaN}\n', "line 1 is not"),
        ("{\n", "line 1 is not"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_n_best(write(tmp_path / "list", text), 2)


def test_weights_go_from_the_lists_best_to_the_models_best() -> None:
    candidates = [Candidate("a", -1.0), Candidate("b", -2.0), Candidate("c", -6.0)]
    model = np.array([-9.0, -4.0, -3.0])
    assert mixed(candidates, model, 0.5).tolist() == [-5.0, -3.0, -4.5]
    assert [choose([candidates], [model], weight)[0] for weight in (0.0, 0.5, 1.0)] == ["a", "b", "c"]
    # Where the two lines cross: −1 − 8w = −2 − 2w at w = 1/6.
    assert [choose([candidates], [model], weight)[0] for weight in (0.16, 0.17)] == ["a", "b"]
    assert choose([[Candidate("first", -1), Candidate("second", -1)]], [np.zeros(2)], 0.5) == ["first"]


def test_a_model_scores_every_candidate_of_its_source(translator: Translator) -> None:
    counted: list[int] = []
    scores = model_scores(translator, SOURCES, LISTS, progress=counted.append)
    assert sum(counted) == 6  # the two equal candidates once
    for source, candidates, each in zip(SOURCES, LISTS, scores, strict=True):
        expected = score_texts(translator, [(source, candidate.text) for candidate in candidates])
        assert each.tolist() == pytest.approx([score.log_probability for score in expected], abs=1e-4)


def test_a_model_of_the_other_direction_scores_the_source(translator: Translator) -> None:
    scores = model_scores(translator, SOURCES, LISTS, reverse=True)
    for source, candidates, each in zip(SOURCES, LISTS, scores, strict=True):
        expected = score_texts(translator, [(candidate.text, source) for candidate in candidates])
        assert each.tolist() == pytest.approx([score.log_probability for score in expected], abs=1e-4)


def test_the_oracle_is_the_best_of_all_ways_to_choose_here() -> None:
    chosen = oracle(LISTS, REFERENCES)
    every = itertools.product(*([candidate.text for candidate in candidates] for candidates in LISTS))
    assert corpus_bleu(chosen, REFERENCES) == max(corpus_bleu(texts, REFERENCES) for texts in every)
    assert chosen == ["Où est la gare ?", "Elle lit un livre tous les soirs.", "Il pleut encore."]


def test_a_weight_is_tuned_to_the_best_bleu_and_otherwise_even() -> None:
    good, bad = "Où est la gare ?", "Pas du tout cela"
    # The list prefers the bad one by 1, the model the good one by 0.3: only weights above 1 ÷ 1.3 choose it.
    lists = [[Candidate(bad, 0.0), Candidate(good, -1.0)]]
    model = [np.array([-0.3, 0.0])]
    assert tuned_weight(lists, model, [good]) == 0.8
    assert tuned_weight(lists, model, [bad]) == 0.5


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["rescore", *map(str, arguments)])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {
        "source": write(tmp_path / "source", "".join(f"{line}\n" for line in SOURCES)),
        "list": write(tmp_path / "list", n_best_lines(LISTS, "moses")),
        "reference": write(tmp_path / "reference", "".join(f"{line}\n" for line in REFERENCES)),
    }


def test_the_command_chooses_and_reports(
    files: dict[str, Path], tiny_model_directory: Path, translator: Translator, tmp_path: Path
) -> None:
    basis = ("--model", tiny_model_directory, "--source", files["source"], "--n-best", files["list"])
    result = run(*basis, "--reference", files["reference"], "--output-n-best", tmp_path / "anew")
    assert result.exit_code == 0, result.stderr
    scores = model_scores(translator, SOURCES, LISTS)
    assert result.stdout.splitlines() == choose(LISTS, scores, 0.5)
    for name, texts in (
        ("the list's own best", [LISTS[0][0].text, LISTS[1][1].text, LISTS[2][0].text]),
        ("both, weight 0.5", choose(LISTS, scores, 0.5)),
        ("this model alone", choose(LISTS, scores, 1.0)),
        ("oracle", oracle(LISTS, REFERENCES)),
    ):
        (line,) = [line for line in result.stderr.splitlines() if line.startswith(name)]
        assert float(line.split()[-1]) == pytest.approx(sacrebleu.corpus_bleu(texts, [REFERENCES]).score, abs=0.005)
    assert "nrefs:1|case:mixed" in result.stderr
    assert "en to fr, by log p(candidate | source)" in result.stderr
    anew = read_n_best(tmp_path / "anew", 3)
    assert [candidates[0].text for candidates in anew.sentences] == result.stdout.splitlines()
    for candidates, old, each in zip(anew.sentences, LISTS, scores, strict=True):
        assert [candidate.score for candidate in candidates] == sorted(
            (candidate.score for candidate in candidates), reverse=True
        )
        expected = sorted(mixed(old, each, 0.5).tolist(), reverse=True)
        assert [candidate.score for candidate in candidates] == pytest.approx(expected, abs=1e-4)


def test_a_weight_may_be_given_or_tuned_and_the_direction_turned(
    files: dict[str, Path], tiny_model_directory: Path, translator: Translator
) -> None:
    basis = ("--model", tiny_model_directory, "--source", files["source"], "--n-best", files["list"])
    own = run(*basis, "--weight", "0")
    assert own.stdout.splitlines() == [LISTS[0][0].text, LISTS[1][1].text, LISTS[2][0].text]
    assert own.stderr == ""
    tuned = run(*basis, "--tune", files["source"], files["list"], files["reference"])
    assert tuned.exit_code == 0, tuned.stderr
    assert tuned.stderr.startswith("weight ")
    other_way = run(*basis, "--weight", "1", "--reverse")
    reversed_scores = model_scores(translator, SOURCES, LISTS, reverse=True)
    assert other_way.stdout.splitlines() == choose(LISTS, reversed_scores, 1.0)
    # What is best differs: by the model's own direction the weights would be others.
    reverse_tuned = run(*basis, "--reverse", "--tune", files["source"], files["list"], files["reference"])
    expected = tuned_weight(LISTS, reversed_scores, REFERENCES)
    assert reverse_tuned.stderr.startswith(f"weight {expected:g},")
    assert expected != tuned_weight(LISTS, model_scores(translator, SOURCES, LISTS), REFERENCES)
    both = run(*basis, "--weight", "0", "--tune", files["source"], files["list"], files["reference"])
    assert both.exit_code == 2
    assert "exclude each other" in both.stderr


def test_what_cannot_be_rescored_is_one_line_and_status_2(
    files: dict[str, Path], tiny_model_directory: Path, tmp_path: Path
) -> None:
    def given_(**changes: Path) -> list[str | Path]:
        chosen = files | changes
        return ["--source", chosen["source"], "--n-best", chosen["list"], "--reference", chosen["reference"]]

    short, empty = write(tmp_path / "short", "one line\n"), write(tmp_path / "empty", "")
    cases = [
        (run("--model", tmp_path / "none", *given_()), "no such model directory"),
        (run("--model", tiny_model_directory, *given_(source=short)), "is about sentence 1, and the source has 1"),
        (run("--model", tiny_model_directory, *given_(reference=short)), "has 1 lines and the source 3"),
        (run("--model", tiny_model_directory, *given_(list=tmp_path / "none")), "none: No such file"),
        (run("--model", tiny_model_directory, *given_(), "--output-n-best", tmp_path / "no" / "x"), "make it first"),
        (
            run("--model", tiny_model_directory, *given_(source=empty, list=empty, reference=empty)),
            "empty: is empty",
        ),
        (
            run("--model", tiny_model_directory, *given_(), "--tune", empty, empty, empty),
            "empty: is empty",
        ),
    ]
    for result, part in cases:
        assert (result.exit_code, result.stdout) == (2, "")
        assert part in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
