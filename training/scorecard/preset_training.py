"""Rows that are settings of the paper's training and search: the recipe's values, and what the code makes of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from training.batches import BatchSampler, collate
from training.distributed import World
from training.optimisation import clip_gradient, learning_rate, make_optimiser
from training.prepared import EncodedPairs
from training.recipe import Recipe
from training.scorecard.preset import EOS_ID, paper_recipe, small_model
from training.scorecard.rows import Row, fact
from training.target_positions import encoded_pairs
from training.updating import BatchLoss, Updater
from translator.config import SearchOptions
from translator.decoder import decode
from translator.engines import make_engine
from translator.scoring import score_pairs
from translator.search import Query

_PAD_ID = 0
_CPU = World(0, 1, torch.device("cpu"))
_TOLERANCE = 1e-4
# A few pairs of one source length, so that they make one batch.
_PAIRS: tuple[tuple[list[int], list[int]], ...] = (
    ([3, 4, 5], [6, 7]),
    ([5, 5, 3], [8, 9, 10, 11]),
    ([7, 3, 4], [4]),
)


def training_rows(recipe: Recipe) -> list[Row]:
    """P14 to P16, P22, P23, P25 and P40 of the paper's recipe."""
    return [
        _schedule(recipe),
        _gradient(recipe),
        _clipping(recipe),
        _objective(recipe),
        _search(recipe),
        _members_differ(recipe),
        _left_out(recipe),
    ]


def _pairs() -> EncodedPairs:
    return encoded_pairs([source for source, _ in _PAIRS], [target for _, target in _PAIRS])


def _schedule(recipe: Recipe) -> Row:
    options = recipe.optimisation
    optimiser = make_optimiser([nn.Parameter(torch.zeros(1))], options)
    momentum = optimiser.defaults.get("momentum", 0.0)
    updates_an_epoch = 1000
    epochs = (0.0, 4.999, 5.0, 5.5, 6.0, 6.5, 7.0, 7.499)
    rates = [learning_rate(options, round(epoch * updates_an_epoch), updates_an_epoch) for epoch in epochs]
    expected = [0.7, 0.7, 0.35, 0.175, 0.0875, 0.04375, 0.021875, 0.021875]
    return fact(
        "P14",
        "SGD without momentum; the rate is halved every half epoch after five",
        "0.7, 7.5 epochs in all",
        f"{type(optimiser).__name__}, momentum {momentum:g}, {options.epochs:g} epochs; rates "
        + ", ".join(f"{rate:g} at {epoch:g}" for epoch, rate in zip(epochs, rates, strict=True)),
        holds=isinstance(optimiser, torch.optim.SGD)
        and momentum == 0
        and options.epochs == 7.5
        and np.allclose(rates, expected),
    )


def _gradient(recipe: Recipe) -> Row:
    """An update of the trainer's own, beside the gradient of the summed loss by PyTorch's cross-entropy."""
    before, trained = small_model(recipe), small_model(recipe)
    batch = collate(_pairs(), np.arange(len(_PAIRS)), pad_id=_PAD_ID, eos_id=EOS_ID)
    nominal = BatchSampler(_pairs(), batch_sentences=recipe.optimisation.batch_sentences, seed=1).nominal_sentences
    updater = Updater(trained, recipe, _CPU, source_eos_id=EOS_ID, nominal_sentences=nominal)
    updater.update(batch, 1.0)
    features_BTO = before(batch.source_BS, batch.target_inputs_BT, EOS_ID)
    logits_NV = before.logits(features_BTO.flatten(0, 1)[batch.positions_N])
    loss = nn.functional.cross_entropy(logits_NV, batch.targets_N, reduction="sum")
    torch.autograd.backward(loss / 128)
    furthest = max(
        float((old.detach() - new.detach() - _gradient_of(old)).abs().max())
        for old, new in zip(before.parameters(), trained.parameters(), strict=True)
    )
    largest = max(float(_gradient_of(old).abs().max()) for old in before.parameters())
    return fact(
        "P15",
        "the loss is summed over tokens and divided by the sentences of a batch",
        "128 sentences",
        f"÷ {nominal:g}; an update is off the summed gradient ÷ 128 by at most {furthest / largest:.1e} of it",
        holds=nominal == 128 and furthest <= _TOLERANCE * largest,
    )


