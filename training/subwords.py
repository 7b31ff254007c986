"""Training of SentencePiece vocabularies."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Literal

import sentencepiece

from translator.vocabulary import Vocabulary, escape

PAD_ID, UNK_ID, EOS_ID = 0, 1, 2
_LONGEST_TEXT = 65_536  # bytes; longer training texts are left out by SentencePiece
_SUGGESTED_SIZE = re.compile(r"(?:<=|value\s+is\s+too\s+high.*?)\s*(\d+)")
_REQUIRED_SIZE = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


def train_vocabulary(
    texts: Iterable[str], *, size: int, model_type: Literal["unigram", "bpe", "char", "word"], seed: int
) -> tuple[Vocabulary, list[str]]:
    """Learn a vocabulary of `size` entries from `texts`, one sentence each, which are iterated over once or more.

    SentencePiece holds the texts in memory; no further copy is made. A corpus too small for `size` gives the largest
    vocabulary that it supports. Returns the vocabulary and notices to show (a smaller size, or what a lossy kind of
    vocabulary means). Raises `ValueError` where `texts` holds nothing to learn from.
    """
    if not any(text.strip() for text in texts):
        raise ValueError("there is no text to learn a vocabulary from")
    notices = []
    lossless = model_type in ("unigram", "bpe")
    attempt = size
    while True:
        try:
            model_bytes = _train(texts, attempt, model_type, lossless, seed)
            break
        except RuntimeError as error:
            if attempt == size and (required := _REQUIRED_SIZE.search(str(error))):
                raise ValueError(
                    f"{size:,} entries are too few: the characters of this text need {int(required[1]):,}"
                ) from error
            smaller = _supported_size(str(error), attempt)
            if smaller is None:
                raise ValueError(f"SentencePiece cannot learn a vocabulary of {size}: {error}") from error
            attempt = smaller
    vocabulary = Vocabulary(model_bytes)
    if vocabulary.size < size:
        notices.append(f"the corpus supports a vocabulary of {vocabulary.size:,}, not the {size:,} asked for")
    if not lossless:
        notices.append(f"a {model_type} vocabulary is lossy: what it does not know becomes <unk>")
    return vocabulary, notices


def _train(texts: Iterable[str], size: int, model_type: str, lossless: bool, seed: int) -> bytes:
    sentencepiece.set_random_generator_seed(seed)
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=(escape(text) for text in texts if text.strip()),
        model_writer=written,
        vocab_size=size,
        model_type=model_type,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        byte_fallback=lossless,
        character_coverage=0.9995 if lossless else 1.0,
        hard_vocab_limit=model_type not in ("char", "word"),
        use_all_vocab=False,
        pad_id=PAD_ID,
        unk_id=UNK_ID,
        eos_id=EOS_ID,
        bos_id=-1,
        unk_surface=" <unk>" if model_type == "word" else "<unk>",
        max_sentence_length=_LONGEST_TEXT,
        num_threads=1,  # the result may depend on it, and a vocabulary must be the same everywhere
        minloglevel=2,
    )
    return written.getvalue()


def _supported_size(message: str, attempted: int) -> int | None:
    """The largest size that SentencePiece's complaint allows, or None where it complains of something else."""
    for number in map(int, reversed(_SUGGESTED_SIZE.findall(message))):
        if number < attempted:
            return number
    if "too high" in message or "too large" in message or "Vocabulary size" in message:
        return attempted * 3 // 4 if attempted > 300 else None
    return None
