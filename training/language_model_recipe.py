"""The recipe of a language model: like that of a translator, with texts in the place of sentence pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from training.recipe import OptimisationSection
from training.recipe_file import Section
from translator.config import CellName
from translator.language_model import LanguageModelConfig
from translator.weights import WeightStorage

_OF_TRANSLATORS = ("batch_target_tokens", "weight_average", "deterministic", "on_divergence")


class TextSection(Section):
    """The texts to learn from: UTF-8 files, plain or gzipped."""

    train: tuple[Path, ...] = Field(min_length=1, description="Files; the target side of a corpus is one, too.")
    dev: tuple[Path, ...] = Field(default=(), description="Files to measure on; none: held_out texts of train.")
    held_out: int = Field(default=500, ge=1, description="Texts held out of train, at random, where there is no dev.")
    unit: Literal["line", "paragraph"] = Field(
        default="line", description="What one text is: a line, or what stands between blank lines, line ends included."
    )
    labelled: bool = Field(default=False, description="Every line is LABEL, a tab, and the text.")
    language: str = Field(pattern=r"^[a-z]{2,3}(-[a-z]{2,4})?$", description="Code such as 'en'.")
    vocabulary: Path | None = Field(
        default=None, description="A SentencePiece model, such as a model directory's target.model; None: learn one."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.labelled and self.unit != "line":
            raise ValueError('labelled texts are lines: unit = "line"')
        return self


class UnitsSection(Section):
    """What a text is made of, where no vocabulary is given."""

    model_type: Literal["char", "unigram", "bpe", "word"] = "char"
    vocabulary_size: int = Field(default=1000, gt=2, description="Special symbols included.")


class NetworkSection(Section):
    """The network; see `translator.language_model.LanguageModelConfig`."""

    cell: CellName = "lstm"
    embedding_size: int = Field(default=128, gt=0)
    hidden_size: int = Field(default=512, gt=0)
    num_layers: int = Field(default=2, ge=1, le=32)
    residual: bool = False
    dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="On the input of every layer, the output layer too."
    )
    initial_range: float = Field(default=0.08, gt=0.0, description="Every parameter starts uniform in [-r, r].")

    def configuration(self, vocabulary_size: int, labels: tuple[str, ...]) -> LanguageModelConfig:
        """The shape of the network for a vocabulary of this size and these labels."""
        shape = self.model_dump(exclude={"dropout", "initial_range"})
        return LanguageModelConfig(vocabulary_size=vocabulary_size, labels=labels, **shape)


class MeasuringSection(Section):
    """Bits per character on dev during training; the best model is kept."""

    every_epochs: float = Field(default=1.0, gt=0.0)
    patience: int | None = Field(default=None, ge=1, description="Stop after so many measurements without gain.")
    window: int = Field(
        default=200, ge=1, description="Positions that the gradient goes back over; the state goes on beyond them."
    )


class LanguageModelOutput(Section):
    """Where the run is written and what its card says."""

    directory: Path | None = Field(default=None, description="None means runs/NAME.")
    weight_storage: WeightStorage = "float32"
    intended_use: str = ""
    not_for: str = ""
    licence: str = Field(default="", description="Licence of the model.")


class LanguageModelRecipe(Section):
    """A whole training job of a language model."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names its folder runs/NAME.")
    text: TextSection
    units: UnitsSection = UnitsSection()
    model: NetworkSection = NetworkSection()
    optimisation: OptimisationSection = OptimisationSection()
    training: MeasuringSection = MeasuringSection()
    output: LanguageModelOutput = LanguageModelOutput()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in _OF_TRANSLATORS:
            if getattr(self.optimisation, name) != OptimisationSection.model_fields[name].default:
                raise ValueError(f"optimisation.{name} is for translators alone; leave it out")
        return self

    @property
    def run_directory(self) -> Path:
        """Where the model, the training state and the log go."""
        return self.output.directory if self.output.directory is not None else Path("runs") / self.name
