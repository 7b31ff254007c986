"""One update of the weights: forward, backward, clipping and the optimiser's step, in one process or in several."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.batches import Batch
from training.distributed import World
from training.hardware import has_fast_bfloat16
from training.objective import cross_entropy_sum
from training.optimisation import clip_gradient, is_of_optimiser, make_embeddings_sparse, make_optimiser
from training.recipe import Recipe
from training.subwords import EOS_ID, UNK_ID
from translator.model import Seq2Seq


def hide_words(tokens_BT: Tensor, probability: float) -> Tensor:
    """`tokens_BT` (int64 [batch, time]) with so many of them, drawn one by one, unknown; `<EOS>` stays.

    Word dropout (Iyyer et al. 2015, section 4; for decoders Bowman et al. 2016, section 3.1).
    """
    if probability == 0.0:  # no random number is drawn, so that a run without it is what it was
        return tokens_BT
    hidden_BT = torch.rand(tokens_BT.shape, device=tokens_BT.device) < probability
    return tokens_BT.masked_fill(hidden_BT & (tokens_BT != EOS_ID), UNK_ID)


class BatchLoss(nn.Module):
    """The network with its loss, as one module: DistributedDataParallel has to see every parameter being used."""

    def __init__(self, model: Seq2Seq, recipe: Recipe, source_eos_id: int, compute_dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self._eos_id = source_eos_id
        self._dropout = recipe.model.dropout
        self._word_dropout = recipe.model.word_dropout
        self._label_smoothing = recipe.optimisation.label_smoothing
        self._compute_dtype = compute_dtype

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The summed loss, with label smoothing, and the plain negative log-likelihood, both in nats."""
        device = batch.source_BS.device.type
        low_precision = self._compute_dtype != torch.float32
        source_BS, inputs_BT = (
            hide_words(tokens, self._word_dropout) for tokens in (batch.source_BS, batch.target_inputs_BT)
        )
        with torch.autocast(device, self._compute_dtype) if low_precision else nullcontext():
            features_BTH = self.model(source_BS, inputs_BT, self._eos_id, self._dropout)
        output = self.model.decoder.output
        return cross_entropy_sum(
            features_BTH.reshape(-1, features_BTH.shape[-1]).index_select(0, batch.positions_N),
            output.weight,
            output.bias,
            batch.targets_N,
            label_smoothing=self._label_smoothing,
            compute_dtype=self._compute_dtype,
        )


@dataclass(frozen=True)
class Outcome:
    """What an update leaves to be reported: scalars on the device, so that nothing has to wait for it.

    `negative_log_likelihood` is of this process's rows, `gradient_norm` of the whole gradient before clipping.
    """

    negative_log_likelihood: Tensor
    gradient_norm: Tensor


class Updater:
    """The weights with all that changes them."""

    def __init__(
        self, model: Seq2Seq, recipe: Recipe, world: World, *, source_eos_id: int, nominal_sentences: float
    ) -> None:
        """The gradient is that of the loss summed over all processes' rows, over `nominal_sentences`."""
        options = recipe.optimisation
        self.model = model
        self.low_precision = options.precision == "bfloat16" and has_fast_bfloat16(world.device)
        sparse = options.optimiser == "sgd" and world.size == 1  # DistributedDataParallel sums dense gradients only
        if sparse:
            make_embeddings_sparse(model)
        self.optimiser = make_optimiser(model.parameters(), options, sparse=sparse)
        self._clip_norm = options.clip_norm
        # DistributedDataParallel takes the mean over the processes.
        self._scale = world.size / nominal_sentences
        self._loss: nn.Module = BatchLoss(
            model, recipe, source_eos_id, torch.bfloat16 if self.low_precision else torch.float32
        )
        if world.size > 1:
            self._loss = DistributedDataParallel(self._loss, gradient_as_bucket_view=True)
        self._average = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.weight_average))  # type: ignore[no-untyped-call]
            if options.weight_average is not None
            else None
        )

    @property
    def measured_model(self) -> Seq2Seq:
        """The network that is measured and saved: the weights' moving average, where the recipe wants one."""
        model = self.model if self._average is None else self._average.module
        assert isinstance(model, Seq2Seq)
        return model

    @property
    def learning_rate(self) -> float:
        """That of the last update."""
        rate: float = self.optimiser.param_groups[0]["lr"]
        return rate

    def update(self, batch: Batch, learning_rate: float, *, counted: bool = True) -> Outcome:
        """Make an update with this process's rows of a batch; where it has none, `batch` is any and not `counted`."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad()  # gradients are new tensors, which saves zeroing the old ones and adding to them
        loss, negative_log_likelihood = self._loss(batch)
        if not counted:
            loss, negative_log_likelihood = loss * 0.0, negative_log_likelihood * 0.0
        (loss * self._scale).backward()
        norm = clip_gradient(self.model.parameters(), self._clip_norm)
        self.optimiser.step()
        if self._average is not None:
            self._average.update_parameters(self.model)
        return Outcome(negative_log_likelihood, norm)

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on, but for the random generators."""
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        if self._average is not None:
            state["average"] = self._average.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `ValueError` where the state is that of a run with another optimiser or without the average."""
        if not is_of_optimiser(state["optimiser"], self.optimiser):
            raise ValueError("optimisation.optimiser was changed")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if (self._average is None) != ("average" not in state):
            raise ValueError("optimisation.weight_average was changed")
        if self._average is not None:
            self._average.load_state_dict(state["average"])
