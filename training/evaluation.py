"""`python -m training evaluate`: how good one system is on a test set, or which of several is better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import ValidationError
from rich.console import Console

from training.comparison import ComparisonReport, compare, seed_spreads
from training.errors import InputError
from training.evaluation_console import show
from training.evaluation_figures import draw_bleu_by_length
from training.evaluation_page import evaluation_page
from training.evaluation_report import SystemOutput, report_of, scored_card, translate_text
from training.measures import measure
from training.parallel_text import ParallelText, published_test_set, read_parallel_text
from training.terminal import progress_bar
from training.text_files import read_lines
from translator.command_line import combination_option, device_option
from translator.config import Combination, SearchOptions
from translator.directory import update_card
from translator.pipeline import Translator

_FIGURE_FORMATS = (".png", ".svg", ".pdf")

System = Translator | Path
"""A translator, or a file with the translations of another system."""


@click.command()
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Model directory, or the name of a shipped model; given several times, their ensemble.",
)
@combination_option
@click.option("--source", "source_file", type=click.Path(path_type=Path), help="One sentence a line.")
@click.option("--reference", "reference_file", type=click.Path(path_type=Path), help="Its translation, line by line.")
@click.option("--test-set", help="In place of the two files: a test set that sacreBLEU knows, such as wmt14.")
@click.option("--language-pair", help="Of the test set, such as en-fr; the model's if not given.")
@click.option("--beam-size", type=int, default=5, show_default=True, help="Hypotheses kept at every step; 1 is greedy.")
@click.option("--length-penalty", type=float, help="α of the search; the model's own if not given.")
@device_option
@click.option("--engine", default="auto", show_default=True, help="How to compute; `translator inspect` lists them.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report there.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write a page with figures there.")
@click.option("--figure", "figure_file", type=click.Path(path_type=Path), help="Draw BLEU by sentence length there.")
@click.option("--update-card", "updates_card", is_flag=True, help="Write the scores on the model's card.")
@click.option("--test-set-name", help="What the scores are called; the source's folder and name if not given.")
@click.option(
    "--frequency-text",
    "frequency_file",
    type=click.Path(path_type=Path),
    help="Text to count words in for BLEU by word rank, such as the training source; the test set's if not given.",
)
def evaluate(
    systems: tuple[str, ...],
    models: tuple[str, ...],
    combination: Combination,
    source_file: Path | None,
    reference_file: Path | None,
    test_set: str | None,
    language_pair: str | None,
    beam_size: int,
    length_penalty: float | None,
    device: str,
    engine: str,
    json_file: Path | None,
    html_file: Path | None,
    figure_file: Path | None,
    updates_card: bool,
    test_set_name: str | None,
    frequency_file: Path | None,
) -> None:
    """Measure a model on a test set, or find out which SYSTEM is better.

    A SYSTEM is a model, an ensemble (models with commas between them) or a file with another system's translations, one
    a line. Every further one is compared with the first by paired bootstrap resampling. --model comes first.
    """
    # What would be in the way of the result is better known before the translation than after it.
    _check_outputs(json_file, html_file, figure_file)
    named = [*([",".join(models)] if models else []), *systems]
    if not named:
        raise click.UsageError("name a model: --model MODEL, or several systems to compare")
    if updates_card and (len(named) > 1 or len(models) > 1):
        raise click.UsageError("--update-card is for a single model; several share no card")
    try:
        options = SearchOptions(beam_size=beam_size, length_penalty=length_penalty)
        loaded = [_load(name, models, device, engine, combination) for name in named]
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}") from error
    except ValueError as error:  # after its subclass ValidationError: a model directory or a device
        raise InputError(str(error)) from error
    text = _parallel_text(source_file, reference_file, test_set, language_pair, test_set_name, loaded)
    frequency_text = None if frequency_file is None else list(read_lines(frequency_file))

    outputs = _outputs(named, loaded, text, options)
    measured = measure([output.texts for output in outputs], text.references)
    language = _target_language(loaded, language_pair)
    reports = [
        report_of(output, text, each, target_language=language, frequency_text=frequency_text)
        for output, each in zip(outputs, measured, strict=True)
    ]
    report = ComparisonReport(
        systems=reports, comparisons=compare(outputs, measured), seeds=seed_spreads(outputs, measured)
    )
    try:  # before it is shown: whoever reads that may have gone away
        if json_file is not None:
            document = reports[0] if len(reports) == 1 else report
            json_file.write_text(document.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if html_file is not None:
            html_file.write_text(evaluation_page(report), encoding="utf-8")
        if figure_file is not None:
            draw_bleu_by_length(reports, figure_file)
        if updates_card and isinstance(loaded[0], Translator):
            update_card(loaded[0].loaded.path, scored_card(loaded[0].card, reports[0]))
    except OSError as error:
        raise InputError(f"the result cannot be written: {error}") from error
    show(report, Console(highlight=False, markup=False))


def _check_outputs(json_file: Path | None, html_file: Path | None, figure_file: Path | None) -> None:
    if figure_file is not None and figure_file.suffix not in _FIGURE_FORMATS:
        raise InputError(f"{figure_file}: a figure's name ends in {', '.join(_FIGURE_FORMATS)}")
    for file in (json_file, html_file, figure_file):
        if file is not None and not file.parent.is_dir():
            raise InputError(f"{file}: there is no folder {file.parent}; make it first")


def _load(name: str, models: Sequence[str], device: str, engine: str, combination: Combination) -> System:
    if Path(name).is_file():
        return Path(name)
    several = models if len(models) > 1 and name == ",".join(models) else name
    return Translator.load(several, device=device, engine=engine, combination=combination)


def _parallel_text(
    source: Path | None,
    reference: Path | None,
    test_set: str | None,
    language_pair: str | None,
    name: str | None,
    systems: Sequence[System],
) -> ParallelText:
    cards = [system.card for system in systems if isinstance(system, Translator)]
    pairs = [f"{card.source_language}-{card.target_language}" for card in cards]
    if language_pair is not None and any(pair != language_pair for pair in pairs):
        other = next(number for number, pair in enumerate(pairs) if pair != language_pair)
        raise InputError(f"{cards[other].name} translates {pairs[other]} and not {language_pair}")
    if len(set(pairs)) > 1:
        other = next(number for number, pair in enumerate(pairs) if pair != pairs[0])
        raise InputError(
            f"{cards[0].name} translates {pairs[0]} and {cards[other].name} {pairs[other]}: they cannot be compared"
        )
    if test_set is None:
        if source is None or reference is None:
            raise click.UsageError("name the test set: --source FILE --reference FILE, or --test-set NAME")
        return read_parallel_text(source, reference, name)
    if source is not None or reference is not None:
        raise click.UsageError("--test-set takes the place of --source and --reference")
    pair = language_pair or next(iter(pairs), None)
    if pair is None:
        raise click.UsageError("--test-set needs --language-pair, because no system says its languages")
    found = published_test_set(test_set, pair)
    return found if name is None else ParallelText(name, found.sources, found.references)


def _target_language(systems: Sequence[System], language_pair: str | None) -> str:
    """What to tokenise as; English where nothing is known."""
    if language_pair is not None:
        return language_pair.partition("-")[2]
    languages = [system.card.target_language for system in systems if isinstance(system, Translator)]
    return next(iter(languages), "en")


def _outputs(
    named: Sequence[str], systems: Sequence[System], text: ParallelText, options: SearchOptions
) -> list[SystemOutput]:
    """What every system makes of the sources. Systems of one name go by what they were called on the command line."""
    names = [system.card.name if isinstance(system, Translator) else system.name for system in systems]
    names = [name if names.count(name) == 1 else called for name, called in zip(names, named, strict=True)]
    outputs = []
    files = {
        name: list(read_lines(system)) for name, system in zip(names, systems, strict=True) if isinstance(system, Path)
    }
    for name, lines in files.items():
        if len(lines) != len(text.sources):
            raise InputError(f"{name} has {len(lines):,} lines and the source {len(text.sources):,}")
    with progress_bar() as progress:
        for name, system in zip(names, systems, strict=True):
            if isinstance(system, Path):
                outputs.append(SystemOutput(name, files[name]))
                continue
            task = progress.add_task("translating", total=len(text.sources))
            outputs.append(
                translate_text(
                    system,
                    text.sources,
                    options=options,
                    name=name,
                    progress=lambda count, task=task: progress.advance(task, count),  # type: ignore[misc]
                )
            )
    return outputs
