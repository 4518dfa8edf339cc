"""Gradient checkpointing: a Block that forgets its activations and runs forward again in backward.

Chen et al. 2016 (arXiv 1604.06174): memory for one block's activations instead of all, for one more forward.
"""

from collections.abc import Callable

import numpy as np

from minilora import checks
from minilora.nn.llama import Block, Llama
from minilora.nn.past import Past


class CheckpointedBlock(Block):
    """The same layers under the same paths as the Block it is made from; it keeps only its input.    (B, T, D)"""

    def __init__(self, block: Block):
        vars(self).update(vars(block))  # the very same child layers, so no path and no parameter changes

    def __call__(
        self, x: np.ndarray, *, rng: np.random.Generator | None = None, cache: Past | None = None
    ) -> tuple[np.ndarray, Callable]:
        state = None if rng is None else rng.bit_generator.state
        y, _ = super().__call__(x, rng=rng, cache=cache)

        def backward(dy):
            # Dropout must fall on the same entries again: start from the state that the first forward started from.
            _, block_backward = super(CheckpointedBlock, self).__call__(x, rng=_generator(rng, state), cache=cache)
            return block_backward(dy)

        return y, backward


def checkpoint_blocks(model: Llama) -> None:
    """Make every block of `model` a CheckpointedBlock, in place. Gradients stay the same bit for bit."""
    checks.instance("model", model, Llama, hint="load_base() gives one")
    model.layers = [CheckpointedBlock(block) for block in model.layers]


def _generator(rng, state):
    if rng is None:
        return None
    bits = type(rng.bit_generator)()
    bits.state = state
    return np.random.Generator(bits)
