"""What the commands of `python -m translator` share: options, lines in, one-line errors, progress. Loads no torch."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from translator.config import Combination
    from translator.pipeline import Translator

BYTE_ORDER_MARK = "\ufeff"

# Enough lines that batches of like length are full, few enough that a file of any size fits into memory.
_LINES_PER_CHUNK = 2_000

Command = TypeVar("Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """One line on standard error and the exit status of a usage error."""

    exit_code = 2


device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where to compute, such as cpu or cuda."
)
combination_option = click.option(
    "--combination",
    type=click.Choice(["average", "log-linear"]),
    default="average",
    show_default=True,
    help="What an ensemble takes the mean of: probabilities, or their logarithms.",
)


def model_options(command: Command) -> Command:
    """--model, which may be repeated, --combination and --device."""
    for option in (
        device_option,
        combination_option,
        click.option(
            "--model",
            "models",
            multiple=True,
            default=["en-fr"],
            show_default=True,
            help="Model directory, or the name of a shipped model. Given several times: their ensemble.",
        ),
    ):
        command = option(command)
    return command


def load_translator(
    models: Sequence[str], device: str, *, engine: str = "auto", combination: Combination = "average"
) -> Translator:
    """The translator of one model, or of the ensemble of several. Raises `Failure`."""
    from translator.pipeline import Translator

    try:
        return Translator.load(
            models[0] if len(models) == 1 else models, device=device, engine=engine, combination=combination
        )
    except ValueError as error:
        raise Failure(str(error)) from error


def standard_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output, as bytes. Raises `Failure` where whoever started the command has closed one."""
    if sys.stdin is None or sys.stdout is None:
        raise Failure(f"standard {'input' if sys.stdin is None else 'output'} is closed")
    return sys.stdin.buffer, sys.stdout.buffer


@contextmanager
def failures_of_streams() -> Iterator[None]:
    """What goes wrong with the standard streams, as a `Failure`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader has seen enough; click ends quietly
            raise
        raise Failure(f"reading or writing failed: {error.strerror}") from error


def chunks(source: IO[bytes]) -> Iterator[list[bytes]]:
    """The lines of `source` with their ends. Only a line feed ends a line; at a terminal each is a chunk by itself."""
    size = 1 if source.isatty() else _LINES_PER_CHUNK
    while chunk := list(islice(source, size)):
        yield chunk


def decoded_lines(chunk: list[bytes], lines_before: int) -> list[str]:
    """The lines of `chunk` as text, with their ends. Raises `Failure` where one is not UTF-8."""
    return [_decoded(line, number) for number, line in enumerate(chunk, lines_before + 1)]


def without_end(line: str) -> str:
    """The line without its `\\n` or `\\r\\n`."""
    return line.removesuffix("\n").removesuffix("\r")


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(
            f"line {number} of the input is not UTF-8 (its byte {error.start + 1} is 0x{line[error.start]:02X}); "
            "convert the input first, for example with iconv"
        ) from error


@contextmanager
def progress_bar(source: IO[bytes], doing: str) -> Iterator[Callable[[int, float], None]]:
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
        task = progress.add_task(doing, total=size, lines=0)

        def advance(lines: int, size: float) -> None:
            progress.update(task, advance=size, lines=progress.tasks[0].fields["lines"] + lines)

        yield advance
