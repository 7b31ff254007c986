"""From the trained grid to the finished scorecard."""

from __future__ import annotations

from pathlib import Path

import sacrebleu
import torch
from rich.console import Console

from training.cost import parameter_count
from training.distributed import World
from training.model_card import device_name
from training.parallel_text import prepared_test_set
from training.phrases import PHRASES
from training.prepared import Prepared, training_sources
from training.progress import read_log
from training.recipe import Recipe
from training.scorecard.corpus_rows import corpus_rows
from training.scorecard.direction_claims import direction_claims
from training.scorecard.grid import Budget, Member
from training.scorecard.measuring import BEAMS, Bench
from training.scorecard.network_claims import network_claims
from training.scorecard.preset import network_rows, paper_recipe
from training.scorecard.preset_training import training_rows
from training.scorecard.report import GridLine, LongSample, Scorecard
from training.scorecard.resampling import RESAMPLES
from training.scorecard.results import Configuration, Results
from training.scorecard.rows import in_order
from training.scorecard.runs import PlannedRun, read_record
from training.scorecard.text_claims import text_claims
from training.sentence_space import centred_vectors
from training.terminal import progress_bar

_ORDINARY_SENTENCES = 500
_SAMPLES = 3


def measure_all(runs: list[PlannedRun], prepared: Prepared, budget: Budget, output: Path) -> Results:
    """Measure every model and ensemble of the grid, or read what was measured before. Raises InputError."""
    bench = Bench(prepared_test_set(prepared), World.alone().device)
    paths = {run.member: run.folder.model for run in runs}
    best = [paths[member] for member in paths if _is_best(member, budget)]
    sizes = sorted({size for size in (2, budget.ensemble) if size <= len(best)})
    with progress_bar() as progress:
        task = progress.add_task("measuring", total=len(runs) + len(sizes) + 1)
        singles = {}
        for run in runs:
            singles[run.member] = bench.measure([run.folder.model], run.folder.path / "measurement.json")
            progress.advance(task)
        ensembles = {}
        for size in sizes:
            ensembles[size] = bench.measure(best[:size], output / "ensembles" / f"{size}.json")
            progress.advance(task)
        shallowest = min(budget.depths)
        rescored = bench.rescore(
            [paths[Member("lstm", False, shallowest, 1)]],
            {
                "forward": [paths[Member("lstm", False, budget.deepest, 1)]],
                "reversed": [paths[Member("lstm", True, budget.deepest, 1)]],
                "ensemble": best[: budget.ensemble],
            },
            budget.n_best,
            output / "rescored.json",
        )
        progress.advance(task)
    phrases = PHRASES.get(prepared.record.corpus.source_language)
    vectors = {}
    if phrases is not None:
        ordinary = bench.text.sources[:_ORDINARY_SENTENCES]
        for member, path in paths.items():
            if _is_best(member, budget):
                vectors[member] = centred_vectors(bench.load([path]).loaded, phrases.texts(), ordinary)
    return Results(budget, bench.text, singles, ensembles, rescored, training_sources(prepared), phrases, vectors)


def score(recipe: Recipe, runs: list[PlannedRun], prepared: Prepared, results: Results, console: Console) -> Scorecard:
    """All rows, from what was measured and from the paper's own recipe."""
    budget = results.budget
    console.print("Checking the paper's settings and claims")
    best = next(run for run in runs if _is_best(run.member, budget))
    preset = paper_recipe()
    rows = [
        *network_rows(preset),
        *training_rows(preset),
        *corpus_rows(
            recipe, prepared.train, _words_a_second(best), f"{best.member.configuration}, width {budget.width}"
        ),
        *direction_claims(results),
        *network_claims(results),
        *text_claims(results, prepared.record.corpus.target_language),
    ]
    records = [read_record(run) for run in runs]
    metric = sacrebleu.BLEU()
    metric.corpus_score(results.text.references[:1], [results.text.references[:1]])
    options = best.recipe.optimisation
    return Scorecard(
        recipe=recipe.name,
        budget=budget,
        corpus=prepared.record.corpus_name,
        languages=f"{prepared.record.corpus.source_language}–{prepared.record.corpus.target_language}",
        pairs=len(prepared.train),
        vocabularies=(prepared.source_vocabulary.size, prepared.target_vocabulary.size),
        updates=read_log(best.folder.log)[-1]["update"],
        optimisation=f"{options.optimiser} at {options.learning_rate:g} ({options.schedule}), dropout "
        f"{best.recipe.model.dropout:g}, label smoothing {options.label_smoothing:g}, {options.precision}",
        test_set=results.text.name,
        sentences=len(results.text.sources),
        signature=str(metric.get_signature()),
        device=device_name(World.alone().device),
        torch_version=torch.__version__,
        training_minutes=round(sum(record.seconds for record in records if record is not None) / 60, 1),
        resamples=RESAMPLES,
        rows=in_order(rows),
        grid=_grid(runs, prepared, results),
        samples=_samples(results),
    )


def _is_best(member: Member, budget: Budget) -> bool:
    return member.cell == "lstm" and member.reverses and member.depth == budget.deepest


def _words_a_second(run: PlannedRun) -> float:
    speeds: list[float] = [entry["words_per_second"] for entry in read_log(run.folder.log) if entry["event"] == "train"]
    return sum(speeds) / len(speeds)


def _grid(runs: list[PlannedRun], prepared: Prepared, results: Results) -> list[GridLine]:
    lines = []
    shapes = {Configuration(run.member.cell, run.member.reverses, run.member.depth): run for run in runs}
    for shape, run in sorted(shapes.items(), key=lambda item: (item[0].cell, item[0].depth, item[0].reverses)):
        members = results.all_members(shape)
        config = run.recipe.model.configuration(prepared.source_vocabulary.size, prepared.target_vocabulary.size)
        source = [results.from_source(member).value for member in members]
        lines.append(
            GridLine(
                name=run.member.configuration,
                seeds=len(members),
                parameters=parameter_count(config),
                perplexity=round(results.mean_perplexity(members).value, 4),
                from_source=round(sum(source) / len(source), 4),
                bleu={beam: [round(results.bleu(member, beam).value, 4) for member in members] for beam in BEAMS},
            )
        )
    parameters = next(
        line.parameters for line in lines if line.name == Member("lstm", True, results.best.depth, 1).configuration
    )
    lines += [
        GridLine(
            name=f"{size} × lstm-reversed-{results.best.depth}",
            seeds=1,
            parameters=size * parameters,
            perplexity=None,
            from_source=None,
            bleu={beam: [round(results.ensemble_bleu(size, beam).value, 4)] for beam in BEAMS},
        )
        for size in sorted(results.ensembles)
    ]
    return lines


def _samples(results: Results) -> list[LongSample]:
    """The longest sentences, by the largest ensemble and the widest beam."""
    text = results.text
    longest = sorted(range(len(text.sources)), key=lambda index: -len(text.sources[index].split()))[:_SAMPLES]
    translations = results.ensembles[max(results.ensembles)].beams[max(BEAMS)].texts
    return [
        LongSample(source=text.sources[index], reference=text.references[index], translation=translations[index])
        for index in longest
    ]
