"""One token at a time, fast: a model's weights laid out for products with one row, and a loop without checks.

What is computed stands in `llama.py`; tests/nn/test_decode.py holds the two equal. A product with one row reads each weight
once and is over: what counts is how fast weights come from memory. Shape letters: `config.py`.
"""

import contextlib
import itertools
import math

import numpy as np

from minilora import checks
from minilora.machine import blas_threads, in_threads, one_blas_thread, pieces, threads
from minilora.nn.layers import Embedding, Linear, LinearFace, RMSNorm
from minilora.nn.llama import MLP, Attention, Block, Llama, check_cache
from minilora.nn.past import KVCache
from minilora.nn.rope import rope_table

SHARE = 2**22  # values of a matrix, from which on it is shared among threads


class Decoder:
    """The weights of `model` as they are now, laid out for decoding; `decoder(token_ids, cache)` gives the next logits.

    Dense weights are copied, but for the MLP's down_proj: q, k, v and gate, up joined, each transposed, which BLAS reads
    up to three times as fast. `nbytes` says what that takes beside the model: nearly the model once more. A LoRA over a
    dense layer is added to the copy. Layers in four bits stay in four bits, a second copy of their codes in another
    order, and are used without being decoded as a whole; those whose float weights fit into `keep_decoded` bytes, the
    first ones first, are copied decoded.
    Weights that change later need a new Decoder. ValueError where the model has parts that it does not know (prefix
    or prompt tuning, bottleneck adapters): see `fits`.
    """

    def __init__(self, model: Llama, keep_decoded: int = 0):
        checks.instance("model", model, Llama, hint="load_base() gives one")
        budget = checks.integer("keep_decoded", keep_decoded, low=0)
        if not self.fits(model):
            raise ValueError(
                "model must be a plain Llama, with LoRA or in four bits if you like, got one with other parts (a prefix, "
                "a prompt, bottlenecks ...); generate without a decoder"
            )
        self.model, self.nbytes, self._shares = model, 0, False
        self._layers = []
        for block in model.layers:
            attention, mlp, products = block.self_attn, block.mlp, []
            for layers in (
                (attention.q_proj, attention.k_proj, attention.v_proj),
                (attention.o_proj,),
                (mlp.gate_proj, mlp.up_proj),
                (mlp.down_proj,),
            ):
                product, budget = self._product(layers, budget)
                products.append(product)
            self._layers.append((block.input_layernorm, block.post_attention_layernorm, *products))
        self._head, _ = self._product((model.head(),), 0)

    @staticmethod
    def fits(model: Llama) -> bool:
        """Whether every part of `model` is one that a Decoder knows."""
        return (
            type(model) is Llama
            and not model.virtual_tokens
            and type(model.embed_tokens) is Embedding
            and type(model.norm) is RMSNorm
            and all(isinstance(block, Block) and _is_plain(block) for block in model.layers)
        )

    def __call__(self, token_ids: np.ndarray, cache: list[KVCache]) -> np.ndarray:
        """The logits behind one more token of each row; its keys and values go into `cache`.    (B,) -> (B, V)

        `cache`: as it is after the model has read what came before. Errors as those of the model.
        """
        checks.integer_array("token_ids", token_ids, ndim=(1,))
        position = check_cache(cache, self.model, token_ids[:, None])
        if position == 0:
            raise ValueError("cache must hold what came before, got an empty one; let the model read the prompt first")
        self.model.check_tokens(token_ids[:, None], past=position)
        with one_blas_thread if self._shares else contextlib.nullcontext():
            return self._next(token_ids, cache, position)

    def _next(self, token_ids, cache, position):
        model, config = self.model, self.model.config
        H, K, d, F = config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.intermediate_size
        B = len(token_ids)
        x = model.embed_tokens.weight.value[token_ids]  # (B, D)
        n, m, qkv, gate_up, h = (
            np.empty((B, width), x.dtype) for width in (x.shape[1], x.shape[1], (H + 2 * K) * d, 2 * F, F)
        )
        qk, v = qkv[:, : (H + K) * d].reshape(B, H + K, d), qkv[:, (H + K) * d :].reshape(B, K, d)
        q, k = qk[:, :H].reshape(B, K, H // K, d), qk[:, H:]
        cos, sin = self._turn(position, x.dtype)
        swapped, turned = qk.reshape(B, H + K, 2, d // 2)[:, :, ::-1], np.empty_like(qk)
        gate, up = gate_up[:, :F], gate_up[:, F:]

        for (norm, mlp_norm, qkv_product, o_product, gate_up_product, down_product), past in zip(
            self._layers, cache, strict=True
        ):
            _rms_norm(x, norm, n)
            qkv_product(n, qkv)
            np.multiply(swapped, sin, out=turned.reshape(B, H + K, 2, d // 2))
            np.multiply(qk, cos, out=qk)
            np.add(qk, turned, out=qk)
            keys, values = past.put(k, v)  # (B, K, S, d)
            p = q @ keys.swapaxes(-1, -2)  # (B, K, G, S)
            p -= p.max(axis=-1, keepdims=True)
            np.exp(p, out=p)
            total = p.sum(axis=-1, keepdims=True)
            a = p @ values
            a /= total
            o_product(a.reshape(B, H * d), m)
            x += m

            _rms_norm(x, mlp_norm, n)
            gate_up_product(n, gate_up)
            # silu(g) u = g/2 (1 + tanh(g/2)) u
            np.multiply(gate, 0.5, out=h)
            np.multiply(h, up, out=up)
            np.tanh(h, out=h)
            np.add(h, 1.0, out=h)
            np.multiply(h, up, out=h)
            down_product(h, m)
            x += m
        _rms_norm(x, model.norm, n)
        logits = np.empty((B, config.vocab_size), x.dtype)
        self._head(n, logits)
        return logits

    def _turn(self, position, dtype):
        """cos and (-sin, sin) of one position for all heads; those of queries with 1/sqrt(d) in them, which scores need."""
        config = self.model.config
        H, K, d = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        scaling = None if config.rope_scaling is None else tuple(config.rope_scaling.items())
        cos, sin = (part[position] for part in rope_table(position + 1, d, config.rope_theta, dtype, scaling))
        scale = np.ones((H + K, 1), dtype)
        scale[:H] = 1.0 / math.sqrt(d)
        return scale * np.concatenate([cos, cos]), (scale * np.concatenate([-sin, sin])).reshape(H + K, 2, d // 2)

    def _product(self, layers, budget):
        """One product for layers with the same input, and what is left of the budget for decoded weights."""
        coded, bypasses = map(list, zip(*(layer.for_decoding() for layer in layers), strict=True))
        size = sum(_float_bytes(layer) for layer, product in zip(layers, coded, strict=True) if product is not None)
        if size > budget:  # stays in four bits
            for i, layer in enumerate(layers):
                coded[i] = coded[i] or _Shared(_transposed([layer.dense_weight()]))
            coded = _joined(coded)
            self.nbytes += sum(part.nbytes for part in coded + bypasses if part is not None)
            self._shares = threads() > 1
            return _side_by_side(coded, bypasses, [layer.out_features for layer in layers]), budget
        return self._dense(layers), budget - size

    def _dense(self, layers):
        if len(layers) == 1 and type(layers[0]) is Linear and layers[0].in_features > layers[0].out_features:
            return _rows_product(layers[0].dense_weight())  # long rows are read as fast as columns: no copy
        weight = _transposed([layer.dense_weight() for layer in layers])
        self.nbytes += weight.nbytes
        return _columns_product(weight)


def _float_bytes(layer):
    return layer.in_features * layer.out_features * layer.dtype.itemsize


def _is_plain(block):
    parts = (block.self_attn, Attention), (block.mlp, MLP), *((norm, RMSNorm) for norm in _norms(block))
    return all(type(part) is kind for part, kind in parts) and all(
        isinstance(child, LinearFace) for part in (block.self_attn, block.mlp) for _, child in part.named_children()
    )


def _norms(block):
    return block.input_layernorm, block.post_attention_layernorm


def _rms_norm(x, norm, out):
    """`ops.rms_norm` into `out`.    (B, D)"""
    mean_square = np.vecdot(x, x)
    mean_square /= x.shape[-1]
    mean_square += norm.eps
    np.sqrt(mean_square, out=mean_square)
    np.divide(x, mean_square[:, None], out=out)
    np.multiply(out, norm.weight.value, out=out)


def _transposed(weights):
    """Matrices (out, in) side by side as one (in, sum of out), copied in tiles that stay in the cache."""
    out = np.empty((weights[0].shape[1], sum(len(weight) for weight in weights)), weights[0].dtype)
    end = 0
    for weight in weights:
        start, end = end, end + len(weight)
        for rows in pieces(len(weight), 256):
            out[:, start + rows.start : start + rows.stop] = weight[rows].T
    return out


def _columns_product(weight):
    """x W with W (in, out): what is read of it is added up in whole rows."""
    n = weight.shape[1]

    def product(x, out):
        if len(x) == 1:  # one axis less lets BLAS see a vector
            x, out = x[0], out[0]
        if weight.size < SHARE or blas_threads() != 1:
            np.matmul(x, weight, out=out)
        else:
            parts = pieces(n, -(-n // threads()))
            in_threads(lambda part: np.matmul(x, weight[:, part], out=out[..., part]), parts)

    return product


def _rows_product(weight):
    """x Wᵀ with W (out, in)."""

    def product(x, out):
        if len(x) == 1:
            np.matmul(weight, x[0], out=out[0])
        else:
            np.matmul(x, weight.T, out=out)

    return product


class _Shared:
    """A dense weight (in, out) beside layers in four bits that have the same input."""

    alike = None

    def __init__(self, weight):
        self.weight, self.width, self.nbytes = weight, weight.shape[1], weight.nbytes

    def shares(self, x, out):
        return [lambda: np.matmul(x, self.weight, out=out)], lambda: None


def _joined(products):
    """The same with neighbours that can be one product as one: fewer calls."""
    groups = (list(some) for _, some in itertools.groupby(products, lambda one: one.alike or id(one)))
    return [first.joined(others) if others else first for first, *others in groups]


def _side_by_side(products, bypasses, widths):
    """Products of the same x, each into its own columns, their work shared among threads at once, then the layers' bypasses."""
    parts = list(zip(products, _columns([product.width for product in products]), strict=True))
    additions = [(add, part) for add, part in zip(bypasses, _columns(widths), strict=True) if add is not None]

    def product(x, out):
        work, finish = [], []
        for one, part in parts:
            shares, last = one.shares(x, out[:, part])
            work += shares
            finish.append(last)
        in_threads(lambda share: share(), work)
        for last in finish:
            last()
        for add, part in additions:
            add(x, out[:, part])

    return product


def _columns(widths):
    """0 .. sum of widths in slices of these widths."""
    ends = np.cumsum(widths).tolist()
    return [slice(end - width, end) for width, end in zip(widths, ends, strict=True)]
