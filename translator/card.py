"""The card of a model: what it translates, what it was trained on, how good it is, what it is not for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from translator.files import sha256_of

CARD_FILE = "card.json"

# 2 has other cells than the LSTM, general and additive attention, input feeding and bidirectional encoders.
FORMAT_VERSION = 2
"""The newest version of the model directory that is read here; `ModelConfig.format_version` is the one written."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Score(_Part):
    """One measured figure with all that is needed to measure it again."""

    test_set: str
    metric: str = Field(description="BLEU, chrF, perplexity …")
    value: float
    signature: str = Field(default="", description="sacreBLEU's signature of the metric.")
    beam_size: int | None = None
    length_penalty: float | None = None
    sentences: int | None = None
    # Left out where it is empty, so that cards from before keep their checksum.
    precision: str = Field(
        default="", exclude_if=lambda value: not value, description="Number format of the translation: int8, float32 …"
    )


class LengthScore(_Part):
    """BLEU over the test sentences whose source has `minimum` to `maximum` words (white-space separated)."""

    minimum: int
    maximum: int | None
    sentences: int
    bleu: float


class CorpusRecord(_Part):
    """The training text: a name to cite, its size, and a checksum of every file."""

    name: str
    train_pairs: int
    sha256: dict[str, str] = Field(default_factory=dict)
    licence: str = ""
    attribution: str = ""


class TrainingRecord(_Part):
    """How the weights came about."""

    recipe: str
    seed: int
    updates: int
    epochs: float
    target_tokens: int
    minutes: float
    device: str
    torch_version: str


class TrainingLengths(_Part):
    """Lengths of the training sentences in source and target tokens, `<EOS>` not counted."""

    source_mean: float
    source_99th_percentile: int
    source_maximum: int
    target_mean: float
    target_99th_percentile: int
    target_maximum: int


class AveragedModel(_Part):
    """One of the models whose mean a model is. A checkpoint has no checksum."""

    name: str
    updates: int
    weights_sha256: str = ""


class InitialModel(_Part):
    """The model whose weights training began with."""

    name: str
    weights_sha256: str


class FileRecord(_Part):
    sha256: str
    bytes: int


class Card(_Part):
    """`card.json` of a model directory."""

    format_version: int = FORMAT_VERSION
    name: str
    source_language: str = Field(description="Code such as 'en'.")
    target_language: str = Field(description="Code such as 'fr'.")
    intended_use: str = ""
    not_for: str = ""
    licence: str = ""
    length_penalty: float = Field(default=0.0, description="α of the search, chosen on the development set.")
    parameters: int = 0
    weight_storage: str = Field(default="float32", description="float32, bfloat16 or int8 (one scale per output row).")
    corpus: CorpusRecord | None = None
    training: TrainingRecord | None = None
    # Left out where they are empty, so that cards from before keep their checksum.
    initial_model: InitialModel | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="The model whose weights `training` began with; none: with random ones.",
    )
    averaged: list[AveragedModel] = Field(
        default_factory=list,
        exclude_if=lambda value: not value,
        description="The models whose arithmetic mean the weights are; `training` is of the last of them.",
    )
    training_lengths: TrainingLengths | None = None
    scores: list[Score] = Field(default_factory=list)
    bleu_by_length: list[LengthScore] = Field(default_factory=list)
    examples: list[str] = Field(default_factory=list, description="Source sentences to try.")
    files: dict[str, FileRecord] = Field(default_factory=dict, description="Written by save_model.")
    digest: str = Field(default="", description="SHA-256 of this card without this field. Written by save_model.")

    def score(self, metric: str) -> Score | None:
        """The first score of this metric, or None."""
        return next((score for score in self.scores if score.metric == metric), None)


AnyCard = TypeVar("AnyCard", bound=BaseModel)
"""The card of a model, or of a language model: both hold `files` and `digest`."""


def write_card(directory: Path, card: BaseModel, page: str, names: Sequence[str]) -> None:
    """Write `page` as README.md and the card, with the checksums of the files `names` and its own, as card.json."""
    (directory / "README.md").write_text(page, encoding="utf-8")
    files = {
        name: FileRecord(sha256=sha256_of(directory / name), bytes=(directory / name).stat().st_size) for name in names
    }
    card = card.model_copy(update={"files": files})
    card = card.model_copy(update={"digest": card_digest(card)})
    (directory / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def card_digest(card: BaseModel) -> str:
    """SHA-256 of the card's JSON without the field `digest`."""
    return hashlib.sha256(card.model_dump_json(exclude={"digest"}).encode()).hexdigest()


def card_page(card: Card) -> str:
    """The card as Markdown, `README.md` of a model directory."""
    lines = [
        f"# {card.name}",
        "",
        f"Translates {card.source_language} → {card.target_language}. {card.intended_use}".rstrip(),
        "",
    ]
    if card.not_for:
        lines += [f"**Not for:** {card.not_for}", ""]
    if card.scores:
        lines += ["| test set | metric | value | beam | length penalty | computed in | signature |", "|---" * 7 + "|"]
        for score in card.scores:
            beam = "" if score.beam_size is None else score.beam_size
            penalty = "" if score.length_penalty is None else score.length_penalty
            lines.append(
                f"| {score.test_set} | {score.metric} | {score.value:.2f} | {beam} | {penalty} | {score.precision} "
                f"| `{score.signature}` |"
            )
        lines.append("")
    if card.bleu_by_length:
        lines += ["| words in the source | sentences | BLEU |", "|---|---|---|"]
        for part in card.bleu_by_length:
            span = f"{part.minimum}–{part.maximum}" if part.maximum is not None else f"{part.minimum} and more"
            lines.append(f"| {span} | {part.sentences} | {part.bleu:.1f} |")
        lines.append("")
    lines.append(f"- parameters: {card.parameters:,}, stored as {card.weight_storage}")
    if card.training is not None:
        training = card.training
        lines.append(
            f"- training: recipe `{training.recipe}`, seed {training.seed}, {training.updates:,} updates "
            f"({training.epochs:.1f} epochs, {training.target_tokens:,} target tokens) "
            f"in {training.minutes:.0f} minutes on {training.device}, torch {training.torch_version}"
        )
    if card.initial_model is not None:
        initial = card.initial_model
        lines.append(f"- began with the weights of `{initial.name}`, SHA-256 {initial.weights_sha256}")
    if card.averaged:
        after = ", ".join(f"{averaged.updates:,}" for averaged in card.averaged)
        lines.append(f"- weights: the arithmetic mean of {len(card.averaged)} models, after {after} updates")
    if card.corpus is not None:
        lines.append(
            f"- corpus: {card.corpus.name}, {card.corpus.train_pairs:,} training pairs, {card.corpus.licence}".rstrip(
                ", "
            )
        )
        if card.corpus.attribution:
            lines.append(f"- attribution: {card.corpus.attribution}")
    if card.training_lengths is not None:
        lengths = card.training_lengths
        lines.append(
            f"- source tokens in training: mean {lengths.source_mean:.1f}, 99 % have at most "
            f"{lengths.source_99th_percentile}, the longest {lengths.source_maximum}"
        )
    if card.licence:
        lines.append(f"- licence of the model: {card.licence}")
    return "\n".join(lines) + "\n"
