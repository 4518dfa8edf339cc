"""AF4: the four-bit code for what a block's weights really are after they are divided by the largest of them.

Weights drawn from a normal law are no longer normal once each block is divided by its absolute maximum: one of them is
now exactly -1 or 1, and the others are cut off there. That law depends on the block size, and so does its best code.
"""

import numpy as np

from minilora import checks


def scaled_law(block_size: int, points: int = 2049) -> tuple[np.ndarray, np.ndarray]:
    """The law of |w| / absmax for the weights of a block that are not its largest, if w is normal.

    y: (points,) from 0 to 1, and P(0 < W < y) with W = w / absmax: from 0 to 1/2, as the law is even.    float64

        m, the largest of B half-normals:  density  B (2 Phi(m) - 1)^(B-1) 2 phi(m)
        the others, given m:               normal, cut off at -m and m
        so  P(0 < W < y) = E_m[ (Phi(y m) - 1/2) / (2 Phi(m) - 1) ]    (Yoshida 2023, arXiv 2306.06965, sec. 3)

    ValueError for a block size below 2: the largest weight of a block of one is the only one.
    """
    from scipy.stats import norm

    block_size = checks.integer("block_size", block_size, low=2, high=2**20)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    m = 5.0 + 5.0 * nodes  # the maximum lies between 0 and 10 for every block that fits in memory
    inside = 2 * norm.cdf(m) - 1
    density = weights * inside ** (block_size - 1) * norm.pdf(m)
    y = np.linspace(0, 1, points)
    return y, ((norm.cdf(np.outer(y, m)) - 0.5) / inside) @ (density / density.sum())


def abnormal_float(block_size: int = 64, zero: str = "edge") -> np.ndarray:
    """The 16 values of AF4 for a block size: bit for bit the published table at 64 (Yoshida 2023, arXiv 2306.06965).

    A value costs the least absolute error if it is the median of the weights that are rounded to it (|w - a| has its
    smallest mean at the median), and a weight is rounded to the nearest value, so the bins end midway. Both hold at
    once after a few hundred rounds of: bins from the values, values from the bins. -1 and 1 stay where they are.

    zero="edge": each half is solved alone with zero as the edge of its first bin, 7 values above it and 6 below, and
    0 is put in at the end. This gives the published table, as reproducing it showed; the paper does not say so. It
    leaves two narrow bins beside zero, which is why AF4's error is larger than NF4's (figure quantization_error).
    zero="value": zero is one of the values during the search. This is the code of least mean absolute error among
    those that keep -1, 0 and 1; NF4 comes within a tenth of a percent of it at 64 (tests/quant/test_abnormal.py).

    (16,) float32, rounded to the eight places of the table.
    ValueError for a block size below 2 and for any other `zero`.
    """
    from scipy.interpolate import PchipInterpolator

    checks.one_of("zero", zero, ("edge", "value"))
    y, probability = scaled_law(block_size)
    cdf, quantile = PchipInterpolator(y, probability), PchipInterpolator(probability, y)

    def half(n):  # n values between 0 and 1, and 1
        values = np.linspace(0, 1, n + 2)[1:]
        for _ in range(10_000):
            first = 0.0 if zero == "edge" else values[0] / 2
            edges = np.concatenate([[first], (values[1:] + values[:-1]) / 2])
            medians = np.append(quantile((cdf(edges[:-1]) + cdf(edges[1:])) / 2), 1.0)
            if np.abs(medians - values).max() < 1e-13:
                break
            values = medians
        return medians

    return np.round(np.concatenate([-half(6)[::-1], [0.0], half(7)]), 8).astype(np.float32)
