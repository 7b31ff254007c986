"""Parallel text from the help pages of LibreOffice, as Debian packages them in some thirty languages (MPL-2.0).

The pages of two languages have the same paths, and their paragraphs the same identifiers (`par_id…`, `hd_id…`), so the
alignment is exact. The packages are downloaded by `apt-get download` and unpacked by `dpkg-deb -x`: nothing is
installed, and no root is needed. The result is a folder of train, dev and test in two languages, built once; the
packages are kept beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import InputError
from training.folders import written_whole
from training.splitting import Pair, hold_out
from translator.files import sha256_of

_ORIGIN = "origin.json"
_PACKAGES = "libreoffice-help-packages"
_SEED = 1
_DOWNLOAD_SECONDS = 300

_TEXT_TAGS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})
_CODE_CLASSES = frozenset({"code", "codeintable", "smathcode", "literal", "input"})
_SPACE = re.compile(r"[ \t\r\n]+")  # a no-break space belongs to the text
# A sentence ends at one of .!?… with any closing quotes and brackets, before white space and a capital or a digit. The
# short forms of the help pages (e.g., i.e., p. ex., etc. within a sentence) are followed by neither.
_SENTENCE_END = re.compile(r"(?<=[.!?…])([\"'”’»)\]]*)\s+(?=[\"'“‘«(\[]*\s?(?:[^\W_a-zß-öø-ÿ]))")


class _Origin(BaseModel):
    """`origin.json`: what a folder was built from."""

    model_config = ConfigDict(extra="forbid")

    packages: dict[str, str] = Field(description="SHA-256 of each package by its file name.")
    held_out_pairs: int


def build_corpus(folder: Path, source_language: str, target_language: str, *, held_out_pairs: int) -> None:
    """Makes `folder` hold train, dev and test of two languages; does nothing where it does.

    Files without an `origin.json` were put there by hand and are left as they are.

    Raises:
        InputError: no apt on this machine, no package lists, no network, or no help pages in one of the languages.
    """
    languages = (source_language, target_language)
    if _is_built(folder, languages, held_out_pairs):
        return
    packages = [_fetch_package(folder.parent / _PACKAGES, language) for language in languages]
    pairs = align(*(_read_package(package) for package in packages))
    split = hold_out(pairs, dev=held_out_pairs, test=held_out_pairs, seed=_SEED)
    origin = _Origin(packages={package.name: sha256_of(package) for package in packages}, held_out_pairs=held_out_pairs)
    with written_whole(folder, record=_ORIGIN) as written:
        for name, part in (("train", split.train), ("dev", split.dev), ("test", split.test)):
            for side, language in enumerate(languages):
                text = "".join(f"{pair[side]}\n" for pair in part)
                (written / f"{name}.{language}").write_text(text, encoding="utf-8", newline="\n")
        (written / _ORIGIN).write_text(origin.model_dump_json(indent=2) + "\n", encoding="utf-8")


def align(source: dict[str, str], target: dict[str, str]) -> list[Pair]:
    """Distinct sentence pairs of two languages' paragraphs, by identifier, in the order of `source`.

    A paragraph with as many sentences on both sides is split into sentences; any other stays whole. What is the same in
    both languages was not translated and is left out.
    """
    pairs: dict[Pair, None] = {}
    for identifier, source_text in source.items():
        target_text = target.get(identifier)
        if target_text is None:
            continue
        source_sentences, target_sentences = split_sentences(source_text), split_sentences(target_text)
        if len(source_sentences) != len(target_sentences):
            source_sentences, target_sentences = [source_text], [target_text]
        pairs.update(dict.fromkeys(zip(source_sentences, target_sentences, strict=True)))
    return [pair for pair in pairs if pair[0] != pair[1]]


def split_sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph of the help pages."""
    sentences = []
    begin = 0
    for end in _SENTENCE_END.finditer(paragraph):
        sentences.append(paragraph[begin : end.end(1)])
        begin = end.end()
    return [*sentences, paragraph[begin:]]


def read_paragraphs(page: str) -> dict[str, str]:
    """The text of every paragraph of an HTML page that has an identifier, holds text and holds no code."""
    reader = _PageReader()
    reader.feed(page)
    reader.close()
    return reader.paragraphs


