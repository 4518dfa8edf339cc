"""The same math in blocks that stay in the cache, one function here beside each plain one in `ops`.

`ops` says what is computed; this file says how it is cut into blocks. tests/nn/test_fast.py holds each pair equal, forward and
backward. Between forward and backward these keep less: what is cheap is computed again. Shape letters: `config.py`.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

from minilora.machine import blas_threads, in_threads, pieces, threads
from minilora.nn import ops
from minilora.nn.rope import rotate

QUERIES = 64  # per block of attention: scores above the diagonal are computed in the last block only
BLOCKS_PAY = 16  # queries, from which on attention in blocks is faster than in one piece
KEEP_UP_TO = 256  # keys: the exponentials of shorter texts are kept, being no larger than what the MLP keeps
VALUES = 2**17  # per block of anything else: half a MB in float32, so that a few of them fit the L2 cache
ROWS = 128  # of logits per block, at least: fewer would read the head's weight too often
PRODUCTS_PAY = 2**22  # multiplications, from which on a product is shared among threads: 0.1 ms of work for one


def products(*three: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """out = a @ b for each (a, b, out), all at the same time, the longer side of each out shared among threads.

    So `with one_blas_thread`; elsewhere BLAS shares out each product.    a: (n, k)   b: (k, m)   out: (n, m)
    """
    large = [len(a) * b.size >= PRODUCTS_PAY for a, b, _ in three]
    count = threads() if any(large) else 1
    if count > 1 and blas_threads() != 1:
        count = 1
    work = []
    for (a, b, out), pays in zip(three, large, strict=True):
        n, m = out.shape
        if count == 1 or not pays:
            work.append((a, b, out))
        elif n >= m:
            work += [(a[rows], b, out[rows]) for rows in pieces(n, -(-n // count))]
        else:
            work += [(a, b[:, columns], out[:, columns]) for columns in pieces(m, -(-m // count))]
    in_threads(lambda item: np.matmul(item[0], item[1], out=item[2]), work)


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b, as by `products`.    a: (n, k)   b: (k, m) -> (n, m)"""
    out = np.empty((len(a), b.shape[1]), a.dtype)
    products((a, b, out))
    return out


def linear(x: np.ndarray, weight: np.ndarray, learns: bool = True) -> tuple[np.ndarray, Callable]:
    """`ops.linear`, by `products`.    x: (..., in)   weight: (out, in)   y: (..., out)

    Unless the weight `learns`, dweight is None and x is not kept, as in `ops.linear_frozen`.
    """
    shape, x2 = x.shape, x.reshape(-1, x.shape[-1])
    y = matmul(x2, weight.T)
    kept = x2 if learns else None
    del x, x2

    def backward(dy):
        dy2 = dy.reshape(-1, dy.shape[-1])
        dx = np.empty((len(dy2), weight.shape[1]), dy.dtype)
        # y = x Wᵀ          =>  dx = dy W,   dW = dyᵀ x
        if kept is None:
            products((dy2, weight, dx))
            return dx.reshape(shape), None
        dweight = np.empty_like(weight)
        products((dy2, weight, dx), (dy2.T, kept, dweight))
        return dx.reshape(shape), dweight

    return y.reshape(*shape[:-1], -1), backward