def _gradient_of(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _clipping(recipe: Recipe) -> Row:
    maximum = recipe.optimisation.clip_norm
    norms = []
    for norm in (10.0, 4.0):
        parameter = nn.Parameter(torch.zeros(2))
        parameter.grad = torch.tensor([0.6 * norm, 0.8 * norm])
        clip_gradient([parameter], maximum)
        norms.append(float(parameter.grad.norm()))
    return fact(
        "P16",
        "a gradient g with ‖g‖₂ > 5 becomes 5g ÷ ‖g‖₂",
        "5",
        f"{maximum:g}: norms 10 and 4 become {norms[0]:.4f} and {norms[1]:.4f}",
        holds=maximum == 5 and np.allclose(norms, [5.0, 4.0], rtol=_TOLERANCE),
    )


def _objective(recipe: Recipe) -> Row:
    model = small_model(recipe)
    batch = collate(_pairs(), np.arange(len(_PAIRS)), pad_id=_PAD_ID, eos_id=EOS_ID)
    loss = float(BatchLoss(model, recipe, EOS_ID, torch.float32)(batch)[0].detach())
    scored = -sum(score_pairs(model, _PAIRS, source_eos_id=EOS_ID, target_eos_id=EOS_ID))
    return fact(
        "P22",
        "the objective is log p(T | S) of the training pairs",
        "its mean is maximised",
        f"loss of {len(_PAIRS)} pairs {loss:.4f} nats, −Σ log p by scoring them {scored:.4f}",
        holds=math.isclose(loss, scored, rel_tol=_TOLERANCE),
    )


def _search(recipe: Recipe) -> Row:
    model = small_model(paper_recipe())  # the search does not depend on the network
    with torch.no_grad():
        model.decoder.output.bias[EOS_ID] += 0.1  # so that hypotheses of several lengths are finished
    engine = make_engine(model, source_eos_id=EOS_ID, target_eos_id=EOS_ID, name="reference")
    (alpha,) = recipe.evaluation.length_penalties
    options = SearchOptions(beam_size=12, max_length=12)
    (found,) = decode(engine, [Query((3, 4, 5), options, alpha, 12)])
    finished = [hypothesis for hypothesis in found if hypothesis.finished]
    scored = score_pairs(
        model, [((3, 4, 5), hypothesis.tokens) for hypothesis in finished], source_eos_id=EOS_ID, target_eos_id=EOS_ID
    )
    is_log_p = np.allclose([hypothesis.score for hypothesis in finished], scored, atol=_TOLERANCE)
    scores = [hypothesis.score for hypothesis in finished]
    lengths = sorted({len(hypothesis.tokens) for hypothesis in finished})
    return fact(
        "P23",
        "a hypothesis with <EOS> leaves the beam for the finished ones, ranked by log p without length normalisation",
        "α = 0",
        f"α = {alpha:g}: {len(finished)} finished hypotheses of {lengths[0]} to {lengths[-1]} tokens, in the order of "
        "log p; unlike in the paper, the places that become free are filled again",
        holds=alpha == 0 and len(lengths) > 1 and is_log_p and scores == sorted(scores, reverse=True),
    )


def _members_differ(recipe: Recipe) -> Row:
    first, second = (small_model(recipe) for _ in range(2))
    first.initialise(seed=1, initial_range=recipe.model.initial_range)
    second.initialise(seed=2, initial_range=recipe.model.initial_range)
    equal = sum(int((mine == yours).sum()) for mine, yours in zip(first.parameters(), second.parameters(), strict=True))
    pairs = encoded_pairs([[3, 4]] * 40, [[5, 6]] * 40)
    orders = [np.concatenate(BatchSampler(pairs, batch_sentences=8, seed=seed).epoch(0)).tolist() for seed in (1, 2)]
    return fact(
        "P25",
        "members of an ensemble differ in their initial values and in the order of the minibatches",
        "both",
        f"seeds 1 and 2: {equal:,} of {first.parameter_count():,} initial values are the same, and the order of "
        f"pairs is {'the same' if orders[0] == orders[1] else 'another'}",
        holds=equal < 0.01 * first.parameter_count() and orders[0] != orders[1],
    )


def _left_out(recipe: Recipe) -> Row:
    model, optimisation = recipe.model, recipe.optimisation
    found = {
        "attention": model.attention != "none",
        "input feeding": model.input_feeding,
        "dropout": model.dropout > 0,
        "a bidirectional encoder": model.bidirectional,
        "tied embeddings": model.tie_target_embedding,
        "residual connections": model.residual,
        "h(x) at every step": model.feed_context,
        "label smoothing": optimisation.label_smoothing > 0,
        "a moving average of the weights": optimisation.weight_average is not None,
        "a length penalty": any(recipe.evaluation.length_penalties),
        "subwords": recipe.subwords.model_type != "word",
        "early stopping": recipe.evaluation.patience is not None,
    }
    used = [name for name, is_used in found.items() if is_used]
    return fact(
        "P40",
        "what the paper does not use is off",
        "attention, dropout, bidirection, tying, label smoothing, length penalty, subwords, early stopping",
        f"{', '.join(used)} on" if used else f"off in the recipe: {', '.join(found)}",
        holds=not used,
    )
