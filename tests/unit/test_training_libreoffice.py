"""The help pages: paragraphs, their alignment, and what is said where the packages cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.errors import InputError
from training.libreoffice import align, build_corpus, read_paragraphs, split_sentences


def test_paragraphs_are_read_by_identifier_without_markup() -> None:
    page = """
    <html><body><p dir="auto">The menu of the page</p>
    <h1 id="hd_id1" dir="auto">Saving &amp; Printing</h1>
    <p id="par_id2" class="paragraph">Choose <span class="emph">File -
       Save</span>, or <a href="x.html">see&nbsp;here</a>.</p>
    <p id="par_id3" class="paragraph"><img src="icon.svg"></p>
    </body></html>
    """
    assert read_paragraphs(page) == {"hd_id1": "Saving & Printing", "par_id2": "Choose File - Save, or see\u00a0here."}


@pytest.mark.parametrize(
    "paragraph",
    [
        '<p id="par_id1" class="code">Print x</p>',
        '<p id="par_id1" class="codeintable">Print x</p>',
        '<p id="par_id1" class="paragraph">Type <span class="literal">Print</span>.</p>',
        '<p id="par_id1" class="paragraph">Type <span class="input" data-tooltip="t">Print</span>.</p>',
        '<p id="par_id1" class="paragraph">Ctrl+A<br>All</p>',
    ],
)
def test_paragraphs_that_hold_code_are_left_out(paragraph: str) -> None:
    assert read_paragraphs(f'{paragraph}<p id="par_id2">Text</p>') == {"par_id2": "Text"}


def test_of_text_that_depends_on_the_system_the_default_is_taken() -> None:
    page = (
        '<p id="par_id1">Press <span id="swlnsys" class="switchinline"><span hidden="true" id="MACx" class="MAC">'
        '<span class="keycode">Command</span></span><span hidden="true" id="defaultx"><span class="keycode">Ctrl</span>'
        "</span></span>+C.</p>"
    )
    assert read_paragraphs(page) == {"par_id1": "Press Ctrl+C."}


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("It is 2.5 wide, e.g. here. Été.", ["It is 2.5 wide, e.g. here.", "Été."]),
        ("Est-ce vrai\u00a0? Oui\u00a0!", ["Est-ce vrai\u00a0?", "Oui\u00a0!"]),
        ("(See above.) Next", ["(See above.)", "Next"]),
        ("No end", ["No end"]),
    ],
)
def test_sentences(paragraph: str, sentences: list[str]) -> None:
    assert split_sentences(paragraph) == sentences


def test_alignment_splits_where_both_sides_have_as_many_sentences() -> None:
    source = {"a": "One. Two.", "b": "One. Two.", "c": "Same.", "d": "Only here.", "e": "One. Two."}
    target = {"a": "Un. Deux.", "b": "Un et deux.", "c": "Same.", "e": "Un. Deux.", "f": "Seulement ici."}
    assert align(source, target) == [("One.", "Un."), ("Two.", "Deux."), ("One. Two.", "Un et deux.")]


def command(folder: Path, name: str, script: str) -> None:
    """A command of that name, in place of the machine's."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)


def test_without_apt_the_error_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no apt-get and no dpkg-deb.*copy the prepared folder.*corpus\.kind=moses"):
        build_corpus(tmp_path / "corpora" / "help", "en", "fr", held_out_pairs=10)


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("E: Unable to locate package libreoffice-help-en-us", "'apt-get update'"),
        (
            "E: Can't select candidate version from package libreoffice-help-en-us as it has no candidate",
            "apt-get update",
        ),
        ("E: Failed to fetch x  Temporary failure resolving 'y'", "Temporary failure resolving 'y'; check the network"),
    ],
)
def test_what_apt_complains_of_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, advice: str
) -> None:
    command(tmp_path / "bin", "apt-get", f'echo "{output}" >&2; exit 100')
    command(tmp_path / "bin", "dpkg-deb", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(InputError, match=advice):
        build_corpus(tmp_path / "corpora" / "help", "en", "fr", held_out_pairs=10)
    assert not (tmp_path / "corpora" / "help").exists()


def test_packages_become_a_corpus_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A package that "unpacks" to one page; the language follows from its name.
    command(tmp_path / "bin", "apt-get", 'echo "$2" > "$2_7.4_all.deb"; echo "$2" >> "$CALLS"')
    script = """
    case "$2" in *en-us*) text="Page NUMBER of the help.";; *) text="La page NUMBER de l'aide.";; esac
    folder="$3/usr/share/libreoffice/help/xx/text"; mkdir -p "$folder"
    for number in $(seq 100); do
      echo "<p id=\\"par_id$number\\">$(echo "$text" | sed "s/NUMBER/$number/")</p>"
    done > "$folder/page.html"
    """
    command(tmp_path / "bin", "dpkg-deb", script)
    calls = tmp_path / "calls"
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "corpora" / "help"

    def lines(name: str) -> list[str]:
        return (folder / name).read_text(encoding="utf-8").splitlines()

    build_corpus(folder, "en", "fr", held_out_pairs=10)
    assert calls.read_text() == "libreoffice-help-en-us\nlibreoffice-help-fr\n"
    assert [len(lines(name)) for name in ("train.en", "train.fr", "dev.en", "test.fr")] == [80, 80, 10, 10]
    for english, french in zip(lines("dev.en"), lines("dev.fr"), strict=True):
        assert french == english.replace("Page", "La page").replace("of the help", "de l'aide")
    first = lines("dev.en")
    build_corpus(folder, "en", "fr", held_out_pairs=10)
    assert lines("dev.en") == first
    build_corpus(folder, "en", "fr", held_out_pairs=20)
    assert len(lines("dev.en")) == 20
    assert len(calls.read_text().splitlines()) == 2, "the packages are kept"


def test_files_put_there_by_hand_are_left_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    names = [f"{part}.{language}" for part in ("train", "dev", "test") for language in ("en", "fr")]
    for name in names:
        (tmp_path / name).write_text(f"{name}\n", encoding="utf-8")
    build_corpus(tmp_path, "en", "fr", held_out_pairs=10)
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in names] == [f"{name}\n" for name in names]
