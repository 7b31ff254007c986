"""Texts for a language model: from files to token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.errors import InputError
from training.language_model_recipe import LanguageModelRecipe, TextSection
from training.subwords import train_vocabulary
from training.text_files import read_lines
from translator.vocabulary import Vocabulary

# The split and the vocabulary do not follow the recipe's seed, so that models of different seeds can be compared.
_SEED = 1


@dataclass(frozen=True)
class LabelledText:
    """A text, and what it is said to be of, where the recipe has labels."""

    text: str
    label: str | None


@dataclass(frozen=True)
class LanguageData:
    """All that a language model is trained and measured on.

    `train` are the token ids of each text, int32 [length], without `<EOS>`; `train_labels` their labels.
    """

    vocabulary: Vocabulary
    labels: tuple[str, ...]
    train: list[npt.NDArray[np.int32]]
    train_labels: list[str | None]
    dev: list[LabelledText]
    notices: list[str]


def load_language_data(recipe: LanguageModelRecipe) -> LanguageData:
    """Reads the recipe's texts, splits them where there is no dev, and learns the vocabulary where none is named.

    Raises:
        InputError: a file cannot be read, a line has no label, or there are too few texts.
    """
    section = recipe.text
    train = [text for file in section.train for text in read_texts(plain_or_gzipped(file), section)]
    dev = [text for file in section.dev for text in read_texts(plain_or_gzipped(file), section)]
    if not section.dev:
        if len(train) <= section.held_out:
            raise InputError(
                f"{section.train[0]}: has {len(train):,} texts, of which {section.held_out:,} were to be held out; "
                "lower text.held_out"
            )
        order = np.random.default_rng(_SEED).permutation(len(train))
        dev = [train[index] for index in sorted(order[: section.held_out].tolist())]
        train = [train[index] for index in sorted(order[section.held_out :].tolist())]
    for texts, files in ((train, section.train), (dev, section.dev)):
        if not texts:
            raise InputError(f"{files[0]}: holds no text")
    labels = tuple(sorted({text.label for text in train if text.label is not None}))
    unheard = {text.label for text in dev if text.label is not None} - set(labels)
    if unheard:
        if not section.dev:
            raise InputError(
                f"{section.train[0]}: all texts with the label {min(unheard)} would be held out; lower text.held_out, "
                "or name a file in text.dev"
            )
        raise InputError(f"{section.dev[0]}: the label {min(unheard)} does not occur in the training text")
    vocabulary, notices = _vocabulary(recipe, train)
    encoded = vocabulary.encode_batch([text.text for text in train])
    unknown, tokens = sum(each.count(vocabulary.unk_id) for each in encoded), sum(map(len, encoded))
    if unknown:
        notices.append(f"{unknown / tokens:.2%} of the training tokens are unknown to the vocabulary")
    return LanguageData(
        vocabulary,
        labels,
        [np.array(each, dtype=np.int32) for each in encoded],
        [text.label for text in train],
        dev,
        notices,
    )


def plain_or_gzipped(file: Path) -> Path:
    """The file, or where there is none, the one of that name with .gz."""
    gzipped = file.with_name(f"{file.name}.gz")
    return gzipped if not file.is_file() and gzipped.is_file() else file


def read_texts(file: Path, section: TextSection) -> Iterator[LabelledText]:
    """The texts of a file, empty ones left out. Raises `InputError`."""
    if section.unit == "paragraph":
        for text in _paragraphs(read_lines(file)):
            yield LabelledText(text, None)
        return
    for number, line in enumerate(read_lines(file), start=1):
        label, tab, text = line.partition("\t") if section.labelled else (None, "", line)
        if not line.strip():
            continue
        if section.labelled and not (tab and label and label.strip()):
            raise InputError(f"{file}, line {number}: has no label; expected LABEL, a tab, and the text")
        if text.strip():
            yield LabelledText(text.strip(), label)


def _paragraphs(lines: Iterator[str]) -> Iterator[str]:
    gathered: list[str] = []
    for line in lines:
        if line.strip():
            gathered.append(line.rstrip())
        elif gathered:
            yield "\n".join(gathered)
            gathered = []
    if gathered:
        yield "\n".join(gathered)


def _vocabulary(recipe: LanguageModelRecipe, train: Sequence[LabelledText]) -> tuple[Vocabulary, list[str]]:
    file, units = recipe.text.vocabulary, recipe.units
    try:
        if file is not None:
            return Vocabulary.load(file), []
        texts = [text.text for text in train]
        return train_vocabulary(texts, size=units.vocabulary_size, model_type=units.model_type, seed=_SEED)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file if file is not None else 'the vocabulary'}: {error}") from error
