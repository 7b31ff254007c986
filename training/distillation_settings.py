"""What the text of `python -m training distill` follows from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from training.errors import InputError
from training.prepared import Prepared, PreparedRecord
from training.prepared_texts import Side
from translator.config import SearchOptions
from translator.description import WEIGHTS_FILE
from translator.files import sha256_of
from translator.pipeline import Translator

#: What a person calls the settings whose names are not those of options.
SPOKEN = {
    "teacher": "teacher (--model)",
    "weights_sha256": "teacher (--model)",
    "reverse_weights_sha256": "--reverse-model",
    "kept_share": "--keep",
    "text_sha256": "text (--text)",
    "text_side": "side of the text",
    "mixed": "--mix",
    "corpus": "corpus, or section [corpus] of the recipe",
    "precision": "number format (--engine)",
}


class Settings(BaseModel):
    """What the text follows from; a run goes on only where all of it is the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str = Field(description="Its name, from the card.")
    weights_sha256: list[str] = Field(description="Of each model of the teacher.")
    combination: str = Field(description="How an ensemble's distributions become one.")
    precision: str = Field(description="Number format that the teacher computed in.")
    beam_size: int
    length_penalty: float
    nearest_reference: bool = Field(description="Whether the best of the beam by sentence BLEU was taken.")
    reverse_weights_sha256: list[str] = Field(
        default_factory=list, description="Of the models of the other direction that chose from the beam, too."
    )
    kept_share: float = Field(default=1.0, description="Of the pairs, those that the other direction finds likeliest.")
    text_sha256: list[str] = Field(
        default_factory=list, description="Of the files of one language that are translated, not the training sources."
    )
    text_side: Side = Field(default="source", description="On which side of the pairs the text stands.")
    mixed: bool = Field(description="Whether the original pairs stand behind the teacher's.")
    corpus: PreparedRecord = Field(description="The prepared corpus whose training pairs these are.")
    shard_pairs: int


def settings_of(
    translator: Translator,
    prepared: Prepared,
    options: SearchOptions,
    *,
    text_files: Sequence[Path] = (),
    reverse: Translator | None = None,
    kept_share: float = 1.0,
    nearest_reference: bool = False,
    mixed: bool = False,
    shard_pairs: int,
) -> Settings:
    """What the text will follow from; the arguments are those of the command.

    Raises:
        InputError: the teacher, or `reverse`, translates other languages; a text file cannot be read; or text is to
            stand beside a corpus that brings no dev and test, which would be drawn anew from it and the text.
    """
    card, corpus = translator.card, prepared.record.corpus
    forward = (corpus.source_language, corpus.target_language)
    directions: dict[tuple[str, str], Side] = {forward: "source"}
    if text_files:
        directions[forward[::-1]] = "target"
    teachers = (card.source_language, card.target_language)
    if teachers not in directions:
        raise InputError(
            f"{_direction(translator)}, and the corpus is {' to '.join(forward)}; name another teacher"
            + (f", or text of {forward[1]} with --text" if teachers == forward[::-1] else "")
        )
    if reverse is not None and (reverse.card.source_language, reverse.card.target_language) != teachers[::-1]:
        raise InputError(f"{_direction(reverse)}, and not {' to '.join(teachers[::-1])}; name another --reverse-model")
    if text_files:
        _check_parts(prepared)
    return Settings(
        teacher=card.name,
        weights_sha256=_weights(translator),
        combination=translator.combination,
        precision=translator.engine.precision,
        beam_size=options.beam_size,
        length_penalty=card.length_penalty if options.length_penalty is None else options.length_penalty,
        nearest_reference=nearest_reference,
        reverse_weights_sha256=[] if reverse is None else _weights(reverse),
        kept_share=kept_share,
        text_sha256=[_checksum(file) for file in text_files],
        text_side=directions[teachers],
        mixed=mixed,
        # How long the preparation took, and with how many processes, is of no interest.
        corpus=prepared.record.model_copy(update={"seconds": {}, "processes": 1}),
        shard_pairs=shard_pairs,
    )


def _check_parts(prepared: Prepared) -> None:
    corpus = prepared.record.corpus
    files = {Path(name).name.removesuffix(".gz") for name in prepared.record.sha256}
    if corpus.kind != "moses":
        what = f'is of kind = "{corpus.kind}", and such text stands beside a folder (kind = "moses", further_paths)'
    elif missing := [part for part in ("dev", "test") if f"{part}.{corpus.source_language}" not in files]:
        what = f"brings no {' and no '.join(missing)}, which would be drawn from such text, too"
    else:
        return
    raise InputError(
        f"{prepared.record.corpus_name}: the corpus {what}; make a folder of it first, with train, dev and test in two "
        f"files each: {prepared.path} has dev and test as they were drawn"
    )


def _direction(translator: Translator) -> str:
    card = translator.card
    return f"{card.name} translates {card.source_language} to {card.target_language}"


def _weights(translator: Translator) -> list[str]:
    return [member.card.files[WEIGHTS_FILE].sha256 for member in translator.members]


def _checksum(file: Path) -> str:
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: is no file; the text is read more than once, so write it into one first")
    try:
        return sha256_of(file)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from error
