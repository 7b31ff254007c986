"""`python -m tests.benchmarks.training_peers`: how fast we train beside other toolkits on the same pairs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.benchmarks.disturbance import DISTURBED, Others, describe
from tests.benchmarks.peers.joeynmt import JoeyNMT
from tests.benchmarks.peers.marian import Marian
from tests.benchmarks.peers.opennmt import OpenNMT, OpenNMTInSmallBuckets
from tests.benchmarks.peers.ours import REPOSITORY
from tests.benchmarks.peers.ours_training import OurTraining
from tests.benchmarks.peers.pairs import Pairs, read_pairs
from tests.benchmarks.peers.peer import FAILURES, Peer
from tests.benchmarks.peers.report import spread
from tests.benchmarks.peers.training_task import TrainingSpeed, TrainingTask
from tests.benchmarks.processor import describe_machine

OURS = (
    OurTraining("bfloat16", attention=True),
    OurTraining("bfloat16", attention=False),
    OurTraining("float32", attention=True),
)
"""The first is the one that all contenders are compared with."""
GOALS = {"opennmt": 4.5, "joeynmt": 5.5}
CONTENDERS: dict[str, tuple[type[Peer], ...]] = {
    "opennmt": (OpenNMT, OpenNMTInSmallBuckets),
    "joeynmt": (JoeyNMT,),
    "marian": (Marian,),
}
PROGRESS = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
_NARROWEST = 120
_MOST_ATTEMPTS = 3


@dataclass
class Measured:
    """One contender: its speed by round, or why there is none."""

    title: str
    goal: float | None = None
    speeds: list[TrainingSpeed] = field(default_factory=list)
    disturbance: list[float] = field(default_factory=list)
    """Cores that others used meanwhile, by round."""
    failure: str | None = None

    @property
    def rates(self) -> list[float]:
        return [speed.tokens_per_second for speed in self.speeds]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", default=3, type=click.IntRange(1, 50), help="How often all are measured, in turn.")
@click.option("--first-round", default=1, type=click.IntRange(1), help="Its number, which is the seed of its batches.")
@click.option("--seconds", default=20.0, type=click.FloatRange(1.0), help="How long updates are counted.")
@click.option("--warm-up", default=10.0, type=click.FloatRange(0.0), help="Seconds of training before that.")
@click.option("--threads", default=2, type=click.IntRange(1), help="Threads of each contender.")
@click.option("--batch", default=128, type=click.IntRange(1), help="Sentence pairs in a batch.")
@click.option(
    "--corpus",
    default=Path("corpora/multi30k-en-de"),
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with two files train.LANGUAGE, gzipped or not; the first by name is the source.",
)
@click.option(
    "--peers", "names", type=click.Choice(list(CONTENDERS)), multiple=True, help="May be repeated.  [default: all]"
)
@click.option(
    "--directory",
    default=REPOSITORY / ".venv-peers",
    type=click.Path(file_okay=False, path_type=Path),
    show_default=".venv-peers",
    help="Where the peers are installed and trained.",
)
@click.option("--torch-index", help="Another package index for PyTorch alone, such as that of its CPU-only builds.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(
    rounds: int,
    first_round: int,
    seconds: float,
    warm_up: float,
    threads: int,
    batch: int,
    corpus: Path,
    names: Sequence[str],
    directory: Path,
    torch_index: str | None,
    json_file: Path | None,
) -> None:
    """Measure how many target tokens a second we train on beside other toolkits; padding is not counted.

    4+4 layers of 512, one joint vocabulary of 8,000 subwords, Adam, dropout, label smoothing, clipping. Each
    measurement is a process of its own.
    """
    directory = directory.absolute()
    try:
        pairs = read_pairs(corpus)
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error
    task = TrainingTask(batch_size=batch, threads=threads, warm_up_seconds=warm_up, seconds=seconds)
    results = measure(
        pairs,
        [contender(directory) for name in names or CONTENDERS for contender in CONTENDERS[name]],
        task,
        range(first_round, first_round + rounds),
        directory / "work" / "pairs.npz",
        torch_index,
    )
    output = Console()
    output.width = max(output.width, _NARROWEST)
    output.print(table(results, f"{corpus.name}, {len(pairs.encoded):,} pairs", task))
    if json_file:
        document = {
            "machine": describe_machine(threads),
            "corpus": corpus.name,
            "task": asdict(task),
            "contenders": [asdict(result) for result in results],
        }
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def measure(
    pairs: Pairs,
    peers: Sequence[Peer],
    task: TrainingTask,
    rounds: range,
    pairs_file: Path,
    torch_index: str | None,
) -> list[Measured]:
    """All contenders in every round, there and back. One that fails is not asked again; the others go on."""
    text = pairs.text()
    pairs_file.parent.mkdir(parents=True, exist_ok=True)
    pairs.save(pairs_file)
    results: list[Measured] = []
    trainings: list[Callable[[TrainingTask], TrainingSpeed]] = []
    for ours in OURS:
        results.append(Measured(ours.title))
        trainings.append(lambda task, ours=ours: ours.train(pairs_file, task))  # type: ignore[misc]
    for peer in peers:
        result = Measured(peer.title, GOALS.get(peer.name))
        try:
            PROGRESS.print(f"{peer.title}: installing it, which takes some minutes the first time")
            peer.install(torch_index)
        except FAILURES as error:
            result.failure = str(error)
        results.append(result)
        trainings.append(lambda task, peer=peer: peer.train(text, task))  # type: ignore[misc]
    for number in rounds:
        turns = list(zip(results, trainings, strict=True))
        for result, training in turns if number % 2 else reversed(turns):
            if result.failure:
                continue
            try:
                speed, cores = _undisturbed(result.title, training, replace(task, seed=number))
            except FAILURES as error:
                result.failure = str(error)
                PROGRESS.print(f"round {number}, {result.title}: failed: {error}")
                continue
            result.speeds.append(speed)
            result.disturbance.append(cores)
    return results


def _undisturbed(
    title: str, training: Callable[[TrainingTask], TrainingSpeed], task: TrainingTask
) -> tuple[TrainingSpeed, float]:
    """A measurement and the cores that others used meanwhile; it is made again where they used too much, but not for
    ever.
    """
    for _ in range(_MOST_ATTEMPTS):
        others = Others()
        speed = training(task)
        cores = others.cores()
        PROGRESS.print(
            f"round {task.seed}, {title}: {speed.tokens_per_second:,.0f} target tokens/s, "
            f"{speed.updates} updates in {speed.seconds:.1f} s; {describe(cores)}"
        )
        if cores <= DISTURBED:
            break
    return speed, cores


def table(results: Sequence[Measured], corpus: str, task: TrainingTask) -> Table:
    """The ratio first; each number is the median of the rounds, and in brackets the least and the most."""
    reference = results[0]
    cores_of_others = max((cores for result in results for cores in result.disturbance), default=0.0)
    made = Table(
        title=f"Training on {corpus}, batches of {task.batch_size}, {task.threads} threads",
        caption=escape(caption(task, cores_of_others)),
        caption_justify="left",
    )
    made.add_column(f"“{reference.title}”\n÷ this one", justify="right", no_wrap=True)
    for heading in ("Goal", ""):
        made.add_column(heading)
    made.add_column("Contender", overflow="fold")
    made.add_column("Target tokens/s", justify="right", no_wrap=True)
    made.add_column("Updates/s", justify="right", no_wrap=True)
    for result in results:
        failed = result.failure or reference.failure
        ratios = [] if failed else [ours / other for ours, other in zip(reference.rates, result.rates, strict=True)]
        verdict = ""
        if result.goal is not None and ratios:
            verdict = "reached" if statistics.median(ratios) >= result.goal else "missed"
        made.add_row(
            spread(ratios, 2),
            "" if result.goal is None else f"≥ {result.goal:g}",
            verdict,
            escape(result.title + (f"\nfailed: {result.failure}" if result.failure else "")),
            spread(result.rates, 0),
            spread([speed.updates / speed.seconds for speed in result.speeds], 2),
        )
    return made


def caption(task: TrainingTask, cores_of_others: float) -> str:
    """What a reader has to know in order to judge the table."""
    lines = (
        "4+4 layers of 512, embeddings of 512, one joint vocabulary of 8,000; ends of sentences counted, padding not.",
        "Peers: fp32, and attention that feeds the decoder's next step (input feeding); JoeyNMT's encoder is",
        "bidirectional, 2 × 256; Marian trains on one batch in each thread. Each batches in its own way: ours by equal",
        "source length, OpenNMT-py and Marian by length, JoeyNMT at random. OpenNMT-py sorts all pairs of a small",
        "corpus together by default, or those of each bucket.",
        f"{task.seconds:g} s after a warm-up of {task.warm_up_seconds:g} s; at most, {describe(cores_of_others)}.",
        f"{describe_machine(task.threads)}.",
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.training_peers")
