"""python -m translator score | embed: what a model says about text that is there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from translator.command_line import (
    BYTE_ORDER_MARK,
    Failure,
    chunks,
    decoded_lines,
    device_option,
    failures_of_streams,
    load_translator,
    model_options,
    progress_bar,
    standard_streams,
    without_end,
)
from translator.files import written_file

if TYPE_CHECKING:
    from translator.config import Combination
    from translator.scoring import PairScore


@click.command()
@model_options
@click.option("--per-token", is_flag=True, help="One JSON document a line, with every token and its log-probability.")
def score(models: tuple[str, ...], combination: Combination, device: str, per_token: bool) -> None:
    """How probable each translation is: log p(target | source) in nats, one number a line.

    Standard input has one pair a line, source and target with a tab between them, each side one sentence:
    paste source.txt target.txt | python -m translator score --model MODEL

    Always computed in float32; the end of the sentence counts.
    """
    translator = load_translator(models, device, engine="reference", combination=combination)
    from translator.scoring import score_texts

    source, target = standard_streams()
    lines = 0
    with failures_of_streams(), progress_bar(source, "scoring") as advance:
        for chunk in chunks(source):
            pairs = _pairs(decoded_lines(chunk, lines), lines)
            target.write("".join(_line(each, per_token) for each in score_texts(translator, pairs)).encode())
            target.flush()
            advance(len(chunk), sum(map(len, chunk)))
            lines += len(chunk)


@click.command()
@click.option(
    "--model", default="en-fr", show_default=True, help="Model directory, or the name of a shipped model; only one."
)
@device_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a NumPy array there, float32 [lines, numbers]; if not given, JSON lines are printed.",
)
def embed(model: str, device: str, output: Path | None) -> None:
    """The sentence vector h(x) of every line of standard input: what the decoder starts from.

    The hidden states of all layers, lowest first, and after them the cell states: 2 · layers · cells numbers of an
    LSTM. Each line is one sentence. Computed in float32.
    """
    if output is not None and not output.absolute().parent.is_dir():
        raise Failure(f"{output}: there is no folder {output.parent}; make it first")
    translator = load_translator([model], device, engine="reference")
    if len(translator.members) > 1:
        raise Failure("an ensemble has no one vector of a sentence; name one model")
    import numpy as np

    from translator.scoring import as_source, sentence_vectors

    loaded = translator.loaded
    source, target = standard_streams()
    parts: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    lines = 0
    with failures_of_streams(), progress_bar(source, "reading") as advance:
        for chunk in chunks(source):
            texts = _texts(decoded_lines(chunk, lines), lines)
            tokens = loaded.source_vocabulary.encode_batch([as_source(text) for text in texts])
            vectors = sentence_vectors(loaded.model, tokens, source_eos_id=loaded.source_vocabulary.eos_id).numpy()
            if output is not None:
                parts.append(vectors)
            else:
                for text, vector in zip(texts, vectors, strict=True):
                    document = {"text": text, "vector": [float(str(number)) for number in vector]}
                    target.write((json.dumps(document, ensure_ascii=False) + "\n").encode())
                target.flush()
            advance(len(chunk), sum(map(len, chunk)))
            lines += len(chunk)
    if output is not None:
        nothing = sentence_vectors(loaded.model, [], source_eos_id=loaded.source_vocabulary.eos_id).numpy()
        try:
            is_special = output.exists() and not output.is_file()  # /dev/stdout
            with output.open("wb") if is_special else written_file(output.resolve()) as file:
                np.save(file, np.concatenate([nothing, *parts]))
        except OSError as error:  # NumPy's own says nothing in strerror
            raise Failure(f"{output}: cannot be written: {error.strerror or error}") from error


def _texts(lines: list[str], lines_before: int) -> list[str]:
    """The lines without their ends, and the first of the input without a byte order mark."""
    texts = [without_end(line) for line in lines]
    if lines_before == 0:
        texts[0] = texts[0].removeprefix(BYTE_ORDER_MARK)
    return texts


def _pairs(lines: list[str], lines_before: int) -> list[tuple[str, str]]:
    pairs = []
    for number, text in enumerate(_texts(lines, lines_before), lines_before + 1):
        source, tab, target = text.partition("\t")
        if not tab or "\t" in target:
            raise Failure(
                f"line {number} of the input has {text.count(chr(9))} tabs and should have one, "
                "between source and target (paste source.txt target.txt)"
            )
        pairs.append((source, target))
    return pairs


def _line(score: PairScore, per_token: bool) -> str:
    if not per_token:
        return f"{score.log_probability:.6f}\n"
    tokens = [
        {"token": piece, "log_probability": round(value, 6)}
        for piece, value in zip(score.pieces, score.log_probabilities, strict=True)
    ]
    document = {"log_probability": round(score.log_probability, 6), "tokens": tokens}
    return json.dumps(document, ensure_ascii=False) + "\n"
