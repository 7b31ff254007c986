"""python -m translator translate | generate | inspect"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING

import click

from translator import __version__
from translator.generation_command import generate

if TYPE_CHECKING:
    from rich.table import Table

    from translator.config import SearchOptions
    from translator.directory import LoadedModel
    from translator.pipeline import Translator

# Enough lines that batches of like length are full, few enough that a file of any size fits into memory.
_LINES_PER_CHUNK = 2_000
_BYTE_ORDER_MARK = "\ufeff"


class _Failure(click.ClickException):
    """One line on standard error and the exit status of a usage error."""

    exit_code = 2


@click.group()
@click.version_option(__version__, prog_name="translator")
def main() -> None:
    """Translate text with a trained model, or look at one."""


main.add_command(generate)


@main.command()
@click.option("--model", default="en-fr", show_default=True, help="Model directory, or the name of a shipped model.")
@click.option("--beam-size", type=int, default=5, show_default=True, help="Hypotheses kept at every step; 1 is greedy.")
@click.option("--length-penalty", type=float, help="α of the search; the model's own if not given.")
@click.option("--alternatives", type=int, default=0, show_default=True, help="Further translations of each line.")
@click.option("--sample", is_flag=True, help="Draw translations at random instead of searching for the best.")
@click.option("--temperature", type=float, help="With --sample: below 1 more cautious, above 1 bolder.")
@click.option("--top-k", type=int, help="With --sample: draw from the K most probable tokens.")
@click.option("--top-p", type=float, help="With --sample: draw from the smallest set of tokens of this probability.")
@click.option("--seed", type=int, help="With --sample: another seed, other translations.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute, such as cpu or cuda.")
@click.option(
    "--engine", default="auto", show_default=True, help="How to compute; inspect lists the engines. Also: ENGINE=…"
)
@click.option("--language-model", help="Directory of a language model of the target side that has a say in the search.")
@click.option("--language-model-weight", type=click.FloatRange(0, 10), default=0.1, show_default=True, help="How much.")
def translate(
    model: str,
    sample: bool,
    device: str,
    engine: str,
    language_model: str | None,
    language_model_weight: float,
    **options: float | None,
) -> None:
    """Translate standard input to standard output, UTF-8, line by line.

    Line n of the output translates line n of the input, whatever stands in it; line ends come back as they are.

    With --alternatives each line gives several, best first, in the n-best format of Moses "n ||| text ||| score",
    with n the number of the input line, counted from 0.
    """
    search_options = _search_options(sample, options)
    translator = _load(model, device, engine)
    if language_model is not None:
        translator = _fused(translator, language_model, language_model_weight)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    warned: Counter[str] = Counter()
    lines = 0
    try:
        with _progress_bar(source) as advance:
            for chunk in _chunks(source):
                target.write(_translated(chunk, lines, translator, search_options, warned, advance))
                target.flush()
                lines += len(chunk)
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader has seen enough; click ends quietly
            raise
        raise _Failure(f"reading or writing failed: {error.strerror}") from error
    if warned:
        counts = ", ".join(f"{code} {count:,}" for code, count in warned.most_common())
        click.echo(f"lines with warnings, of {lines:,}: {counts}", err=True)


@main.command()
@click.argument("model", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print the card and the architecture as one JSON document.")
def inspect(model: str, as_json: bool) -> None:
    """Check the model directory DIR; print its card and how it is computed here."""
    translator = _load(model, "cpu", "auto")
    loaded, engine = translator.loaded, translator.engine.describe()
    if as_json:
        document = {"card": loaded.card.model_dump(), "model": loaded.config.model_dump(), "engine": engine}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for table in (*_tables(loaded), _engines(engine)):
        console.print(table)


def _load(model: str, device: str, engine: str) -> Translator:
    from translator.pipeline import Translator

    try:
        return Translator.load(model, device=device, engine=engine)
    except ValueError as error:
        raise _Failure(str(error)) from error


def _fused(translator: Translator, language_model: str, weight: float) -> Translator:
    from translator.fusion import with_language_model

    try:
        return with_language_model(translator, language_model, weight)
    except ValueError as error:
        raise _Failure(str(error)) from error


def _search_options(sample: bool, options: dict[str, float | None]) -> SearchOptions:
    from pydantic import ValidationError

    from translator.config import SearchOptions

    given = {name: value for name, value in options.items() if value is not None}
    for name in ("temperature", "top_k", "top_p", "seed"):
        if name in given and not sample:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --sample")
    try:
        return SearchOptions.model_validate({"method": "sample" if sample else "beam", **given})
    except ValidationError as error:
        fault = error.errors()[0]
        raise click.UsageError(f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}") from error


def _chunks(source: IO[bytes]) -> Iterator[list[bytes]]:
    """The lines of `source` with their ends. Only a line feed ends a line; at a terminal each is a chunk by itself."""
    size = 1 if source.isatty() else _LINES_PER_CHUNK
    while chunk := list(islice(source, size)):
        yield chunk


def _translated(
    chunk: list[bytes],
    lines_before: int,
    translator: Translator,
    options: SearchOptions,
    warned: Counter[str],
    advance: Callable[[int, float], None],
) -> bytes:
    """What to write for `chunk`; counts in `warned` the lines that have a warning, by its code."""
    lines = [_decoded(line, number) for number, line in enumerate(chunk, lines_before + 1)]
    mark = _BYTE_ORDER_MARK if lines_before == 0 and lines[0].startswith(_BYTE_ORDER_MARK) else ""
    lines[0] = lines[0].removeprefix(mark)
    texts = [line.removesuffix("\n").removesuffix("\r") for line in lines]
    bytes_per_line = sum(map(len, chunk)) / len(chunk)
    translations = translator.translate(texts, options, progress=lambda count: advance(count, count * bytes_per_line))
    written = []
    for number, (line, text, translation) in enumerate(zip(lines, texts, translations, strict=True), lines_before):
        warned.update({warning.partition(":")[0] for warning in translation.warnings})
        if options.alternatives:
            written.append(f"{number} ||| {translation.text} ||| {translation.score:.6f}\n")
            written += [f"{number} ||| {other.text} ||| {other.score:.6f}\n" for other in translation.alternatives]
        else:
            written.append(translation.text + line[len(text) :])
    return (mark + "".join(written)).encode()


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Failure(
            f"line {number} of the input is not UTF-8 (its byte {error.start + 1} is 0x{line[error.start]:02X}); "
            "convert the input first, for example with iconv"
        ) from error


@contextmanager
def _progress_bar(source: IO[bytes]) -> Iterator[Callable[[int, float], None]]:
    """A bar on standard error, if that is a terminal and neither input nor output is. Yields advance(lines, bytes)."""
    if not sys.stderr.isatty() or source.isatty() or sys.stdout.isatty():
        yield lambda lines, size: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    lines_done = TextColumn("{task.fields[lines]:,} lines")
    columns = (BarColumn(), TaskProgressColumn(), lines_done, TimeElapsedColumn(), TimeRemainingColumn())
    state = os.fstat(source.fileno())
    size = state.st_size - source.tell() if stat.S_ISREG(state.st_mode) else None
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("translating", total=size, lines=0)

        def advance(lines: int, size: float) -> None:
            progress.update(task, advance=size, lines=progress.tasks[0].fields["lines"] + lines)

        yield advance


def _engines(used: str) -> Table:
    """Which engines there are, and what the best one computes with here."""
    from rich.table import Table

    from translator.engines import ENGINES
    from translator.engines.native_library import instruction_sets

    table = Table(title="Engines", show_header=False, title_justify="left")
    table.add_row("used here", used)
    table.add_row("this processor", ", ".join(instruction_sets()) or "the compiled library is missing")
    for name, meaning in ENGINES.items():
        table.add_row(name, meaning)
    return table


def _tables(loaded: LoadedModel) -> Iterator[Table]:
    from rich.table import Column, Table

    card, config = loaded.card, loaded.config
    sizes = f"{config.num_layers} layers, {config.hidden_size} cells, embeddings of {config.embedding_size}"
    named = ("residual", "feed_context", "tie_target_embedding", "input_feeding", "bidirectional")
    options = [name for name in named if getattr(config, name)]
    facts = Table(title=card.name, show_header=False, title_justify="left")
    rows = [
        ("languages", f"{card.source_language} → {card.target_language}"),
        ("intended use", card.intended_use),
        ("not for", card.not_for),
        ("licence", card.licence),
        ("network", f"{config.cell}, {sizes}, attention {config.attention}" + "".join(f", {name}" for name in options)),
        ("source", "read backwards" if config.reverse_source else "read forwards"),
        ("vocabularies", f"{config.source_vocabulary_size:,} source, {config.target_vocabulary_size:,} target entries"),
        ("parameters", f"{card.parameters:,}, stored as {card.weight_storage}"),
        ("length penalty", f"{card.length_penalty:g}"),
    ]
    if card.corpus is not None:
        rows.append(("corpus", f"{card.corpus.name}, {card.corpus.train_pairs:,} pairs {card.corpus.licence}".rstrip()))
        rows.append(("attribution", card.corpus.attribution))
    if card.training is not None:
        training = card.training
        rows.append(("training", f"{training.recipe}, seed {training.seed}, {training.epochs:.1f} epochs, "
                     f"{training.updates:,} updates, {training.minutes:.0f} minutes on {training.device}"))  # fmt: skip
    if card.training_lengths is not None:
        lengths = card.training_lengths
        rows.append(("source tokens", f"mean {lengths.source_mean:.1f}, 99 % up to {lengths.source_99th_percentile}, "
                     f"longest {lengths.source_maximum}"))  # fmt: skip
    rows += [(name, f"{record.bytes:,} bytes") for name, record in card.files.items()]
    for name, value in rows:
        if value:
            facts.add_row(name, value)
    yield facts
    if card.scores:
        scores = Table(
            "test set",
            "metric",
            "value",
            "beam",
            "α",
            "sentences",
            "computed in",
            Column("signature", overflow="fold"),
            title="Scores",
            title_justify="left",
        )
        for score in card.scores:
            cells = (score.beam_size, score.length_penalty, score.sentences)
            scores.add_row(
                score.test_set, score.metric, f"{score.value:.2f}",
                *("" if cell is None else f"{cell:g}" for cell in cells), score.precision, score.signature,
            )  # fmt: skip
        yield scores
    if card.bleu_by_length:
        by_length = Table("words", "sentences", "BLEU", title="BLEU by source length", title_justify="left")
        for part in card.bleu_by_length:
            span = f"{part.minimum} and more" if part.maximum is None else f"{part.minimum}–{part.maximum}"
            by_length.add_row(span, f"{part.sentences:,}", f"{part.bleu:.1f}")
        yield by_length


if __name__ == "__main__":
    main(prog_name="python -m translator")
