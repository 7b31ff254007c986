"""A recipe: one TOML file that says everything about a training job, as section 3.4 of the paper says it in prose.

The defaults are those of Sutskever et al. 2014; what the paper does not use is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from training.initial_model import ONE_MODEL, check_initial_model, completed
from training.recipe_file import Section, read_recipe
from translator.config import AttentionName, CellName, ModelConfig


class CorpusSection(Section):
    """The sentence pairs to learn from. Dev and test come with the corpus or are held out of its training pairs."""

    kind: Literal["hub", "moses", "tsv", "jsonl", "parquet", "libreoffice-help"] = Field(
        default="moses",
        description="hub: a data set of the Hugging Face hub. moses: a folder of train.LANG, dev.LANG, test.LANG. "
        "tsv: one file of tab-separated pairs. jsonl, parquet: files with a column `translation` or a column for each "
        "language. libreoffice-help: Debian's LibreOffice help pages. Files of text may be gzipped.",
    )
    path: Path | None = Field(
        default=None,
        description="moses: the folder; tsv: the file; jsonl, parquet: a file, a folder with files of train, dev and "
        "test, or a pattern of train's files such as 'part-*.jsonl.gz'. None means corpora/NAME.",
    )
    further_paths: tuple[Path, ...] = Field(
        default=(), description="moses: further folders, such as other domains; each part is made of all of them."
    )
    name: str | None = Field(default=None, description="hub: the data set's name, such as 'wmt/wmt14'.")
    configuration: str | None = Field(default=None, description="hub: the data set's configuration, such as 'fr-en'.")
    columns: tuple[int, int] = Field(
        default=(1, 2), description="tsv: where source and target stand; the first column is 1."
    )
    source_language: str = Field(pattern=r"^[a-z]{2,3}(-[a-z]{2,4})?$", description="Code such as 'en'.")
    target_language: str = Field(pattern=r"^[a-z]{2,3}(-[a-z]{2,4})?$", description="Code such as 'fr'.")
    held_out_pairs: int = Field(
        default=1000, ge=1, description="Pairs in dev, and in test, where the corpus does not bring them."
    )
    maximum_length: int = Field(
        default=200, ge=1, description="Tokens; a training pair with a longer source or target is left out."
    )
    maximum_ratio: float | None = Field(
        default=None,
        ge=1.0,
        description="A training pair whose longer side has more than so many times the other's tokens is left out.",
    )
    licence: str = Field(default="", description="Licence of the text, for the model's card.")
    attribution: str = Field(default="", description="Whom the text is owed to, for the model's card.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "hub" and self.name is None:
            raise ValueError('kind = "hub" needs the name of a data set, such as name = "wmt/wmt14"')
        if self.further_paths and self.kind != "moses":
            raise ValueError(f'further_paths are folders of kind = "moses", and not of "{self.kind}"')
        if min(self.columns) < 1 or self.columns[0] == self.columns[1]:
            raise ValueError(f"columns are two different numbers from 1 on, not {self.columns}")
        if self.source_language == self.target_language:
            raise ValueError(f"source_language and target_language are both '{self.source_language}'")
        return self


class SubwordsSection(Section):
    """The units of text: SentencePiece trained on each side of the training pairs, or those of an initial_model."""

    model_type: Literal["unigram", "bpe", "char", "word"] = Field(
        default="word",
        description="What SentencePiece learns. Of a language that an initial_model lacks: by default unigram.",
    )
    source_vocabulary_size: int = Field(default=160_000, gt=2, description="Special symbols included.")
    target_vocabulary_size: int = Field(default=80_000, gt=2, description="Special symbols included.")


class ModelSection(Section):
    """The network; see `translator.config.ModelConfig`."""

    embedding_size: int = Field(default=1000, gt=0)
    hidden_size: int = Field(default=1000, gt=0)
    num_layers: int = Field(default=4, ge=1, le=32)
    reverse_source: bool = True
    residual: bool = False
    feed_context: bool = False
    attention: AttentionName = "none"
    tie_target_embedding: bool = False
    cell: CellName = "lstm"
    input_feeding: bool = False
    bidirectional: bool = False
    dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="On the input of every layer, the output layer included."
    )
    word_dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="Share of the tokens, source and target, that are read as unknown."
    )
    initial_range: float = Field(
        default=0.08,
        gt=0.0,
        description="Every parameter starts uniform in [-r, r], unless the recipe names an initial_model.",
    )
    embedding_deviation: float | None = Field(
        default=None, gt=0.0, description="Embeddings start as N(0, deviation) instead; None: like the rest."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.configuration(3, 3)
        return self

    def configuration(self, source_vocabulary_size: int, target_vocabulary_size: int) -> ModelConfig:
        """The shape of the network for vocabularies of these sizes.

        Raises:
            ValueError: the options do not go together.
        """
        shape = self.model_dump(exclude={"dropout", "word_dropout", "initial_range", "embedding_deviation"})
        return ModelConfig(
            source_vocabulary_size=source_vocabulary_size, target_vocabulary_size=target_vocabulary_size, **shape
        )


class OptimisationSection(Section):
    """How the loss is brought down. The loss is the sum over tokens divided by the number of sentences."""

    optimiser: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(default=0.7, gt=0.0)
    epochs: float = Field(default=7.5, gt=0.0, description="Passes over the training pairs, parts of one included.")
    schedule: Literal["paper", "linear", "constant"] = Field(
        default="paper", description="paper: constant, then halved again and again. linear: down to zero at the end."
    )
    halve_after_epochs: float = Field(default=5.0, ge=0.0, description="paper: the first halving comes then.")
    halve_every_epochs: float = Field(default=0.5, gt=0.0, description="paper: and a further one so often.")
    warmup_updates: int = Field(default=0, ge=0, description="Updates over which the rate rises linearly from zero.")
    batch_sentences: int = Field(default=128, ge=1, description="Sentence pairs in a batch.")
    batch_target_tokens: int | None = Field(
        default=None, ge=1, description="Batches of about so many target tokens instead of batch_sentences pairs."
    )
    clip_norm: float = Field(default=5.0, gt=0.0, description="A gradient with a larger L2 norm is scaled down to it.")
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="bfloat16: autocast.")
    weight_average: float | None = Field(
        default=None,
        gt=0.0,
        lt=1.0,
        description="Decay of a moving average of the weights, which is measured and saved in their place.",
    )
    deterministic: bool = Field(
        default=False, description="The same bits on the same GPU each time, at some cost; a CPU gives them anyway."
    )
    on_divergence: Literal["stop", "roll-back"] = Field(
        default="stop",
        description="When the loss is no number or worse than guessing. roll-back: from the last checkpoint with half "
        "the learning rate, three times at most.",
    )
    seed: int = Field(default=1, ge=0, description="Of the initial weights, of dropout and of the order of batches.")


class EvaluationSection(Section):
    """What is measured on dev during training; the best model by BLEU is kept."""

    every_epochs: float = Field(default=0.5, gt=0.0, description="Loss and BLEU on dev are measured so often.")
    bleu_sentences: int = Field(default=1000, ge=1, description="How many dev sentences are translated for it.")
    beam_size: int = Field(default=1, ge=1, le=200, description="With what beam they are translated.")
    patience: int | None = Field(
        default=None, ge=1, description="Stop after so many measurements without a better BLEU; None: never."
    )
    length_penalties: tuple[float, ...] = Field(
        default=(0.0,), min_length=1, description="Values of α tried on dev at the end; the best goes on the card."
    )


class OutputSection(Section):
    """Where the run is written and what its card says."""

    directory: Path | None = Field(default=None, description="None means runs/NAME.")
    weight_storage: Literal["float32", "bfloat16", "int8"] = "float32"
    checkpoint_minutes: float = Field(
        default=5.0, ge=0.0, description="The state to resume from is written so often, and at each measurement."
    )
    intended_use: str = ""
    not_for: str = ""
    licence: str = Field(default="", description="Licence of the model.")
    examples: tuple[str, ...] = Field(default=(), description="Source sentences to try.")
    keep_models: int | None = Field(
        default=None, ge=1, description="Keep the models of so many last measurements, to be averaged; None: the best."
    )
    tensorboard: bool = Field(default=False, description="Write the log for TensorBoard, too.")


def _one_model(value: Any) -> Any:
    if isinstance(value, list | tuple):
        raise ValueError(ONE_MODEL)
    return value


class Recipe(Section):
    """A whole training job. `Recipe.model_validate` takes the dictionary that `tomllib` makes of a file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names its folders, such as runs/NAME.")
    initial_model: Annotated[str, BeforeValidator(_one_model)] | None = Field(
        default=None,
        description="A model directory, or the name of a shipped model, whose weights training begins with and whose "
        "vocabularies it takes over; None: random weights and vocabularies of its own. The keys of the sections model "
        "and subwords that say its shape may then be left out, and must not say another. One of its languages may be "
        "another than the corpus's: the vocabulary of that side is learnt, and has the model's size or the one stated.",
    )
    corpus: CorpusSection
    subwords: SubwordsSection = SubwordsSection()
    model: ModelSection = ModelSection()
    optimisation: OptimisationSection = OptimisationSection()
    evaluation: EvaluationSection = EvaluationSection()
    output: OutputSection = OutputSection()

    @property
    def corpus_path(self) -> Path:
        """Where the corpus's files are looked for, relative to the working directory."""
        return self.corpus.path if self.corpus.path is not None else Path("corpora") / self.name

    @property
    def prepared_directory(self) -> Path:
        """Where the prepared corpus goes unless told otherwise."""
        return Path("prepared") / self.name

    @property
    def run_directory(self) -> Path:
        """Where the model, the training state and the log go."""
        return self.output.directory if self.output.directory is not None else Path("runs") / self.name


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = (), *, resume: bool = False) -> Recipe:
    """Reads the recipe of a translator; see `read_recipe`.

    Args:
        resume: for a run that goes on; see `check_initial_model`.

    Raises:
        InputError: also where its `initial_model` cannot be used, has neither language on its side, has another shape
            or is what the run will write.
    """
    recipe = read_recipe(path_or_name, overrides, Recipe, partial(completed, resume=resume))
    check_initial_model(recipe, resume=resume)
    return recipe
