"""What is evaluated on: sources with their references, from two files or from sacreBLEU's test sets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from training.errors import InputError
from training.prepared import Prepared
from training.text_files import read_lines
from translator.vocabulary import SIDES

_SECONDS_WITHOUT_A_BYTE = 30.0


@dataclass(frozen=True)
class ParallelText:
    """Line n of `references` translates line n of `sources`; `name` is what scores on it are called.

    Raises `InputError` where the two differ in length or have no line.
    """

    name: str
    sources: list[str]
    references: list[str]

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.references):
            raise InputError(
                f"the source has {len(self.sources):,} lines and the reference {len(self.references):,}; "
                "line n of one has to be the translation of line n of the other"
            )
        if not self.sources:
            raise InputError("the test set is empty")


def read_parallel_text(source: Path, reference: Path, name: str | None = None) -> ParallelText:
    """Two files; the name is the source's folder and name where none is given. Raises `InputError`."""
    name = name or f"{source.resolve().parent.name} {source.name.partition('.')[0]}"
    return ParallelText(name, list(read_lines(source)), list(read_lines(reference)))


def prepared_test_set(prepared: Prepared) -> ParallelText:
    """The test set of a prepared corpus. Raises `InputError` where it has none."""
    source, reference = (prepared.path / f"test.{side}.txt" for side in SIDES)
    if not source.exists():
        raise InputError(f"{prepared.path}: has no test set; prepare the corpus again")
    return read_parallel_text(source, reference, f"{prepared.record.corpus_name} test")


def published_test_set(test_set: str, language_pair: str) -> ParallelText:
    """A test set that sacreBLEU knows, such as wmt14 (newstest2014) for en-fr; of several references the first.

    sacreBLEU fetches it once and keeps it in ~/.sacrebleu, or in the folder that the variable SACREBLEU names. Raises
    `InputError` where there is no such test set, or no network.
    """
    import sacrebleu

    pairs = sacrebleu.get_langpairs_for_testset(test_set)
    if not pairs:
        raise InputError(f"sacreBLEU has no test set {test_set}; `sacrebleu --list` names them")
    if language_pair not in pairs:
        raise InputError(f"test set {test_set} has no language pair {language_pair}; it has {', '.join(sorted(pairs))}")
    try:
        with _giving_up():
            source = sacrebleu.get_source_file(test_set, language_pair)
            reference = sacrebleu.get_reference_files(test_set, language_pair)[0]
    except (OSError, SystemExit) as error:  # sacreBLEU ends the program where a download is damaged
        reason = "the download is damaged" if isinstance(error, SystemExit) else error
        raise InputError(
            f"test set {test_set} cannot be fetched ({reason}); with a network, `sacrebleu -t {test_set} "
            f"-l {language_pair} --echo src` fetches it into ~/.sacrebleu, which may be copied here; "
            "or give two files with --source and --reference"
        ) from error
    return read_parallel_text(Path(source), Path(reference), f"{test_set} {language_pair}")


@contextmanager
def _giving_up() -> Iterator[None]:
    """Connections that stay silent are given up; sacreBLEU itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_WITHOUT_A_BYTE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
