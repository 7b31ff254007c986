"""Training of a language model: texts in, its directory out, and a state from which the run can go on.

The loss is the sum of the cross-entropy over a window's tokens divided by the nominal number of texts in a batch. The
state goes on from window to window of a text, the gradient does not (truncated backpropagation through time).
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console

from training.checkpoint import random_state, read_checkpoint, restore_random_state, write_checkpoint
from training.diagnosis import has_diverged
from training.errors import InputError
from training.hardware import choose_device, has_fast_bfloat16, keep_memory_steady
from training.language_model_batches import TextBatches, Window
from training.language_model_identity import check_identity, identity, is_measured_alike
from training.language_model_recipe import LanguageModelRecipe
from training.language_text import LanguageData, load_language_data, plain_or_gzipped
from training.model_card import device_name
from training.objective import cross_entropy_sum
from training.optimisation import clip_gradient, is_of_optimiser, learning_rate, make_optimiser
from training.progress import Progress, RunLog
from training.recipe_file import read_recipe
from training.run_identity import note_changed_epochs
from training.run_state import RunFolder
from training.signals import StopRequest, stop_request
from translator.card import Score, TrainingRecord
from translator.files import sha256_of
from translator.generation import Prediction, predict
from translator.language_model import RecurrentLanguageModel
from translator.language_model_directory import LanguageModelCard, LoadedLanguageModel, save_language_model
from translator.stack import State

_UPDATES_A_LOG_LINE = 50


@dataclass
class _Position:
    """Where the run stands between two batches."""

    update: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    tokens: int = 0
    best_bits: float = float("inf")
    measurements_without_gain: int = 0


class LanguageModelTrainer:
    """One training run."""

    def __init__(self, recipe: LanguageModelRecipe, data: LanguageData, *, console: Console) -> None:
        self.recipe = recipe
        self.data = data
        self.console = console
        self.folder = RunFolder(recipe.run_directory)
        self.device = choose_device()
        options = recipe.optimisation
        self.low_precision = options.precision == "bfloat16" and has_fast_bfloat16(self.device)
        torch.manual_seed(options.seed)
        self.model = RecurrentLanguageModel(recipe.model.configuration(data.vocabulary.size, data.labels))
        self.model.initialise(seed=options.seed, initial_range=recipe.model.initial_range)
        self.model.to(self.device)
        self.optimiser = make_optimiser(self.model.parameters(), options)
        first_ids = [self.model.first_id(label, data.vocabulary.eos_id) for label in data.train_labels]
        self.batches = TextBatches(data, first_ids, recipe)
        self.updates_an_epoch = self.batches.updates_an_epoch
        self.updates = max(1, round(options.epochs * self.updates_an_epoch))
        self.position = _Position()
        self._begin_window()

    def _begin_window(self) -> None:
        self._tokens_since = self._updates_since = 0
        self._loss_since: torch.Tensor | float = 0.0
        self._norm_since: torch.Tensor | float = 0.0

    def run(self, *, resume: bool) -> Path:
        """Train to the end of the recipe, to early stopping, or until Ctrl-C or SIGTERM. Returns the directory.

        Raises:
            InputError: there is nothing to resume, or a run stands in the way of a new one.
            KeyboardInterrupt: training was stopped; the state to resume from is on the disk.
        """
        if resume:
            self._resume()
        elif self.folder.checkpoint.exists():
            raise InputError(
                f"{self.folder.path}: holds a run already; go on with --resume, or choose another place with "
                "--set output.directory=DIR"
            )
        keep_memory_steady()
        self.console.print(
            f"{self.recipe.name}: {len(self.data.train):,} texts, {self.data.vocabulary.size:,} units, "
            f"{self.model.parameter_count():,} parameters, {self.updates:,} updates; on {self.device.type}",
            highlight=False,
        )
        with self.folder.held(), stop_request() as stop, RunLog(self.folder.log, self.position.update) as log:
            self._loop(log, stop)
            if stop.made:
                self._loss()
                self._save_state()
                self.console.print(f"Stopped after update {self.position.update:,}; go on with --resume.")
                raise KeyboardInterrupt
        self.console.print(f"Best dev bits per character {self.position.best_bits:.3f}; model in {self.folder.model}")
        return self.folder.model

    def _loop(self, log: RunLog, stop: StopRequest) -> None:
        interval = max(1, round(self.recipe.training.every_epochs * self.updates_an_epoch))
        patience = self.recipe.training.patience
        with Progress(self.console, self.updates, self.position.update) as progress:
            while self.position.update < self.updates:
                batches = self.batches.epoch(self.position.epoch)
                for batch in batches[self.position.batch :]:
                    before = self.position.update
                    self._train_on(batch, log, progress)
                    self.position.batch += 1
                    done = self.position.update >= self.updates
                    if done or self.position.update // interval > before // interval:
                        self._loss()  # no bad weights are saved
                        with progress.paused("measuring on dev"):
                            self._measure(log)
                        self._save_state()
                        if patience is not None and self.position.measurements_without_gain >= patience:
                            self.console.print(f"No gain in {patience} measurements: stopping early.")
                            return
                    if done or stop.made:
                        return
                self.position.epoch, self.position.batch = self.position.epoch + 1, 0

    def _train_on(
        self, batch: np.ndarray[tuple[int, ...], np.dtype[np.int64]], log: RunLog, progress: Progress
    ) -> None:
        started = time.monotonic()
        state: State | None = None
        for window in self.batches.windows(batch):
            state = self._update(window, None if window.first else state)
            progress.advance()
            if self.position.update % _UPDATES_A_LOG_LINE == 0:
                self.position.seconds += time.monotonic() - started
                started = time.monotonic()
                progress.show(self._log(log))
        self.position.seconds += time.monotonic() - started

    def _update(self, window: Window, state: State | None) -> State:
        """One step of the optimiser; returns the state at the window's end, without what led to it."""
        options = self.recipe.optimisation
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(options, self.position.update, self.updates_an_epoch)
        with torch.autocast(self.device.type, torch.bfloat16) if self.low_precision else nullcontext():
            features_BTO, state = self.model(window.inputs_BT.to(self.device), state, self.recipe.model.dropout)
        targets_N = window.targets_BT.to(self.device).reshape(-1)
        used_N = targets_N >= 0
        loss, plain = cross_entropy_sum(
            features_BTO.reshape(len(targets_N), -1)[used_N],
            self.model.output.weight,
            self.model.output.bias,
            targets_N[used_N],
            label_smoothing=options.label_smoothing,
            compute_dtype=torch.bfloat16 if self.low_precision else torch.float32,
        )
        self.optimiser.zero_grad()
        (loss / options.batch_sentences).backward()  # type: ignore[no-untyped-call]
        norm = clip_gradient(self.model.parameters(), options.clip_norm)
        self.optimiser.step()
        tokens = int(used_N.sum())
        self.position.update += 1
        self.position.tokens += tokens
        self._tokens_since += tokens
        self._updates_since += 1
        self._loss_since = self._loss_since + plain  # tensors, so that nothing waits for the device
        self._norm_since = self._norm_since + norm
        return State(tuple(part.detach() for part in state.parts_LBH))

    def _loss(self) -> float:
        """Since the last line of the log, in nats a token; raises `InputError` where training has diverged."""
        loss = float(self._loss_since) / max(1, self._tokens_since)
        if has_diverged([loss], self.data.vocabulary.size, patient=False):
            go_on = "go on with --resume" if self.folder.checkpoint.exists() else "begin again"
            raise InputError(
                f"training went wrong: the loss is {loss:.4g} after update {self.position.update:,}; lower "
                f"optimisation.learning_rate and {go_on}"
            )
        return loss

    def _log(self, log: RunLog) -> dict[str, object]:
        loss = self._loss()
        speed = self.position.tokens / max(1e-9, self.position.seconds)
        entry = log.write(
            "train",
            update=self.position.update,
            epoch=self.position.update / self.updates_an_epoch,
            seconds=self.position.seconds,
            loss=loss,
            perplexity=float(np.exp(min(loss, 50.0))),
            learning_rate=self.optimiser.param_groups[0]["lr"],
            gradient_norm=float(self._norm_since) / self._updates_since,
            target_tokens_per_second=speed,
            tokens_per_second=speed,
        )
        self._begin_window()
        return entry

    def _measure(self, log: RunLog) -> None:
        loaded = LoadedLanguageModel(self.folder.model, self.model, self.data.vocabulary, self._card(None))
        found = predict(loaded, [text.text for text in self.data.dev], [text.label for text in self.data.dev])
        bits = found.bits_per_character
        better = bits < self.position.best_bits
        self.position.measurements_without_gain = 0 if better else self.position.measurements_without_gain + 1
        if better:
            self.position.best_bits = bits
            save_language_model(
                self.folder.model,
                model=self.model,
                vocabulary=self.data.vocabulary,
                card=self._card(found),
                storage=self.recipe.output.weight_storage,
            )
        log.write(
            "validation",
            update=self.position.update,
            epoch=self.position.update / self.updates_an_epoch,
            seconds=self.position.seconds,
            perplexity=found.perplexity,
            bits_per_character=bits,
            unknown=found.unknown,
            best=better,
        )
        self.console.print(
            f"epoch {self.position.update / self.updates_an_epoch:5.2f}  update {self.position.update:>7,}  "
            f"dev perplexity {found.perplexity:8.2f}  bits per character {bits:.3f}"
            + ("  (best so far)" if better else "")
        )

    def _card(self, found: Prediction | None) -> LanguageModelCard:
        recipe, position = self.recipe, self.position
        counted = (
            {} if found is None else {"perplexity": found.perplexity, "bits per character": found.bits_per_character}
        )
        return LanguageModelCard(
            name=recipe.name,
            language=recipe.text.language,
            unit=recipe.text.unit,
            intended_use=recipe.output.intended_use,
            not_for=recipe.output.not_for,
            licence=recipe.output.licence,
            train_texts=len(self.data.train),
            train_sha256={} if found is None else _checksums(recipe),
            training=TrainingRecord(
                recipe=recipe.name,
                seed=recipe.optimisation.seed,
                updates=position.update,
                epochs=round(position.update / self.updates_an_epoch, 2),
                target_tokens=position.tokens,
                minutes=round(position.seconds / 60, 1),
                device=device_name(self.device),
                torch_version=torch.__version__,
            ),
            scores=[
                Score(
                    test_set=f"{recipe.name} dev",
                    metric=metric,
                    value=round(value, 4),
                    signature=f"tokens:{found.tokens}|characters:{found.characters}|unknown:{found.unknown}|ends:yes",
                    sentences=found.texts,
                )
                for metric, value in counted.items()
                if found is not None
            ],
        )

    def _save_state(self) -> None:
        write_checkpoint(
            self.folder.checkpoint,
            {
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "position": asdict(self.position),
                "random": random_state(self.device),
                **identity(self.model.config, self.data, self.updates_an_epoch),
            },
        )

    def _resume(self) -> None:
        path = self.folder.checkpoint
        state = read_checkpoint(path)
        own = identity(self.model.config, self.data, self.updates_an_epoch)
        check_identity(path, state, own, self.folder.model)
        if not is_of_optimiser(state["optimiser"], self.optimiser):
            raise InputError(f"{path}: does not fit the recipe: optimisation.optimiser was changed")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.position = _Position(**state["position"])
        note_changed_epochs(self.console, state, self.updates_an_epoch)
        if not is_measured_alike(state, own):
            self.position.best_bits = math.inf
            self.console.print("Note: dev holds other texts than before; the best model is looked for anew.")
        restore_random_state(state["random"], self.device)


def _checksums(recipe: LanguageModelRecipe) -> dict[str, str]:
    files = [plain_or_gzipped(file) for file in recipe.text.train]
    return {file.name: sha256_of(file) for file in files}


@click.command()
@click.argument("recipe")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help='Change a key of the recipe, such as text.train=["my.txt"]; no value takes the key out. May be repeated.',
)
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
def train_language_model(recipe: str, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a language model on any text and write its directory.

    RECIPE is a TOML file or char-language-model.
    """
    loaded = read_recipe(recipe, overrides, LanguageModelRecipe)
    console = Console(stderr=True)
    data = load_language_data(loaded)
    for notice in data.notices:
        console.print(f"Note: {notice}", highlight=False, markup=False)
    try:
        click.echo(LanguageModelTrainer(loaded, data, console=console).run(resume=resume))
    except OSError as error:
        raise InputError(
            f"{loaded.run_directory}: cannot be written ({error}); what was written before is whole: "
            "make room, or choose another place with --set output.directory=DIR"
        ) from error
