"""Where sentences lie in the space of h(x): two principal components, and cosines (the paper's section 3.8).

Cosines are of vectors from which the mean vector of ordinary sentences has been taken: otherwise all are near 1, for
every sentence's vector has much in common with every other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.phrases import Panel, PhraseSet
from translator.directory import LoadedModel
from translator.scoring import as_source, sentence_vectors

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class VoiceAndOrder:
    """Cosine distances of each triple, float64 [triples]; see `training.phrases.Triple`.

    `voice` is from the active to the passive of the same meaning, `order` from the active to the active with the roles
    exchanged, `misled` from the passive to the latter, with which it has the order of words in common.
    """

    voice: Doubles
    order: Doubles
    misled: Doubles


def centred_vectors(loaded: LoadedModel, texts: Sequence[str], ordinary: Sequence[str]) -> dict[str, Doubles]:
    """h(x) of each text, less the mean of h(x) over `ordinary` sentences; float64 [states · layers · hidden]."""
    vectors = _vectors(loaded, [*texts, *ordinary])
    centre = vectors[len(texts) :].mean(axis=0)
    return {text: vector - centre for text, vector in zip(texts, vectors, strict=False)}


def _vectors(loaded: LoadedModel, texts: Sequence[str]) -> Doubles:
    tokens = loaded.source_vocabulary.encode_batch([as_source(text) for text in texts])
    found = sentence_vectors(loaded.model, tokens, source_eos_id=loaded.source_vocabulary.eos_id)
    return found.numpy().astype(np.float64)


def cosine_distance(first: Doubles, second: Doubles) -> float:
    """1 − cos of the angle between two vectors."""
    return 1.0 - float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def voice_and_order(phrases: PhraseSet, vectors: dict[str, Doubles]) -> VoiceAndOrder:
    """The distances of the set's triples."""
    found = [
        (
            cosine_distance(vectors[triple.active], vectors[triple.passive]),
            cosine_distance(vectors[triple.active], vectors[triple.exchanged]),
            cosine_distance(vectors[triple.passive], vectors[triple.exchanged]),
        )
        for triple in phrases.triples
    ]
    voice, order, misled = np.array(found, dtype=np.float64).T
    return VoiceAndOrder(voice, order, misled)


def neighbours_of_one_group(panel: Panel, vectors: dict[str, Doubles]) -> list[bool]:
    """For each phrase, whether the nearest other one by cosine is of its own group."""
    found = []
    for phrase, group in panel.phrases:
        others = [(other, its_group) for other, its_group in panel.phrases if other != phrase]
        distances = [cosine_distance(vectors[phrase], vectors[other]) for other, _ in others]
        found.append(others[int(np.argmin(distances))][1] == group)
    return found


def principal_components(vectors: Doubles) -> tuple[Doubles, Doubles]:
    """Coordinates [vectors, 2] on the first two principal components, and their shares of the variance, [2].

    A component's sign means nothing; here the coordinate of greatest magnitude is positive on each, so that the same
    vectors give the same picture.
    """
    centred = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    coordinates = (left * singular)[:, :2]
    furthest = np.abs(coordinates).argmax(axis=0)
    signs = np.sign(coordinates[furthest, np.arange(coordinates.shape[1])])
    shares = singular**2 / max(float((singular**2).sum()), np.finfo(np.float64).tiny)
    return coordinates * np.where(signs == 0, 1.0, signs), shares[:2]
