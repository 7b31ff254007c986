"""python -m translator COMMAND; `--help` lists the commands."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click

from translator import __version__, scoring_commands
from translator.command_line import (
    BYTE_ORDER_MARK,
    Failure,
    chunks,
    decoded_lines,
    failures_of_streams,
    load_translator,
    model_options,
    progress_bar,
    standard_streams,
    without_end,
)
from translator.corpus.command import translate_corpus
from translator.generation_command import generate

if TYPE_CHECKING:
    from rich.table import Table

    from translator.config import Combination, SearchOptions
    from translator.directory import LoadedModel
    from translator.pipeline import Translator
    from translator.translation import Translation


@click.group()
@click.version_option(__version__, prog_name="translator")
def main() -> None:
    """Translate text with a trained model, measure text with it, or look at it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a character shows a question mark
            stream.reconfigure(errors="replace")


main.add_command(scoring_commands.score)
main.add_command(scoring_commands.embed)
main.add_command(generate)
main.add_command(translate_corpus)


@main.command()
@model_options
@click.option("--beam-size", type=int, default=5, show_default=True, help="Hypotheses kept at every step; 1 is greedy.")
@click.option("--length-penalty", type=float, help="α of the search; the model's own if not given.")
@click.option("--alternatives", type=int, default=0, show_default=True, help="Further translations of each line.")
@click.option(
    "--n-best", type=click.IntRange(1, 201), help="Take each line for one sentence and print its N best translations."
)
@click.option("--sample", is_flag=True, help="Draw translations at random instead of searching for the best.")
@click.option("--temperature", type=float, help="With --sample: below 1 more cautious, above 1 bolder.")
@click.option("--top-k", type=int, help="With --sample: draw from the K most probable tokens.")
@click.option("--top-p", type=float, help="With --sample: draw from the smallest set of tokens of this probability.")
@click.option("--seed", type=int, help="With --sample: another seed, other translations.")
@click.option(
    "--engine", default="auto", show_default=True, help="How to compute; inspect lists the engines. Also: ENGINE=…"
)
@click.option("--language-model", help="Directory of a language model of the target side that has a say in the search.")
@click.option("--language-model-weight", type=click.FloatRange(0, 10), default=0.1, show_default=True, help="How much.")
def translate(
    models: tuple[str, ...],
    combination: Combination,
    device: str,
    engine: str,
    n_best: int | None,
    sample: bool,
    language_model: str | None,
    language_model_weight: float,
    **options: float | None,
) -> None:
    """Translate standard input to standard output, UTF-8, line by line.

    Line n of the output translates line n of the input, whatever stands in it; line ends come back as they are.

    With --alternatives each line gives several, best first, in the n-best format of Moses "n ||| text ||| score",
    with n the number of the input line, counted from 0. With --n-best it is "n ||| text ||| LogProbability= x |||
    score", as `python -m training rescore` reads it; x is in nats, and the score is x with the length penalty.
    """
    if n_best is not None:
        if options["alternatives"]:
            raise click.UsageError("--n-best and --alternatives exclude each other")
        options["alternatives"] = n_best - 1
    search_options = _search_options(sample, options)
    translator = load_translator(models, device, engine=engine, combination=combination)
    if language_model is not None:
        translator = _fused(translator, language_model, language_model_weight)
    writer = _Writer(translator, search_options, n_best is not None)
    source, target = standard_streams()
    with failures_of_streams(), progress_bar(source, "translating") as advance:
        for chunk in chunks(source):
            target.write(writer.translated(chunk, advance))
            target.flush()
    warned, lines = writer.warned, writer.lines
    if warned:
        counts = ", ".join(f"{code} {count:,}" for code, count in warned.most_common())
        click.echo(f"lines with warnings, of {lines:,}: {counts}", err=True)


