"""Rotary position embeddings: where a token stands, as an angle. Pure math, like `ops`."""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=32)
def rope_table(length, head_dim, theta, dtype):
    """cos and sin of position * theta^(-2i/d).    each: (length, d/2), read-only    Su et al. 2021, eq. 15"""
    frequency = theta ** (np.arange(0, head_dim, 2) / -head_dim)  # (d/2,)
    angle = np.arange(length)[:, None] * frequency  # (length, d/2)
    table = np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)
    for part in table:
        part.setflags(write=False)
    return table


def rope(x, cos, sin):
    """Rotate the pair (x[i], x[i + d/2]) by its angle: the half-rotation layout of Hugging Face.

    x, y: (..., T, d)   cos, sin: (T, d/2)    Su et al. 2021, eq. 34
    """
    y = _rotate(x, cos, sin)

    def backward(dy):
        # y = R x, R a rotation   =>  dx = Rᵀ dy: rotated back
        return _rotate(dy, cos, -sin)

    return y, backward


def _rotate(x, cos, sin):
    half = x.shape[-1] // 2
    x1, x2 = x[..., :half], x[..., half:]
    y = np.empty_like(x)
    np.multiply(x1, cos, out=y[..., :half])
    y[..., :half] -= x2 * sin
    np.multiply(x2, cos, out=y[..., half:])
    y[..., half:] += x1 * sin
    return y
