"""`python -m training index`: training pairs into a model directory, to be found again by what they are like."""

from __future__ import annotations

import random
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from training.errors import InputError
from training.parallel_text import ParallelText, read_parallel_text
from translator.description import ModelDirectoryError
from translator.directory import load_model
from translator.pair_index import PairIndex
from translator.scoring import as_source, sentence_vectors

_SENTENCES_AT_ONCE = 1_024


def index_pairs(model: Path, text: ParallelText, *, pairs: int, seed: int) -> PairIndex:
    """Write an index of `pairs` pairs of `text`, or of all if they are fewer, into the directory of `model`.

    Which ones, `seed` says. Raises `InputError` where the directory cannot be read or written.
    """
    try:
        loaded = load_model(model)
    except ModelDirectoryError as error:
        raise InputError(str(error)) from error
    numbers = random.Random(seed).sample(range(len(text.sources)), min(pairs, len(text.sources)))
    chosen = [(text.sources[number], text.references[number]) for number in numbers]
    tokens = loaded.source_vocabulary.encode_batch([as_source(source) for source, _ in chosen])
    vectors = [
        sentence_vectors(
            loaded.model,
            tokens[start : start + _SENTENCES_AT_ONCE],
            source_eos_id=loaded.source_vocabulary.eos_id,
        ).numpy()
        for start in range(0, len(tokens), _SENTENCES_AT_ONCE)
    ]
    index = PairIndex.of(chosen, np.concatenate(vectors))
    try:
        index.write(model)
    except OSError as error:
        raise InputError(f"{model}: cannot be written: {error.strerror or error}") from error
    return index


@click.command()
@click.option("--model", required=True, type=click.Path(path_type=Path), help="Model directory; it is changed.")
@click.option("--source", required=True, type=click.Path(path_type=Path), help="Training sentences, one a line.")
@click.option("--target", required=True, type=click.Path(path_type=Path), help="Their translations, line by line.")
@click.option("--pairs", type=click.IntRange(min=1), default=10_000, show_default=True, help="How many, at random.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of their choice.")
def index(model: Path, source: Path, target: Path, pairs: int, seed: int) -> None:
    """Put training pairs into a model directory, by their sentence vectors.

    The service then says which pairs that the model has seen are most like a sentence (POST /similar, and its page).
    The sentences themselves stand in the directory: mind the licence of the corpus.
    """
    made = index_pairs(model, read_parallel_text(source, target), pairs=pairs, seed=seed)
    Console(stderr=True).print(
        f"{model}: has an index of {len(made.pairs):,} pairs now", highlight=False, soft_wrap=True
    )
