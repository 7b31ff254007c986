"""Text to subword ids and back, on SentencePiece.

Byte fallback and the identity normalisation make `unigram` and `bpe` vocabularies lossless: every Unicode string
without lone surrogates comes back as it went in. `char` and `word` vocabularies replace what they do not know by the
unknown symbol, and say so in `Vocabulary.lossless`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import sentencepiece

#: A model has a vocabulary for each.
SIDES = ("source", "target")
# SentencePiece writes a space as U+2581, so a U+2581 of the text itself (and the escape symbol) must wear another coat.
_SPACE_SYMBOL = "\u2581"
_ESCAPE = "\ue000"
_ESCAPED = {_ESCAPE: _ESCAPE + "0", _SPACE_SYMBOL: _ESCAPE + "1", "\0": _ESCAPE + "2"}
_UNESCAPED = {written: symbol for symbol, written in _ESCAPED.items()}
_TO_ESCAPE = re.compile("[" + "".join(_ESCAPED) + "]")
_TO_UNESCAPE = re.compile(_ESCAPE + "[012]")


def escape(text: str) -> str:
    """Free `text` of the symbols that SentencePiece uses for itself; `unescape` undoes it."""
    return _TO_ESCAPE.sub(lambda match: _ESCAPED[match[0]], text)


def unescape(text: str) -> str:
    return _TO_UNESCAPE.sub(lambda match: _UNESCAPED[match[0]], text)


class Vocabulary:
    """The subwords or words of one language, with the ids of `<pad>`, `<unk>` and `<EOS>`."""

    def __init__(self, model_bytes: bytes) -> None:
        """Raises `ValueError` where `model_bytes` is no SentencePiece model or lacks one of the three symbols."""
        self.model_bytes = model_bytes
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model_bytes)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"not a SentencePiece model: {error}") from error
        self.size: int = self._processor.GetPieceSize()
        self.pad_id: int = self._processor.pad_id()
        self.unk_id: int = self._processor.unk_id()
        self.eos_id: int = self._processor.eos_id()
        if min(self.pad_id, self.unk_id, self.eos_id) < 0:
            raise ValueError("the SentencePiece model needs a padding, an unknown and an end-of-sentence symbol")
        self.lossless: bool = any(self._processor.IsByte(piece) for piece in range(self.size))

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        return cls(Path(path).read_bytes())

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without `<EOS>`. Raises `ValueError` for a lone surrogate, which UTF-8 cannot hold."""
        # An empty piece list is what SentencePiece gives for "", and what decode turns back into "".
        ids: list[int] = self._processor.EncodeAsIds(_escaped(text, 1))
        return ids

    def encode_batch(self, texts: Sequence[str], *, threads: int = -1) -> list[list[int]]:
        """The same for many texts, with several threads (-1: one for each core); for a few, `encode` is faster."""
        escaped = [_escaped(text, position) for position, text in enumerate(texts, 1)]
        ids: list[list[int]] = self._processor.EncodeAsIds(escaped, num_threads=threads) if escaped else []
        return ids

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The subwords or words themselves, as SentencePiece writes them: U+2581 for a space."""
        return [self._processor.IdToPiece(int(token)) for token in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; `<pad>` and `<EOS>` have none, bytes that form no UTF-8 become U+FFFD."""
        special = (self.pad_id, self.eos_id)
        text: str = self._processor.DecodeIds([int(token) for token in ids if token not in special])
        return unescape(text)

    def without_last_bytes(self, ids: Sequence[int]) -> Sequence[int]:
        """`ids` without the bytes that they end in, which may be half a character."""
        end = len(ids)
        while end and self._processor.IsByte(int(ids[end - 1])):
            end -= 1
        return ids[:end]


def _escaped(text: str, position: int) -> str:
    escaped = escape(text)
    try:
        escaped.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"text {position} holds a lone surrogate, which is no valid Unicode text") from error
    return escaped
