"""Sentence vectors for the decoder process, by weights of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from service.decoder import card_identity


class SentenceReader:
    """Reads sentences into h(x) as `translator.scoring` does, in float32, whatever the engine decodes in.

    The weights are loaded when the first sentence is read: most services never read one. Lanes share a reader.
    """

    def __init__(self, model: str, identity: str) -> None:
        """`identity` is the model's (see `service.decoder.card_identity`), which must not have changed since."""
        self._path = model
        self._identity = identity
        self._lock = threading.Lock()
        self._loaded: Any = None

    def read(self, sources: Sequence[tuple[int, ...]]) -> list[bytes]:
        """The vectors of sentences (token ids), each as the bytes of float32 numbers.

        Raises `ValueError` where the model cannot be loaded any more.
        """
        from translator.scoring import sentence_vectors

        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            eos_id = self._loaded.source_vocabulary.eos_id
            return [
                vector.tobytes()
                for vector in sentence_vectors(self._loaded.model, sources, source_eos_id=eos_id).numpy()
            ]

    def _load(self) -> Any:
        from translator.directory import load_model

        loaded = load_model(self._path)
        if card_identity(loaded.card) != self._identity:
            raise ValueError(f"{self._path}: holds another model than a moment ago; load it anew")
        for parameter in loaded.model.decoder.parameters():  # no more of it is needed than where it is
            parameter.data = parameter.data[:0]
        return loaded
