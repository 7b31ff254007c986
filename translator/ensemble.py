"""Several models as one: which of them fit together, and the card of them all. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from translator.card import Card
from translator.config import ModelConfig
from translator.description import ModelDirectoryError, model_path
from translator.vocabulary import Vocabulary

SEPARATOR = ","
"""Between the models of an ensemble where they are named in one string, as in TRANSLATE_MODEL."""


class Member(Protocol):
    """What an ensemble has to know of each of its models; `Description` and `LoadedModel` have it."""

    @property
    def path(self) -> Path: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def source_vocabulary(self) -> Vocabulary: ...
    @property
    def target_vocabulary(self) -> Vocabulary: ...
    @property
    def card(self) -> Card: ...


def model_paths(models: str | Path | Sequence[str | Path]) -> list[Path]:
    """The directories of one model or of several, each as `model_path` has it.

    A string that is no directory may name several, with commas between them. Raises `ModelDirectoryError` where none
    is named.
    """
    if isinstance(models, str) and not (models and model_path(models).is_dir()):
        models = [name.strip() for name in models.split(SEPARATOR) if name.strip()]
    elif isinstance(models, str | Path):
        models = [models]
    if not models:
        raise ModelDirectoryError("no model is named; name a model directory, or one of the shipped models")
    return [model_path(model) for model in models]


def ensemble_card(members: Sequence[Member]) -> Card:
    """The card of the ensemble; that of a single model is its own.

    The length penalty is the mean of the members', the training lengths are those of the member that has seen the
    shortest sentences, and scores are left out, for they are the single models'.

    Raises `ModelDirectoryError` where the members translate other languages or have other vocabularies.
    """
    first, *others = members
    for other in others:
        _check_fits(first, other)
    if not others:
        return first.card
    cards = [member.card for member in members]
    lengths = [card.training_lengths for card in cards if card.training_lengths is not None]
    return first.card.model_copy(
        update={
            "name": " + ".join(card.name for card in cards),
            "length_penalty": sum(card.length_penalty for card in cards) / len(cards),
            "parameters": sum(card.parameters for card in cards),
            "training_lengths": min(lengths, key=lambda part: part.source_99th_percentile, default=None),
            "training": None,
            "scores": [],
            "bleu_by_length": [],
            "files": {},
            "digest": "",
        }
    )


def _check_fits(first: Member, other: Member) -> None:
    languages = [f"{member.card.source_language} to {member.card.target_language}" for member in (first, other)]
    if languages[0] != languages[1]:
        raise ModelDirectoryError(
            f"{other.path}: translates {languages[1]} and {first.path} {languages[0]}; "
            "the members of an ensemble have one pair of languages"
        )
    for name in ("source", "target"):
        vocabularies = [getattr(member, f"{name}_vocabulary") for member in (first, other)]
        if vocabularies[0].model_bytes != vocabularies[1].model_bytes:
            raise ModelDirectoryError(
                f"{other.path}: its {name}.model is not that of {first.path}; train the members of an ensemble "
                "on one prepared corpus (python -m training train --prepared FOLDER)"
            )