def causal_attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, memo: list | None = None
) -> tuple[np.ndarray, Callable]:
    """`ops.causal_attention` in blocks of queries: the scores of one block, up to its last position, are there at a time.

    q, y: (B, H, T, d)   k, v: (B, K, S, d), S >= T. Long texts keep only the largest score and the sum of each softmax, and
    compute its exponentials again in backward (Dao et al. 2022, arXiv 2205.14135, section 3.1 and appendix B.2).
    `memo`: an empty list takes in what a long text keeps; given again, it saves the second forward of the same q, k, v.
    """
    (B, H, T, d), (K, S) = q.shape, k.shape[1:3]
    G, scale = H // K, 1.0 / math.sqrt(d)
    qt = _queries_first(q, K)  # (B, H, T, d) -> (B*K, T*G, d): a block of queries, all heads of its group, is one piece
    qt *= scale
    k, v = k.reshape(B * K, S, d), v.reshape(B * K, S, d)
    known = bool(memo)
    y, top, total = memo[0] if known else (np.empty_like(qt), *np.empty((2, B * K, 1, T * G), q.dtype))
    future = _future(QUERIES, G, q.dtype)
    kept = {} if S <= KEEP_UP_TO else None

    blocks = []  # how many queries, their rows in qt, how many keys they may see
    for start in range(0, T, QUERIES):
        end = min(start + QUERIES, T)
        blocks.append((end - start, slice(start * G, end * G), S - T + end))
    groups = pieces(B * K, max(1, VALUES // (min(QUERIES, T) * G * S)))  # heads that are computed together

    def exponentials(heads, n, rows, seen, forward):
        """exp(s - top), not yet divided by its sum, with the keys down the columns.    (heads, seen, n*G)"""
        s = k[heads, :seen] @ qt[heads, rows].swapaxes(-1, -2)
        s[:, seen - n :] += future[:n, : n * G]
        if forward:
            s.max(axis=1, keepdims=True, out=top[heads, :, rows])
        s -= top[heads, :, rows]
        return np.exp(s, out=s)

    def forward(part):
        heads, (n, rows, seen) = part
        e = exponentials(heads, n, rows, seen, forward=True)
        sums = e.sum(axis=1, keepdims=True, out=total[heads, :, rows])
        np.matmul(e.swapaxes(-1, -2), v[heads, :seen], out=y[heads, rows])
        y[heads, rows] /= sums.swapaxes(-1, -2)
        if kept is not None:
            kept[heads.start, rows.start] = e

    if not known:
        in_threads(forward, [(heads, block) for block in blocks for heads in groups])
    if memo == [] and kept is None:
        memo.append((y, top, total))

    def backward(dy):
        dyt = _queries_first(dy, K)
        dyt /= total.swapaxes(-1, -2)  # p = e / total stands before dy everywhere: divide dy, which is smaller
        mean = np.vecdot(dyt, y)[:, None]  # sum dp * p of each softmax, which is sum dy * y
        dq, dk, dv = np.empty_like(qt), np.zeros(k.shape, k.dtype), np.zeros(v.shape, v.dtype)

        def of(heads):
            for n, rows, seen in blocks:
                e = exponentials(heads, n, rows, seen, False) if kept is None else kept[heads.start, rows.start]
                # y = p v           =>  dp = dy vᵀ,   dv = pᵀ dy
                dv[heads, :seen] += e @ dyt[heads, rows]
                ds = v[heads, :seen] @ dyt[heads, rows].swapaxes(-1, -2)
                # p = softmax(s)    =>  ds = p * (dp - sum dp * p)
                ds -= mean[heads, :, rows]
                ds *= e
                # s = k (q scale)ᵀ  =>  dq = dsᵀ k scale,   dk = ds q scale
                np.matmul(ds.swapaxes(-1, -2), k[heads, :seen], out=dq[heads, rows])
                dk[heads, :seen] += ds @ qt[heads, rows]

        in_threads(of, groups)
        dq *= scale
        return _heads_first(dq, B, H), dk.reshape(B, K, S, d), dv.reshape(B, K, S, d)

    return _ready_to_join(y, B, H), backward


def _queries_first(x, K):
    """(B, H, T, d) -> (B*K, T*G, d), a new array."""
    B, H, T, d = x.shape
    out = np.empty((B, K, T, H // K, d), x.dtype)
    out[...] = x.reshape(B, K, H // K, T, d).swapaxes(2, 3)
    return out.reshape(B * K, -1, d)


def _heads_first(x, B, H):
    """(B*K, T*G, d) -> (B, H, T, d), a new array."""
    K, d = len(x) // B, x.shape[-1]
    x = x.reshape(B, K, -1, H // K, d)
    out = np.empty((B, K, H // K, x.shape[2], d), x.dtype)
    out[...] = x.swapaxes(2, 3)
    return out.reshape(B, H, -1, d)


def _ready_to_join(x, B, H):
    """(B*K, T*G, d) -> (B, H, T, d), a new array that lies in memory as (B, T, H, d), so that joining heads is free."""
    K, d = len(x) // B, x.shape[-1]
    x = x.reshape(B, K, -1, H // K, d)
    out = np.empty((B, x.shape[2], K, H // K, d), x.dtype)
    out[...] = x.swapaxes(1, 2)
    return out.reshape(B, -1, H, d).swapaxes(1, 2)


@functools.lru_cache(maxsize=8)  # one for each G and dtype in use, not for each length
def _future(n, G, dtype):
    """Added to the scores of a block's own n positions: minus infinity where the key comes after the query.

    (n, n*G), read-only
    """
    table = np.repeat(np.tril(np.full((n, n), -np.inf, dtype), k=-1), G, axis=1)
    table.setflags(write=False)
    return table


def rope(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> tuple[np.ndarray, Callable]:
    """`nn.rope.rope`, some texts of the batch at a time, of a single one some positions.

    x, y: (B, H, T, d)   cos, sin: (T, d/2)
    """
    (B, H, T, d), whole = x.shape, slice(None)
    if B > 1:
        blocks = [(texts, whole) for texts in pieces(B, max(1, VALUES // max(1, H * T * d)))]
    else:
        blocks = [(whole, positions) for positions in pieces(T, max(1, VALUES // (H * d)))]

    def rotated(x, sin):
        y = np.empty(x.shape, x.dtype)

        def of(block):
            texts, positions = block
            part = texts, whole, positions
            rotate(x[part], cos[positions], sin[positions], out=y[part])

        in_threads(of, blocks)
        return y

    def backward(dy):
        # y = R x, R a rotation   =>  dx = Rᵀ dy: rotated back
        return rotated(dy, -sin)

    return rotated(x, sin), backward


def rms_norm(x: np.ndarray, gain: np.ndarray, eps: float, learns: bool = True) -> tuple[np.ndarray, Callable]:
    """`ops.rms_norm` in blocks of rows; its backward's dgain is None unless the gain `learns`.    x, y: (..., D)"""
    shape, D = x.shape, x.shape[-1]
    x = x.reshape(-1, D)
    N = len(x)
    y, n, inv_rms = np.empty_like(x), np.empty_like(x), np.empty((N, 1), x.dtype)

    def forward(rows):
        mean_square = np.vecdot(x[rows], x[rows])[..., None] / D
        inv_rms[rows] = 1.0 / np.sqrt(mean_square + eps)
        np.multiply(x[rows], inv_rms[rows], out=n[rows])
        np.multiply(n[rows], gain, out=y[rows])

    blocks = pieces(N, max(1, VALUES // D))
    in_threads(forward, blocks)

    def backward(dy):
        dy, dx = dy.reshape(N, D), np.empty_like(n)

        def of(rows):
            # y = n * gain      =>  dn = dy * gain
            dn = dy[rows] * gain
            # n = x / rms(x)    =>  dx = (dn - n * mean(dn * n)) / rms(x)
            np.multiply(n[rows], np.vecdot(dn, n[rows])[..., None] / -D, out=dx[rows])
            dx[rows] += dn
            dx[rows] *= inv_rms[rows]

        in_threads(of, blocks)
        # y = n * gain          =>  dgain = sum dy * n
        return dx.reshape(shape), np.einsum("nd,nd->d", dy, n) if learns else None

    return y.reshape(shape), backward


def swiglu(gate_up: np.ndarray) -> tuple[np.ndarray, Callable]:
    """silu(gate) * up, both in one array, in blocks of rows.    gate_up: (..., 2*F)   y: (..., F)    Shazeer 2020, eq. 5

    Keeps its input alone: sigmoid is computed again in backward.
    """
    shape, F = gate_up.shape, gate_up.shape[-1] // 2
    gate_up = gate_up.reshape(-1, 2 * F)
    N = len(gate_up)
    y = np.empty((N, F), gate_up.dtype)

    def forward(rows):
        g, u = gate_up[rows, :F], gate_up[rows, F:]
        s = ops.sigmoid(g)
        s *= g
        np.multiply(s, u, out=y[rows])

    blocks = pieces(N, max(1, VALUES // F))
    in_threads(forward, blocks)

    def backward(dy):
        dgate_up, dy = np.empty_like(gate_up), dy.reshape(N, F)

        def of(rows):
            g, u = gate_up[rows, :F], gate_up[rows, F:]
            s = ops.sigmoid(g)
            a = g * s
            # y = a u           =>  du = dy a,   da = dy u
            np.multiply(dy[rows], a, out=dgate_up[rows, F:])
            # a = g s           =>  dg = da (s + a (1 - s))
            a -= a * s
            a += s
            a *= dy[rows]
            np.multiply(a, u, out=dgate_up[rows, :F])

        in_threads(of, blocks)
        return dgate_up.reshape(shape)

    return y.reshape(*shape[:-1], F), backward


def linear_cross_entropy(
    x: np.ndarray, weight: np.ndarray, labels: np.ndarray, wanted: tuple[str, ...] = ("x", "weight")
) -> tuple[np.floating, Callable]:
    """`ops.cross_entropy(ops.linear(x, weight), labels)` in blocks of rows: no more logits in memory than a block's.

    x: (N, D)   weight: (V, D)   labels: (N,), all counted   `wanted`: the gradients to compute
    A block's gradients are computed while its logits are there, so that the forward does the backward's work, and
    backward(dloss) -> dx, dweight only scales it (as in Liger Kernel: Hsu et al. 2024, arXiv 2410.10989, section 3.2).
    """
    N, V = len(x), len(weight)
    loss = 0.0
    dx = np.empty_like(x) if "x" in wanted else None
    dweight = np.zeros_like(weight) if "weight" in wanted else None
    for rows in pieces(N, max(ROWS, VALUES // V)):
        dz = np.empty((rows.stop - rows.start, V), x.dtype)
        loss += _block_of_loss(x[rows], weight, labels[rows], N, dz, None if dx is None else dx[rows])
        # z = x Wᵀ          =>  dW = dzᵀ x
        if dweight is not None:
            part = np.empty_like(weight)
            products((dz.T, x[rows], part))
            dweight += part

    as_float = x.dtype.type  # so that backward does not hold x

    def backward(dloss=1.0):
        scale = as_float(dloss)
        return None if dx is None else dx * scale, None if dweight is None else dweight * scale

    return as_float(loss / N), backward


def _block_of_loss(x, weight, labels, N, dz, dx):
    """Sum of the block's losses; writes their gradients (as parts of a mean over N) into dz (n, V) and, if given, dx."""
    losses = np.empty(len(x), x.dtype)

    def of(rows):
        z = np.matmul(x[rows], weight.T, out=dz[rows])  # (n, V)
        z -= z.max(axis=-1, keepdims=True)
        at_label = np.arange(len(z)), labels[rows]
        correct = z[at_label]
        p = np.exp(z, out=z)
        total = p.sum(axis=-1, keepdims=True)
        np.subtract(np.log(total[:, 0]), correct, out=losses[rows])
        # loss = mean(log sum exp z - z[label])   =>  dz = (softmax(z) - onehot(label)) / N
        total *= N
        p /= total
        p[at_label] -= 1.0 / N
        # z = x Wᵀ          =>  dx = dz W
        if dx is not None:
            np.matmul(p, weight, out=dx[rows])

    in_threads(of, pieces(len(x), max(1, -(-len(x) // threads()))))
    return float(losses.sum(dtype=np.float64))