@main.command()
@click.argument("model", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print the card and the architecture as one JSON document.")
def inspect(model: str, as_json: bool) -> None:
    """Check the model directory DIR; print its card and how it is computed here."""
    translator = load_translator([model], "cpu")
    loaded, engine = translator.loaded, translator.engine.describe()
    with failures_of_streams():
        if as_json:
            document = {"card": loaded.card.model_dump(), "model": loaded.config.model_dump(), "engine": engine}
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
            return
        from rich.console import Console

        console = Console(highlight=False, markup=False)
        for table in (*_tables(loaded), _engines(engine)):
            console.print(table)


def _fused(translator: Translator, language_model: str, weight: float) -> Translator:
    from translator.fusion import with_language_model

    try:
        return with_language_model(translator, language_model, weight)
    except ValueError as error:
        raise Failure(str(error)) from error


def _search_options(sample: bool, options: dict[str, float | None]) -> SearchOptions:
    from pydantic import ValidationError

    from translator.config import SearchOptions

    given = {name: value for name, value in options.items() if value is not None}
    for name in ("temperature", "top_k", "top_p", "seed"):
        if name in given and not sample:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --sample")
    try:
        return SearchOptions.model_validate({"method": "sample" if sample else "beam", **given})
    except ValidationError as error:
        fault = error.errors()[0]
        raise click.UsageError(f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}") from error


@dataclass
class _Writer:
    """What to write for the lines of the input; counts the lines, and in `warned` those with a warning by its code."""

    translator: Translator
    options: SearchOptions
    n_best: bool
    lines: int = 0

    def __post_init__(self) -> None:
        self.warned: Counter[str] = Counter()

    def translated(self, chunk: list[bytes], advance: Callable[[int, float], None]) -> bytes:
        from translator.ticket import DecodingError

        lines = decoded_lines(chunk, self.lines)
        mark = BYTE_ORDER_MARK if self.lines == 0 and lines[0].startswith(BYTE_ORDER_MARK) else ""
        lines[0] = lines[0].removeprefix(mark)
        texts = [without_end(line) for line in lines]
        bytes_per_line = sum(map(len, chunk)) / len(chunk)
        try:
            translations = self.translator.translate(
                texts,
                self.options,
                split_sentences=not self.n_best,
                progress=lambda count: advance(count, count * bytes_per_line),
            )
        except DecodingError as error:
            raise Failure(str(error)) from error
        written: list[str] = []
        for line, text, translation in zip(lines, texts, translations, strict=True):
            self.warned.update({warning.partition(":")[0] for warning in translation.warnings})
            if self.n_best or self.options.alternatives:
                written += self._listed(translation)
            else:
                written.append(translation.text + line[len(text) :])
            self.lines += 1
        return (mark + "".join(written)).encode()

    def _listed(self, translation: Translation) -> Iterator[str]:
        best = sum(sentence.log_probability for sentence in translation.sentences)
        candidates = [(translation.text, translation.score, best)]
        candidates += [(other.text, other.score, other.log_probability) for other in translation.alternatives]
        for text, score, log_probability in candidates:
            features = f" ||| LogProbability= {log_probability:.6f}" if self.n_best else ""
            yield f"{self.lines} ||| {text}{features} ||| {score:.6f}\n"


def _engines(used: str) -> Table:
    """Which engines there are, and what the best one computes with here."""
    from rich.table import Table

    from translator.engines import ENGINES
    from translator.engines.native_library import instruction_sets

    table = Table(title="Engines", show_header=False, title_justify="left")
    table.add_row("used here", used)
    table.add_row("this processor", ", ".join(instruction_sets()) or "the compiled library is missing")
    for name, meaning in ENGINES.items():
        table.add_row(name, meaning)
    return table


def _tables(loaded: LoadedModel) -> Iterator[Table]:
    from rich.table import Column, Table

    card, config = loaded.card, loaded.config
    sizes = f"{config.num_layers} layers, {config.hidden_size} cells, embeddings of {config.embedding_size}"
    named = ("residual", "feed_context", "tie_target_embedding", "input_feeding", "bidirectional")
    options = [name for name in named if getattr(config, name)]
    facts = Table(title=card.name, show_header=False, title_justify="left")
    rows = [
        ("languages", f"{card.source_language} → {card.target_language}"),
        ("intended use", card.intended_use),
        ("not for", card.not_for),
        ("licence", card.licence),
        ("network", f"{config.cell}, {sizes}, attention {config.attention}" + "".join(f", {name}" for name in options)),
        ("source", "read backwards" if config.reverse_source else "read forwards"),
        ("vocabularies", f"{config.source_vocabulary_size:,} source, {config.target_vocabulary_size:,} target entries"),
        ("parameters", f"{card.parameters:,}, stored as {card.weight_storage}"),
        ("length penalty", f"{card.length_penalty:g}"),
    ]
    if card.corpus is not None:
        rows.append(("corpus", f"{card.corpus.name}, {card.corpus.train_pairs:,} pairs {card.corpus.licence}".rstrip()))
        rows.append(("attribution", card.corpus.attribution))
    if card.training is not None:
        training = card.training
        rows.append(("training", f"{training.recipe}, seed {training.seed}, {training.epochs:.1f} epochs, "
                     f"{training.updates:,} updates, {training.minutes:.0f} minutes on {training.device}"))  # fmt: skip
    if card.training_lengths is not None:
        lengths = card.training_lengths
        rows.append(("source tokens", f"mean {lengths.source_mean:.1f}, 99 % up to {lengths.source_99th_percentile}, "
                     f"longest {lengths.source_maximum}"))  # fmt: skip
    rows += [(name, f"{record.bytes:,} bytes") for name, record in card.files.items()]
    for name, value in rows:
        if value:
            facts.add_row(name, value)
    yield facts
    if card.scores:
        scores = Table(
            "test set",
            "metric",
            "value",
            "beam",
            "α",
            "sentences",
            "computed in",
            Column("signature", overflow="fold"),
            title="Scores",
            title_justify="left",
        )
        for score in card.scores:
            cells = (score.beam_size, score.length_penalty, score.sentences)
            scores.add_row(
                score.test_set, score.metric, f"{score.value:.2f}",
                *("" if cell is None else f"{cell:g}" for cell in cells), score.precision, score.signature,
            )  # fmt: skip
        yield scores
    if card.bleu_by_length:
        by_length = Table("words", "sentences", "BLEU", title="BLEU by source length", title_justify="left")
        for part in card.bleu_by_length:
            span = f"{part.minimum} and more" if part.maximum is None else f"{part.minimum}–{part.maximum}"
            by_length.add_row(span, f"{part.sentences:,}", f"{part.bleu:.1f}")
        yield by_length


if __name__ == "__main__":
    main(prog_name="python -m translator")
