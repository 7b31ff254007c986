"""The text that all contenders read: sentences of one length over a vocabulary of 8,000 entries.

By default it is made up, deterministically, of the words "w1" to "w7990" under Zipf's law, so that no corpus is needed;
the speed of a decoding whose length is forced does not depend on what the words are.
"""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VOCABULARY_SIZE = 8_000
WORD_COUNT = 7_990
SPECIAL_COUNT = 4
TRAINING_SENTENCES = 512
SEED = 20140910


@dataclass(frozen=True)
class Text:
    """What is learnt from, what is decoded, and the words of both, the most frequent first."""

    words: list[str]
    training_source: list[str]
    training_target: list[str]
    decoding_source: list[str]
    """Sentences to be translated, each of as many words, which are separated by blanks."""

    def vocabulary(self, specials: list[str]) -> list[str]:
        """Exactly `VOCABULARY_SIZE` entries, fillers among them, so that all output layers have as many columns."""
        entries = [*specials, *self.words]
        return entries + [f"filler{number}" for number in range(VOCABULARY_SIZE - len(entries))]

    def identifiers(self, sentences: Sequence[str]) -> list[list[int]]:
        """The words as numbers from `SPECIAL_COUNT` up, for a contender that reads no text."""
        places = {word: place for place, word in enumerate(self.words, start=SPECIAL_COUNT)}
        return [[places[word] for word in sentence.split(" ")] for sentence in sentences]


def made_up_text(decoding_sentences: int, tokens: int) -> Text:
    """Sentences of `tokens` words each, drawn independently by Zipf's law; the same ones every time."""
    generator = random.Random(SEED)
    words = [f"w{rank}" for rank in range(1, WORD_COUNT + 1)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, WORD_COUNT + 1)))

    def sentences(count: int) -> list[str]:
        return [" ".join(generator.choices(words, cum_weights=weights, k=tokens)) for _ in range(count)]

    training_source, training_target = sentences(TRAINING_SENTENCES), sentences(TRAINING_SENTENCES)
    return Text(words, training_source, training_target, sentences(decoding_sentences))


def text_of_corpus(folder: Path, decoding_sentences: int, tokens: int) -> Text:
    """The same from a real corpus: `folder` holds two files `train.LANGUAGE`, of which the first by name is the source.

    Both are cut into subwords by one SentencePiece model, and the running text into sentences of `tokens` subwords.
    Raises ValueError if there are not two files, or not enough text in them.
    """
    import sentencepiece

    files = sorted(folder.glob("train.*"))
    if len(files) != 2:
        raise ValueError(f"{folder} should hold two files named train.LANGUAGE, and holds {len(files)}.")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        input=[str(file) for file in files],
        model_writer=model,
        vocab_size=WORD_COUNT,
        hard_vocab_limit=False,
        input_sentence_size=200_000,
        shuffle_input_sentence=True,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    words = [
        processor.id_to_piece(number)
        for number in range(processor.vocab_size())
        if not processor.is_unknown(number) and not processor.is_control(number)
    ]

    def sentences(file: Path, count: int) -> list[str]:
        known, found, running = set(words), list[str](), list[str]()
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                running += [piece for piece in processor.encode(line, out_type=str) if piece in known]
                while len(running) >= tokens and len(found) < count:
                    found.append(" ".join(running[:tokens]))
                    running = running[tokens:]
                if len(found) == count:
                    return found
        raise ValueError(f"{file} holds too little text: {len(found)} of {count} sentences of {tokens} subwords.")

    source = sentences(files[0], TRAINING_SENTENCES + decoding_sentences)
    target = sentences(files[1], TRAINING_SENTENCES)
    return Text(words, source[:TRAINING_SENTENCES], target, source[TRAINING_SENTENCES:])
