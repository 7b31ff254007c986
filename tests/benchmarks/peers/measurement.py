"""Every contender on every case, round by round, so that a slow minute of the machine hits all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.peers.ours import Ours
from tests.benchmarks.peers.peer import FAILURES, Peer, Task
from tests.benchmarks.peers.text import Text

OURS = (Ours("int8", attention=True), Ours("fp32", attention=True), Ours("int8", attention=False))
"""The first is the one that all contenders are compared with."""


@dataclass(frozen=True)
class Case:
    """One kind of work."""

    title: str
    sentences: list[str]
    task: Task


@dataclass
class Measured:
    """One contender on one case: seconds by round, or why there are none."""

    case: Case
    contender: str
    seconds: list[float] = field(default_factory=list)
    failure: str | None = None

    @property
    def sentences_per_second(self) -> list[float]:
        return [len(self.case.sentences) / seconds for seconds in self.seconds]

    @property
    def tokens_per_second(self) -> list[float]:
        return [rate * self.case.task.tokens for rate in self.sentences_per_second]

    def times_as_fast_as(self, other: Measured) -> list[float]:
        """This one's speed divided by the other's in each round; empty if either failed."""
        if self.failure or other.failure:
            return []
        return [theirs / mine for mine, theirs in zip(self.seconds, other.seconds, strict=True)]


def measure(
    text: Text,
    cases: Sequence[Case],
    peers: Sequence[Peer],
    unready: dict[str, str],
    rounds: int,
    progress: Callable[[str], None],
) -> list[Measured]:
    """All measurements, by case and contender. `unready` says why a peer, by name, could not be made ready.

    A contender that fails once is not asked again on that case; the others go on.
    """
    decoders = _decoders(text, peers)
    results = {(case.title, title): Measured(case, title) for case in cases for title in decoders}
    for peer in peers:
        for case in cases:
            results[case.title, peer.title].failure = unready.get(peer.name)
    for number in range(1, rounds + 1):
        for case in cases:
            for title, decode in decoders.items():
                result = results[case.title, title]
                if result.failure:
                    continue
                progress(f"round {number} of {rounds}, {case.title}: {title}")
                try:
                    result.seconds.append(decode(case.sentences, case.task))
                except FAILURES as error:
                    result.failure = str(error)
    return list(results.values())


def _decoders(text: Text, peers: Iterable[Peer]) -> dict[str, Callable[[Sequence[str], Task], float]]:
    def ours(contender: Ours) -> Callable[[Sequence[str], Task], float]:
        return lambda sentences, task: contender.decode(text, sentences, task)

    return {**{contender.title: ours(contender) for contender in OURS}, **{peer.title: peer.decode for peer in peers}}
