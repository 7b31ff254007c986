"""The training loop: prepared pairs in, a model directory out, and a state from which it can go on exactly."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from training.batches import Batch, BatchSampler, collate
from training.checkpoint import random_states, read_checkpoint, restore_random_states, write_checkpoint
from training.errors import InputError
from training.hardware import choose_device, has_fast_bfloat16, keep_freed_memory
from training.model_card import make_card
from training.objective import cross_entropy_sum
from training.optimisation import clip_gradient, learning_rate, make_optimiser
from training.prepared import Prepared
from training.progress import Progress, RunLog, draw_curves
from training.recipe import Recipe
from training.validation import Validation, choose_length_penalty, validate
from translator.directory import load_model, save_model
from translator.model import Seq2Seq

_SECONDS_BETWEEN_CHECKPOINTS = 300.0
_UPDATES_A_LOG_LINE = 50


@dataclass
class _Position:
    """Where the run stands; with the weights, the optimiser and the generators this is all there is to resume."""

    update: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    target_tokens: int = 0
    best_bleu: float = -1.0
    best_update: int = 0
    validations_without_gain: int = 0


@dataclass
class _Window:
    """Sums since the last log line. Tensors stay on the device, so that nothing waits for it in between."""

    started: float = field(default_factory=time.monotonic)
    updates: int = 0
    target_tokens: int = 0
    source_tokens: int = 0
    negative_log_likelihood: torch.Tensor | float = 0.0
    gradient_norm: torch.Tensor | float = 0.0


class Trainer:
    """One training run of a recipe on a prepared corpus."""

    def __init__(self, recipe: Recipe, prepared: Prepared, *, console: Console) -> None:
        self.recipe = recipe
        self.prepared = prepared
        self.console = console
        self.directory = recipe.run_directory
        self.model_directory = self.directory / "model"
        self.checkpoint_file = self.directory / "state" / "checkpoint.pt"
        self.device = choose_device()
        options = recipe.optimisation
        self.low_precision = options.precision == "bfloat16" and has_fast_bfloat16(self.device)
        shape = recipe.model.configuration(prepared.source_vocabulary.size, prepared.target_vocabulary.size)
        torch.manual_seed(options.seed)
        self.model = Seq2Seq(shape)
        self.model.initialise(
            seed=options.seed,
            initial_range=recipe.model.initial_range,
            embedding_deviation=recipe.model.embedding_deviation,
        )
        self.model.to(self.device)
        self.optimiser = make_optimiser(self.model.parameters(), options)
        self.sampler = BatchSampler(
            prepared.train,
            batch_sentences=None if options.batch_target_tokens else options.batch_sentences,
            batch_target_tokens=options.batch_target_tokens,
            seed=options.seed,
        )
        self.updates_an_epoch = len(self.sampler.epoch(0))
        self.updates = max(1, round(options.epochs * self.updates_an_epoch))
        self.position = _Position()
        self._stop_requested = False

    def run(self, *, resume: bool) -> Path:
        """Train to the end of the recipe, to early stopping, or until Ctrl-C or SIGTERM. Returns the model directory.

        Raises:
            InputError: there is nothing to resume, or a run stands in the way of a new one.
            KeyboardInterrupt: training was stopped; the state to resume from is on the disk.
        """
        if resume:
            self._resume()
        elif self.checkpoint_file.exists():
            raise InputError(
                f"{self.directory}: holds a run already; go on with --resume, or choose another place with "
                "--set output.directory=DIR"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        for left_over in self.directory.glob(".model-*"):  # of a run that was killed while it wrote a model
            shutil.rmtree(left_over)
        keep_freed_memory()
        self._describe()
        with self._signals(), RunLog(self.directory / "log.jsonl", self.position.update) as log:
            self._loop(log)
        draw_curves(self.directory / "log.jsonl", self.directory / "curves.png")
        if self._stop_requested:
            self.console.print(f"Stopped after update {self.position.update:,}; go on with --resume.")
            raise KeyboardInterrupt
        self._finish()
        return self.model_directory

    def _loop(self, log: RunLog) -> None:
        validation_interval = max(1, round(self.recipe.evaluation.every_epochs * self.updates_an_epoch))
        last_checkpoint = time.monotonic()
        with Progress(self.console, self.updates, self.position.update) as progress:
            window = _Window()
            for epoch, batch_number, indices in self._batches():
                self._update(indices, window)
                self.position.epoch, self.position.batch = epoch, batch_number + 1
                progress.advance()
                if self.position.update % _UPDATES_A_LOG_LINE == 0 or self.position.update == self.updates:
                    progress.show(self._log_window(window, log))
                    window = _Window()
                if self.position.update % validation_interval == 0 or self.position.update == self.updates:
                    self._validate(log, progress)
                    window.started = time.monotonic()
                    self._save_state()
                    last_checkpoint = time.monotonic()
                elif time.monotonic() - last_checkpoint > _SECONDS_BETWEEN_CHECKPOINTS or self._stop_requested:
                    self._save_state()
                    last_checkpoint = time.monotonic()
                patience = self.recipe.evaluation.patience
                if patience is not None and self.position.validations_without_gain >= patience:
                    self.console.print(f"No better BLEU in {patience} measurements: stopping early.")
                    return
                if self._stop_requested:
                    return

    def _batches(self) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """Epoch, number in the epoch and indices of every batch that is still to come."""
        while self.position.update < self.updates:
            epoch, first = self.position.epoch, self.position.batch
            batches = self.sampler.epoch(epoch)
            for number in range(first, len(batches)):
                if self.position.update >= self.updates:
                    return
                yield epoch, number, batches[number]
            self.position.epoch, self.position.batch = epoch + 1, 0

    def _update(self, indices: NDArray[np.int64], window: _Window) -> None:
        started = time.monotonic()
        options = self.recipe.optimisation
        vocabulary = self.prepared.target_vocabulary
        batch = collate(self.prepared.train, indices, pad_id=vocabulary.pad_id, eos_id=vocabulary.eos_id).to(
            self.device
        )
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(options, self.position.update, self.updates_an_epoch)
        loss, negative_log_likelihood = self._loss(batch)
        self.optimiser.zero_grad(set_to_none=False)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_gradient(self.model.parameters(), options.clip_norm)
        self.optimiser.step()
        self.position.update += 1
        self.position.target_tokens += batch.target_tokens
        self.position.seconds += time.monotonic() - started
        window.updates += 1
        window.target_tokens += batch.target_tokens
        window.source_tokens += batch.source_tokens
        window.negative_log_likelihood = window.negative_log_likelihood + negative_log_likelihood
        window.gradient_norm = window.gradient_norm + norm

    def _loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss over the nominal number of sentences (section 3.4 divides by 128), and the plain sum in
        nats.
        """
        options = self.recipe.optimisation
        eos_id = self.prepared.source_vocabulary.eos_id
        with torch.autocast(self.device.type, torch.bfloat16) if self.low_precision else nullcontext():
            features = self.model(batch.source_BS, batch.target_inputs_BT, eos_id, self.recipe.model.dropout)
        used = features.reshape(-1, features.shape[-1]).index_select(0, batch.positions_N)
        output = self.model.decoder.output
        smoothed, plain = cross_entropy_sum(
            used,
            output.weight,
            output.bias,
            batch.targets_N,
            label_smoothing=options.label_smoothing,
            compute_dtype=torch.bfloat16 if self.low_precision else torch.float32,
        )
        return smoothed / self.sampler.nominal_sentences, plain

    def _log_window(self, window: _Window, log: RunLog) -> dict[str, Any]:
        seconds = max(1e-9, time.monotonic() - window.started)
        loss = float(window.negative_log_likelihood) / window.target_tokens
        if not np.isfinite(loss):
            raise InputError(
                f"the loss is {loss} after update {self.position.update:,}; lower optimisation.learning_rate and go on "
                f"from the last checkpoint with --resume"
            )
        return log.write(
            "train",
            update=self.position.update,
            epoch=self.position.update / self.updates_an_epoch,
            seconds=self.position.seconds,
            loss=loss,
            perplexity=float(np.exp(min(loss, 50.0))),
            learning_rate=self.optimiser.param_groups[0]["lr"],
            gradient_norm=float(window.gradient_norm) / window.updates,
            target_tokens_per_second=window.target_tokens / seconds,
            tokens_per_second=(window.target_tokens + window.source_tokens) / seconds,
        )

    def _validate(self, log: RunLog, progress: Progress) -> None:
        with progress.paused("measuring on dev"):
            result = validate(self.model, self.prepared, self.recipe)
        better = result.bleu > self.position.best_bleu
        self.position.validations_without_gain = 0 if better else self.position.validations_without_gain + 1
        if better:
            self.position.best_bleu, self.position.best_update = result.bleu, self.position.update
            self._save_model(result)
        log.write(
            "validation",
            update=self.position.update,
            epoch=self.position.update / self.updates_an_epoch,
            seconds=self.position.seconds,
            **asdict(result),
            best=better,
        )
        self.console.print(
            f"epoch {self.position.update / self.updates_an_epoch:5.2f}  update {self.position.update:>7,}  "
            f"dev perplexity {result.perplexity:7.2f}  dev BLEU {result.bleu:5.2f}"
            + ("  (best so far)" if better else "")
        )
        if result.examples:
            source, reference, hypothesis = result.examples[self.position.update % len(result.examples)]
            self.console.print(
                f"  {source}\n  → {hypothesis}\n  = {reference}", style="dim", markup=False, highlight=False
            )

    def _save_model(self, result: Validation) -> None:
        save_model(
            self.model_directory,
            model=self.model,
            source_vocabulary=self.prepared.source_vocabulary,
            target_vocabulary=self.prepared.target_vocabulary,
            card=make_card(
                self.recipe,
                self.prepared,
                validation=result,
                updates=self.position.update,
                epochs=self.position.update / self.updates_an_epoch,
                target_tokens=self.position.target_tokens,
                seconds=self.position.seconds,
                device=self.device,
            ),
            storage=self.recipe.output.weight_storage,
        )

    def _save_state(self) -> None:
        write_checkpoint(
            self.checkpoint_file,
            {
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "position": asdict(self.position),
                "random": random_states(),
                "shape": self.model.config.model_dump(),
            },
        )

    def _resume(self) -> None:
        state = read_checkpoint(self.checkpoint_file)
        if state["shape"] != self.model.config.model_dump():
            raise InputError(f"{self.checkpoint_file}: belongs to a network of another shape; was the recipe changed?")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.position = _Position(**state["position"])
        restore_random_states(state["random"])

    def _finish(self) -> None:
        """Choose the length penalty on dev for the best model, and write it on the card."""
        loaded = load_model(self.model_directory, self.device)
        choose_length_penalty(loaded, self.prepared, self.recipe)
        self.console.print(
            f"Best dev BLEU {self.position.best_bleu:.2f} at update {self.position.best_update:,}; "
            f"model in {self.model_directory}"
        )

    def _describe(self) -> None:
        train = self.prepared.train
        options = self.recipe.optimisation
        self.console.print(
            f"{self.recipe.name}: {len(train):,} pairs, {self.model.parameter_count():,} parameters, "
            f"{self.updates_an_epoch:,} updates an epoch, {self.updates:,} in all; "
            f"target padding {self.sampler.target_padding():.1%}; "
            f"{'bfloat16' if self.low_precision else 'float32'} on {self.device.type} "
            f"with {torch.get_num_threads()} threads",
            highlight=False,
        )
        if options.precision == "bfloat16" and not self.low_precision:
            self.console.print("This machine has no fast bfloat16; training in float32 instead.")
        if self.position.update:
            self.console.print(f"Resuming after update {self.position.update:,}.")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM end the run after the update under way; a second Ctrl-C ends it at once."""

        def request_stop(number: int, frame: FrameType | None) -> None:
            self._stop_requested = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        previous = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def train(recipe: Recipe, prepared: Prepared, *, resume: bool, console: Console) -> Path:
    """Train `recipe` on `prepared`; see `Trainer.run`. Also raises `InputError` where the disk is full or read-only."""
    try:
        return Trainer(recipe, prepared, console=console).run(resume=resume)
    except OSError as error:
        raise InputError(
            f"{recipe.run_directory}: cannot be written ({error}); what was written before is whole: "
            "make room, or choose another place with --set output.directory=DIR"
        ) from error
