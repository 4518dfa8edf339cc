"""Rotary position embeddings: where a token stands, as an angle. Pure math, like `ops`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# What each way of scaling needs to know, under Hugging Face's names.
ROPE_SCALINGS = {
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}

_TABLES = {}  # shape, theta, dtype, scaling -> the longest table so far; a shorter one is its beginning


def rope_table(
    length: int, head_dim: int, theta: float, dtype: np.dtype, scaling: tuple | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of position * frequency.    each: (length, d/2), read-only    see `rope_frequencies`

    One table is kept for each shape of model, and doubled when a text outgrows it.
    """
    key = head_dim, theta, np.dtype(dtype), scaling
    table = _TABLES.get(key)
    if table is None or len(table[0]) < length:
        table = _TABLES[key] = _new_table(max(64, 1 << (length - 1).bit_length()), *key)
    return table[0][:length], table[1][:length]


def _new_table(length, head_dim, theta, dtype, scaling):
    frequency = rope_frequencies(head_dim, theta, scaling)
    angle = np.arange(length)[:, None] * frequency  # (length, d/2)
    table = np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)
    for part in table:
        part.setflags(write=False)
    return table


def rope_frequencies(head_dim: int, theta: float, scaling: Mapping[str, Any] | None = None) -> np.ndarray:
    """theta^(-2i/d), radians per position, scaled.    (d/2,) float64    Su et al. 2021, eq. 15

    `scaling`: None, or the (name, value) pairs of a `rope_scaling`. "linear": all positions are divided by the factor
    (Chen et al. 2023, arXiv 2306.15595, eq. 3). "llama3": only slow pairs are, those that turn less than
    low_freq_factor times in the original context; fast ones, above high_freq_factor, stay as they are, and between
    the two there is a linear transition (Llama 3.1, Hugging Face's `_compute_llama3_parameters`).
    """
    frequency = theta ** (np.arange(0, head_dim, 2) / -head_dim)  # (d/2,)
    if scaling is None:
        return frequency
    s = dict(scaling)
    if s["rope_type"] == "linear":
        return frequency / s["factor"]
    low, high = s["low_freq_factor"], s["high_freq_factor"]
    turns = s["original_max_position_embeddings"] * frequency / (2 * math.pi)
    kept = np.clip((turns - low) / (high - low), 0, 1)  # 0: slow, divided by the factor; 1: fast, kept
    return frequency * (kept + (1 - kept) / s["factor"])


def rope(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> tuple[np.ndarray, Callable]:
    """Rotate the pair (x[i], x[i + d/2]) by its angle: the half-rotation layout of Hugging Face.

    x, y: (..., T, d)   cos, sin: (T, d/2)    Su et al. 2021, eq. 34
    """
    y = rotate(x, cos, sin, np.empty(x.shape, x.dtype))

    def backward(dy):
        # y = R x, R a rotation   =>  dx = Rᵀ dy: rotated back
        return rotate(dy, cos, -sin, np.empty(dy.shape, dy.dtype))

    return y, backward


def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write the rotated x into `out`, which is given back.    x, out: (..., T, d)   cos, sin: (T, d/2)"""
    # (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), as (x2, x1) (-sin, sin) + (x1, x2) (cos, cos): products of whole rows
    half = x.shape[-1] // 2
    out[..., :half], out[..., half:] = x[..., half:], x[..., :half]
    out *= np.concatenate([-sin, sin], axis=-1)
    out += x * np.concatenate([cos, cos], axis=-1)
    return out
