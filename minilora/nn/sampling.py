"""How one token is chosen from its logits."""

import numpy as np


def sample(logits: np.ndarray, *, temperature: float, top_k=None, top_p=None, rng=None) -> np.ndarray:
    """One token for each row of logits (B, V), by the rules of `generate`; returns (B,) integers."""
    if temperature == 0:
        return np.argmax(logits, axis=-1)
    z = logits.astype(np.float64) / temperature
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    order = np.argsort(-p, axis=-1, kind="stable")  # likeliest first
    ranked = np.take_along_axis(p, order, axis=-1)
    if top_k is not None:
        ranked[:, top_k:] = 0.0
        ranked /= ranked.sum(axis=-1, keepdims=True)
    if top_p is not None:
        before = np.cumsum(ranked, axis=-1) - ranked  # probability of all that are likelier
        ranked[before >= top_p] = 0.0  # the first is always kept: nothing comes before it
        ranked /= ranked.sum(axis=-1, keepdims=True)
    # Invert the cumulative distribution at one uniform number a row.
    cumulative = np.cumsum(ranked, axis=-1)
    pick = np.sum(cumulative <= rng.random((len(p), 1)) * cumulative[:, -1:], axis=-1)
    return np.take_along_axis(order, pick[:, None], axis=-1)[:, 0]
