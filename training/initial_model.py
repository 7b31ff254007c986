"""The model that a run begins with, where its recipe names one: `initial_model = "en-fr"` (fine-tuning).

Its weights and its vocabularies are taken over, which settles the network's shape and the sizes of the vocabularies.
What a recipe leaves out of these in its sections `model` and `subwords` is as in that model, and not as in the paper;
what it states has to be the same. Loads no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from training.errors import InputError
from translator.card import CARD_FILE, Card
from translator.config import ModelConfig
from translator.description import SHIPPED_MODELS, Description, ModelDirectoryError, model_path, read_description
from translator.vocabulary import Vocabulary

if TYPE_CHECKING:
    from training.recipe import Recipe

ONE_MODEL = (
    "is one model, and no ensemble; name one of them, the mean of several of one run (python -m training average), or "
    "learn from what the ensemble translates (python -m training distill)"
)


def describe_initial_model(name: str) -> Description:
    """What the model directory `name`, or the shipped model of that name, holds but the network.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    path = model_path(name)
    try:
        return read_description(path)
    except ModelDirectoryError as error:
        if not path.is_dir() and "," in name:
            raise InputError(f"initial_model {ONE_MODEL} ({name} given)") from error
        advice = ""
        if not path.is_dir():
            shipped = sorted(each.name for each in SHIPPED_MODELS.iterdir() if (each / CARD_FILE).is_file())
            advice = f"; shipped models: {', '.join(shipped)}"
        elif (path / "model" / CARD_FILE).is_file():
            advice = f" did you mean {path / 'model'}?"
        raise InputError(f"initial_model: {error}{advice}") from error


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """A recipe's document with the shape of its initial model, where it names one and leaves that out.

    Raises:
        InputError: as `describe_initial_model`.
    """
    name = document.get("initial_model")
    if not isinstance(name, str):  # none, or what is no name: that the recipe's own checks say
        return document
    filled = dict(document)
    for section, shape in _sections_of(describe_initial_model(name).config).items():
        stated = document.get(section, {})
        filled[section] = {**shape, **stated} if isinstance(stated, dict) else stated
    return filled


def check_initial_model(recipe: Recipe) -> None:
    """Nothing where the recipe names no initial model.

    Raises:
        InputError: it cannot be used, translates other languages than the recipe's or has another shape.
    """
    if recipe.initial_model is not None:
        described = describe_initial_model(recipe.initial_model)
        check_fit(recipe, described.card, described.config)


def check_fit(recipe: Recipe, card: Card, config: ModelConfig) -> None:
    """Raise InputError where the recipe cannot go on from its initial model: other languages, another shape."""
    name, corpus = recipe.initial_model, recipe.corpus
    its_own, wanted = (f"{each.source_language} to {each.target_language}" for each in (card, corpus))
    if its_own != wanted:
        raise InputError(
            f"initial_model: {name} translates {its_own}, and the recipe's corpus is {wanted}; name a model of these "
            "languages, or leave it out (--set initial_model=)"
        )
    differing = {
        f"{section}.{key}": (getattr(getattr(recipe, section), key), value)
        for section, shape in _sections_of(config).items()
        for key, value in shape.items()
        if getattr(getattr(recipe, section), key) != value
    }
    if differing:
        values = ", ".join(
            f"{key} is {json.dumps(stated)} in the recipe and {json.dumps(value)} in the model"
            for key, (stated, value) in differing.items()
        )
        advice = " ".join(f"--set {key}=" for key in differing)
        raise InputError(
            f"initial_model: {name} has another shape: {values}; leave these keys out ({advice}), or begin with "
            "another model"
        )


def initial_vocabularies(recipe: Recipe) -> dict[str, Vocabulary]:
    """The vocabularies that the recipe takes over, by side; none where it learns its own. Raises InputError."""
    if recipe.initial_model is None:
        return {}
    described = describe_initial_model(recipe.initial_model)
    return {"source": described.source_vocabulary, "target": described.target_vocabulary}


def _sections_of(config: ModelConfig) -> Mapping[str, Mapping[str, Any]]:
    """What the sections of a recipe say of this shape."""
    sections: dict[str, dict[str, Any]] = {"model": {}, "subwords": {}}
    for key in ModelConfig.model_fields:
        sections["subwords" if key.endswith("vocabulary_size") else "model"][key] = getattr(config, key)
    return sections
