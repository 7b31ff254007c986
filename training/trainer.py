"""The training loop: prepared pairs in, a model directory out, and a state from which it can go on exactly."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from training.batches import BatchSampler
from training.checkpoint import random_state, read_checkpoint, restore_random_state, write_checkpoint
from training.diagnosis import DivergedError, Evidence, diagnose, has_diverged
from training.distributed import World
from training.errors import InputError
from training.first_network import first_network
from training.hardware import keep_memory_steady, make_deterministic
from training.initial_model import begins_with_a_translator
from training.kept_models import kept_model, remove_older_models
from training.loader import Loaded, Loader, Place
from training.meter import Meter
from training.model_card import make_card
from training.optimisation import learning_rate
from training.prepared import Prepared
from training.progress import Progress, RunLog, draw_curves
from training.recipe import Recipe
from training.report import describe_end, describe_run, describe_validation
from training.run_identity import check_identity, identity, note_changed_epochs
from training.run_state import Position, RunFolder
from training.signals import StopRequest, stop_request
from training.updating import Outcome, Updater
from training.validation import Validation, choose_length_penalty, validate
from training.window import Window
from translator.directory import load_model, save_model

_UPDATES_A_LOG_LINE = 50
_MOST_ROLL_BACKS = 3
_SHOWN_LOSSES = 5


class Trainer:
    """One training run of a recipe on a prepared corpus."""

    def __init__(
        self, recipe: Recipe, prepared: Prepared, *, world: World, console: Console, resume: bool = False
    ) -> None:
        """`world` are the processes that train together; each of them makes a `Trainer` of its own.

        `resume` is to go on from the run's last checkpoint, which a run that torchrun has started again does anyway.
        """
        self.recipe = recipe
        self.prepared = prepared
        self.world = world
        self.console = console if world.is_first else Console(quiet=True)
        self.folder = RunFolder(recipe.run_directory)
        options = recipe.optimisation
        if options.deterministic:
            make_deterministic()
        self._resumes = resume or (world.restarted and world.first(self.folder.checkpoint.exists))
        self.model, self.initial_model = first_network(recipe, prepared, resume=self._resumes)
        self.model.to(world.device)
        self.sampler = BatchSampler(
            prepared.train,
            batch_sentences=None if options.batch_target_tokens else options.batch_sentences,
            batch_target_tokens=options.batch_target_tokens,
            seed=options.seed,
        )
        self.updater = Updater(
            self.model,
            recipe,
            world,
            source_eos_id=prepared.source_vocabulary.eos_id,
            nominal_sentences=self.sampler.nominal_sentences,
        )
        self.loader = Loader(prepared, world)
        self.updates_an_epoch = len(self.sampler.epoch(0))
        self.updates = max(1, round(options.epochs * self.updates_an_epoch))
        self.position = Position()
        self._window = Window()
        self._losses: list[float] = []  # of the log lines
        self._checkpoint_update = 0
        torch.manual_seed(options.seed + world.rank)  # each process drops out other units

    def run(self) -> Path:
        """Train to the end of the recipe, to early stopping, or until Ctrl-C or SIGTERM. Returns the model directory.

        Raises:
            InputError: there is nothing to resume, a run stands in the way of a new one or goes on in the same folder,
                or training has diverged.
            KeyboardInterrupt: training was stopped; the state to resume from is on the disk.
        """
        if self._resumes:
            self._resume()
        elif self.world.first(self.folder.checkpoint.exists):
            raise InputError(
                f"{self.folder.path}: holds a run already; go on with --resume, or choose another place with "
                "--set output.directory=DIR"
            )
        with self.folder.held() if self.world.is_first else nullcontext():
            keep_memory_steady()
            describe_run(
                self.console,
                self.recipe,
                self.prepared,
                self.model,
                self.sampler,
                self.world,
                resumes=self._resumes,
                low_precision=self.updater.low_precision,
            )
            if self.position.update:
                over = "; the recipe has no more" if self.position.update >= self.updates else ""
                self.console.print(f"Resuming after update {self.position.update:,}{over}.")
            config, low_precision = self.model.config, self.updater.low_precision
            meter = Meter(self.prepared, config, self.world.device, low_precision=low_precision)
            with stop_request() as stop:
                while not self._train(stop, meter):
                    self._roll_back()
            if stop.made:
                self.console.print(f"Stopped after update {self.position.update:,}; go on with --resume.")
                raise KeyboardInterrupt
            if self.world.is_first:
                self._finish()
            return self.folder.model

    def _train(self, stop: StopRequest, meter: Meter) -> bool:
        """Go on until training is over or `stop` was made; False where it has to go back to the last checkpoint."""
        first = self.world.is_first
        board = self.folder.tensorboard if first and self.recipe.output.tensorboard else None
        with RunLog(self.folder.log if first else None, self.position.update, tensorboard=board) as log:
            try:
                self._loop(log, stop, meter)
            except DivergedError as error:
                exists = self.world.first(self.folder.checkpoint.exists)
                roll_back = self.recipe.optimisation.on_divergence == "roll-back"
                if not roll_back or not exists or self.position.roll_backs == _MOST_ROLL_BACKS:
                    evidence = Evidence(
                        update=self.position.update,
                        epoch=self._epoch,
                        indices=error.indices,
                        losses=self._losses[-_SHOWN_LOSSES:],
                        gradient_norm=error.gradient_norm,
                        learning_rate=self.updater.learning_rate,
                        checkpoint=self.folder.checkpoint if exists else None,
                        checkpoint_update=self._checkpoint_update,
                    )
                    raise InputError(diagnose(evidence, self.recipe, self.prepared)) from None
                self.console.print(
                    f"The loss is {self._losses[-1]:.3g} at update {self.position.update:,}: going back to update "
                    f"{self._checkpoint_update:,}, with half the learning rate"
                )
                return False
        if first:
            draw_curves(self.folder.log, self.folder.curves)
        return True

    def _loop(self, log: RunLog, stop: StopRequest, meter: Meter) -> None:
        interval = max(1, round(self.recipe.evaluation.every_epochs * self.updates_an_epoch))
        patience = self.recipe.evaluation.patience or math.inf
        best_bleu = self.position.best_bleu if self.position.best_bleu >= 0 else None
        with Progress(self.console, self.updates, self.position.update, best_bleu=best_bleu) as progress:
            if not self.position.update and begins_with_a_translator(self.recipe):
                progress.show(self._validate(log, progress))  # what it begins with is the best until it is better
            saved = moment = time.monotonic()
            for place, loaded in self.loader.ahead(self._places()):
                outcome = self.update(place.indices, loaded)
                self.position.epoch, self.position.batch = place.epoch, place.number + 1
                seconds = time.monotonic() - moment
                self._window.add(outcome, work=self.sampler.work(place.indices), seconds=seconds)
                self.position.seconds += seconds
                progress.advance()
                update = self.position.update
                if update % _UPDATES_A_LOG_LINE == 0 or update == self.updates:
                    progress.show(self._log_window(log, place.indices, meter))
                    self._window = Window()
                moment = time.monotonic()
                is_measured = update % interval == 0 or update == self.updates
                is_due = moment - saved >= 60 * self.recipe.output.checkpoint_minutes
                # The processes do not look at their clocks, or hear of a signal, at the same moment.
                if is_measured or self.world.any(is_due or stop.made):
                    self._means(place.indices, patient=False)  # no bad weights are saved
                    if is_measured:
                        progress.show(self._validate(log, progress))
                    self._save_state()
                    stop.made = self.world.any(stop.made)
                    saved = moment = time.monotonic()
                if self.position.validations_without_gain >= patience:
                    self.console.print(f"No better BLEU in {patience} measurements: stopping early.")
                    return
                if stop.made:
                    return

    def _places(self) -> Iterator[Place]:
        """The batches that are still to come."""
        left, first = max(0, self.updates - self.position.update), self.position.batch
        for epoch in itertools.count(self.position.epoch):
            batches = self.sampler.epoch(epoch)
            for number in range(first, len(batches)):
                if not left:
                    return
                left -= 1
                yield Place(epoch, number, batches[number])
            first = 0

    def update(self, indices: NDArray[np.int64], loaded: Loaded | None = None) -> Outcome:
        """Make the next update, with the batch of `indices`, int64 [batch], which may have been `loaded` before."""
        rate = learning_rate(self.recipe.optimisation, self.position.update, self.updates_an_epoch)
        batch, counted = loaded or self.loader.load(indices)
        outcome = self.updater.update(batch, rate * 0.5**self.position.roll_backs, counted=counted)
        self.position.update += 1
        self.position.target_tokens += self.sampler.work(indices).target_tokens
        return outcome

    @property
    def _epoch(self) -> float:
        return self.position.update / self.updates_an_epoch

    def _means(self, indices: NDArray[np.int64], *, patient: bool) -> tuple[float, float]:
        """Loss and gradient norm of the window, of which `indices` is the last batch. Raises `DivergedError`."""
        loss, norm = self._window.means(self.world)
        losses = [*self._losses, loss] if self._window.updates else self._losses
        if not math.isfinite(norm) or has_diverged(losses, self.prepared.target_vocabulary.size, patient=patient):
            self._losses = losses
            raise DivergedError(indices, norm)
        return loss, norm

    def _log_window(self, log: RunLog, indices: NDArray[np.int64], meter: Meter) -> dict[str, Any]:
        loss, norm = self._means(indices, patient=True)
        self._losses.append(loss)
        return log.write(
            "train",
            update=self.position.update,
            epoch=self._epoch,
            seconds=self.position.seconds,
            loss=loss,
            perplexity=math.exp(min(loss, 50.0)),
            learning_rate=self.updater.learning_rate,
            gradient_norm=norm,
            **meter.figures(self._window.work, max(1e-9, self._window.seconds), processes=self.world.size),
        )

    def _validate(self, log: RunLog, progress: Progress) -> dict[str, Any]:
        with progress.paused("measuring on dev"):
            result = validate(self.updater.measured_model, self.prepared, self.recipe, self.world)
        # Of models that are as good, such as the first ones with a BLEU of zero, the one that is less perplexed.
        best = (self.position.best_bleu, -self.position.best_perplexity)
        better = (result.bleu, -result.perplexity) > best
        self.position.validations_without_gain = 0 if better else self.position.validations_without_gain + 1
        if better:
            self.position.best_bleu, self.position.best_perplexity = result.bleu, result.perplexity
            self.position.best_update = self.position.update
        if self.world.is_first:
            if better:
                self._save_model(self.folder.model, result)
            if keep := self.recipe.output.keep_models:
                self._save_model(kept_model(self.folder.path, self.position.update), result)
                remove_older_models(self.folder.path, keep)
        describe_validation(self.console, result, update=self.position.update, epoch=self._epoch, better=better)
        return log.write(
            "validation",
            update=self.position.update,
            epoch=self._epoch,
            seconds=self.position.seconds,
            **asdict(result),
            best=better,
        )

    def _save_model(self, path: Path, result: Validation) -> None:
        card = make_card(
            self.recipe,
            self.prepared,
            initial_model=self.initial_model,
            validation=result,
            updates=self.position.update,
            epochs=self._epoch,
            target_tokens=self.position.target_tokens,
            seconds=self.position.seconds,
            device=self.world.device,
        )
        save_model(
            path,
            model=self.updater.measured_model,
            source_vocabulary=self.prepared.source_vocabulary,
            target_vocabulary=self.prepared.target_vocabulary,
            card=card,
            storage=self.recipe.output.weight_storage,
        )

    def _save_state(self) -> None:
        state = {
            "position": asdict(self.position),
            "window": self._window.state_dict(self.world),
            "random": self.world.gather(random_state(self.world.device)),
            **identity(self.recipe, self.prepared, self.initial_model, self.updates_an_epoch),
        }
        if self.world.is_first:
            write_checkpoint(self.folder.checkpoint, self.updater.state_dict() | state)
        self._checkpoint_update = self.position.update

    def _resume(self) -> None:
        path = self.folder.checkpoint
        state = read_checkpoint(path)
        self.initial_model = check_identity(path, state, self.recipe, self.prepared, self.initial_model, self.console)
        try:
            self.updater.load_state_dict(state)
        except ValueError as error:
            raise InputError(f"{path}: does not fit the recipe: {error}") from error
        note_changed_epochs(self.console, state, self.updates_an_epoch)
        self.position = Position(**state["position"])
        self._checkpoint_update, self._losses = self.position.update, []
        self._window = Window.from_state_dict(state["window"], self.world)
        if self.world.rank < len(state["random"]):
            restore_random_state(state["random"][self.world.rank], self.world.device)
        else:  # there were fewer processes then
            torch.manual_seed(self.recipe.optimisation.seed + self.world.rank)

    def _roll_back(self) -> None:
        roll_backs, losses = self.position.roll_backs + 1, self._losses
        self._resume()
        self.position.roll_backs = roll_backs
        self._losses = [loss for loss in losses[:1] if math.isfinite(loss)]  # what later ones are measured by
        self._save_state()

    def _finish(self) -> None:
        """Choose the length penalty on dev for the best model, and write it on the card."""
        loaded = load_model(self.folder.model, self.world.device)
        choose_length_penalty(loaded, self.prepared, self.recipe, self.console)
        describe_end(self.console, self.position, self.initial_model, self.folder.model)


def train(recipe: Recipe, prepared: Prepared, *, resume: bool, world: World, console: Console) -> Path:
    """Train `recipe` on `prepared`; see `Trainer.run`. Also raises `InputError` where the disk is full or read-only."""
    try:
        return Trainer(recipe, prepared, world=world, console=console, resume=resume).run()
    except OSError as error:
        raise InputError(
            f"{recipe.run_directory}: cannot be written ({error}); what was written before is whole: "
            "make room, or choose another place with --set output.directory=DIR"
        ) from error
