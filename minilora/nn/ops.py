"""The transformer's math: `y, backward = op(x, ...)`. No classes, no state.

Every backward stands inside its forward and returns the gradient of every array that the forward was given, as
values. `dy` is never written into. Shape letters: `minilora/nn/config.py`.
"""

import math
from collections.abc import Callable

import numpy as np


def linear(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, Callable]:
    """y = x Wᵀ.    x: (..., in)   weight: (out, in)   y: (..., out)"""
    x2 = x.reshape(-1, x.shape[-1])  # (N, in): one 2-D product is 2.6 times faster than a stack of small ones
    y = x2 @ weight.T

    def backward(dy):
        dy2 = dy.reshape(-1, dy.shape[-1])
        # y = x Wᵀ          =>  dx = dy W,   dW = dyᵀ x
        dx = dy2 @ weight
        dweight = dy2.T @ x2
        return dx.reshape(x.shape), dweight

    return y.reshape(*x.shape[:-1], -1), backward


def linear_frozen(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, Callable]:
    """y = x Wᵀ with W frozen: no dW, and x is not kept. This is where LoRA saves activations.

    x: (..., in)   weight: (out, in)   y: (..., out)
    """
    shape = x.shape
    y = x.reshape(-1, shape[-1]) @ weight.T

    def backward(dy):
        # y = x Wᵀ          =>  dx = dy W
        return (dy.reshape(-1, dy.shape[-1]) @ weight).reshape(shape)

    return y.reshape(*shape[:-1], -1), backward


def embedding(token_ids: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, Callable]:
    """y = weight[token_ids].    token_ids: (B, T) integers   weight: (V, D)   y: (B, T, D)"""
    y = weight[token_ids]

    def backward(dy):
        # y[b, t] = weight[id]   =>  dweight[id] = sum of dy[b, t] over all places that hold id
        dweight = np.zeros_like(weight)
        order = np.argsort(token_ids, axis=None, kind="stable")  # equal ids side by side, then one sum for each run
        ids = token_ids.reshape(-1)[order]
        starts = np.flatnonzero(np.diff(ids, prepend=-1))
        dweight[ids[starts]] = np.add.reduceat(dy.reshape(-1, dy.shape[-1])[order], starts, axis=0)
        return dweight

    return y, backward


def rms_norm(x: np.ndarray, gain: np.ndarray, eps: float) -> tuple[np.ndarray, Callable]:
    """y = gain * x / rms(x).    x, y: (..., D)   gain: (D,)    Zhang & Sennrich 2019, eq. 4"""
    mean_square = np.vecdot(x, x)[..., None] / x.shape[-1]  # (..., 1)
    inv_rms = 1.0 / np.sqrt(mean_square + eps)
    n = x * inv_rms
    y = n * gain

    def backward(dy):
        # y = n * gain      =>  dgain = sum dy * n,   dn = dy * gain
        dgain = np.einsum("nd,nd->d", dy.reshape(-1, dy.shape[-1]), n.reshape(-1, n.shape[-1]))
        dn = dy * gain
        # n = x / rms(x)    =>  dx = (dn - n * mean(dn * n)) / rms(x)
        dx = n * (np.vecdot(dn, n)[..., None] / -n.shape[-1])
        dx += dn
        dx *= inv_rms
        return dx, dgain

    return y, backward


def silu(x: np.ndarray) -> tuple[np.ndarray, Callable]:
    """y = x * sigmoid(x).    x, y: any shape    Elfwing et al. 2017"""
    s = sigmoid(x)
    y = x * s

    def backward(dy):
        # y = x s, ds = s (1 - s) dx   =>  dx = dy * s (1 + x (1 - s))
        dx = 1.0 - s
        dx *= x
        dx += 1.0
        dx *= s
        dx *= dy
        return dx

    return y, backward


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), by way of tanh: faster, and it cannot overflow.    x: any shape"""
    s = x * 0.5
    np.tanh(s, out=s)
    s *= 0.5
    s += 0.5
    return s


def causal_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, Callable]:
    """softmax(q kᵀ / sqrt(d), causal) v, with G = H / K query heads to each key/value head.

    q, y: (B, H, T, d)   k, v: (B, K, S, d), S >= T: the queries stand at the last T of S positions.
    Vaswani et al. 2017, eq. 1; grouped heads: Ainslie et al. 2023.
    """
    (B, H, T, d), (K, S) = q.shape, k.shape[1:3]
    scale = 1.0 / math.sqrt(d)
    qg = q.reshape(B, K, H // K * T, d)  # (B, H, T, d) -> (B, K, G*T, d): a group's queries, stacked
    p = qg @ k.swapaxes(-1, -2)  # (B, K, G*T, S)
    p *= scale
    p.reshape(B, H, T, S)[:, :, _future(T, S)] = -np.inf
    p -= p.max(axis=-1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=-1, keepdims=True)
    y = (p @ v).reshape(B, H, T, d)

    def backward(dy):
        dyg = dy.reshape(qg.shape)
        # y = p v           =>  dp = dy vᵀ,   dv = pᵀ dy
        dv = p.swapaxes(-1, -2) @ dyg
        dp = dyg @ v.swapaxes(-1, -2)
        # p = softmax(s)    =>  ds = p * (dp - sum dp * p); where p is 0 (masked), so is ds
        ds = dp
        ds -= np.vecdot(dp, p)[..., None]
        ds *= p
        # s = q kᵀ scale    =>  dq = ds k scale,   dk = dsᵀ q scale
        ds *= scale
        dq = ds @ k
        dk = ds.swapaxes(-1, -2) @ qg
        return dq.reshape(q.shape), dk, dv

    return y, backward


def _future(T, S):
    """True where query t may not look: beyond position S - T + t.    (T, S)"""
    return np.arange(S) > np.arange(S - T, S)[:, None]


def cross_entropy(logits: np.ndarray, labels: np.ndarray, ignore_index: int = -100) -> tuple[np.floating, Callable]:
    """Mean of -log softmax(logits)[label] over the labels that count.    logits: (..., V)   labels: (...)

    Returns a float of the logits' dtype; its backward takes dloss (a number, 1.0 by default).
    """
    z = logits.reshape(-1, logits.shape[-1])  # (N, V)
    rows = np.flatnonzero(labels.reshape(-1) != ignore_index)
    columns = labels.reshape(-1)[rows]
    z = z[rows]
    z -= z.max(axis=-1, keepdims=True)
    correct = z[np.arange(len(rows)), columns]
    p = np.exp(z, out=z)
    total = p.sum(axis=-1, keepdims=True)  # (N, 1)
    loss = (np.log(total[:, 0]) - correct).mean()

    def backward(dloss=1.0):
        # loss = mean(log sum exp z - z[label])   =>  dz = (softmax(z) - onehot(label)) / count
        share = float(dloss) / len(rows)
        dz = p * (share / total)
        dz[np.arange(len(rows)), columns] -= share
        dlogits = np.zeros((labels.size, logits.shape[-1]), logits.dtype)
        dlogits[rows] = dz
        return dlogits.reshape(logits.shape)

    return loss, backward


def dropout(x: np.ndarray, p: float, rng: np.random.Generator) -> tuple[np.ndarray, Callable]:
    """y = x * mask / (1 - p), each entry kept with probability 1 - p.    x, y: any shape    Srivastava et al. 2014"""
    mask = (rng.random(x.shape, dtype=np.float32) >= p).astype(x.dtype)
    mask *= 1.0 / (1.0 - p)
    y = x * mask

    def backward(dy):
        # y = x * mask      =>  dx = dy * mask
        return dy * mask

    return y, backward
