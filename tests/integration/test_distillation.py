"""`python -m training distill`: a small teacher, what it makes of the smoke corpus, and a student of that."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import click.testing
import pytest
import sacrebleu
from click.testing import CliRunner
from rich.console import Console

from training import distillation_command
from training.__main__ import main
from training.distillation import Distillation
from training.distillation_settings import SPOKEN, Settings, settings_of
from training.errors import InputError
from training.further_text import FurtherText
from training.preparation import prepare
from training.prepared import Prepared
from training.recipe import load_recipe
from translator import SearchOptions, Translator
from translator.scoring import score_texts

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "fixtures" / "smoke"
QUIET = Console(quiet=True)
SMALL = ("optimisation.epochs=4", "evaluation.every_epochs=4", "model.num_layers=2", "model.hidden_size=96",
         "model.embedding_size=96", "optimisation.learning_rate=0.01", "evaluation.length_penalties=[0.5]")  # fmt: skip

Result = subprocess.CompletedProcess[str]
Pairs = list[tuple[str, str]]


def sets(*overrides: str) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def run(*arguments: str | Path) -> Result:
    command = [sys.executable, "-m", "training", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)


def distil_by_command(*arguments: str | Path) -> click.testing.Result:
    """In this process, which has loaded all that it takes."""
    return CliRunner().invoke(main, ["distill", "smoke", *map(str, arguments)])


def complaint(result: click.testing.Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    return result.stderr


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def pairs(folder: Path, part: str = "train") -> Pairs:
    return list(zip(lines(folder / f"{part}.en"), lines(folder / f"{part}.fr"), strict=True))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def teacher(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "teacher"
    result = run("train", "smoke", "--prepared", prepared, *sets(*SMALL, f"output.directory={directory}"))
    assert result.returncode == 0, result.stderr
    return directory / "model"


@pytest.fixture(scope="module")
def translator(teacher: Path) -> Translator:
    return Translator.load(teacher)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Sixty pairs of the corpus, among them one source with two translations, far from each other."""
    folder = tmp_path_factory.mktemp("corpora") / "small"
    shutil.copytree(SMOKE, folder)
    for code, more in (("en", "The cat sees the dog."), ("fr", "Le chat voit un chien.")):
        text = lines(SMOKE / f"train.{code}")[:58]
        again = {"en": "The cat sees the dog.", "fr": "Le chat voit le chien."}[code]
        (folder / f"train.{code}").write_text("".join(f"{line}\n" for line in [more, *text, again]), encoding="utf-8")
    return prepare(load_recipe("smoke", [f"corpus.path={folder}"]), folder.parent / "prepared", console=QUIET)


Distil = Callable[..., Path]


@pytest.fixture
def distil(translator: Translator, small: Prepared, tmp_path: Path) -> Distil:
    """Distils the sixty pairs; returns the folder."""

    def run_it(
        name: str = "it",
        *,
        corpus: Prepared = small,
        teacher: Translator = translator,
        text_files: Sequence[Path] = (),
        reverse: Translator | None = None,
        **changes: object,
    ) -> Path:
        settings = chosen(teacher, corpus, text_files=text_files, reverse=reverse, **changes)
        work = Distillation(tmp_path / name, corpus, settings, text_files)
        work.run(teacher, lambda count: None, reverse=reverse)
        return work.folder

    return run_it


