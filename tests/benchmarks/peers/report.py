"""The table of the comparison, and its raw numbers as JSON."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from tests.benchmarks.peers.measurement import OURS, Measured
from tests.benchmarks.peers.peer import TORCH, Peer, Task
from tests.benchmarks.processor import processor


def table(results: Sequence[Measured], peers: Iterable[Peer], task: Task) -> Table:
    """One row a case and contender; each number is the median of the rounds, and in brackets the least and the most."""
    title = f"Beam {task.beam}, {task.tokens} target tokens a sentence, {task.threads} threads"
    made = Table(title=title, caption=escape(caption(peers)), caption_justify="left")
    made.add_column("Case", no_wrap=True)
    made.add_column("Contender", overflow="fold")
    made.add_column(f"“{OURS[0].title}”\n÷ this one", justify="right", no_wrap=True)
    made.add_column("Sentences/s", justify="right", no_wrap=True)
    made.add_column("Target tokens/s", justify="right", no_wrap=True)
    references = {result.case.title: result for result in results if result.contender == OURS[0].title}
    previous = None
    for result in results:
        case = result.case.title
        if previous not in (None, case):
            made.add_section()
        ratios = references[case].times_as_fast_as(result)
        failure = f"\nfailed: {result.failure}" if result.failure else ""
        made.add_row(
            case if case != previous else "",
            escape(result.contender + failure),
            spread(ratios),
            spread([] if result.failure else result.sentences_per_second),
            spread([] if result.failure else result.tokens_per_second, digits=0),
        )
        previous = case
    return made


def caption(peers: Iterable[Peer]) -> str:
    """What a reader has to know in order to judge the table."""
    lines = [
        "4+4 layers of 512, embeddings of 512, 8,000 target tokens; weights hardly trained: this is speed alone.",
        "Peers: fp32, and attention that feeds the decoder's next step (input feeding). Ours: after the LSTM.",
        *(f"{peer.title}: {peer.note}." for peer in peers),
        f"{processor()}; Python {platform.python_version()}, {TORCH}; {datetime.now(UTC):%Y-%m-%d}.",
    ]
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the least and the most in brackets."""
    if not values:
        return "–"
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:,.{digits}f} ({least:,.{digits}f}–{most:,.{digits}f})"


def write_json(file: Path, results: Sequence[Measured], peers: Iterable[Peer]) -> None:
    """The raw seconds of every round, and what is needed to understand them."""
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": TORCH,
        "peers": {peer.title: peer.note for peer in peers},
        "measurements": [
            {
                "case": result.case.title,
                "contender": result.contender,
                "sentences": len(result.case.sentences),
                "batch_size": result.case.task.batch_size,
                "beam": result.case.task.beam,
                "tokens": result.case.task.tokens,
                "threads": result.case.task.threads,
                "seconds": result.seconds,
                "failure": result.failure,
            }
            for result in results
        ],
    }
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
