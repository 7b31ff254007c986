"""The network before the first update: random, or with the weights of the model that the recipe begins with."""

from __future__ import annotations

from training.errors import InputError
from training.initial_model import check_fit
from training.prepared import Prepared
from training.recipe import Recipe
from training.run_state import RunFolder
from translator.card import InitialModel
from translator.description import WEIGHTS_FILE, ModelDirectoryError, model_path
from translator.directory import LoadedModel, load_model
from translator.model import Seq2Seq


def first_network(recipe: Recipe, prepared: Prepared) -> tuple[Seq2Seq, InitialModel | None]:
    """The network in float32 on the CPU, and the model that its weights are of; None: they were drawn.

    Weights that are stored as bfloat16 or in 8 bits are what the initial model computes with in float32.

    Raises:
        InputError: the initial model cannot be used, does not fit the recipe or the prepared folder, or is what this
            run will write.
    """
    initial = _load(recipe, prepared) if recipe.initial_model is not None else None
    model = Seq2Seq(recipe.model.configuration(prepared.source_vocabulary.size, prepared.target_vocabulary.size))
    if initial is None:
        model.initialise(
            seed=recipe.optimisation.seed,
            initial_range=recipe.model.initial_range,
            embedding_deviation=recipe.model.embedding_deviation,
        )
        return model, None
    model.load_state_dict(initial.model.state_dict())
    card = initial.card
    return model, InitialModel(name=card.name, weights_sha256=card.files[WEIGHTS_FILE].sha256)


def _load(recipe: Recipe, prepared: Prepared) -> LoadedModel:
    assert recipe.initial_model is not None
    path = model_path(recipe.initial_model)
    if path.resolve() == RunFolder(recipe.run_directory).model.resolve():
        raise InputError(
            f"initial_model: {path} is where this run writes its own model; choose another place with --set name=NAME "
            "or --set output.directory=DIR"
        )
    try:
        loaded = load_model(path)
    except ModelDirectoryError as error:
        raise InputError(f"initial_model: {error}") from error
    check_fit(recipe, loaded.card, loaded.config)
    for side in ("source", "target"):
        if getattr(loaded, f"{side}_vocabulary").model_bytes != getattr(prepared, f"{side}_vocabulary").model_bytes:
            raise InputError(
                f"{prepared.path}: the {side} vocabulary is not that of the initial model {recipe.initial_model}; "
                "prepare the corpus with this recipe, or leave --prepared out"
            )
    return loaded
