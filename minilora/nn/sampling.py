"""How one token is chosen from its logits."""

import numpy as np

FIRST_GUESS = 256  # tokens: nearly always more than a draw needs, and sorted in microseconds


def sample(
    logits: np.ndarray,
    *,
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """One token for each row of logits (B, V), by the rules of `stream`; returns (B,) int64.

    ValueError where a row's largest logit is not a finite number.
    """
    top = logits.max(axis=-1, keepdims=True)  # NaN if any is
    if not np.isfinite(top).all():
        raise ValueError(
            f"logits must be finite, got {top[~np.isfinite(top)][0]}; look for NaN or too large values in the weights"
        )
    if temperature == 0:
        return np.argmax(logits, axis=-1)
    p = np.exp((logits - top.astype(np.float64)) / temperature)
    p /= p.sum(axis=-1, keepdims=True)
    return _draw(p, rng.random((len(p), 1)), top_k, top_p)


def _draw(p, u, top_k, top_p):
    """Cut the tail of each row of p (B, V), then invert what is left, likeliest first, at u (B, 1) in [0, 1).

    Only the likeliest tokens are sorted: all of the V there are only if that many are needed.
    """
    count = min(top_k or FIRST_GUESS, p.shape[-1])
    while True:
        order = _likeliest(p, count)
        ranked = np.take_along_axis(p, order, axis=-1)
        if top_k is not None or count == p.shape[-1]:
            ranked /= ranked.sum(axis=-1, keepdims=True)
            break
        if (ranked.sum(axis=-1) > (u[:, 0] if top_p is None else top_p)).all():
            break  # what is not sorted would not be drawn
        count = min(4 * count, p.shape[-1])
    total = 1.0
    if top_p is not None:
        before = np.cumsum(ranked, axis=-1) - ranked  # probability of all that are likelier
        ranked[before >= top_p] = 0.0  # the first is always kept: nothing comes before it
        total = ranked.sum(axis=-1, keepdims=True)
    cumulative = np.cumsum(ranked, axis=-1)
    pick = np.sum(cumulative <= u * total, axis=-1, keepdims=True)
    pick = np.minimum(pick, np.sum(ranked > 0, axis=-1, keepdims=True) - 1)  # rounding may leave the sum below u
    return np.take_along_axis(order, pick, axis=-1)[:, 0]


def _likeliest(p, count):
    """The `count` largest entries of each row of p (B, V) by index, largest first, of equals the earlier.    (B, count)"""
    B, V = p.shape
    if count < V:
        least = np.partition(p, V - count, axis=-1)[:, V - count, None]  # the smallest that is among them
        above, equal = p > least, p == least
        room = count - above.sum(axis=-1, keepdims=True)
        chosen = above | (equal & (np.cumsum(equal, axis=-1) <= room))
        index = np.nonzero(chosen)[1].reshape(B, count)
    else:
        index = np.broadcast_to(np.arange(V), (B, V))
    order = np.argsort(-np.take_along_axis(p, index, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(index, order, axis=-1)
