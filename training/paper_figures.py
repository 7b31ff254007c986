"""`python -m training figures`: the paper's figures, and some more, of one's own models; each with its data as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console

from training.errors import InputError
from training.folders import write_file
from training.paper_drawings import (
    Data,
    draw_beam_sizes,
    draw_learning_curves,
    draw_phrases,
    draw_positions,
)
from translator.command_line import device_option

if TYPE_CHECKING:
    from training.evaluation_report import SystemOutput
    from training.parallel_text import ParallelText
    from training.prepared import Prepared
    from translator.directory import LoadedModel
    from translator.pipeline import Translator

_BEAMS = (1, 2, 3, 5, 8, 12)
_POSITIONS = 20
_SEED = re.compile(r"-seed\d+$")
_LEAST_SENTENCES = 20  # at a position of the target, for its accuracy to be drawn


class _LeftOutError(Exception):
    """Why a figure cannot be drawn from what is given."""


@dataclass(frozen=True)
class _Inputs:
    """What the command was given, opened."""

    translator: Translator | None
    prepared: Prepared | None
    runs: Path | None
    device: str

    def model(self) -> Translator:
        if self.translator is None:
            raise _LeftOutError("it needs --model")
        return self.translator

    def corpus(self) -> Prepared:
        if self.prepared is None:
            raise _LeftOutError("it needs --prepared")
        return self.prepared

    def test_set(self) -> ParallelText:
        from training.parallel_text import prepared_test_set

        return prepared_test_set(self.corpus())

    def run_folders(self) -> list[Path]:
        if self.runs is None:
            raise _LeftOutError("it needs --runs")
        folders = sorted(log.parent for log in self.runs.rglob("log.jsonl"))
        if not folders:
            raise _LeftOutError(f"there is no run (log.jsonl) in {self.runs}")
        return folders


@click.command()
@click.option("--model", help="Model directory, or the name of a shipped model.")
@click.option("--prepared", type=click.Path(path_type=Path), help="Folder written by `prepare`; its test set is used.")
@click.option("--runs", type=click.Path(path_type=Path), help="Folder with runs in it, such as one of `scorecard`.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("training/figures"), show_default=True,
    help="Folder to write.",
)  # fmt: skip
@device_option
def figures(model: str | None, prepared: Path | None, runs: Path | None, output: Path, device: str) -> None:
    """Draw what can be drawn of a model, a corpus and runs, and say what cannot and why.

    phrases (the paper's Figure 2), bleu-by-length and bleu-by-rank (Figure 3), beam-sizes, learning-curves, positions
    (accuracy by target position, forward against reversed) and attention-map: a PNG and a JSON file each.
    """
    if model is None and runs is None:
        raise click.UsageError("give a --model, or --runs, or both")
    if runs is not None and not runs.is_dir():
        raise InputError(f"{runs}: there is no such folder")
    from training.prepared import load_prepared

    opened = _Inputs(
        translator=None if model is None else _load(model, device),
        prepared=None if prepared is None else load_prepared(prepared),
        runs=runs,
        device=device,
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from error
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for draw in (_phrases, _bleu, _learning_curves, _positions, _attention_map):
        try:
            for name in draw(opened, output):
                console.print(f"drawn: {output / name}.png")
                click.echo(output / f"{name}.png")
        except _LeftOutError as reason:
            console.print(f"left out: {draw.__name__.strip('_').replace('_', ' ')}: {reason}", markup=False)
        except OSError as error:
            raise InputError(f"{output}: cannot be written: {error.strerror or error}") from error


def _load(model: str, device: str) -> Translator:
    from translator.pipeline import Translator

    try:
        translator = Translator.load(model, device=device)
    except ValueError as error:
        raise InputError(str(error)) from error
    if len(translator.members) > 1:
        raise InputError("figures are of one model; name one")
    return translator


def _written(data: Data, name: str, draw: Callable[[Data, Path], None], output: Path) -> str:
    write_file(output / f"{name}.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    draw(data, output / f"{name}.png")
    return name


def _phrases(inputs: _Inputs, output: Path) -> Iterator[str]:
    from training.phrases import PHRASES
    from training.sentence_space import centred_vectors, principal_components, voice_and_order

    loaded = inputs.model().loaded
    phrases = PHRASES.get(loaded.card.source_language)
    if phrases is None:
        raise _LeftOutError(f"there are phrases in {', '.join(PHRASES)} and not in {loaded.card.source_language}")
    ordinary = inputs.test_set().sources if inputs.prepared is not None else phrases.texts()
    vectors = centred_vectors(loaded, phrases.texts(), ordinary)
    panels = []
    for panel in phrases.panels:
        coordinates, shares = principal_components(np.stack([vectors[text] for text, _ in panel.phrases]))
        points = [
            {"text": text, "group": group, "x": round(float(x), 5), "y": round(float(y), 5)}
            for (text, group), (x, y) in zip(panel.phrases, coordinates, strict=True)
        ]
        panels.append({"title": panel.title, "points": points, "shares_of_variance": shares.round(4).tolist()})
    distances = voice_and_order(phrases, vectors)
    triples = [
        {
            **asdict(triple),
            "distance_to_passive": round(float(voice), 4),
            "distance_to_exchanged": round(float(order), 4),
            "distance_of_passive_to_exchanged": round(float(misled), 4),
        }
        for triple, voice, order, misled in zip(
            phrases.triples, distances.voice, distances.order, distances.misled, strict=True
        )
    ]
    data = {"model": loaded.card.name, "panels": panels, "cosine_distances": triples}
    yield _written(data, "phrases", draw_phrases, output)


def _bleu(inputs: _Inputs, output: Path) -> Iterator[str]:
    """BLEU by beam size, and of the widest beam by length and by the rank of the words."""
    from training.evaluation_figures import draw_bleu_by_length, draw_bleu_by_rank
    from training.evaluation_report import report_of, translate_text
    from training.measures import measure
    from training.prepared import training_sources
    from translator.config import SearchOptions

    translator, text = inputs.model(), inputs.test_set()
    outputs = [
        translate_text(translator, text.sources, options=SearchOptions(beam_size=beam), name=translator.card.name)
        for beam in _BEAMS
    ]
    yield _written(_beam_data(outputs, text), "beam-sizes", draw_beam_sizes, output)
    (measured,) = measure([outputs[-1].texts], text.references)
    report = report_of(outputs[-1], text, measured, frequency_text=training_sources(inputs.corpus()))
    shared = {"model": report.model, "bleu": report.bleu.model_dump()}
    for name, parts, draw in (
        ("bleu-by-length", report.bleu_by_length, draw_bleu_by_length),
        ("bleu-by-rank", report.bleu_by_rank, draw_bleu_by_rank),
    ):
        data = {**shared, "classes": [part.model_dump() for part in parts]}
        yield _written(data, name, lambda _, figure, draw=draw: draw([report], figure), output)  # type: ignore[misc]


def _beam_data(outputs: Sequence[SystemOutput], text: ParallelText) -> Data:
    from training.scorecard.resampling import Bootstrap, bleu_statistics

    bootstrap = Bootstrap(len(text.sources))
    beams = []
    for found in outputs:
        bleu = bootstrap.bleu(bleu_statistics(found.texts, text.references))
        low, high = bleu.interval
        beams.append(
            {
                "beam_size": found.options.beam_size,
                "bleu": round(bleu.value, 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "seconds": round(found.seconds or 0.0, 3),
            }
        )
    translator = outputs[0].translator
    assert translator is not None
    return {
        "model": outputs[0].name,
        "test_set": text.name,
        "length_penalty": translator.card.length_penalty,
        "engine": translator.engine.describe(),
        "beams": beams,
    }


def _learning_curves(inputs: _Inputs, output: Path) -> Iterator[str]:
    from training.progress import read_log

    runs = []
    for folder in inputs.run_folders():
        entries = read_log(folder / "log.jsonl")
        points = {
            name: [[round(entry["epoch"], 4), round(entry[figure], 4)] for entry in entries if entry["event"] == event]
            for name, event, figure in (
                ("training", "train", "perplexity"),
                ("dev_perplexity", "validation", "perplexity"),
                ("dev_bleu", "validation", "bleu"),
            )
        }
        runs.append({"name": folder.name, "configuration": _SEED.sub("", folder.name), **points})
    yield _written({"runs": runs}, "learning-curves", draw_learning_curves, output)


def _positions(inputs: _Inputs, output: Path) -> Iterator[str]:
    from training.target_positions import accuracy_by_position, encoded, token_scores

    text = inputs.test_set()
    pairs = _both_directions(inputs)
    lines = []
    for name, models in pairs.items():
        hits = [
            each.hits
            for loaded in models
            for each in token_scores(loaded, encoded(loaded, text.sources, text.references))
        ]
        found = accuracy_by_position(hits, _POSITIONS)
        shown = [(count, accuracy) for count, accuracy in found if count >= _LEAST_SENTENCES * len(models)]
        lines.append(
            {
                "name": f"{name}, {len(models)} seed{'s' if len(models) > 1 else ''}",
                "sentences": [count // len(models) for count, _ in shown],
                "accuracy": [round(accuracy, 4) for _, accuracy in shown],
            }
        )
    yield _written({"test_set": text.name, "lines": lines}, "positions", draw_positions, output)


def _both_directions(inputs: _Inputs) -> dict[str, list[LoadedModel]]:
    """LSTMs of the runs that differ in direction and seed alone: as many of each, of the shape that is best on dev."""
    from translator.description import ModelDirectoryError
    from translator.directory import load_model

    by_shape: dict[str, dict[bool, list[LoadedModel]]] = {}
    for folder in inputs.run_folders():
        try:
            loaded = load_model(folder / "model", inputs.device)
        except ModelDirectoryError:
            continue  # a run that has not saved a model yet
        shape = loaded.config.model_copy(update={"reverse_source": True}).model_dump_json()
        if loaded.config.cell == "lstm":
            by_shape.setdefault(shape, {}).setdefault(loaded.config.reverse_source, []).append(loaded)
    both = [directions for directions in by_shape.values() if len(directions) == 2]
    if not both:
        raise _LeftOutError("it needs runs of one LSTM forward and reversed")
    best = max(both, key=_mean_dev_bleu)
    config = best[True][0].config
    seeds = min(map(len, best.values()))
    return {
        f"{'reversed' if reverses else 'forward'}, {config.num_layers} × {config.hidden_size}":
        best[reverses][:seeds]
        for reverses in (False, True)
    }  # fmt: skip


def _mean_dev_bleu(directions: dict[bool, list[LoadedModel]]) -> float:
    scores = [loaded.card.score("BLEU") for models in directions.values() for loaded in models]
    return float(np.mean([0.0 if score is None else score.value for score in scores]))


def _attention_map(inputs: _Inputs, output: Path) -> Iterator[str]:
    from training.attention_map import draw_attention_map
    from translator.config import SearchOptions

    translator = inputs.model()
    if translator.loaded.config.attention == "none":
        raise _LeftOutError("the model has no attention")
    examples = [*translator.card.examples, *(inputs.test_set().sources if inputs.prepared is not None else [])]
    if not examples:
        raise _LeftOutError("the model's card has no example to translate; give --prepared")
    translation = translator.translate(examples[0], SearchOptions(), split_sentences=False)
    (sentence,) = translator.aligned(translation).sentences
    alignment = sentence.alignment
    assert alignment is not None
    data = {"sentence": examples[0], "translation": sentence.text, **asdict(alignment)}
    yield _written(data, "attention-map", lambda _, figure: draw_attention_map(alignment, figure), output)