class _PageReader(HTMLParser):
    """Gathers paragraphs. Of text that depends on the reader's system, the page's default is taken."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: dict[str, str] = {}
        self._identifier: str | None = None
        self._pieces: list[str] = []
        self._holds_code = False
        self._spans: list[bool] = []  # of each open <span>: does it hide what it holds?

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        identifier = attributes.get("id") or ""
        if tag in _TEXT_TAGS:
            self._end_paragraph()
            if identifier.startswith(("par_id", "hd_id")):
                self._identifier = identifier
        elif tag == "span":
            self._spans.append("hidden" in attributes and not identifier.startswith("default"))
        # Lines broken by hand are code, key combinations or tables.
        self._holds_code |= tag in ("code", "pre", "br") or not _CODE_CLASSES.isdisjoint(
            (attributes.get("class") or "").split()
        )

    def handle_endtag(self, tag: str) -> None:
        if tag in _TEXT_TAGS:
            self._end_paragraph()
        elif tag == "span" and self._spans:
            self._spans.pop()

    def handle_data(self, data: str) -> None:
        if self._identifier is not None and not any(self._spans):
            self._pieces.append(data)

    def _end_paragraph(self) -> None:
        text = _SPACE.sub(" ", "".join(self._pieces)).strip(" ")
        if self._identifier is not None and text and not self._holds_code:
            self.paragraphs[self._identifier] = text
        self._identifier = None
        self._pieces = []
        self._holds_code = False
        self._spans = []


def _is_built(folder: Path, languages: tuple[str, str], held_out_pairs: int) -> bool:
    if not all(
        (folder / f"{split}.{language}").is_file() for split in ("train", "dev", "test") for language in languages
    ):
        return False
    try:
        origin = _Origin.model_validate_json((folder / _ORIGIN).read_bytes())
    except FileNotFoundError:
        return True
    except ValidationError:
        return False
    return origin.held_out_pairs == held_out_pairs


def _read_package(package: Path) -> dict[str, str]:
    """All paragraphs of a package by page and identifier."""
    with tempfile.TemporaryDirectory(prefix="libreoffice-help-") as unpacked:
        result = subprocess.run(["dpkg-deb", "-x", package, unpacked], capture_output=True, text=True, check=False)
        if result.returncode:
            raise InputError(
                f"{package}: cannot be unpacked; delete it, it is downloaded again ({result.stderr.strip()})"
            )
        folder = next(Path(unpacked).glob("usr/share/libreoffice/help/*/text"), None)
        pages = sorted(folder.rglob("*.html")) if folder is not None else []
        if folder is None or not pages:
            raise InputError(
                f"{package}: holds no help pages in HTML; LibreOffice packages them so from version 6.4 on"
            )
        return {
            f"{page.relative_to(folder)}#{identifier}": text
            for page in pages
            for identifier, text in read_paragraphs(page.read_text(encoding="utf-8")).items()
        }


def _fetch_package(folder: Path, language: str) -> Path:
    """The package of a language, out of `folder` or else downloaded into it."""
    name = f"libreoffice-help-{'en-us' if language == 'en' else language}"
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise InputError(
            f"libreoffice-help is made of Debian packages, and this machine has no {' and no '.join(missing)}; "
            "run 'python -m training prepare' on Debian or Ubuntu (a container will do) and copy the prepared folder "
            "here, or use text of your own: --set corpus.kind=moses --set corpus.path=FOLDER"
        )
    found = sorted(folder.glob(f"{name}_*.deb"))
    if found:
        return found[-1]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
        # apt drops its privileges for a download, and may then not write to a folder of root's.
        Path(temporary).chmod(0o777)
        try:
            result = subprocess.run(
                ["apt-get", "download", name],
                cwd=temporary,
                env={**os.environ, "LC_ALL": "C"},
                capture_output=True,
                text=True,
                timeout=_DOWNLOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"apt-get download {name}: no answer within {_DOWNLOAD_SECONDS} s; is there a network?"
            ) from error
        downloaded = next(Path(temporary).glob("*.deb"), None)
        if result.returncode or downloaded is None:
            raise InputError(_explain_failure(name, result.stderr))
        return downloaded.rename(folder / downloaded.name)


def _explain_failure(name: str, output: str) -> str:
    if "Unable to locate package" in output or "Can't select" in output:
        return (
            f"apt knows no package {name}: fetch the package lists with 'apt-get update' (as root) and try again; if "
            "it is still unknown, there are no help pages in that language (see 'apt-cache search libreoffice-help')"
        )
    reason = next((line for line in output.splitlines() if line.startswith("E:")), "E: unknown reason").removeprefix(
        "E: "
    )
    return f"apt-get download {name} failed: {reason}; check the network, or run 'apt-get update' (as root)"
