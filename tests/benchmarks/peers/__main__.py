"""`python -m tests.benchmarks.peers`: install the peers, and measure ours against them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from tests.benchmarks.peers.joeynmt import JoeyNMT
from tests.benchmarks.peers.marian import Marian
from tests.benchmarks.peers.measurement import Case, measure
from tests.benchmarks.peers.opennmt import OpenNMT
from tests.benchmarks.peers.ours import REPOSITORY
from tests.benchmarks.peers.peer import FAILURES, Peer, Task
from tests.benchmarks.peers.report import table, write_json
from tests.benchmarks.peers.text import Text, made_up_text, text_of_corpus

PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (OpenNMT, JoeyNMT, Marian)}
BATCH_SIZE = 64
PROGRESS = Console(stderr=True)


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="How often all are measured.")
@click.option(
    "--sentences-single",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    help="Sentences that are translated one by one.",
)
@click.option(
    "--sentences-batch",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help=f"Sentences that are translated {BATCH_SIZE} at a time; a multiple of {BATCH_SIZE} × threads keeps all busy.",
)
@click.option(
    "--peers",
    "names",
    type=click.Choice(list(PEERS)),
    multiple=True,
    help="A peer to compare with; may be given several times, and without it all are.",
)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Threads of each contender.")
@click.option(
    "--corpus",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with two files train.LANGUAGE to take the text from, instead of making it up.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=REPOSITORY / ".venv-peers",
    help="Where the peers are installed and trained.  [default: .venv-peers]",
)
@click.option("--torch-index", help="Another package index for PyTorch alone, such as that of its CPU-only builds.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the raw numbers here."
)
def main(
    rounds: int,
    sentences_single: int,
    sentences_batch: int,
    names: Sequence[str],
    threads: int,
    corpus: Path | None,
    directory: Path,
    torch_index: str | None,
    json_file: Path | None,
) -> None:
    """Install three peer toolkits and measure how fast ours translates beside them, with beam 5.

    The first time, this takes some minutes and a gigabyte of downloads. Nothing else should run on the machine.
    """
    task = Task(batch_size=1, threads=threads)
    count = max(sentences_single, sentences_batch)
    try:
        text = text_of_corpus(corpus, count, task.tokens) if corpus else made_up_text(count, task.tokens)
    except (ValueError, UnicodeDecodeError) as error:
        raise click.UsageError(str(error)) from error
    peers = [PEERS[name](directory.absolute()) for name in names or PEERS]
    unready = make_ready(peers, text, threads, torch_index)
    cases = [
        Case("one sentence", text.decoding_source[:sentences_single], task),
        Case(
            f"batches of {BATCH_SIZE}",
            text.decoding_source[:sentences_batch],
            Task(batch_size=BATCH_SIZE, threads=threads),
        ),
    ]
    results = measure(text, cases, peers, unready, rounds, say)
    if json_file:
        write_json(json_file, results, peers)
    narrowest = 120  # the table's numbers would break on the 80 columns that are assumed where there is no terminal
    output = Console()
    output.width = max(output.width, narrowest)
    output.print(table(results, peers, task))


def make_ready(peers: Sequence[Peer], text: Text, threads: int, torch_index: str | None) -> dict[str, str]:
    """Install and train the peers; by name, why one of them could not be made ready."""
    failures = {}
    for peer in peers:
        try:
            say(f"{peer.title}: installing it, which takes some minutes the first time")
            peer.install(torch_index)
            say(f"{peer.title}: training it for a moment")
            peer.prepare(text, threads)
        except FAILURES as error:
            failures[peer.name] = str(error)
            say(f"{peer.title}: {error}")
    return failures


def say(line: str) -> None:
    """One line of progress."""
    PROGRESS.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
