"""Which models the scorecard trains, and the recipe of each.

The corpus, the subwords and the optimisation are those of the recipe that the scorecard is asked for. The network is
the paper's at every depth: no residual connections, no attention, h(x) for the decoder's first state alone. Its weights
are drawn, also where the recipe begins with those of a model, of which the grid has nothing but the vocabularies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from training.errors import InputError
from training.recipe import Recipe
from translator.config import CellName

SIMPLER_CELLS: tuple[CellName, ...] = ("rnn", "cudnn-gru")
"""What section 5 of the paper speaks of, and the cell between it and the LSTM."""

FEWEST_SEEDS = 2
# What the paper does not have (`translator.model`); a recipe for a good model often has.
_PLAIN: dict[str, Any] = {
    "residual": False,
    "feed_context": False,
    "attention": "none",
    "tie_target_embedding": False,
    "input_feeding": False,
    "bidirectional": False,
}


@dataclass(frozen=True)
class Member:
    """One model of the grid."""

    cell: CellName
    reverses: bool
    depth: int
    seed: int

    @property
    def configuration(self) -> str:
        """What all seeds of it share, such as "lstm-reversed-4"."""
        return f"{self.cell}-{'reversed' if self.reverses else 'forward'}-{self.depth}"

    @property
    def name(self) -> str:
        return f"{self.configuration}-seed{self.seed}"


class Budget(BaseModel):
    """How large the grid is. `width` is the hidden size and that of the embeddings."""

    model_config = ConfigDict(frozen=True)

    width: int = Field(ge=2)
    epochs: float = Field(gt=0)
    depths: tuple[int, ...] = Field(min_length=1)
    seeds: int = Field(ge=FEWEST_SEEDS)
    ensemble: int = Field(ge=FEWEST_SEEDS, description="Members of the largest ensemble, the paper's 5.")
    n_best: int = Field(ge=2, description="Candidates of a sentence that are rescored.")

    @property
    def deepest(self) -> int:
        return max(self.depths)

    def seeds_of(self, *, cell: CellName = "lstm", reverses: bool, depth: int) -> range:
        """The seeds of a configuration: as many as the largest ensemble has members for the one that is its own."""
        is_best = cell == "lstm" and reverses and depth == self.deepest
        return range(1, 1 + (max(self.seeds, self.ensemble) if is_best else self.seeds))


def parse_depths(text: str) -> tuple[int, ...]:
    """Depths such as "1,2,4". Raises InputError."""
    try:
        depths = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise InputError(
            f"--depths {text}: expected numbers of layers with commas between them, such as 1,2,4"
        ) from error
    if not 1 <= depths[0] <= depths[-1] <= 32:
        raise InputError(f"--depths {text}: a network has 1 to 32 layers")
    return depths


def members(budget: Budget) -> list[Member]:
    """All models of the grid, in the order of training: all configurations with the first seed, then the next."""
    found: list[Member] = []
    for depth in budget.depths:
        for reverses in (False, True):
            found += [Member("lstm", reverses, depth, seed) for seed in budget.seeds_of(reverses=reverses, depth=depth)]
    shallowest = min(budget.depths)
    for cell in SIMPLER_CELLS:
        for reverses in (False, True):
            seeds = budget.seeds_of(cell=cell, reverses=reverses, depth=shallowest)
            found += [Member(cell, reverses, shallowest, seed) for seed in seeds]
    return sorted(found, key=lambda member: member.seed)


def member_recipe(recipe: Recipe, member: Member, budget: Budget, folder: Path) -> Recipe:
    """The recipe of one model of the grid, which is trained in `folder`."""
    optimisation = recipe.optimisation
    stretch = budget.epochs / optimisation.epochs
    document = recipe.model_dump() | {"name": member.configuration, "initial_model": None}
    document["model"] |= _PLAIN | {
        "cell": member.cell,
        "num_layers": member.depth,
        "hidden_size": budget.width,
        "embedding_size": budget.width,
        "reverse_source": member.reverses,
    }
    document["optimisation"] |= {
        "epochs": budget.epochs,
        "halve_after_epochs": optimisation.halve_after_epochs * stretch,
        "halve_every_epochs": optimisation.halve_every_epochs * stretch,
        "seed": member.seed,
    }
    # The paper ranks hypotheses by their log-probability alone (section 3.2), and does not stop early.
    document["evaluation"] |= {"length_penalties": (0.0,), "patience": None}
    document["output"] |= {"directory": folder, "weight_storage": "float32", "keep_models": None, "tensorboard": False}
    return Recipe.model_validate(document)
