"""Embedding, Linear, RMSNorm: ops bound to Parameters. `y, backward = layer(x)`, then `dx = backward(dy)`."""

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import numpy as np

from minilora import checks
from minilora.nn import fast, ops
from minilora.nn.config import LARGEST
from minilora.nn.module import Module, Parameter, PendingParameter

PENDING = object()  # instead of an rng: draw nothing, the weights come later (Llama.skeleton)


class ForDecoding(Protocol):
    """A linear layer as a product with few rows. `width`: out_features. `nbytes`: what it holds beside the layer.

    Products of the same x whose `alike` is equal, and not None, become one: `first.joined(others)`.
    """

    width: int
    nbytes: int
    alike: Hashable

    def shares(self, x: np.ndarray, out: np.ndarray) -> tuple[list[Callable[[], None]], Callable[[], None]]:
        """What has to be called to write y: all of a list, in any order and in any thread, then the other function.

        x: (B, in)   out: (B, out)
        """


class Bypass(Protocol):
    """What a layer adds to its product: `bypass(x, out)` adds it to out in place."""

    nbytes: int

    def __call__(self, x: np.ndarray, out: np.ndarray) -> None: ...


class LinearFace(Module):
    """What every linear layer shows, dense, in four bits or with LoRA, so that each can stand in another's place.

    `in_features`, `out_features`, `dtype`, `y, backward = layer(x)` on (..., in) -> (..., out), and `dense_weight()`
    (out, in). A layer says where its weight's `weight_shape` and `dtype` come from; the rest follows.
    """

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(out, in)"""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype:
        """What the layer computes in: the dtype of x, of y and of `dense_weight()`."""
        raise NotImplementedError

    @property
    def in_features(self) -> int:
        return self.weight_shape[1]

    @property
    def out_features(self) -> int:
        return self.weight_shape[0]

    def dense_weight(self) -> np.ndarray:
        """The weight that the layer acts with, as a dense (out, in) array."""
        raise NotImplementedError

    def for_decoding(self) -> "tuple[ForDecoding | None, Bypass | None]":
        """y for few rows, fast: a product and what is added to it; no product, the default: a copy of `dense_weight()`
        serves best."""
        return None, None

    def is_one_product(self, rng: np.random.Generator | None) -> bool:
        """Whether y = x dense_weight()ᵀ is all that the layer computes, given `rng`.

        Then `learn` must give its parameters their gradients. False, the default: the layer is only called.
        """
        return False

    def backward_alone(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> Callable:
        """The backward of a call whose y is known already. The default calls again; a layer that can spares the product."""
        return self(x, rng=rng)[1]

    @property
    def learns(self) -> bool:
        """Whether a parameter of it is trainable: then x is needed again in backward."""
        return any(parameter.trainable for parameter in self.parameters())

    def learn(self, x: np.ndarray, dy: np.ndarray) -> None:
        """Accumulate its parameters' gradients from what went in and what comes back.    x: (N, in)   dy: (N, out)"""
        raise NotImplementedError


