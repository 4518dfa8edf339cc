"""What is left of a weight from which an adapter took its start: W - s B A, whole or quantized."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from minilora import checks
from minilora.adapters.quantized import QuantizedLinear
from minilora.nn.layers import LinearFace
from minilora.nn.module import Constant, Module
from minilora.quant import QuantizedTensor, quantize


@dataclass(frozen=True)
class LoftQConfig:
    """How the weight is quantized beneath an adapter that starts in it: as by `quantize`, and in how many rounds.

    Raises ValueError or TypeError for an unknown code or a setting out of range.
    """

    loftq_iter: int = 1
    code: str = "nf4"
    block_size: int = 64
    double_quant: bool = False

    def __post_init__(self):
        keep = partial(object.__setattr__, self)
        keep("loftq_iter", checks.integer("loftq_iter", self.loftq_iter, low=1, hint="try 1"))
        keep("block_size", checks.integer("block_size", self.block_size, low=1))
        keep("double_quant", checks.boolean("double_quant", self.double_quant))
        self.quantize(np.ones((1, 1), np.float32))  # refuses an unknown code

    def quantize(self, weight: np.ndarray) -> QuantizedTensor:
        return quantize(weight, self.code, block_size=self.block_size, double_quant=self.double_quant)


class Start(Module):
    """What A and B started with, taken from the weight, kept so that it can be taken from it again.

    lora_A: (r, in)   lora_B: (out, r), constant   `quantization`: how what is left is stored; None leaves it as it is.
    """

    def __init__(self, lora_A: Constant, lora_B: Constant, scaling: float, quantization: LoftQConfig | None):
        self.lora_A, self.lora_B = lora_A, lora_B
        self.scaling, self.quantization = scaling, quantization
        self.quantized: QuantizedLinear | None = None  # made when it is first needed, and kept

    def taken_from(self, base_layer: LinearFace, factor: float | None) -> LinearFace:
        """The layer with the weight W - factor s B A; where it is quantized, there is no factor."""
        if self.quantization is None:
            return Residual(base_layer, self.lora_A.value, self.lora_B.value, self.scaling * factor)
        if self.quantized is None:
            left = base_layer.dense_weight() - self.scaling * (self.lora_B.value @ self.lora_A.value)
            self.quantized = QuantizedLinear(self.quantization.quantize(left))
        return self.quantized


class Residual(LinearFace):
    """y = base(x) - s x Aᵀ Bᵀ: the weight W - s B A, which is never formed, over any base.    A: (r, in)   B: (out, r)"""

    def __init__(self, base_layer: LinearFace, lora_A: np.ndarray, lora_B: np.ndarray, scaling: float):
        self.base_layer, self.lora_A, self.lora_B, self.scaling = base_layer, lora_A, lora_B, scaling

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.base_layer.weight_shape

    @property
    def dtype(self) -> np.dtype:
        return self.base_layer.dtype

    def dense_weight(self) -> np.ndarray:
        """W - s B A, a new array.    (out, in)"""
        return self.base_layer.dense_weight() - self.scaling * (self.lora_B @ self.lora_A)

    def __call__(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> tuple[np.ndarray, Callable]:
        y, base_backward = self.base_layer(x, rng=rng)
        A, B, s = self.lora_A, self.lora_B, self.scaling
        shape = x.shape  # x itself is not kept: nothing here is trained
        h = x.reshape(-1, shape[-1]) @ A.T  # (..., in) -> (N, r)
        y -= (h @ B.T * s).reshape(y.shape)

        def backward(dy):
            # y = base(x) - s x Aᵀ Bᵀ    =>  dx = base's - s dy B A
            dx = base_backward(dy)
            dh = dy.reshape(-1, dy.shape[-1]) @ B
            dh *= s
            dx -= (dh @ A).reshape(shape)
            return dx

        return y, backward
