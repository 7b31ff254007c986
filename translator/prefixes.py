"""Which beginning of a translation is certain while the search for it goes on.

W open hypotheses of one sentence, T tokens each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from translator.search import Findings, Query

# The best finished hypothesis's score is compared with what an open one may reach; both are rounded.
_ROUNDING = 1e-6


def certain_prefix(
    query: Query,
    findings: Findings,
    history_WT: npt.NDArray[np.int32],
    scores_W: npt.NDArray[np.float32],
) -> tuple[int, ...]:
    """The longest common prefix of all hypotheses that may still become the best one.

    These are the best finished hypothesis, because one that scores less stays behind it, and the open hypotheses
    (tokens `history_WT`, log p `scores_W`) that can still beat it: log p can only fall, and the divisor of the length
    penalty only rise up to the maximum length (see `Findings.bound`).
    """
    leader = findings.leader()
    if leader is not None:
        bound = leader.score * query.penalty(query.maximum_length)
        history_WT = history_WT[scores_W > bound - _ROUNDING * abs(bound)]
        if not len(history_WT):
            return leader.tokens
        finished_T = np.array(leader.tokens, dtype=np.int32)
        shorter = min(len(finished_T), history_WT.shape[1])
        history_WT = np.concatenate([history_WT[:, :shorter], finished_T[None, :shorter]])
    differing = np.flatnonzero((history_WT != history_WT[0]).any(axis=0))
    length = int(differing[0]) if len(differing) else history_WT.shape[1]
    return tuple(history_WT[0, :length].tolist())
