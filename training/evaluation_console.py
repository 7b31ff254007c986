"""The evaluation as lines to read at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from training.comparison import ComparisonReport
from training.evaluation_figures import words_of
from training.evaluation_report import EvaluationReport, Sample


def show(report: ComparisonReport, console: Console) -> None:
    """Every system's figures, which is better, and sentences to read."""
    for system in report.systems:
        _figures(system, console)
    for comparison in report.comparisons:
        console.print(comparison.sentence, soft_wrap=True)
        if comparison.caution:
            console.print(comparison.caution, soft_wrap=True)
    if report.comparisons:
        resamples = report.systems[0].resamples
        console.print(f"(p: two-sided, by paired bootstrap resampling, {resamples:,} times)\n", soft_wrap=True)
    for spread in report.seeds:
        seeds = ", ".join(map(str, spread.seeds))
        console.print(
            f"{spread.recipe}, seeds {seeds}: BLEU {spread.mean:.2f} ± {spread.standard_deviation:.2f} "
            f"(standard deviation), from {spread.minimum:.2f} to {spread.maximum:.2f}\n",
            soft_wrap=True,
        )
    _samples("Every n-th sentence", [system.samples for system in report.systems], report, console)
    for system in report.systems:
        _samples(f"Lowest chrF of {system.model}", [system.worst], None, console)


def _figures(report: EvaluationReport, console: Console) -> None:
    bleu = report.bleu
    searched = ""
    if bleu.beam_size is not None:
        searched = f", beam {bleu.beam_size}, length penalty {bleu.length_penalty:g}, {bleu.precision}"
    console.print(f"{report.model} on {bleu.test_set}: {report.sentences:,} sentences{searched}", soft_wrap=True)
    for score in (bleu, report.chrf, report.ter, report.multi_bleu, report.perplexity):
        if score is not None:
            interval = report.confidence.get(score.metric)
            spread = f"{interval.low:.1f} to {interval.high:.1f}, " if interval else ""
            console.print(f"{score.metric:<12}{score.value:>8.2f}  {spread}{score.signature}", soft_wrap=True)
    console.print(f"{'length':<12}{report.length_ratio:>8.2f}  of the reference's")
    repeated = f"{100 * report.reference_repetition_rate:.1f} %"
    console.print(
        f"{'repetition':<12}{100 * report.repetition_rate:>7.1f}%  of the translations, {repeated} of the references"
    )
    console.print(f"{'no text':<12}{100 * report.empty_rate:>7.1f}%  of the translations")
    if report.unknown is not None:
        found = ", ".join(f"{100 * rate:.2f} % {side}" for side, rate in report.unknown)
        console.print(f"{'unknown':<12}          tokens: {found}", soft_wrap=True)
    if report.sentences_per_second is not None:
        console.print(f"{'speed':<12}{report.sentences_per_second:>8.1f}  sentences a second")
    for code, count in sorted(report.warnings.items()):
        console.print(f"{code:<12}{count:>8,}  sentences with this warning")
    by_length = Table("words", "sentences", "BLEU", title="BLEU by source length", title_justify="left")
    for part in report.bleu_by_length:
        by_length.add_row(words_of(part), f"{part.sentences:,}", f"{part.bleu:.1f}")
    by_rank = Table("average rank", "sentences", "BLEU", title="BLEU by word rank", title_justify="left")
    for rank in report.bleu_by_rank:
        by_rank.add_row(f"{rank.minimum:.0f}–{rank.maximum:.0f}", f"{rank.sentences:,}", f"{rank.bleu:.1f}")
    console.print(by_length)
    console.print(by_rank)
    console.print()


def _samples(title: str, of_systems: list[list[Sample]], report: ComparisonReport | None, console: Console) -> None:
    """Sentences to read, each with the translations of all systems below it."""
    console.print(title, soft_wrap=True)
    names = ["translation"]
    if report is not None and len(report.systems) > 1:
        names = [system.model for system in report.systems]
    width = max(12, *(len(name) + 2 for name in names))
    for samples in zip(*of_systems, strict=True):
        lines = [("source", samples[0].source), ("reference", samples[0].reference)]
        lines += [(name, sample.translation) for name, sample in zip(names, samples, strict=True)]
        for name, line in lines:
            console.print(f"{name:<{width}}{line}", soft_wrap=True)
        console.print()
