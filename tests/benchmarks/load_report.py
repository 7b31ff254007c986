"""What the load benchmark has measured: its records, the ratios, and the tables in which they are printed."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from tests.benchmarks.load_generator import Point
from tests.benchmarks.load_sentences import BEAM_SIZE
from tests.benchmarks.machine import Figure
from tests.benchmarks.offline_translation import OfflineRun

COMPARED_CLIENTS = 32
"""The number of clients at which contenders are compared."""
# Contender, goal of the ratio to it, and what it is.
_GOALS = (
    ("offline", 0.8, "Translator.translate offline, the load generator busy beside it"),
    ("one at a time", 5.0, "one text at a time, as LibreTranslate works"),
    ("batching off", None, "the service with batching off"),
)
_HEALTH_MILLISECONDS = 50
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Visit:
    """One contender in one round: started, measured under every number of clients, stopped."""

    contender: str
    round: int
    loaded_bytes: int
    """Resident memory of the worker when it has loaded the model and answered nothing but its health."""
    idle_bytes: int
    """The same after all load, when nothing is asked."""
    points: list[Point]

    def at(self, clients: int) -> Point:
        return next(point for point in self.points if point.clients == clients)


@dataclass
class Measurements:
    """All that was measured in one run."""

    model: str
    sentences: int
    seconds: float
    cores: int
    visits: list[Visit] = field(default_factory=list)
    offline: list[OfflineRun] = field(default_factory=list)

    def of(self, contender: str) -> list[Visit]:
        """The contender's visits in the order of the rounds."""
        return sorted((visit for visit in self.visits if visit.contender == contender), key=lambda visit: visit.round)

    def contenders(self) -> list[str]:
        return list(dict.fromkeys(visit.contender for visit in self.visits))

    def rates(self, contender: str, clients: int = COMPARED_CLIENTS) -> list[float]:
        """Sentences a second in every round."""
        return [visit.at(clients).sentences_per_second for visit in self.of(contender)]

    def others(self, name: str) -> list[float]:
        """The same of what the service is compared with; `offline` is the one without a service."""
        return [run.sentences_per_second for run in self.offline] if name == "offline" else self.rates(name)

    def ratios(self) -> dict[str, list[float]]:
        """The service's rate divided by each other's, round by round."""
        service = self.rates("service")
        others = [*(name for name in self.contenders() if name != "service"), "offline"]
        return {
            name: [ours / theirs for ours, theirs in zip(service, self.others(name), strict=False) if theirs]
            for name in others
        }

    def document(self) -> dict[str, Any]:
        """The raw numbers, for JSON."""
        return {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "beam_size": BEAM_SIZE,
            "compared_clients": COMPARED_CLIENTS,
            "ratios": self.ratios(),
            **asdict(self),
        }


def spread(values: Sequence[float], form: Callable[[float], str] = "{:.1f}".format) -> str:
    """The median, with the smallest and the largest where there are several."""
    if not values:
        return "–"
    median = form(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({form(min(values))}–{form(max(values))})"


def print_report(measured: Measurements, console: Console) -> None:
    """Ratios first, then the numbers under load, then memory."""
    console.print(Group(_ratios(measured), "", _load(measured), "", _memory(measured)))


def service_figures(measured: Measurements) -> list[Figure]:
    """The service's throughput against its contenders', as far as there are goals, and the wait for its health."""
    clients = f"{COMPARED_CLIENTS} clients"
    ratios = measured.ratios()
    rates = spread(measured.rates("service"))
    visits = measured.of("service")
    figures = []
    for name, goal, title in _GOALS:
        if goal is None or not ratios.get(name):
            continue
        others = spread(measured.others(name))
        figure = Figure(f"service, {clients} ÷ {title}", goal, True, ratios[name], f"{rates} and {others} sentences/s")
        figures.append(figure)
    waits = [visit.at(COMPARED_CLIENTS).health.p99 for visit in visits]
    failed = _failures([point for visit in visits for point in visit.points])
    figures.append(
        Figure(
            f"/health p99 meanwhile ÷ {_HEALTH_MILLISECONDS} ms",
            1.0,
            False,
            [wait / _HEALTH_MILLISECONDS for wait in waits],
            f"{spread(waits)} ms; failures at all numbers of clients: {failed}",
        )
    )
    return figures


def _ratios(measured: Measurements) -> Table:
    table = Table(title=f"The service's sentences/s at {COMPARED_CLIENTS} clients, divided by those of …")
    for heading in ("", "ratio", "goal", "", "service", "the other"):
        table.add_column(heading, justify="left" if not heading else "right")
    ratios = measured.ratios()
    for name, goal, title in _GOALS:
        if not ratios.get(name):
            continue
        verdict = "" if goal is None else "reached" if statistics.median(ratios[name]) >= goal else "missed"
        table.add_row(
            title, spread(ratios[name], "{:.2f}".format), "" if goal is None else f"≥ {goal:g}", verdict,
            spread(measured.rates("service")), spread(measured.others(name)),
        )  # fmt: skip
    return table


def _load(measured: Measurements) -> Table:
    table = Table(title=f"Under load, {measured.seconds:g} s each; medians of the rounds (smallest–largest); ms")
    headings = ("", "clients", "sentences/s", "p50", "p95", "p99", "/health p50", "p99", "max", "failures", "generator")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for name in measured.contenders():
        visits = measured.of(name)
        for clients in [point.clients for point in visits[0].points]:
            points = [visit.at(clients) for visit in visits]
            latencies = [
                f"{statistics.median(values):.0f}"
                for values in (
                    [point.latency.p50 for point in points],
                    [point.latency.p95 for point in points],
                    [point.latency.p99 for point in points],
                )
            ]
            health = [
                f"{statistics.median(values):.1f}"
                for values in (
                    [point.health.p50 for point in points],
                    [point.health.p99 for point in points],
                    [point.health.maximum for point in points],
                )
            ]
            rates = spread([point.sentences_per_second for point in points])
            share = statistics.median(point.generator_share for point in points)
            table.add_row(name, str(clients), rates, *latencies, *health, _failures(points), f"{share:.0%}")
        table.add_section()
    for run in measured.offline:
        rate, generator = f"{run.sentences_per_second:.1f}", f"{run.generator_share:.0%}"
        table.add_row("offline", "–", rate, *["–"] * 7, generator)
    return table


def _failures(points: Sequence[Point]) -> str:
    """All rounds' failures: "503: 12, health: 1"."""
    counted: dict[str, int] = {}
    for point in points:
        for status, count in (*point.failures.items(), ("health", point.health_failures)):
            counted[status] = counted.get(status, 0) + count
    return ", ".join(f"{status}: {count}" for status, count in counted.items() if count) or "none"


def _memory(measured: Measurements) -> Table:
    table = Table(title="Memory of the worker, resident MiB")
    most = max(point.clients for visit in measured.visits for point in visit.points)
    for heading in ("", "loaded", "idle after the load", f"largest at {most} clients"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in measured.contenders():
        visits = measured.of(name)
        columns = (
            [visit.loaded_bytes for visit in visits],
            [visit.idle_bytes for visit in visits],
            [visit.at(most).resident_bytes for visit in visits],
        )
        table.add_row(name, *(spread([value / _MEBIBYTE for value in values], "{:.0f}".format) for values in columns))
    return table
