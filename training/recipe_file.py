"""Reading a recipe: a TOML file or the name of a shipped one, with `key.sub=value` overrides, checked against its kind.

A misspelt key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from training.errors import InputError

RECIPES = Path(__file__).parent / "recipes"

AnyRecipe = TypeVar("AnyRecipe", bound="Section")


class Section(BaseModel):
    """A table of a recipe. A key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def shipped_recipes(*, of_language_models: bool = False) -> list[str]:
    """Names of the recipes that come with the package. Those of language models end in "language-model"."""
    names = sorted(path.stem for path in RECIPES.glob("*.toml"))
    return [name for name in names if name.endswith("language-model") == of_language_models]


def read_recipe(
    path_or_name: str | Path,
    overrides: Sequence[str],
    kind: type[AnyRecipe],
    completed: Callable[[dict[str, Any]], dict[str, Any]] = lambda document: document,
) -> AnyRecipe:
    """Reads a recipe of this kind and applies `key.sub=value` overrides to it.

    An override's value is read as TOML (`0.5`, `true`, `[1, 2]`, `"text"`) and, where it is none, as plain text. An
    empty value takes the key out, so that its default holds.

    Args:
        path_or_name: a TOML file, or the name of a recipe of this package such as "tatoeba-en-fr".
        overrides: in the order in which they are applied.
        kind: what the recipe is to be.
        completed: gives the document, overrides applied, with what it leaves to something else.

    Raises:
        InputError: no such recipe, not TOML, an unknown key (the nearest known one is named) or a value out of range.
    """
    path = _find_recipe(path_or_name)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    for override in overrides:
        _apply_override(document, override)
    try:
        return kind.model_validate(completed(document))
    except ValidationError as error:
        raise InputError("\n".join(f"{path}: {_explain(details, kind)}" for details in error.errors())) from error


def _find_recipe(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.is_file():
        return path
    shipped = RECIPES / f"{path_or_name}.toml"
    if path.name == str(path_or_name) and shipped.is_file():
        return shipped
    raise InputError(
        f"{path_or_name}: no such recipe; give a TOML file or one of {', '.join(shipped_recipes())}"
        + _nearest(path.stem, shipped_recipes())
    )


def _apply_override(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise InputError(f"--set {override}: expected KEY.SUBKEY=VALUE, such as --set optimisation.epochs=2")
    section = document
    for part in parts[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise InputError(f"--set {override}: {part} is not a section of a recipe")
    if text.strip():
        section[parts[-1]] = _parse_value(text)
    else:
        section.pop(parts[-1], None)


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    return value if len(parsed) == 1 and isinstance(value, str | int | float | list) else text


def _explain(details: ErrorDetails, kind: type[Section]) -> str:
    key = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return f"unknown key '{key}'" + _nearest(key, _known_keys(kind))
    if details["type"] == "missing":
        return f"the key '{key}' is missing"
    message = details["msg"].removeprefix("Value error, ").splitlines()[0]
    given = f" ({details['input']!r} given)" if isinstance(details["input"], str | int | float) else ""
    return f"{key}: {message}{given}"


def _known_keys(kind: type[Section]) -> list[str]:
    keys = []
    for name, field in kind.model_fields.items():
        keys.append(name)
        section = next((part for part in (field.annotation, *get_args(field.annotation)) if _is_section(part)), None)
        if section is not None:
            keys += [f"{name}.{key}" for key in section.model_fields]
    return keys


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _nearest(word: str, known: Sequence[str]) -> str:
    """A question naming the nearest known word, or nothing. A key in the wrong section is found by its last part."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    last = word.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == last]
    best = [*same, *found][:1]
    return f"; did you mean '{best[0]}'?" if best else ""
