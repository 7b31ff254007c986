"""Training pairs by their sentence vectors: what a model has seen that is like a sentence. Loads no torch.

`pairs.safetensors` of a model directory holds a sample of the pairs, and the vectors h(x) of their sources on their
first principal components, which take a small part of the room and keep nearly all of the differences.

N pairs, D numbers of h(x), K components.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from translator.card import CARD_FILE, card_page, write_card
from translator.description import CHECKED_FILES, INDEX_FILE, ModelDirectoryError, read_description
from translator.files import written_directory
from translator.tensor_header import check_header

_COMPONENTS = 128
_MOST_FITTED = 2_000  # vectors that the components are found from; all of them take long and say the same
_SMALLEST = 1e-9

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """A training pair; `similarity` is the cosine of the angle between its source's vector and the one asked for."""

    source: str
    target: str
    similarity: float


@dataclass(frozen=True)
class PairIndex:
    """`vectors_NK` float32, of length 1 each, are the pairs' vectors less `mean_D` on the rows of `axes_KD`."""

    pairs: tuple[tuple[str, str], ...]
    mean_D: Floats
    axes_KD: Floats
    vectors_NK: Floats

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]], vectors_ND: Floats) -> Self:
        """The index of pairs (source, target), at least one, by the vectors of their sources."""
        fitted_MD = vectors_ND[:_MOST_FITTED]
        mean_D = fitted_MD.mean(axis=0)
        axes_KD: Floats = np.linalg.svd(fitted_MD - mean_D, full_matrices=False)[2][:_COMPONENTS].astype(np.float32)
        cleaned = tuple((" ".join(source.split()), " ".join(target.split())) for source, target in pairs)
        return cls(cleaned, mean_D, axes_KD, _unit(np.matmul(vectors_ND - mean_D, axes_KD.T)))

    def nearest(self, vector_D: Floats, count: int) -> list[Neighbour]:
        """The `count` pairs whose sources are most like the sentence with this vector, the likest first."""
        similarities_N = np.matmul(self.vectors_NK, _unit(np.matmul(vector_D - self.mean_D, self.axes_KD.T)))
        chosen = np.argsort(-similarities_N, kind="stable")[:count].tolist()
        return [
            Neighbour(source, target, min(1.0, max(-1.0, float(similarities_N[number]))))
            for number in chosen
            for source, target in [self.pairs[number]]
        ]

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """The index of a model directory whose files were checked; None where it has none.

        Raises `ModelDirectoryError`.
        """
        file = directory / INDEX_FILE
        if INDEX_FILE not in read_description(directory).card.files:
            return None
        try:
            check_header(file)
            tensors = load_file(file)
            mean_D, axes_KD, vectors_NK, text = (tensors[name] for name in ("mean", "axes", "vectors", "text"))
            lines = text.tobytes().decode("utf-8").split("\n")
            pairs = tuple((source, target) for source, target in (line.split("\t") for line in lines))
            if (len(pairs), len(axes_KD)) != vectors_NK.shape or axes_KD.shape[1:] != mean_D.shape:
                raise ValueError("its tensors do not fit together")
        except (KeyError, ValueError, SafetensorError) as error:
            raise ModelDirectoryError(f"{file}: holds no index of pairs ({error}); make it anew") from error
        return cls(pairs, mean_D, axes_KD.astype(np.float32), vectors_NK.astype(np.float32))

    def write(self, directory: Path) -> None:
        """Put the index into a model directory, in the place of the one that it may have. Atomic like `save_model`.

        Raises `ModelDirectoryError` where it is no model directory, `OSError` where it cannot be written.
        """
        card = read_description(directory).card
        text = "\n".join(f"{source}\t{target}" for source, target in self.pairs).encode()
        tensors: dict[str, npt.NDArray[Any]] = {
            "mean": self.mean_D,
            "axes": self.axes_KD.astype(np.float16),
            "vectors": self.vectors_NK.astype(np.float16),
            "text": np.frombuffer(text, dtype=np.int8),
        }
        with written_directory(directory, marker=CARD_FILE) as written:
            shutil.copytree(directory, written, dirs_exist_ok=True, symlinks=True)
            save_file(tensors, written / INDEX_FILE)
            write_card(written, card, card_page(card), (*CHECKED_FILES, INDEX_FILE))


def _unit(vectors: Floats) -> Floats:
    """The vectors in the last dimension at length 1; a vector of nothing stays one."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _SMALLEST)
    unit: Floats = (vectors / lengths).astype(np.float32)
    return unit
