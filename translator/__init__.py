"""Neural machine translation with deep LSTMs, after Sutskever, Vinyals & Le 2014.

from translator import Translator

translator = Translator.load("en-fr")
print(translator.translate("Where is the station?").text)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from translator.card import Card
    from translator.config import ModelConfig, SearchOptions
    from translator.description import ModelDirectoryError
    from translator.pipeline import Translator
    from translator.translation import Alignment, Alternative, SentenceTranslation, Translation

__version__ = "0.1.0"

__all__ = [
    "Alignment",
    "Alternative",
    "Card",
    "ModelConfig",
    "ModelDirectoryError",
    "SearchOptions",
    "SentenceTranslation",
    "Translation",
    "Translator",
    "__version__",
]

_HOMES = {
    "Alignment": "translator.translation",
    "Alternative": "translator.translation",
    "Card": "translator.card",
    "ModelConfig": "translator.config",
    "ModelDirectoryError": "translator.description",
    "SearchOptions": "translator.config",
    "SentenceTranslation": "translator.translation",
    "Translation": "translator.translation",
    "Translator": "translator.pipeline",
}


def __getattr__(name: str) -> object:
    # Loading torch takes seconds: not for `--help`, nor for whoever wants only a configuration.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
