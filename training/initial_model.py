"""The model that a run begins with, where its recipe names one: `initial_model = "en-fr"` (fine-tuning).

Its weights and its vocabularies are taken over, which settles the network's shape and the sizes of the vocabularies.
What a recipe leaves out of these in its sections `model` and `subwords` is as in that model, and not as in the paper;
what it states has to be the same.

One of the two languages may be another one (Zoph, Yuret, May & Knight 2016, *Transfer Learning for Low-Resource Neural
Machine Translation*): a model from German to English begins with one from French to English. The vocabulary of that
side is then learnt from the corpus, with a size of its own. Loads no torch.
"""

from __future__ import annotations

import json
import shlex
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import InputError
from training.run_state import RunFolder
from translator.card import CARD_FILE, Card
from translator.config import ModelConfig
from translator.description import SHIPPED_MODELS, Description, ModelDirectoryError, model_path, read_description
from translator.vocabulary import SIDES, Vocabulary

if TYPE_CHECKING:
    from training.recipe import CorpusSection, Recipe

_LEARNT = "unigram"  # what SentencePiece learns of a new language, where the recipe does not say
ONE_MODEL = (
    "is one model, and no ensemble; name one of them, the mean of several of one run (python -m training average), or "
    "learn from what the ensemble translates (python -m training distill)"
)


