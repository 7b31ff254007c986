"""The best extensions of every sentence, from log-probabilities [R, V], on the tensors' own device."""

from __future__ import annotations

import torch
from torch import Tensor

from translator.engines.base import Beams, Extensions


def best_extensions(log_probabilities_RV: Tensor, beams: Beams, eos_id: int) -> Extensions:
    """What `Extensions` says, by top-k within each row and then over a sentence's rows.

    A row gives at most `beam_size` open extensions and one that ends, so that no more than `beam_size` + 1 of each row
    are looked at: there is no pass over [beam · vocabulary] scores.
    """
    device = log_probabilities_RV.device
    widest = int(beams.beam_sizes_N.max(initial=0))
    rows, vocabulary = log_probabilities_RV.shape
    drawn_DV = log_probabilities_RV[torch.from_numpy(beams.drawn_D).to(device)].float().cpu().numpy()
    ended_R = torch.full((rows,), -torch.inf, device=device)
    sentences = len(beams.widths_N)
    if widest == 0:
        empty = torch.empty((sentences, 0))
        return Extensions(
            empty.numpy(), empty.to(torch.int64).numpy(), empty.to(torch.int64).numpy(), ended_R.cpu().numpy(), drawn_DV
        )
    each = min(widest + 1, vocabulary)
    widths_N = torch.from_numpy(beams.widths_N).to(device, torch.int64)
    beam_sizes_N1 = torch.from_numpy(beams.beam_sizes_N).to(device, torch.int64).unsqueeze(1)
    first_N = widths_N.cumsum(0) - widths_N
    places_W = torch.arange(int(beams.widths_N.max()), device=device)
    real_NW = places_W < widths_N.unsqueeze(1)
    rows_NW = torch.where(real_NW, first_N.unsqueeze(1) + places_W, 0)

    best_RC, tokens_RC = log_probabilities_RV.float().topk(each, dim=1)
    sums_RC = best_RC + torch.from_numpy(beams.scores_R).to(device).unsqueeze(1)
    usable_NWC = real_NW.unsqueeze(2) & (torch.arange(each, device=device) <= beam_sizes_N1).unsqueeze(1)
    scores_NX = sums_RC[rows_NW].masked_fill(~usable_NWC, -torch.inf).flatten(1)
    tokens_NX = tokens_RC[rows_NW].flatten(1)
    scores_NX, order_NX = scores_NX.sort(dim=1, descending=True, stable=True)
    tokens_NX = tokens_NX.gather(1, order_NX)
    parents_NX = rows_NW.gather(1, order_NX // each)

    ends_NX = tokens_NX == eos_id
    ranks_X = torch.arange(scores_NX.shape[1], device=device)
    finished_NX = ends_NX & (ranks_X < beam_sizes_N1) & scores_NX.isfinite()
    ended_R[parents_NX[finished_NX]] = scores_NX[finished_NX]

    open_NK = ends_NX.to(torch.uint8).sort(dim=1, stable=True).indices[:, :widest]
    wanted_NK = ~ends_NX.gather(1, open_NK) & (torch.arange(open_NK.shape[1], device=device) < beam_sizes_N1)
    scores_NK = scores_NX.gather(1, open_NK).masked_fill(~wanted_NK, -torch.inf)
    return Extensions(
        scores_NK.cpu().numpy(),
        parents_NX.gather(1, open_NK).cpu().numpy(),
        tokens_NX.gather(1, open_NK).cpu().numpy(),
        ended_R.cpu().numpy(),
        drawn_DV,
    )
