"""`python -m training rescore`: choose anew from another system's n-best list, by its score and this model's.

As in Sutskever et al. 2014, section 3.7 and Table 2, where the even average of a phrase-based system's score and the
LSTM's log p(target | source) chose from 1000-best lists. Or by how probable the source is in a model of the other
direction, log p(source | target), the channel model of Yee, Dauphin & Auli 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import sacrebleu
from numpy.typing import NDArray
from rich.console import Console

from training.errors import InputError
from training.n_best import Candidate, n_best_lines, read_n_best
from training.terminal import progress_bar
from training.text_files import read_lines
from translator.command_line import combination_option, device_option
from translator.config import Combination
from translator.pipeline import Translator
from translator.scoring import score_texts

Doubles = NDArray[np.float64]

_GRID = tuple(step / 20 for step in range(21))
EVEN = 0.5


def model_scores(
    translator: Translator,
    sources: Sequence[str],
    sentences: Sequence[Sequence[Candidate]],
    *,
    reverse: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Doubles]:
    """log p(candidate | source) in nats of every candidate; a text that occurs twice in a list is scored once.

    With `reverse` it is log p(source | candidate), by a model that translates the other way.
    """
    pairs = [
        (text, source) if reverse else (source, text)
        for source, candidates in zip(sources, sentences, strict=True)
        for text in dict.fromkeys(candidate.text for candidate in candidates)
    ]
    scores = iter(score_texts(translator, pairs, progress=progress))
    found = []
    for candidates in sentences:
        by_text = {text: next(scores).log_probability for text in dict.fromkeys(each.text for each in candidates)}
        found.append(np.array([by_text[candidate.text] for candidate in candidates]))
    return found


def mixed(candidates: Sequence[Candidate], model_score: Doubles, weight: float) -> Doubles:
    """(1 − weight) · the list's score + weight · log p; weight ½ ranks as the even average of the two does."""
    return (1 - weight) * np.array([candidate.score for candidate in candidates]) + weight * model_score


def choose(sentences: Sequence[Sequence[Candidate]], model: Sequence[Doubles], weight: float) -> list[str]:
    """The best candidate of every sentence; of equal ones the first in the list."""
    return [
        candidates[int(mixed(candidates, scores, weight).argmax())].text
        for candidates, scores in zip(sentences, model, strict=True)
    ]


def tuned_weight(
    sentences: Sequence[Sequence[Candidate]], model: Sequence[Doubles], references: Sequence[str]
) -> float:
    """The weight from 0, 0.05 … 1 of best BLEU; of equally good ones the one nearest to ½."""
    bleu = {weight: corpus_bleu(choose(sentences, model, weight), references) for weight in _GRID}
    return max(_GRID, key=lambda weight: (bleu[weight], -abs(weight - EVEN)))


def oracle(sentences: Sequence[Sequence[Candidate]], references: Sequence[str]) -> list[str]:
    """The candidates of best sentence BLEU: what could be had from the list by someone who knows the references."""
    metric = sacrebleu.BLEU(effective_order=True)
    best = []
    for candidates, reference in zip(sentences, references, strict=True):
        scores = [metric.sentence_score(candidate.text, [reference]).score for candidate in candidates]
        best.append(candidates[int(np.argmax(scores))].text)
    return best


