"""DoRA: LoRA for the direction of each row of the weight, and a magnitude of its own beside it.

Liu et al. 2024 (arXiv 2402.09353). (rsLoRA is only another scaling: `LoraConfig.scaling`.)
"""

from collections.abc import Callable

import numpy as np

from minilora.adapters.lora import LoRA, LoraConfig
from minilora.adapters.residual import Start
from minilora.nn import ops
from minilora.nn.layers import LinearFace
from minilora.nn.module import Parameter


class DoRA(LoRA):
    """y = g (base(x') + s x' Aᵀ Bᵀ) + base(x) - base(x'), g = m / |W + s B A|, x' = dropout(x).    eq. 5

    Without dropout x' = x, and the weight is V = W + s B A with each row stretched to the length m. m: (out,), at first |W|,
    so that g = 1 and nothing changes. |V| counts as a constant in backward (section 4.3), as in PEFT; as there, dropout
    leaves base(x) alone and acts on the rest.
    """

    def __init__(
        self,
        config: LoraConfig,
        lora_A: Parameter,
        lora_B: Parameter,
        alpha: float,
        start: Start | None = None,
    ):
        super().__init__(config, lora_A, lora_B, alpha, start)
        self.lora_magnitude_vector = Parameter(np.ones(lora_B.shape[0], lora_B.dtype))

    def take_magnitude(self, base_layer: LinearFace) -> None:
        """Start at the lengths that the rows have."""
        self.lora_magnitude_vector.value[...] = self.norm(base_layer)

    def norm(self, base_layer: LinearFace) -> np.ndarray:
        """|W + s B A|, the length of each row; 1 for a row of zeros, which stays zero however it is stretched.    (out,)"""
        V = super().dense_weight(base_layer)
        norm = np.sqrt(np.vecdot(V, V))
        norm[norm == 0] = 1
        return norm

    def __call__(
        self, base_layer: LinearFace, x: np.ndarray, *, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, Callable]:
        A, B, m, s, p = self.lora_A, self.lora_B, self.lora_magnitude_vector, self.strength, self.config.lora_dropout
        beneath = self.beneath(base_layer)
        y, base_backward = beneath(x, rng=rng)
        dropped, dropout_backward, dropped_backward = x, None, None
        v = y
        if p and rng is not None:
            dropped, dropout_backward = ops.dropout(x, p, rng)
            v, dropped_backward = beneath(dropped, rng=rng)
        shape = x.shape  # with dropout x itself is not kept
        x2 = dropped.reshape(-1, shape[-1])  # (..., in) -> (N, in)
        h = x2 @ A.value.T  # (N, r)
        u = v + (h @ B.value.T * s).reshape(v.shape)  # x' (W + s B A)ᵀ
        norm = self.norm(base_layer)  # (out,)
        g = m.value / norm
        y = g * u if v is y else g * u + (y - v)

        def backward(dy):
            # y = g u + base(x) - base(x')    =>  du = g dy,   dg = sum dy * u, and dm = dg / norm: the norm is constant
            du = g * dy
            du2 = du.reshape(-1, du.shape[-1])
            m.accumulate(np.einsum("no,no->o", dy.reshape(du2.shape), u.reshape(du2.shape)) / norm)
            # u = base(x') + s h Bᵀ           =>  as in LoRA
            dh = du2 @ B.value
            dh *= s
            dsB = du2.T @ h
            B.accumulate(dsB * s)
            self.accumulate_alpha(dsB)
            A.accumulate(dh.T @ x2)
            dx = (dh @ A.value).reshape(shape)
            if dropout_backward is None:
                dx += base_backward(du)
                return dx
            dx += dropped_backward(du - dy)
            dx = dropout_backward(dx)
            dx += base_backward(dy)
            return dx

        return y, backward

    def dense_weight(self, base_layer: LinearFace) -> np.ndarray:
        """m V / |V|, V = W + s B A, dense.    (out, in)"""
        V = super().dense_weight(base_layer)
        return V * (self.lora_magnitude_vector.value / self.norm(base_layer))[:, None]

    def delta_weight(self, base_layer: LinearFace) -> np.ndarray:
        """By how much it changes the base's weight.    (out, in)"""
        return self.dense_weight(base_layer) - base_layer.dense_weight()