class Linear(LinearFace):
    """y = x Wᵀ without a bias, as everywhere in Llama.    x: (..., in)   weight: (out, in)   y: (..., out)

    A frozen Linear computes no dW and keeps no input. Raises ValueError or TypeError for sizes below 1 and for an x of
    another width or dtype.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rng: np.random.Generator,
        dtype: np.dtype | type = np.float32,
        std: float = 0.02,
    ):
        in_features = checks.integer("in_features", in_features, low=1, high=LARGEST)
        out_features = checks.integer("out_features", out_features, low=1, high=LARGEST)
        self.weight = _drawn((out_features, in_features), std, rng, dtype)

    @classmethod
    def from_weight(cls, weight: np.ndarray, trainable: bool = True) -> "Linear":
        """A Linear around an array (out, in), which it takes over without a copy."""
        checks.float_array("weight", weight, ndim=(2,))
        layer = cls(weight.shape[1], weight.shape[0], rng=PENDING, dtype=weight.dtype)
        layer.weight = Parameter(weight, trainable)
        return layer

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.weight.shape

    @property
    def dtype(self) -> np.dtype:
        return self.weight.dtype

    def dense_weight(self) -> np.ndarray:
        """The weight as a dense (out, in) array: here the weight itself, not a copy."""
        return self.weight.value

    def __call__(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> tuple[np.ndarray, Callable]:
        weight = self.weight
        check_input("x", x, self.in_features, weight.dtype)
        y, linear_backward = fast.linear(x, weight.value, weight.trainable)

        def backward(dy):
            dx, dweight = linear_backward(dy)
            if dweight is not None:
                weight.accumulate(dweight, given_away=True)
            return dx

        return y, backward

    def backward_alone(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> Callable:
        return _product_backward(x, (self,))

    def is_one_product(self, rng: np.random.Generator | None) -> bool:
        return True

    def learn(self, x: np.ndarray, dy: np.ndarray) -> None:
        if self.weight.trainable:
            self.weight.accumulate(fast.matmul(dy.T, x), given_away=True)


def project(x: np.ndarray, *layers: LinearFace, rng: np.random.Generator | None = None) -> tuple[np.ndarray, Callable]:
    """x through one linear layer or several, their outputs side by side.    x: (..., in)   y: (..., sum of out)

    One product where each layer is one and x has rows enough to pay for joining the weights; else layer by layer, plain
    layers each straight into its columns of y.
    """
    if _is_one_product(x, layers, rng):
        return _product(x, layers), _product_backward(x, layers)
    if len(layers) == 1:
        return layers[0](x, rng=rng)
    if all(type(layer) is Linear for layer in layers):
        return _side_by_side(x, layers)
    parts, backwards = zip(*(layer(x, rng=rng) for layer in layers), strict=True)
    y = np.concatenate(parts, axis=-1)
    del parts  # the closure must not hold them

    def backward(dy):
        # x goes into each  =>  dx is the sum of what comes back from each
        dx = 0
        for layer_backward, columns in zip(backwards, _columns(layers), strict=True):
            dx = dx + layer_backward(dy[..., columns])
        return dx

    return y, backward


def project_backward(x: np.ndarray, *layers: LinearFace, rng: np.random.Generator | None = None) -> Callable:
    """The backward of `project` alone, where y is not needed: then the product is spared."""
    if _is_one_product(x, layers, rng):
        return _product_backward(x, layers)
    return layers[0].backward_alone(x, rng=rng) if len(layers) == 1 else project(x, *layers, rng=rng)[1]


def _is_one_product(x, layers, rng):
    return x.size >= x.shape[-1] ** 2 and all(layer.is_one_product(rng) for layer in layers)


def _product(x, layers):
    check_input("x", x, layers[0].in_features, layers[0].dtype)
    x2, weight = x.reshape(-1, x.shape[-1]), _joined_weight(layers)
    return fast.matmul(x2, weight.T).reshape(*x.shape[:-1], -1)


def _side_by_side(x, layers):
    check_input("x", x, layers[0].in_features, layers[0].dtype)
    shape, x2, columns = x.shape, x.reshape(-1, x.shape[-1]), list(_columns(layers))
    y = np.empty((len(x2), columns[-1].stop), x.dtype)
    fast.products(*((x2, layer.weight.value.T, y[:, part]) for layer, part in zip(layers, columns, strict=True)))
    kept = x2 if any(layer.learns for layer in layers) else None
    del x, x2

    def backward(dy):
        dy2, dx = dy.reshape(-1, dy.shape[-1]), 0
        # x goes into each      =>  dx is the sum of what comes back from each
        for layer, part in zip(layers, columns, strict=True):
            dx = dx + fast.matmul(dy2[:, part], layer.weight.value)
            if kept is not None:
                layer.learn(kept, dy2[:, part])
        return dx.reshape(shape)

    return y.reshape(*shape[:-1], -1), backward


def _product_backward(x, layers):
    shape = x.shape
    kept = x.reshape(-1, x.shape[-1]) if any(layer.learns for layer in layers) else None
    whole = all(type(layer) is Linear and layer.weight.trainable for layer in layers)

    def backward(dy):
        dy2, weight = dy.reshape(-1, dy.shape[-1]), _joined_weight(layers)
        dx = np.empty((len(dy2), weight.shape[1]), dy.dtype)
        # y = x (W1, W2, ...)ᵀ  =>  dx = (dy1, dy2, ...) (W1, W2, ...), and each layer learns from its own dy
        if whole:  # all at once
            dweight = np.empty_like(weight)
            fast.products((dy2, weight, dx), (dy2.T, kept, dweight))
            for layer, rows in zip(layers, _columns(layers), strict=True):
                layer.weight.accumulate(dweight[rows], given_away=True)
            return dx.reshape(shape)
        fast.products((dy2, weight, dx))
        if kept is not None:
            for layer, columns in zip(layers, _columns(layers), strict=True):
                layer.learn(kept, dy2[:, columns])
        return dx.reshape(shape)

    return backward


def _joined_weight(layers):
    if len(layers) == 1:
        return layers[0].dense_weight()
    return np.concatenate([layer.dense_weight() for layer in layers])


def _columns(layers):
    """Where each layer's output lies among the columns of all."""
    end = 0
    for layer in layers:
        start, end = end, end + layer.out_features
        yield slice(start, end)


