"""Gradient checkpointing: a Block that forgets its activations and runs forward again in backward.

Chen et al. 2016 (arXiv 1604.06174): memory for one block's activations instead of all, for one more forward. What is cheap
to keep and dear to compute is kept all the same: attention's output grows with the length T, its work with T squared.
"""

from collections.abc import Callable

import numpy as np

from minilora import checks
from minilora.nn.llama import MLP, Block, Llama
from minilora.nn.past import Past


class CheckpointedBlock(Block):
    """The same layers under the same paths as the Block it is made from; it keeps only its input.    (B, T, D)

    Of long texts (over `fast.KEEP_UP_TO` keys) it keeps attention's output before and after o_proj as well, and two numbers
    per softmax.
    `last`: nothing comes between its forward and its backward, so it keeps its activations for the first backward.
    """

    def __init__(self, block: Block, last: bool = False):
        vars(self).update(vars(block))  # the very same child layers, so no path and no parameter changes
        self.last = last

    def __call__(
        self, x: np.ndarray, *, rng: np.random.Generator | None = None, cache: Past | None = None
    ) -> tuple[np.ndarray, Callable]:
        state = None if rng is None else rng.bit_generator.state
        memo = None if self.last else []
        y, first_backward = super().__call__(x, rng=rng, cache=cache, memo=memo)
        kept = [first_backward] if self.last else []
        del first_backward  # and with it the activations, unless kept

        def backward(dy):
            if kept:
                return kept.pop()(dy)
            # Dropout must fall on the same entries again: start from the state that the first forward started from.
            return self._backward_again(x, _generator(rng, state), cache, memo)(dy)

        return y, backward

    def _backward_again(self, x, rng, cache, memo):
        """The block's backward by another forward, but for what only y needs."""
        h, attention_backward = self.plus_attention(x, rng, cache, memo)
        n, norm_backward = self.post_attention_layernorm(h)
        mlp_backward = self.mlp.backward_alone(n, rng=rng) if type(self.mlp) is MLP else self.mlp(n, rng=rng)[1]

        def backward(dy):
            dh = norm_backward(mlp_backward(dy))
            dh += dy
            return attention_backward(dh)

        return backward


def checkpoint_blocks(model: Llama) -> None:
    """Make every block of `model` a CheckpointedBlock, in place. Gradients stay the same bit for bit.

    TypeError unless `model` is a Llama.
    """
    checks.instance("model", model, Llama, hint="load_base() gives one")
    blocks = model.layers
    model.layers = [CheckpointedBlock(block, last=block is blocks[-1]) for block in blocks]


def _generator(rng, state):
    if rng is None:
        return None
    bits = type(rng.bit_generator)()
    bits.state = state
    return np.random.Generator(bits)