def chosen(translator: Translator, corpus: Prepared, *, beam_size: int = 3, **changes: object) -> Settings:
    options = SearchOptions(beam_size=beam_size)
    given: dict[str, object] = {"shard_pairs": 16} | changes
    return settings_of(translator, corpus, options, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_target_is_what_the_teacher_translates_its_source_into(
    distil: Distil, translator: Translator, beam_size: int
) -> None:
    found = pairs(distil(beam_size=beam_size))
    assert len(found) > 50
    for source, target in found:
        translation = translator.translate(source, SearchOptions(beam_size=beam_size), split_sentences=False)
        assert translation.text == target


def test_every_source_is_there_once_or_counted_and_dev_and_test_are_the_real_ones(
    distil: Distil, small: Prepared
) -> None:
    folder = distil()
    record = json.loads((folder / "distillation.json").read_text(encoding="utf-8"))
    found = pairs(folder)
    assert len(set(found)) == len(found) == record["pairs"]["teacher"]
    assert len(found) + sum(record["left_out"].values()) == len(small.train) == 60
    assert record["left_out"]["duplicates"] == 1
    assert [source for source, _ in found].count("The cat sees the dog.") == 1
    for part in ("dev", "test"):
        assert pairs(folder, part) == pairs(SMOKE, part)
    assert sorted(contents(folder)) == [
        "dev.en", "dev.fr", "distillation.json", "test.en", "test.fr", "train.en", "train.fr"
    ]  # fmt: skip


def test_nearest_reference_takes_the_best_of_the_beam_by_bleu(
    distil: Distil, translator: Translator, small: Prepared
) -> None:
    references: dict[str, list[str]] = {}
    for number in range(len(small.train)):
        source = small.source_vocabulary.decode(small.train.source(number).tolist())
        target = small.target_vocabulary.decode(small.train.target(number).tolist())
        references.setdefault(source, []).append(target)
    bleu = sacrebleu.BLEU(effective_order=True)
    differing = 0
    for source, target in pairs(distil(nearest_reference=True, beam_size=4)):
        translation = translator.translate(source, SearchOptions(beam_size=4, alternatives=3), split_sentences=False)
        beam = [translation.text, *(other.text for other in translation.alternatives)]
        best = [
            max(beam, key=lambda text: bleu.sentence_score(text, [reference]).score) for reference in references[source]
        ]
        assert target in best
        differing += target != translation.text
    assert differing


def test_mixed_has_the_original_pairs_behind_the_teachers(distil: Distil, small: Prepared) -> None:
    plain, mixed = pairs(distil("plain")), pairs(distil("mixed", mixed=True))
    assert mixed[: len(plain)] == plain
    assert mixed[len(plain) :] == [
        (
            small.source_vocabulary.decode(small.train.source(number).tolist()),
            small.target_vocabulary.decode(small.train.target(number).tolist()),
        )
        for number in range(60)
    ]


@pytest.fixture(scope="module")
def backward() -> Translator:
    return Translator.load("fr-en")


NEW = lines(SMOKE / "train.en")[58:64]


def write(file: Path, text: Sequence[str]) -> Path:
    file.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
    return file


@pytest.fixture
def further(tmp_path: Path) -> Path:
    """Six sentences that the sixty pairs do not have, and lines that are none."""
    held_out = [lines(SMOKE / f"{part}.en")[0] for part in ("dev", "test")]
    none = ["the CAT sees the dog", "The cat sees the dog.", *held_out, f"  {NEW[0].upper()} ", "?! …", "dog " * 300]
    file = tmp_path / "further.en.gz"
    file.write_bytes(gzip.compress("".join(f"{line}\n" for line in [NEW[0], "", *NEW[1:], *none]).encode()))
    return file


def test_text_of_the_source_language_is_translated_where_the_corpus_does_not_have_it(
    distil: Distil, translator: Translator, further: Path
) -> None:
    folder = distil(text_files=[further])
    found = pairs(folder)
    assert [source for source, _ in found] == NEW
    for source, target in found:
        assert translator.translate(source, SearchOptions(beam_size=3), split_sentences=False).text == target
    record = json.loads((folder / "distillation.json").read_text(encoding="utf-8"))
    assert record["left_out"] == {
        "without a word": 1, "too long": 1, "repeated": 2, "in the corpus": 3, "no translation": 0
    }  # fmt: skip
    assert sorted(contents(folder)) == ["distillation.json", "train.en", "train.fr"]


def test_what_train_has_is_known_again_where_the_vocabulary_lacks_words(small: Prepared, tmp_path: Path) -> None:
    words = ["subwords.model_type=word", "subwords.source_vocabulary_size=25"]
    recipe = load_recipe("smoke", [f"corpus.path={small.record.corpus.path}", *words])
    corpus = prepare(recipe, tmp_path / "prepared", console=QUIET)
    known = lines(SMOKE / "train.en")[:58]
    with pytest.raises(InputError, match="no sentence that the corpus does not have"):
        FurtherText([write(tmp_path / "known", known)], corpus, "source")
    text = FurtherText([write(tmp_path / "more", [*known, "Astronomers of every country agree."])], corpus, "source")
    assert [text.sentence(number) for number in text.order] == ["Astronomers of every country agree."]


def test_a_teacher_of_the_other_direction_makes_sources_for_text_of_the_target_language(
    distil: Distil, backward: Translator, tmp_path: Path
) -> None:
    text = lines(SMOKE / "train.fr")[58:64]
    found = pairs(distil(teacher=backward, text_files=[write(tmp_path / "further.fr", text)]))
    assert [target for _, target in found] == text
    for source, target in found:
        assert backward.translate(target, SearchOptions(beam_size=3), split_sentences=False).text == source


@pytest.mark.parametrize("part", ["dev", "test"])
@pytest.mark.parametrize("languages", [("fr", "en"), ("en", "fr")])
def test_a_translation_that_dev_or_test_has_is_left_out(
    distil: Distil, backward: Translator, languages: tuple[str, str], part: str, tmp_path: Path
) -> None:
    read, written = languages
    teacher = backward if read == "fr" else Translator.load("en-fr")
    text = lines(SMOKE / f"train.{read}")[58:64]
    said = teacher.translate(text[0], SearchOptions(beam_size=3), split_sentences=False).text
    corpus = tmp_path / "corpus"
    shutil.copytree(SMOKE, corpus)
    for code in languages:
        write(corpus / f"train.{code}", lines(corpus / f"train.{code}")[:58])
        more = f"{said.upper()}!" if code == written else lines(SMOKE / f"dev.{code}")[0]
        write(corpus / f"{part}.{code}", [*lines(corpus / f"{part}.{code}"), more])
    prepared = prepare(load_recipe("smoke", [f"corpus.path={corpus}"]), tmp_path / "prepared", console=QUIET)
    folder = distil(teacher=teacher, corpus=prepared, text_files=[write(tmp_path / "further", text)])
    assert [pair[read == "fr"] for pair in pairs(folder)] == text[1:]
    record = json.loads((folder / "distillation.json").read_text(encoding="utf-8"))
    assert record["left_out"]["held out"] == 1


def test_a_model_of_the_other_direction_chooses_from_the_beam(
    distil: Distil, backward: Translator, further: Path
) -> None:
    forward = Translator.load("en-fr")
    differing = 0
    for source, target in pairs(distil(teacher=forward, text_files=[further], reverse=backward, beam_size=4)):
        best = forward.translate(source, SearchOptions(beam_size=4, alternatives=3), split_sentences=False)
        beam = {other.text: other.log_probability for other in best.alternatives}
        beam[best.text] = best.sentences[0].log_probability
        channel = score_texts(backward, [(text, source) for text in beam])
        sums = {text: beam[text] + each.log_probability for text, each in zip(beam, channel, strict=True)}
        assert sums[target] == pytest.approx(max(sums.values()), abs=1e-3)
        differing += target != best.text
    assert differing


def test_the_share_that_is_kept_is_what_the_other_direction_finds_likeliest(
    distil: Distil, backward: Translator, further: Path
) -> None:
    forward = Translator.load("en-fr")
    given = {"teacher": forward, "reverse": backward, "text_files": [further]}
    every, folder = pairs(distil("every", **given)), distil("kept", kept_share=0.5, **given)
    channel = score_texts(backward, [(target, source) for source, target in every])
    by_agreement = sorted(
        zip(every, channel, strict=True), key=lambda each: each[1].log_probability / len(each[0][0]), reverse=True
    )
    assert len(every) == 6
    assert sorted(pairs(folder)) == sorted(pair for pair, _ in by_agreement[:3])
    record = json.loads((folder / "distillation.json").read_text(encoding="utf-8"))
    assert record["left_out"]["improbable"] == 3


def test_text_that_brings_nothing_is_refused(distil: Distil, tmp_path: Path) -> None:
    write(tmp_path / "known", ["", "The cat sees the dog"])
    with pytest.raises(InputError, match="known: no sentence that the corpus does not have"):
        distil(text_files=[tmp_path / "known"])
    with pytest.raises(InputError, match="none: No such file"):
        distil("other", text_files=[tmp_path / "none"])


def test_sources_that_the_vocabulary_cannot_give_back_are_left_out(
    distil: Distil, small: Prepared, tmp_path: Path
) -> None:
    words = ["subwords.model_type=word", "subwords.source_vocabulary_size=25"]
    recipe = load_recipe("smoke", [f"corpus.path={small.record.corpus.path}", *words])
    corpus = prepare(recipe, tmp_path / "prepared", console=QUIET)
    vocabulary = corpus.source_vocabulary
    known = {
        vocabulary.decode(corpus.train.source(number).tolist())
        for number in range(60)
        if vocabulary.unk_id not in corpus.train.source(number)
    }
    assert 0 < len(known) < 58
    folder = distil("words", corpus=corpus)
    assert {source for source, _ in pairs(folder)} <= known
    record = json.loads((folder / "distillation.json").read_text(encoding="utf-8"))
    assert len(pairs(folder)) + sum(record["left_out"].values()) == 60
    assert not any("<unk>" in source for source, _ in pairs(folder))


def test_interrupted_it_goes_on_with_the_next_shard_and_ends_the_same(
    distil: Distil, translator: Translator, small: Prepared, tmp_path: Path
) -> None:
    whole = distil("whole")
    settings = chosen(translator, small)
    done: list[int] = []

    def until_the_third(count: int) -> None:
        done.append(count)
        if sum(done) > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Distillation(tmp_path / "parts", small, settings).run(translator, until_the_third)
    assert not (tmp_path / "parts" / "train.fr").exists()
    again = Distillation(tmp_path / "parts", small, settings)
    assert (again.done, again.finished) == (32, False)
    rest: list[int] = []
    again.run(translator, rest.append)
    assert sum(rest) == 60 - 32
    assert again.finished
    assert contents(tmp_path / "parts") == contents(whole)


def test_text_goes_on_where_it_was_and_only_with_the_same_text_and_model_of_the_other_direction(
    distil: Distil, backward: Translator, small: Prepared, further: Path, tmp_path: Path
) -> None:
    forward = Translator.load("en-fr")
    given = {"teacher": forward, "text_files": [further], "shard_pairs": 2}
    whole = distil("whole", reverse=backward, **given)
    settings = chosen(forward, small, text_files=[further], reverse=backward, shard_pairs=2)
    done: list[int] = []

    def until_the_second(count: int) -> None:
        done.append(count)
        if sum(done) > 3:
            raise KeyboardInterrupt

    parts = Distillation(tmp_path / "parts", small, settings, [further])
    with pytest.raises(KeyboardInterrupt):
        parts.run(forward, until_the_second, reverse=backward)
    with pytest.raises(InputError, match="was begun with another --reverse-model; name"):
        distil("parts", **given)
    other = write(tmp_path / "other", NEW)
    with pytest.raises(InputError, match=r"was begun with another text \(--text\); name"):
        distil("parts", reverse=backward, **(given | {"text_files": [other]}))
    again = Distillation(tmp_path / "parts", small, settings, [further])
    assert again.done == 2
    rest: list[int] = []
    again.run(forward, rest.append, reverse=backward)
    assert sum(rest) == 4
    assert contents(tmp_path / "parts") == contents(whole)


def test_a_damaged_shard_is_named(translator: Translator, small: Prepared, tmp_path: Path) -> None:
    work = Distillation(tmp_path / "it", small, chosen(translator, small))
    (tmp_path / "it" / "shards").mkdir(parents=True)
    (tmp_path / "it" / "shards" / "000001.txt").write_text("one line\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"000001\.txt: damaged; remove it"):
        work.run(translator, lambda count: None)
    (tmp_path / "it" / "shards" / "000001.txt").unlink()
    assert work.run(translator, lambda count: None).finished


def test_a_corpus_whose_dev_and_test_are_drawn_from_it_has_no_text_beside_it(
    distil: Distil, small: Prepared, further: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(str(small.record.corpus.path), corpus)
    for code in ("en", "fr"):
        (corpus / f"test.{code}").unlink()
    recipe = load_recipe("smoke", [f"corpus.path={corpus}", "corpus.held_out_pairs=5"])
    with pytest.raises(InputError, match="brings no test, which would be drawn from such text, too; make a folder of"):
        distil(corpus=prepare(recipe, tmp_path / "prepared", console=QUIET), text_files=[further])
    table = write(tmp_path / "pairs.tsv", ["\t".join(pair) for pair in pairs(SMOKE)])
    recipe = load_recipe("smoke", [f"corpus.path={table}", "corpus.kind=tsv", "corpus.held_out_pairs=5"])
    with pytest.raises(InputError, match='is of kind = "tsv", and such text stands beside a folder'):
        distil(corpus=prepare(recipe, tmp_path / "prepared", console=QUIET), text_files=[further])


def test_what_stands_in_the_way_is_left_as_it_is(distil: Distil, translator: Translator, small: Prepared) -> None:
    folder = distil()
    before = contents(folder)
    with pytest.raises(InputError, match="was begun with another --beam-size, --mix; name another folder"):
        Distillation(folder, small, chosen(translator, small, beam_size=2, mixed=True))
    assert contents(folder) == before
    with pytest.raises(InputError, match="holds something else; name another folder"):
        Distillation(small.path, small, chosen(translator, small))


def test_a_teacher_of_another_language_is_refused(translator: Translator, small: Prepared) -> None:
    other = small.record.corpus.model_copy(update={"source_language": "de"})
    record = small.record.model_copy(update={"corpus": other})
    german = Prepared(**{**vars(small), "record": record})
    with pytest.raises(InputError, match="translates en to fr, and the corpus is de to fr"):
        chosen(translator, german)


def test_a_teacher_of_the_other_direction_takes_text(
    translator: Translator, backward: Translator, small: Prepared, further: Path
) -> None:
    with pytest.raises(InputError, match=r"translates fr to en, and the corpus is en to fr.*or text of fr with --text"):
        chosen(backward, small)
    with pytest.raises(InputError, match="translates en to fr, and not fr to en; name another --reverse-model"):
        chosen(translator, small, reverse=translator)
    with pytest.raises(InputError, match="translates fr to en, and not en to fr; name another --reverse-model"):
        chosen(backward, small, text_files=[further], reverse=backward)


def test_killed_and_run_again_it_ends_with_the_same_files_and_a_student_trains_on_them(
    teacher: Path, prepared: Path, tmp_path: Path
) -> None:
    options = ["--prepared", prepared, "--model", teacher, "--shard-pairs", "10"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    result = distil_by_command(*options, "--output", undisturbed)
    assert (result.exit_code, result.stdout) == (0, f"{undisturbed}\n"), result.output
    process = subprocess.Popen(
        [sys.executable, "-m", "training", "distill", "smoke", *map(str, options), "--output", str(killed)],
        cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (killed / "shards" / "000002.txt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert not (killed / "train.fr").exists()
    again = distil_by_command(*options, "--output", killed)
    assert again.exit_code == 0, again.output
    assert "Going on after" in again.stderr
    assert contents(killed) == contents(undisturbed)
    finished = distil_by_command(*options, "--output", killed)
    assert (finished.exit_code, finished.stdout) == (0, f"{killed}\n")
    assert "was finished before" in finished.stderr

    changes = (f"corpus.path={killed}", f"output.directory={tmp_path / 'student'}", *SMALL, "optimisation.epochs=0.5")
    corpus = prepare(load_recipe("smoke", changes), tmp_path / "prepared", console=QUIET)
    assert corpus.dev_target == lines(SMOKE / "dev.fr")
    trained = run("train", "smoke", "--prepared", corpus.path, *sets(*changes))
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "student" / "model" / "card.json").is_file()


def test_the_command_has_the_other_direction_choose_and_names_the_folder_by_the_side_of_the_text(
    prepared: Path, further: Path, backward: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = ROOT / "training" / "recipes" / "smoke.toml"
    monkeypatch.chdir(tmp_path)
    text = write(tmp_path / "more.en", [f"{sentence[:-1]} and a letter." for sentence in NEW])
    options = ["distill", recipe, "--prepared", prepared, "--model", "en-fr", "--text", text]
    folders = {}
    for name, more in {"plain": (), "chosen": ("--reverse-model", "fr-en", "--keep", "0.5")}.items():
        result = CliRunner().invoke(main, [*map(str, options), *more])
        assert (result.exit_code, result.stdout) == (0, "corpora/smoke-further\n"), result.output
        folders[name] = Path("corpora/smoke-further").rename(name)
    plain, chosen_ones = (pairs(folders[name]) for name in ("plain", "chosen"))
    assert len(plain) == 2 * len(chosen_ones) == len(NEW)
    assert not set(chosen_ones) <= set(plain)
    back = write(tmp_path / "more.fr", [target for _, target in plain])
    result = CliRunner().invoke(
        main, ["distill", str(recipe), "--prepared", str(prepared), "--model", "fr-en", "--text", str(back)]
    )
    assert (result.exit_code, result.stdout) == (0, "corpora/smoke-back\n"), result.output


def test_the_time_left_is_told_once_something_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """To choose from the beam of long sentences may take longer than from one line to the next."""
    monkeypatch.setattr(distillation_command, "_SECONDS_BETWEEN_LINES", 0.0)
    told = Console(file=StringIO(), width=100)
    with distillation_command._shown(10, 0, "pairs", told) as advance:
        for count in (0, 4, 0):
            advance(count)
    assert isinstance(told.file, StringIO)
    written = told.file.getvalue().splitlines()
    assert [line.split(",")[0] for line in written] == ["4 of 10 pairs"] * 2


def test_every_setting_is_called_what_a_person_can_change() -> None:
    options = {option for parameter in distillation_command.distill.params for option in parameter.opts}
    for name in Settings.model_fields:
        spoken = SPOKEN.get(name, f"--{name.replace('_', '-')}")
        assert set(re.findall(r"--[a-z-]+", spoken)) <= options, name


def test_wrong_arguments_are_told_in_one_line(teacher: Path, prepared: Path, tmp_path: Path) -> None:
    options = ["--prepared", prepared, "--output", tmp_path / "it"]
    assert str(tmp_path / "none") in complaint(distil_by_command(*options, "--model", tmp_path / "none"))
    assert "--beam-size" in complaint(distil_by_command(*options, "--model", teacher, "--beam-size", "0"))
    assert "'--model'" in complaint(distil_by_command(*options))
    text = ("--model", teacher, "--text", SMOKE / "train.en")
    for option in ("--mix", "--nearest-reference"):
        assert f"--text and {option} exclude" in complaint(distil_by_command(*options, *text, option))
    assert "nothing to choose from" in complaint(
        distil_by_command(*options, *text, "--reverse-model", "fr-en", "--beam-size", "1")
    )
    assert "none' does not exist" in complaint(
        distil_by_command(*options, "--model", teacher, "--text", tmp_path / "none")
    )
    assert "exclude each other" in complaint(
        distil_by_command(*options, "--model", teacher, "--reverse-model", "fr-en", "--nearest-reference")
    )
    assert "--keep needs a --reverse-model" in complaint(distil_by_command(*options, *text, "--keep", "0.5"))
    assert "no sentence that the corpus does not have" in complaint(distil_by_command(*options, *text))
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "mine.txt").write_text("mine", encoding="utf-8")
    assert "holds something else" in complaint(distil_by_command(*options, "--model", teacher))
    assert contents(tmp_path / "it") == {"mine.txt": b"mine"}
