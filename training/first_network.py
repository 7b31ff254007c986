"""The network before the first update: random, or with the weights of the model that the recipe begins with."""

from __future__ import annotations

import torch
from torch import Tensor

from training.errors import InputError
from training.initial_model import check_initial_model, describe_initial_model, initial_vocabularies
from training.prepared import Prepared
from training.recipe import Recipe
from translator.card import InitialModel
from translator.description import WEIGHTS_FILE, Description, ModelDirectoryError
from translator.directory import load_model
from translator.model import Seq2Seq
from translator.vocabulary import Vocabulary

# The weights that have a row for each entry of a vocabulary.
_BY_ENTRY = {
    "source": ("encoder.embedding.weight",),
    "target": ("decoder.embedding.weight", "decoder.output.weight", "decoder.output.bias"),
}


def first_network(recipe: Recipe, prepared: Prepared, *, resume: bool = False) -> tuple[Seq2Seq, InitialModel | None]:
    """The network in float32 on the CPU, and the model that the recipe begins with; None: its weights were drawn.

    Weights that are stored as bfloat16 or in 8 bits are what the initial model computes with in float32. Where
    the initial model has another language, an entry of the vocabulary begins as the one that is written the same; where
    none is, it begins as one drawn at random (Zoph et al. 2016).

    Args:
        resume: the run goes on, so that no weights are taken from the initial model. It may then be any model of the
            shape and with the vocabularies of the one that the run began with.

    Raises:
        InputError: the initial model cannot be used, does not fit the recipe or the prepared folder, or is what this
            run will write.
    """
    model = Seq2Seq(recipe.model.configuration(prepared.source_vocabulary.size, prepared.target_vocabulary.size))
    if recipe.initial_model is None:
        model.initialise(
            seed=recipe.optimisation.seed,
            initial_range=recipe.model.initial_range,
            embedding_deviation=recipe.model.embedding_deviation,
        )
        return model, None
    check_initial_model(recipe, resume=resume)
    described = describe_initial_model(recipe.initial_model, resume=resume)
    for side, vocabulary in initial_vocabularies(recipe).items():
        if vocabulary.model_bytes != prepared.vocabularies[side].model_bytes:
            raise InputError(
                f"{prepared.path}: the {side} vocabulary is not that of the initial model {recipe.initial_model}; "
                "prepare the corpus with this recipe, or leave --prepared out"
            )
    if not resume:
        _take_weights(model, described, prepared, seed=recipe.optimisation.seed)
    return model, InitialModel(name=described.card.name, weights_sha256=described.card.files[WEIGHTS_FILE].sha256)


def _take_weights(model: Seq2Seq, described: Description, prepared: Prepared, *, seed: int) -> None:
    try:
        loaded = load_model(described.path)
    except ModelDirectoryError as error:
        raise InputError(f"initial_model: {error}") from error
    except OSError as error:
        raise InputError(f"initial_model: {described.path}: cannot be read: {error.strerror or error}") from error
    if loaded.card.files != described.card.files:
        raise InputError(f"initial_model: {described.path}: another model was put in its place just now; start again")
    weights = loaded.model.state_dict()
    drawing = torch.Generator().manual_seed(seed)
    for side, tensors in _BY_ENTRY.items():
        rows = _rows(described.vocabularies[side], prepared.vocabularies[side], drawing)
        weights |= {name: weights[name][rows] for name in tensors}
    model.load_state_dict(weights)


def _rows(vocabulary: Vocabulary, other: Vocabulary, drawing: torch.Generator) -> Tensor:
    """For each entry of `other` the one of `vocabulary` that it begins as, int64 [entries of `other`]."""
    written = {piece: row for row, piece in enumerate(vocabulary.pieces(range(vocabulary.size)))}
    symbols = (vocabulary.pad_id, vocabulary.unk_id, vocabulary.eos_id)
    ordinary = torch.tensor([row for row in range(vocabulary.size) if row not in symbols])
    drawn = ordinary[torch.randint(len(ordinary), (other.size,), generator=drawing)].tolist()
    pieces = other.pieces(range(other.size))
    return torch.tensor([written.get(piece, row) for piece, row in zip(pieces, drawn, strict=True)])
