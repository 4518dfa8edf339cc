"""What an update does to a matrix's singular vectors: subspaces shared, directions amplified, intruders.

A singular value decomposition W = U diag(s) Vᵀ: the columns of U (out, n) are directions in the output, those of V (in, n)
in the input, with n = min(out, in) and s falling. The sign of a pair of vectors is arbitrary, so only magnitudes of their
products mean anything here.
"""

import numpy as np

from minilora import checks


def svd(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (out, n), s (n,) falling, V (in, n) of W = U diag(s) Vᵀ, in float64.    weight: (out, in)

    ValueError or TypeError for anything but a finite float matrix.
    """
    _matrix("weight", weight)
    u, s, vt = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    return u, s, vt.T


def subspace_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """phi(i, j) = |V1_iᵀ V2_j|² / min(i, j): how much of the smaller of two subspaces lies in the other, from 0 to 1.

    first: (r1, in), second: (r2, in), say two lora_A of one layer; V_i: the i first right singular vectors.
    -> (r1, r2), where entry [i - 1, j - 1] is phi(i, j).    Hu et al. 2021 (arXiv 2106.09685), eq. 4 and figure 3

    Two random subspaces of dimensions i and j share phi = max(i, j) / in on average. ValueError or TypeError for what
    are not two matrices of equal width.
    """
    _matrix("first", first)
    _matrix("second", second)
    v1, v2 = svd(first)[2], svd(second)[2]
    if len(v1) != len(v2):
        raise ValueError(f"second must have {len(v1)} columns like first, got {checks.shown(second)}")
    shared = np.cumsum(np.cumsum((v1.T @ v2) ** 2, axis=0), axis=1)  # |V1_iᵀ V2_j|² for every i and j
    i, j = np.arange(1, v1.shape[1] + 1), np.arange(1, v2.shape[1] + 1)
    return shared / np.minimum(i[:, None], j)


def amplification(update: np.ndarray, weight: np.ndarray, r: int) -> float:
    """|dW| / |Uᵀ W V| with the r first singular vectors U, V of the update dW: how much dW strengthens its directions.

    update, weight: (out, in). Large where the update's directions are hardly present in W.
    Hu et al. 2021 (arXiv 2106.09685), section 7.3 and table 7
    ValueError or TypeError for matrices of two shapes, an r out of range, or a W that is zero along all those
    directions.
    """
    _pair("update", update, "weight", weight)
    u, _, v = svd(update)
    r = checks.integer("r", r, low=1, high=u.shape[1])
    present = np.linalg.norm(u[:, :r].T @ weight @ v[:, :r])
    if present == 0:
        raise ValueError("weight must act on the update's directions, got 0 along all of them; the factor is infinite")
    return float(np.linalg.norm(update) / present)


def intruder_dimensions(before: np.ndarray, after: np.ndarray, *, k: int = 10, epsilon: float = 0.5) -> int:
    """How many of the k first left singular vectors of `after` have no counterpart in `before`.    both: (out, in)

    An intruder's cosine with every left singular vector of `before` is below `epsilon` in magnitude. Shuttleworth et al.
    2024 (arXiv 2410.21228), algorithm 1. What they mean is disputed: compare with `norm_matched`, an update just as large
    and without any learning. ValueError or TypeError for matrices of two shapes, or k or epsilon out of range.
    """
    _pair("before", before, "after", after)
    epsilon = checks.real("epsilon", epsilon, above=0, high=1)
    u, changed = svd(before)[0], svd(after)[0]
    k = checks.integer("k", k, low=1, high=changed.shape[1])
    cosines = np.abs(u.T @ changed[:, :k])  # (n, k)
    return int(np.sum(cosines.max(axis=0) < epsilon))


def norm_matched(
    before: np.ndarray, after: np.ndarray, *, r: int | None = None, rng: np.random.Generator
) -> np.ndarray:
    """`before` plus a random update of the same Frobenius norm as after - before, of rank `r` (None: full rank).

    The control for `intruder_dimensions`.    all: (out, in)   -> float64
    ValueError or TypeError for matrices of two shapes, a rank out of range, or no generator.
    """
    _pair("before", before, "after", after)
    checks.generator("rng", rng)
    out_features, in_features = before.shape
    if r is None:
        update = rng.standard_normal(before.shape)
    else:
        r = checks.integer("r", r, low=1, high=min(before.shape))
        update = rng.standard_normal((out_features, r)) @ rng.standard_normal((r, in_features))
    distance = np.linalg.norm(np.subtract(after, before, dtype=np.float64))
    return before + update * (distance / np.linalg.norm(update))


def _matrix(name, value):
    checks.finite(name, checks.float_array(name, value, ndim=(2,)))


def _pair(first_name, first, second_name, second):
    _matrix(first_name, first)
    _matrix(second_name, second)
    if first.shape != second.shape:
        raise ValueError(f"{second_name} must have the shape of {first_name} {first.shape}, got {checks.shown(second)}")