class Embedding(Module):
    """y = weight[token_ids].    token_ids: (B, T)   weight: (V, D)   y: (B, T, D)

    Its backward returns None: integers have no gradient. Raises ValueError or TypeError for sizes below 1 and for token
    ids that are not integers or are out of range.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        rng: np.random.Generator,
        dtype: np.dtype | type = np.float32,
        std: float = 0.02,
    ):
        num_embeddings = checks.integer("num_embeddings", num_embeddings, low=1, high=LARGEST)
        embedding_dim = checks.integer("embedding_dim", embedding_dim, low=1, high=LARGEST)
        self.weight = _drawn((num_embeddings, embedding_dim), std, rng, dtype)

    def __call__(self, token_ids: np.ndarray) -> tuple[np.ndarray, Callable]:
        weight = self.weight
        check_token_ids("token_ids", token_ids, weight.shape[0])
        y, embedding_backward = ops.embedding(token_ids, weight.value)

        def backward(dy):
            if weight.trainable:
                weight.accumulate(embedding_backward(dy))

        return y, backward


class RMSNorm(Module):
    """y = weight * x / rms(x).    x, y: (..., D)   weight: (D,)    Zhang & Sennrich 2019

    Raises ValueError or TypeError for a size below 1 and for an x of another width or dtype.
    """

    def __init__(self, size: int, eps: float = 1e-5, *, dtype: np.dtype | type = np.float32):
        size = checks.integer("size", size, low=1, high=LARGEST)
        self.weight = Parameter(np.ones(size, check_dtype(dtype)))
        self.eps = checks.real("eps", eps, above=0)

    def settings(self) -> dict[str, Any]:
        return {"eps": self.eps}

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, Callable]:
        weight = self.weight
        check_input("x", x, weight.size, weight.dtype)
        y, norm_backward = fast.rms_norm(x, weight.value, self.eps, weight.trainable)

        def backward(dy):
            dx, dweight = norm_backward(dy)
            if dweight is not None:
                weight.accumulate(dweight)
            return dx

        return y, backward


def check_input(name: str, x: np.ndarray, size: int, dtype: np.dtype) -> None:
    """x must be a float array of the layer's dtype whose last axis has `size` entries."""
    checks.float_array(name, x)
    if x.shape[-1:] != (size,):
        raise ValueError(f"{name} must have {size} entries in its last axis, got {checks.shown(x)}")
    if x.dtype != dtype:
        raise TypeError(f"{name} must be {dtype} like the weights, got {checks.shown(x)}; try {name}.astype('{dtype}')")


def check_token_ids(name: str, token_ids: np.ndarray, vocab_size: int) -> None:
    """token_ids must be a non-empty integer array with entries in 0 .. vocab_size - 1."""
    checks.integer_array(name, token_ids, low=0, high=vocab_size - 1)


def check_dtype(dtype: np.dtype | type) -> np.dtype:
    """float32 or float64, as a numpy dtype; else TypeError (for None too, which numpy reads as float64)."""
    return checks.float_dtype("dtype", dtype)


def _drawn(shape, std, rng, dtype):
    if rng is PENDING:
        return PendingParameter(shape, check_dtype(dtype))
    dtype, std, rng = check_dtype(dtype), checks.real("std", std, low=0), checks.generator("rng", rng)
    # Drawn in float64 and then rounded, so that a seed gives the same weights in both dtypes.
    return Parameter((rng.standard_normal(shape) * std).astype(dtype))