def describe_initial_model(name: str, *, resume: bool = False) -> Description:
    """What the model directory `name`, or the shipped model of that name, holds but the network.

    Args:
        resume: for a run that goes on, which has other advice where there is no such directory any more.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    path = model_path(name)
    try:
        return _describe(path, _files_in(path))
    except OSError as error:
        raise InputError(
            f"initial_model: {error.filename or path}: cannot be read: {error.strerror or error}"
        ) from error
    except ModelDirectoryError as error:
        if not path.is_dir() and "," in name:
            raise InputError(f"initial_model {ONE_MODEL} ({name} given)") from error
        advice = ""
        if not path.is_dir() and resume:
            advice = (
                "; a run that goes on has its weights already, and needs but a model of that shape with these "
                "vocabularies, such as its own: --set initial_model=RUN/model"
            )
        elif not path.is_dir():
            shipped = sorted(each.name for each in SHIPPED_MODELS.iterdir() if (each / CARD_FILE).is_file())
            advice = f"; shipped models: {', '.join(shipped)}"
        elif (path / "model" / CARD_FILE).is_file():
            advice = f" did you mean {path / 'model'}?"
        raise InputError(f"initial_model: {error}{advice}") from error


@lru_cache(maxsize=4)
def _describe(path: Path, files: tuple[tuple[str | int, ...], ...]) -> Description:
    """A start asks for the description several times, and each reads the whole directory for its checksums.

    `files` tells the directory from what it was before.
    """
    return read_description(path)


def _files_in(path: Path) -> tuple[tuple[str | int, ...], ...]:
    if not path.is_dir():
        return ()
    found = ((file.name, file.lstat()) for file in path.resolve().iterdir())
    return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found))


def completed(document: dict[str, Any], *, resume: bool = False) -> dict[str, Any]:
    """A recipe's document with the shape of its initial model, where it names one and leaves that out.

    Raises:
        InputError: as `describe_initial_model`.
    """
    name, corpus = document.get("initial_model"), document.get("corpus")
    if not isinstance(name, str):  # none, or what is no name: that the recipe's own checks say
        return document
    described = describe_initial_model(name, resume=resume)
    sections = _sections_of(described.config)
    wanted = [corpus.get(f"{side}_language") for side in SIDES] if isinstance(corpus, dict) else []
    if wanted != [_language(described.card, side) for side in SIDES]:
        sections["subwords"]["model_type"] = _LEARNT
    filled = dict(document)
    for section, shape in sections.items():
        stated = document.get(section, {})
        filled[section] = {**shape, **stated} if isinstance(stated, dict) else stated
    return filled


def check_initial_model(recipe: Recipe, *, resume: bool = False) -> None:
    """Nothing where the recipe names no initial model.

    Args:
        resume: for a run that goes on, whose initial model is no more than a shape and vocabularies.

    Raises:
        InputError: it cannot be used, has neither of the recipe's languages on its side, has another shape, or is what
            the recipe's run will write.
    """
    if recipe.initial_model is not None:
        described = describe_initial_model(recipe.initial_model, resume=resume)
        _check_fit(recipe, described.card, described.config)
        if not resume:
            _check_place(recipe, described.path)


def _check_place(recipe: Recipe, path: Path) -> None:
    """Raise InputError where the run would write its model over the initial one, which is at `path`."""
    if path.resolve() != RunFolder(recipe.run_directory).model.resolve():
        return
    another = "--set output.directory=DIR"
    if recipe.output.directory is None:
        renamed = "--set name=NAME"
        if recipe.corpus.path is None and recipe.corpus.kind != "hub":  # it would go with the name
            renamed += f" --set {shlex.quote(f'corpus.path={recipe.corpus_path}')}"
        another = f"{renamed} or {another}"
    raise InputError(
        f"initial_model: {path} is where this run writes its own model; choose another place with {another}"
    )


def _check_fit(recipe: Recipe, card: Card, config: ModelConfig) -> None:
    """Raise InputError where the recipe cannot go on from its initial model: other languages, another shape."""
    name, corpus = recipe.initial_model, recipe.corpus
    known = _known_sides(recipe, card)
    if not known:
        its_own, wanted = (f"{each.source_language} to {each.target_language}" for each in (card, corpus))
        raise InputError(
            f"initial_model: {name} translates {its_own}, and the recipe's corpus is {wanted}; name a model with "
            "one of these languages on the same side, or leave it out (--set initial_model=)"
        )
    learnt = {f"{side}_vocabulary_size" for side in SIDES if side not in known}
    differing = {
        f"{section}.{key}": (getattr(getattr(recipe, section), key), value)
        for section, shape in _sections_of(config).items()
        for key, value in shape.items()
        if key not in learnt and getattr(getattr(recipe, section), key) != value
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
    return {side: described.vocabularies[side] for side in _known_sides(recipe, described.card)}


def begins_with_a_translator(recipe: Recipe) -> bool:
    """Whether the run begins with a model of its own two languages, so that there is something to measure at once."""
    return len(initial_vocabularies(recipe)) == len(SIDES)


def describe_start(recipe: Recipe) -> str:
    """What the run begins with, in a sentence, where the recipe names an initial model. Raises InputError."""
    assert recipe.initial_model is not None
    card = describe_initial_model(recipe.initial_model).card
    known = _known_sides(recipe, card)
    what = "vocabularies" if len(known) == len(SIDES) else f"{known[0]} vocabulary"
    start = f"Initial weights and {what}: those of {card.name} ({recipe.initial_model})"
    for side in SIDES:
        if side not in known:
            languages = f"{_language(recipe.corpus, side)}, the model's is {_language(card, side)}"
            start += f"; the {side} vocabulary ({languages}) is learnt from the corpus"
    return f"{start}."


def _known_sides(recipe: Recipe, card: Card) -> list[str]:
    """The sides whose language is the model's, too."""
    return [side for side in SIDES if _language(card, side) == _language(recipe.corpus, side)]


def _language(translates: Card | CorpusSection, side: str) -> str:
    language: str = getattr(translates, f"{side}_language")
    return language


def _sections_of(config: ModelConfig) -> dict[str, dict[str, Any]]:
    """What the sections of a recipe say of this shape."""
    sections: dict[str, dict[str, Any]] = {"model": {}, "subwords": {}}
    for key in ModelConfig.model_fields:
        sections["subwords" if key.endswith("vocabulary_size") else "model"][key] = getattr(config, key)
    return sections
