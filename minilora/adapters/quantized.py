"""A frozen linear layer stored in four bits: the Q in QLoRA (Dettmers et al. 2023, arXiv 2305.14314, eq. 5)."""

from collections.abc import Callable

import numpy as np

from minilora import checks
from minilora.adapters.adapter import adapter_layers
from minilora.adapters.merging import refuse_merged
from minilora.adapters.targets import match_targets
from minilora.nn import fast
from minilora.nn.layers import ForDecoding, Linear, LinearFace, check_input
from minilora.nn.module import Module
from minilora.quant import QuantizedTensor, quantize
from minilora.quant.matvec import Shares, matvec


class QuantizedLinear(LinearFace):
    """y = x dequantize(q)ᵀ. The weight is decoded for each forward and again for each backward, and never kept.

    x: (..., in)   q: (out, in)   y: (..., out). No parameters: what is in four bits is not trained. ValueError or
    TypeError unless q holds a matrix of floats.
    """

    def __init__(self, q: QuantizedTensor):
        if not isinstance(q, QuantizedTensor) or len(q.shape) != 2:
            raise TypeError(f"q must be a QuantizedTensor of a matrix (out, in), got {checks.shown(q)}")
        self.q = q

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.q.shape

    @property
    def dtype(self) -> np.dtype:
        return self.q.dtype

    @property
    def nbytes(self) -> int:
        """Bytes stored: codes and scales."""
        return self.q.nbytes

    def describe(self) -> str:
        """Shape, code and bytes, for `print(model)`."""
        double = ", double quantized" if self.q.double_quant else ""
        return f"weight {self.q.shape} in {self.q.code}, blocks of {self.q.block_size}{double}, {self.nbytes:,} bytes"

    def dense_weight(self) -> np.ndarray:
        """The decoded weight, a new array.    (out, in)"""
        return self.q.dequantize()

    def for_decoding(self) -> tuple[ForDecoding, None]:
        return matvec(self.q) or CalledLayer(self), None

    def __call__(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> tuple[np.ndarray, Callable]:
        check_input("x", x, self.in_features, self.q.dtype)
        y = _product(x, self.dense_weight().T)

        def backward(dy):
            # y = x Wᵀ          =>  dx = dy W, W decoded again
            return _product(dy, self.dense_weight())

        return y, backward

    def backward_alone(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> Callable:
        return lambda dy: _product(dy, self.dense_weight())


def _product(x, weight):
    """x weight, over the last axis of x.    x: (..., k)   weight: (k, m) -> (..., m)"""
    return fast.matmul(x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], -1)


class CalledLayer:
    """A layer as a product for decoding, where nothing faster is known."""

    nbytes, alike = 0, None

    def __init__(self, layer: LinearFace):
        self.layer, self.width = layer, layer.out_features

    def shares(self, x: np.ndarray, out: np.ndarray) -> Shares:
        def call():
            out[...], _ = self.layer(x)

        return [call], lambda: None


def quantize_linears(
    model: Module,
    code: str = "nf4",
    *,
    block_size: int = 64,
    double_quant: bool = False,
    target_modules: str | tuple[str, ...] = "all-linear",
) -> list[str]:
    """Replace dense linear layers by QuantizedLinear, in place; returns their paths.

    "all-linear" leaves head, embeddings and norms as they are. Then `apply_lora` makes the model QLoRA. Raises
    ValueError, before anything is changed, for unknown targets or codes, weights that are not finite, layers that are
    quantized already, and where an adapter is on: it was trained on the base as it is, so quantize first, or merge it
    for good (`merge_lora(model, keep_unmerged=False)`).
    """
    refuse_merged(model)
    layers = match_targets(model, target_modules)
    if adapter_layers(model):
        raise ValueError(
            "model must have no adapters to be quantized, got some; quantize before apply_lora, or make them part of the "
            "weights with merge_lora(model, keep_unmerged=False)"
        )
    for path, layer in layers.items():
        if type(layer) is not Linear:
            raise ValueError(f"{path} must be a dense Linear, got {type(layer).__name__}; quantize each layer once")
    quantized = {
        path: QuantizedLinear(quantize(layer.weight.value, code, block_size=block_size, double_quant=double_quant))
        for path, layer in layers.items()
    }
    for path, layer in quantized.items():
        model.set_submodule(path, layer)
    return list(layers)
