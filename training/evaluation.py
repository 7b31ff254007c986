"""How good a model directory is on a test set: BLEU, chrF, perplexity, speed, BLEU by sentence length.

BLEU and chrF are sacreBLEU's, cased, on plain text (13a), and never stored without their signatures: the paper's
authors note that variants of the metric differ by more than a point (37.0 and 35.8 for one output). Each line is
translated as one sentence, as the reference has it.
"""

from __future__ import annotations

import math
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import sacrebleu
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from training.errors import InputError
from training.evaluation_figures import draw_bleu_by_length, words_of
from translator.card import Card, LengthScore, Score
from translator.config import SearchOptions
from translator.directory import update_card
from translator.pipeline import Translator
from translator.scoring import score_pairs
from translator.translation import Translation

# The last words of each class; the paper's Figure 3 (left) goes up to 79 words, everyday corpora have few beyond 30.
_LAST_WORDS = (5, 10, 15, 20, 30, 50)
_SAMPLES = 5
_FIGURE_FORMATS = (".png", ".svg", ".pdf")


class Sample(BaseModel):
    """One sentence of the test set to read."""

    model_config = ConfigDict(frozen=True)

    source: str
    reference: str
    translation: str


class EvaluationReport(BaseModel):
    """All that `python -m training evaluate` found, as its --json has it."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(description="Name of the model, from its card.")
    weights_sha256: str = Field(description="Checksum of the weights that were measured.")
    sentences: int
    bleu: Score
    chrf: Score
    perplexity: Score = Field(description="exp(−mean log p of a reference token), `<EOS>` counted, natural logarithm.")
    length_ratio: float = Field(description="Words of the translations ÷ words of the references, as BLEU counts them.")
    seconds: float = Field(description="Wall-clock time of the translation alone.")
    sentences_per_second: float
    bleu_by_length: list[LengthScore]
    warnings: dict[str, int] = Field(description="Sentences with a warning, by its code: long, split, truncated …")
    samples: list[Sample]


def evaluate_translator(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    test_set: str,
    options: SearchOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> EvaluationReport:
    """Translate `sources`, each as one sentence, and compare with `references`, one for each of them.

    `progress` is called with the number of sentences translated since its last call. Raises `InputError` where there is
    no sentence, or not one reference for each source.
    """
    if len(sources) != len(references):
        raise InputError(
            f"the source has {len(sources):,} lines and the reference {len(references):,}; "
            "line n of one has to be the translation of line n of the other"
        )
    if not sources:
        raise InputError("the test set is empty")
    options = options if options is not None else SearchOptions()
    start = time.perf_counter()
    translations = translator.translate(sources, options, split_sentences=False, progress=progress)
    seconds = time.perf_counter() - start
    texts = [translation.text for translation in translations]
    length_penalty = translator.card.length_penalty if options.length_penalty is None else options.length_penalty

    def score(metric: sacrebleu.BLEU | sacrebleu.CHRF, name: str, value: float) -> Score:
        return Score(
            test_set=test_set,
            metric=name,
            value=round(value, 4),
            signature=str(metric.get_signature()),
            beam_size=options.beam_size,
            length_penalty=length_penalty,
            sentences=len(sources),
            precision=translator.engine.precision,
        )

    bleu, chrf = sacrebleu.BLEU(), sacrebleu.CHRF()
    found = bleu.corpus_score(texts, [references])
    weights = translator.card.files.get("model.safetensors")
    step = math.ceil(len(sources) / _SAMPLES)
    return EvaluationReport(
        model=translator.card.name,
        weights_sha256="" if weights is None else weights.sha256,
        sentences=len(sources),
        bleu=score(bleu, "BLEU", found.score),
        chrf=score(chrf, "chrF", chrf.corpus_score(texts, [references]).score),
        perplexity=_perplexity(translator, sources, references, test_set),
        length_ratio=round(found.sys_len / max(1, found.ref_len), 4),
        seconds=round(seconds, 3),
        sentences_per_second=round(len(sources) / seconds, 2),
        bleu_by_length=bleu_by_length(sources, texts, references),
        warnings=Counter(code for translation in translations for code in _codes(translation)),
        samples=[
            Sample(source=sources[index], reference=references[index], translation=texts[index])
            for index in range(0, len(sources), step)
        ],
    )


def bleu_by_length(sources: Sequence[str], translations: Sequence[str], references: Sequence[str]) -> list[LengthScore]:
    """Corpus BLEU of the sentences of each class of source length, in words; a class without sentences is left out."""
    scores = []
    first = 0
    for last in (*_LAST_WORDS, None):
        members = [
            index
            for index, source in enumerate(sources)
            if first <= len(source.split()) and (last is None or len(source.split()) <= last)
        ]
        if members:
            found = sacrebleu.BLEU().corpus_score(
                [translations[index] for index in members], [[references[index] for index in members]]
            )
            scores.append(LengthScore(minimum=first, maximum=last, sentences=len(members), bleu=round(found.score, 4)))
        first = 0 if last is None else last + 1
    return scores


def _perplexity(translator: Translator, sources: Sequence[str], references: Sequence[str], test_set: str) -> Score:
    """exp of the mean negative log-probability of a reference token, `<EOS>` counted, by teacher forcing."""
    loaded = translator.loaded
    composed = [unicodedata.normalize("NFC", source.strip()) for source in sources]
    pairs = list(
        zip(
            loaded.source_vocabulary.encode_batch(composed),
            loaded.target_vocabulary.encode_batch(references),
            strict=True,
        )
    )
    log_probabilities = score_pairs(
        loaded.model,
        pairs,
        source_eos_id=loaded.source_vocabulary.eos_id,
        target_eos_id=loaded.target_vocabulary.eos_id,
    )
    tokens = sum(len(target) + 1 for _, target in pairs)
    return Score(
        test_set=test_set,
        metric="perplexity",
        value=round(math.exp(min(700.0, -math.fsum(log_probabilities) / tokens)), 4),
        signature=f"tokens:{tokens}|vocabulary:{loaded.target_vocabulary.size}|eos:yes",
        sentences=len(sources),
        precision="float32",
    )


def _codes(translation: Translation) -> set[str]:
    return {warning.partition(":")[0] for warning in translation.warnings}


def scored_card(card: Card, report: EvaluationReport) -> Card:
    """`card` with the report's scores in front. Older ones of this test set go, unless they were computed in another
    number format; those of other test sets stay.
    """
    fresh = [report.bleu, report.chrf, report.perplexity]
    measured = {(score.test_set, score.metric, score.precision) for score in fresh}
    replaced = measured | {(test_set, metric, "") for test_set, metric, _ in measured}
    others = [score for score in card.scores if (score.test_set, score.metric, score.precision) not in replaced]
    scores = [*fresh, *others]
    return card.model_copy(update={"scores": scores, "bleu_by_length": report.bleu_by_length})


@click.command()
@click.option("--model", required=True, help="Model directory, or the name of a shipped model.")
@click.option("--source", "source_file", required=True, type=click.Path(path_type=Path), help="One sentence a line.")
@click.option(
    "--reference",
    "reference_file",
    required=True,
    type=click.Path(path_type=Path),
    help="Its translation, line by line.",
)
@click.option("--beam-size", type=int, default=5, show_default=True, help="Hypotheses kept at every step; 1 is greedy.")
@click.option("--length-penalty", type=float, help="α of the search; the model's own if not given.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute, such as cpu or cuda.")
@click.option("--engine", default="auto", show_default=True, help="How to compute; `translator inspect` lists them.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report there.")
@click.option("--figure", "figure_file", type=click.Path(path_type=Path), help="Draw BLEU by sentence length there.")
@click.option("--update-card", "updates_card", is_flag=True, help="Write the scores on the model's card.")
@click.option("--test-set-name", help="What the scores are called; the source's folder and name if not given.")
def evaluate(
    model: str,
    source_file: Path,
    reference_file: Path,
    beam_size: int,
    length_penalty: float | None,
    device: str,
    engine: str,
    json_file: Path | None,
    figure_file: Path | None,
    updates_card: bool,
    test_set_name: str | None,
) -> None:
    """Measure a model on a test set: BLEU, chrF, perplexity, speed, BLEU by sentence length."""
    # What would be in the way of the result is better known before the translation than after it.
    if figure_file is not None and figure_file.suffix not in _FIGURE_FORMATS:
        raise InputError(f"{figure_file}: a figure's name ends in {', '.join(_FIGURE_FORMATS)}")
    for file in (json_file, figure_file):
        if file is not None and not file.parent.is_dir():
            raise InputError(f"{file}: there is no folder {file.parent}; make it first")
    sources, references = read_lines(source_file), read_lines(reference_file)
    try:
        options = SearchOptions(beam_size=beam_size, length_penalty=length_penalty)
        translator = Translator.load(model, device=device, engine=engine)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}") from error
    except ValueError as error:  # after its subclass ValidationError: a model directory or a device
        raise InputError(str(error)) from error
    test_set = test_set_name or f"{source_file.resolve().parent.name} {source_file.name.partition('.')[0]}"
    with _progress_bar() as progress:
        task = progress.add_task("translating", total=len(sources))
        report = evaluate_translator(
            translator,
            sources,
            references,
            test_set=test_set,
            options=options,
            progress=lambda count: progress.advance(task, count),
        )
    _show(report, Console(highlight=False, markup=False))
    try:
        if json_file is not None:
            json_file.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if figure_file is not None:
            draw_bleu_by_length(report, figure_file)
        if updates_card:
            update_card(translator.loaded.path, scored_card(translator.card, report))
    except OSError as error:
        raise InputError(f"the result cannot be written: {error}") from error


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 file without their ends (`\\n` or `\\r\\n`). Raises `InputError` where it cannot be read."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}: line {line} is not UTF-8; convert the file first, for example with iconv") from error
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _progress_bar() -> Progress:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _show(report: EvaluationReport, console: Console) -> None:
    bleu = report.bleu
    searched = f"beam {bleu.beam_size}, length penalty {bleu.length_penalty:g}, {bleu.precision}"
    console.print(f"{report.model} on {bleu.test_set}: {report.sentences:,} sentences, {searched}", soft_wrap=True)
    for score in (bleu, report.chrf, report.perplexity):
        console.print(f"{score.metric:<12}{score.value:>8.2f}  {score.signature}", soft_wrap=True)
    console.print(f"{'length':<12}{report.length_ratio:>8.2f}  of the reference's")
    console.print(f"{'speed':<12}{report.sentences_per_second:>8.1f}  sentences a second")
    for code, count in sorted(report.warnings.items()):
        console.print(f"{code:<12}{count:>8,}  sentences with this warning")
    by_length = Table("words", "sentences", "BLEU", title="BLEU by source length", title_justify="left")
    for part in report.bleu_by_length:
        by_length.add_row(words_of(part), f"{part.sentences:,}", f"{part.bleu:.1f}")
    console.print(by_length)
    for sample in report.samples:
        for name, text in (
            ("source", sample.source),
            ("reference", sample.reference),
            ("translation", sample.translation),
        ):
            console.print(f"{name:<12}{text}", soft_wrap=True)
        console.print()
