"""Documents translated by writing in capitals, without a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.inline import Document, Joined
from translator.translation import Alternative, Translation


def translation(text: str, *others: str) -> Translation:
    return Translation(text, -1.0, tuple(Alternative(other, -2.0, -2.0) for other in others), (), ())


class _Anything(dict[str, Translation]):
    def __init__(self, translate: Callable[[str], str], known: Mapping[str, Translation]) -> None:
        super().__init__(known)
        self._translate = translate

    def __missing__(self, text: str) -> Translation:
        return translation(self._translate(text))


def join(document: Document, translate: Callable[[str], str] = str.upper, **known: Any) -> Joined:
    """The document with its texts translated; `known` translations in the place of those that `translate` makes."""
    return document.join(_Anything(translate, {text: translation(*words) for text, words in known.items()}))
