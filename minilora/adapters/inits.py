"""How A and B of a LoRA start. Arrays out: A (r, in), B (out, r), float64.

With the first two, B is zero and the model is what it was. PiSSA and LoftQ start inside the weight: the layer beneath is
then W - s B A, whole or quantized.
"""

import math
from collections.abc import Callable

import numpy as np

Matrices = tuple[np.ndarray, np.ndarray]
Quantized = Callable[[np.ndarray], np.ndarray]


def uniform(r: int, in_features: int, rng: np.random.Generator) -> np.ndarray:
    """A uniform on +-1/sqrt(in), as PEFT draws it (Kaiming with a = sqrt 5).    (r, in)"""
    return rng.uniform(-1.0, 1.0, (r, in_features)) / math.sqrt(in_features)


def gaussian(r: int, in_features: int, rng: np.random.Generator) -> np.ndarray:
    """A normal with std 1/r, as PEFT's "gaussian".    (r, in)"""
    return rng.standard_normal((r, in_features)) / r


def pissa(weight: np.ndarray, r: int, scaling: float) -> Matrices:
    """A and B with s B A = the best approximation of rank r to W, each taking sqrt of the singular values.

    Training then moves the principal directions first. weight: (out, in)    Meng et al. 2024 (arXiv 2404.02948), eq. 3
    """
    U, S, Vt = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    root = np.sqrt(S[:r] / scaling)
    return root[:, None] * Vt[:r], U[:, :r] * root


def loftq(
    weight: np.ndarray, r: int, scaling: float, quantized: Quantized, iterations: int = 1
) -> tuple[Matrices, Matrices]:
    """((A, B), (start_A, start_B)), so that quantized(W - s start_B start_A) + s B A is close to W.

    Each iteration quantizes what the low-rank part leaves of W, at first all of it, then fits the low-rank part to what
    quantizing lost. `quantized`: w -> w after quantizing and decoding.    Li et al. 2023 (arXiv 2310.08659), algorithm 1
    """
    new = np.zeros((r, weight.shape[1])), np.zeros((weight.shape[0], r))
    for _ in range(iterations):
        start, new = new, _fit_error(weight, r, scaling, quantized, new)
    return new, start


def pissa_quantized(weight: np.ndarray, r: int, scaling: float, quantized: Quantized, iterations: int = 1) -> Matrices:
    """A and B for a base quantized(W - s B A): principal as in `pissa`, and fitted again to what quantizing lost, as in
    `loftq`, `iterations` - 1 times.    (Meng et al., section 4)
    """
    start = pissa(weight, r, scaling)
    for _ in range(iterations - 1):
        start = _fit_error(weight, r, scaling, quantized, start)
    return start


def _fit_error(weight, r, scaling, quantized, start):
    """The best A and B for W - quantized(W - s B A)."""
    A, B = start
    return pissa(weight - quantized((weight - scaling * (B @ A)).astype(weight.dtype)), r, scaling)
