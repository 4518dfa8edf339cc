"""A random rotation before quantizing: it spreads an outlier over its whole row (QuIP, Chee et al. 2023, arXiv 2307.13304)."""

import numpy as np

from minilora import checks


def random_hadamard(n: int, *, rng: np.random.Generator) -> np.ndarray:
    """H diag(s) / sqrt(b): an orthogonal matrix whose entries all have one size, with random signs s.    (n, n) float64

    H is Sylvester's Hadamard matrix of size b, the largest power of two that divides n, repeated along the diagonal where
    n is larger. Rotating W (out, in) as W Q leaves y = (W Q) (Qᵀ x) what it was. ValueError for an odd n: b would be 1.
    """
    from scipy.linalg import block_diag, hadamard

    n = checks.integer("n", n, low=2)
    b = n & -n
    if b == 1:
        raise ValueError(f"n must be even, got {n}; an odd number has no Hadamard block to spread over")
    signs = checks.generator("rng", rng).choice((-1.0, 1.0), n)
    return block_diag(*[hadamard(b)] * (n // b)) * signs / np.sqrt(b)
