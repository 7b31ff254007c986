"""Vectors on a plane, as in Sutskever et al. 2014, Figure 2."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def principal_components(
    vectors_ND: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The places of N vectors on the plane of their first two principal components, float64 [N, 2], and each
    component's share of the variance, float64 [2].

    The sign of a component is that which makes its largest coordinate positive, so that the same vectors give the same
    picture. What there is no variance for is 0.
    """
    centred_ND = vectors_ND.astype(np.float64) - vectors_ND.mean(axis=0, dtype=np.float64)
    left_NK, singular_K, _ = np.linalg.svd(centred_ND, full_matrices=False)
    count = min(2, len(singular_K))
    coordinates_N2, explained = np.zeros((len(vectors_ND), 2)), np.zeros(2)
    total = float((singular_K**2).sum())
    # Below the rounding of float32 there is nothing but noise.
    if total <= 1e-12 * float((vectors_ND.astype(np.float64) ** 2).sum()):
        return coordinates_N2, explained
    chosen_NK = left_NK[:, :count] * singular_K[:count]
    largest_K = chosen_NK[np.abs(chosen_NK).argmax(axis=0), np.arange(count)]
    coordinates_N2[:, :count] = chosen_NK * np.where(largest_K < 0, -1.0, 1.0)
    explained[:count] = singular_K[:count] ** 2 / total
    return coordinates_N2, explained