def corpus_bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """sacreBLEU's BLEU, cased, 13a."""
    return float(sacrebleu.BLEU().corpus_score(texts, [references]).score)


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    help="Model directory, or the name of a shipped model; given several times, their ensemble.",
)
@combination_option
@click.option(
    "--reverse",
    is_flag=True,
    help="The model translates the other way, and its score is log p(source | candidate).",
)
@device_option
@click.option("--source", "source_file", required=True, type=click.Path(path_type=Path), help="One sentence a line.")
@click.option("--n-best", "list_file", required=True, type=click.Path(path_type=Path), help="The list to choose from.")
@click.option("--reference", "reference_file", type=click.Path(path_type=Path), help="Print BLEU, the oracle's too.")
@click.option(
    "--weight",
    type=click.FloatRange(0, 1),
    help="Of this model's log p; the list's own score has the rest. 0.5, the even average, if nothing is tuned.",
)
@click.option(
    "--tune",
    "tuning_files",
    nargs=3,
    type=click.Path(path_type=Path),
    metavar="SOURCE LIST REFERENCE",
    help="Choose the weight of best BLEU on these, which must not be the test set.",
)
@click.option("--output-n-best", "output_file", type=click.Path(path_type=Path), help="Write the list anew there.")
def rescore(
    models: tuple[str, ...],
    combination: Combination,
    reverse: bool,
    device: str,
    source_file: Path,
    list_file: Path,
    reference_file: Path | None,
    weight: float | None,
    tuning_files: tuple[Path, Path, Path] | None,
    output_file: Path | None,
) -> None:
    """Choose anew from any system's n-best list, by its own score and a model's; the best are printed, one a line.

    The list is in the format of Moses, "number ||| text ||| features ||| score", or in JSON lines, {"id": number,
    "text": …, "score": …}, numbers from 0. Its text has to be plain text, as the model writes it.
    """
    if weight is not None and tuning_files is not None:
        raise click.UsageError("--weight and --tune exclude each other")
    if output_file is not None and not output_file.absolute().parent.is_dir():
        raise InputError(f"{output_file}: there is no folder {output_file.parent}; make it first")
    sources = _sources(source_file)
    found = read_n_best(list_file, len(sources))
    references = None if reference_file is None else _references(reference_file, len(sources))
    try:
        translator = Translator.load(
            models[0] if len(models) == 1 else models, device=device, engine="reference", combination=combination
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    console = Console(stderr=True, highlight=False, markup=False)
    if tuning_files is not None:
        tuning_sources = _sources(tuning_files[0])
        tuning = read_n_best(tuning_files[1], len(tuning_sources)).sentences
        tuning_references = _references(tuning_files[2], len(tuning_sources))
        scores = _scores(translator, tuning_sources, tuning, reverse=reverse)
        weight = tuned_weight(tuning, scores, tuning_references)
        bleu = corpus_bleu(choose(tuning, scores, weight), tuning_references)
        console.print(f"weight {weight:g}, of BLEU {bleu:.2f} on the text to tune on", soft_wrap=True)
    weight = EVEN if weight is None else weight
    scores = _scores(translator, sources, found.sentences, reverse=reverse)
    chosen = choose(found.sentences, scores, weight)
    if references is not None:
        card, given = translator.card, "source | candidate" if reverse else "candidate | source"
        console.print(
            f"{card.name}, {card.source_language} to {card.target_language}, by log p({given})", soft_wrap=True
        )
        _show(found.sentences, scores, weight, references, console)
    if output_file is not None:
        anew = [
            sorted(
                (
                    Candidate(candidate.text, float(score))
                    for candidate, score in zip(candidates, mixed(candidates, each, weight), strict=True)
                ),
                key=lambda candidate: -candidate.score,
            )
            for candidates, each in zip(found.sentences, scores, strict=True)
        ]
        try:
            output_file.write_text(n_best_lines(anew, found.format), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{output_file}: cannot be written: {error.strerror}") from error
    for text in chosen:
        click.echo(text)


def _sources(file: Path) -> list[str]:
    sources = list(read_lines(file))
    if not sources:
        raise InputError(f"{file}: is empty")
    return sources


def _references(file: Path, count: int) -> list[str]:
    references = list(read_lines(file))
    if len(references) != count:
        raise InputError(f"{file}: has {len(references):,} lines and the source {count:,}")
    return references


def _scores(
    translator: Translator, sources: Sequence[str], sentences: Sequence[Sequence[Candidate]], *, reverse: bool
) -> list[Doubles]:
    total = sum(len({candidate.text for candidate in candidates}) for candidates in sentences)
    with progress_bar() as progress:
        task = progress.add_task("scoring", total=total)
        return model_scores(
            translator, sources, sentences, reverse=reverse, progress=lambda count: progress.advance(task, count)
        )


def _show(
    sentences: Sequence[Sequence[Candidate]],
    scores: Sequence[Doubles],
    weight: float,
    references: Sequence[str],
    console: Console,
) -> None:
    candidates = sum(map(len, sentences)) / len(sentences)
    console.print(f"{len(sentences):,} sentences, {candidates:.1f} candidates each on average")
    rows = {
        "the list's own best": choose(sentences, scores, 0.0),
        "this model alone": choose(sentences, scores, 1.0),
        f"both, weight {weight:g}": choose(sentences, scores, weight),
        "oracle, by sentence BLEU": oracle(sentences, references),
    }
    for name, texts in rows.items():
        console.print(f"{name:<26}BLEU {corpus_bleu(texts, references):6.2f}")
    metric = sacrebleu.BLEU()
    metric.corpus_score(list(references), [list(references)])
    console.print(str(metric.get_signature()), soft_wrap=True)
