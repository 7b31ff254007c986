"""Training the models of the grid: those that are finished are used again, one that was interrupted goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.table import Table

from training.batches import BatchSampler
from training.cost import Work, parameter_count, training_flops
from training.distributed import World
from training.errors import InputError
from training.folders import write_file
from training.prepared import Prepared
from training.recipe import Recipe
from training.run_state import RunFolder
from training.scorecard.grid import Budget, Member, member_recipe
from training.trainer import train
from training.trial import Trial

RECORD_FILE = "scorecard-run.json"
_UPDATES_TRIED = 12
_WARM_UP_UPDATES = 3
# What decides on the weights; the other sections only say what is measured and written.
_DECIDING = ("corpus", "subwords", "model", "optimisation")


class RunRecord(BaseModel):
    """Of which settings and text a run is, and whether it came to its end."""

    model_config = ConfigDict(frozen=True)

    recipe: Recipe
    sha256: dict[str, str]
    finished: bool
    seconds: float = 0.0


@dataclass(frozen=True)
class PlannedRun:
    """A model of the grid with its recipe; `flops` are the operations of its training."""

    member: Member
    recipe: Recipe
    flops: float

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.recipe.run_directory)


def plan(recipe: Recipe, prepared: Prepared, grid: Sequence[Member], budget: Budget, output: Path) -> list[PlannedRun]:
    """The runs of the grid, each in a folder of its own below `output`.

    Raises:
        InputError: a run that stands there already is of other settings or another text.
    """
    options = recipe.optimisation
    sampler = BatchSampler(
        prepared.train,
        batch_sentences=None if options.batch_target_tokens else options.batch_sentences,
        batch_target_tokens=options.batch_target_tokens,
        seed=options.seed,
    )
    epoch = sum(map(sampler.work, sampler.epoch(0)), Work())
    runs = []
    for member in grid:
        own = member_recipe(recipe, member, budget, output / "models" / member.name)
        config = own.model.configuration(prepared.source_vocabulary.size, prepared.target_vocabulary.size)
        runs.append(PlannedRun(member, own, budget.epochs * training_flops(config, epoch)))
        _check_record(runs[-1], prepared)
    return runs


def train_all(runs: Sequence[PlannedRun], prepared: Prepared, console: Console) -> None:
    """Train what is not finished yet.

    Raises:
        InputError: as `training.trainer.train`.
        KeyboardInterrupt: stopped; the same command goes on.
    """
    inner = console if console.is_terminal else Console(quiet=True)
    spent = operations = 0.0
    for number, run in enumerate(runs, start=1):
        record = read_record(run)
        if record is not None and record.finished:
            continue
        resume = run.folder.checkpoint.exists()
        before = record.seconds if record is not None and resume else 0.0
        _write_record(run, prepared, finished=False, seconds=before)
        started = time.monotonic()
        try:
            train(run.recipe, prepared, resume=resume, world=World.alone(), console=inner)
        except KeyboardInterrupt:
            _write_record(run, prepared, finished=False, seconds=before + time.monotonic() - started)
            console.print(f"Stopped while {run.member.name} was trained; the same command goes on.", highlight=False)
            raise
        seconds = before + time.monotonic() - started
        _write_record(run, prepared, finished=True, seconds=seconds)
        if not resume:
            spent, operations = spent + seconds, operations + run.flops
        left = sum(each.flops for each in runs[number:] if (read := read_record(each)) is None or not read.finished)
        remaining = f", about {duration(left * spent / operations)} left" if left and operations else ""
        console.print(
            f"{number} of {len(runs)} models: {run.member.name} in {duration(seconds)}{remaining}",
            highlight=False,
            soft_wrap=True,
        )


def show_plan(runs: Sequence[PlannedRun], prepared: Prepared, console: Console) -> None:
    """What would be trained, with the time that a few updates of each network let expect. Nothing is written."""
    seconds_of: dict[tuple[str, int], float] = {}
    table = Table("model", "parameters", "operations", "time", title="Models to train", title_justify="left")
    total = 0.0
    for run in runs:
        record = read_record(run)
        shape = (run.member.cell, run.member.depth)
        is_finished = record is not None and record.finished
        if not is_finished and shape not in seconds_of:
            seconds_of[shape] = _expected_seconds(run, prepared)
        total += 0.0 if is_finished else seconds_of[shape]
        config = run.recipe.model.configuration(prepared.source_vocabulary.size, prepared.target_vocabulary.size)
        table.add_row(
            run.member.name,
            f"{parameter_count(config):,}",
            f"{run.flops:.2g}",
            "finished" if is_finished else duration(seconds_of[shape]),
        )
    console.print(table)
    console.print(
        f"{len(runs)} models; training takes about {duration(total)} here, without the measurements on dev and test. "
        "Nothing was written.",
        highlight=False,
        soft_wrap=True,
    )


def read_record(run: PlannedRun) -> RunRecord | None:
    """The record of the run, None where it has not begun. Raises InputError where it cannot be read."""
    file = run.folder.path / RECORD_FILE
    try:
        return RunRecord.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise InputError(f"{file}: damaged or of another version; remove {run.folder.path}") from error


def duration(seconds: float) -> str:
    """As people say it: "42 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _check_record(run: PlannedRun, prepared: Prepared) -> None:
    record = read_record(run)
    if record is None:
        if run.folder.checkpoint.exists():
            raise InputError(f"{run.folder.path}: holds a run that is not the scorecard's; choose another --output")
        return
    if record.sha256 != prepared.record.sha256:
        raise InputError(f"{run.folder.path}: was trained on another text; choose another --output")
    for section in _DECIDING:
        before, now = (_flat(getattr(recipe, section).model_dump()) for recipe in (record.recipe, run.recipe))
        for key, value in now.items():
            if before.get(key) != value:
                raise InputError(
                    f"{run.folder.path}: was trained with {section}.{key} = {before.get(key)} and not {value}; "
                    "choose another --output, or the settings of then"
                )


def _flat(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "path"}  # of the corpus, whose text is compared


def _write_record(run: PlannedRun, prepared: Prepared, *, finished: bool, seconds: float) -> None:
    record = RunRecord(recipe=run.recipe, sha256=prepared.record.sha256, finished=finished, seconds=seconds)
    write_file(run.folder.path / RECORD_FILE, record.model_dump_json(indent=2) + "\n")


def _expected_seconds(run: PlannedRun, prepared: Prepared) -> float:
    trial = Trial(run.recipe, prepared)
    batches = trial.batches()
    for _ in range(_WARM_UP_UPDATES):
        trial.update(next(batches))
    tried = [trial.update(next(batches)).seconds for _ in range(_UPDATES_TRIED)]
    return trial.updates * sum(tried) / len(tried)
