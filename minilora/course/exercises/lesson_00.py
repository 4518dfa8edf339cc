"""Exercises of 00_start_here: the size of an adapter, the bypass, four bits, and what fills the memory."""

import numpy as np

from minilora.course.exercises.exercise import Exercise


def _bypasses(rng: np.random.Generator) -> list[tuple]:
    """(x (N, in), W (out, in), lora_A (r, in), lora_B (out, r), alpha, r)."""
    return [
        tuple(rng.standard_normal(shape) for shape in [(6, k), (n, k), (r, k), (n, r)]) + (alpha, r)
        for n, k, r, alpha in [(3, 5, 2, 8), (7, 4, 3, 1)]
    ]


def _blocks(rng: np.random.Generator) -> list[tuple]:
    """(a block of weights, 16 sorted levels from -1 to 1); the largest weight is negative in the first."""
    levels = np.sort(np.append(rng.uniform(-1, 1, 14), [-1.0, 1.0]))
    return [(np.append(rng.standard_normal(7), -4.0), levels), (np.append(rng.standard_normal(7), 5.0), levels)]


EXERCISES = (
    Exercise(
        name="lora_share",
        title="how much is trained",
        question="""
A linear layer has 4096 inputs and 11008 outputs. How many numbers does LoRA of rank 16 train, as a share of the layer's weights
(between 0 and 1)?""",
        code="share = ____",
        solution="16 * (4096 + 11008) / (4096 * 11008)",
        mistakes={
            "16 * (4096 + 11008)": "that is the count of trained numbers; divide it by the weights that the layer has.",
            "16 * 4096 / (4096 * 11008)": "only A is counted; B is trained as well.",
            "16 * 11008 / (4096 * 11008)": "only B is counted; A is trained as well.",
            "100 * 16 * (4096 + 11008) / (4096 * 11008)": "that is in percent; a share between 0 and 1 is asked for.",
            "(4096 * 11008) / (16 * (4096 + 11008))": "numerator and denominator are swapped: trained over all.",
        },
        learned="Half a percent, and still a quarter of a million numbers in this one layer.",
    ),
    Exercise(
        name="bypass_forward",
        title="the bypass",
        question="""
The forward of LoRA: the frozen layer, plus the bypass through `lora_A` (r, in) and `lora_B` (out, r). A row of `x` is one input.""",
        code='''
            def bypass_forward(x, W, lora_A, lora_B, alpha, r):
                """x: (N, in)   W: (out, in)   ->   y: (N, out)"""
                return ____
        ''',
        solution="x @ W.T + (alpha / r) * (x @ lora_A.T) @ lora_B.T",
        mistakes={
            "(alpha / r) * (x @ lora_A.T) @ lora_B.T": "the frozen layer is missing: the bypass is added to it.",
            "x @ W.T + (x @ lora_A.T) @ lora_B.T": "the scaling is missing.",
            "x @ W.T + alpha * (x @ lora_A.T) @ lora_B.T": "alpha is not divided by r.",
            "(alpha / r) * (x @ W.T + (x @ lora_A.T) @ lora_B.T)": "the scaling belongs to the bypass alone.",
            "x @ W.T + (alpha / r) * x @ lora_B.T @ lora_A.T": "A and B are swapped: x meets A first.",
            "x @ W + (alpha / r) * (x @ lora_A.T) @ lora_B.T": "a .T is missing: W is (out, in), so a row of x meets W.T.",
            "x @ W.T + (alpha / r) * (x @ lora_A) @ lora_B": "the .T of A is missing: lora_A is (r, in), so a row of x meets lora_A.T.",
            "x @ W.T + (alpha / r) * (x @ lora_A.T) @ lora_B": "the .T of B is missing: lora_B is (out, r), and h = x Aᵀ is (N, r).",
            "W @ x + (alpha / r) * lora_B @ (lora_A @ x)": "that is the column form, y = W x; here an input is a row of x, so y = x Wᵀ.",
            "W @ x.T + (alpha / r) * lora_B @ (lora_A @ x.T)": "that is the column form, (out, N): transpose it.",
        },
        cases=_bypasses,
        learned="With lora_B at zero, this is x Wᵀ: training starts from the model as it is.",
    ),
    Exercise(
        name="four_bit_roundtrip",
        title="a block of weights in four bits",
        question="""
What is left of a `block` of weights after it went to four bits and back: scale it so that its largest absolute value is 1, take
for each the nearest of the 16 `levels`, and scale back.""",
        code='''
            def four_bit_roundtrip(block, levels):
                """block: (N,)   levels: (16,)   ->   (N,)"""
                ____
        ''',
        solution="""
scale = np.abs(block).max()
codes = np.abs(block[:, None] / scale - levels).argmin(axis=1)
return levels[codes] * scale""",
        mistakes={
            """
scale = np.abs(block).max()
codes = np.abs(block[:, None] / scale - levels).argmin(axis=1)
return levels[codes]""": "it is not scaled back: the levels lie between -1 and 1.",
            """
scale = block.max()
codes = np.abs(block[:, None] / scale - levels).argmin(axis=1)
return levels[codes] * scale""": "the scale is the largest weight, not the largest absolute value: large negative ones fall off.",
            """
codes = np.abs(block[:, None] - levels).argmin(axis=1)
return levels[codes]""": "the block is never scaled, so all that lies outside -1 and 1 is cut off.",
            """
scale = np.abs(block).max()
codes = np.abs(block[:, None] / scale - levels).argmin(axis=1)
return codes * scale""": "those are the codes, 0 to 15; look up the level of each.",
            """
scale = np.abs(block).max()
codes = np.searchsorted(levels, block / scale)
return levels[codes] * scale""": "searchsorted gives the next level above, not the nearest one.",
        },
        cases=_blocks,
        learned="The largest weight of a block comes back exactly, because -1 and 1 are levels. The others move a little.",
    ),
    Exercise(
        name="what_grows",
        title="which part of the memory",
        question="""
No formula, a prediction. A QLoRA run holds three things: the frozen `"weights"`, the `"adapter"` (with its gradients and AdamW's
moments) and the `"activations"`. Which one grows if you double the rank? If you double the batch? If you store the base in 8 bits
instead of 4? Three words, in this order.""",
        code="grows = ____",
        solution='("adapter", "activations", "weights")',
        mistakes={
            '("weights", "activations", "weights")': "rank is the size of A and B; the frozen weights do not know of it.",
            '("adapter", "weights", "weights")': "there is one copy of the weights, however many examples pass through it.",
            '("adapter", "adapter", "weights")': "A and B have one gradient, summed over the batch: its size does not depend on the batch.",
            '("adapter", "activations", "adapter")': "the adapter stays in floating point; only the base is quantized.",
            '("adapter", "activations", "activations")': "activations are computed in floating point, whatever the base is stored in.",
            '("activations", "activations", "weights")': (
                "the bypass keeps r numbers per token, which is little; double the rank and A, B and their moments double."
            ),
        },
        learned="So out of memory has three remedies: a smaller rank is the weakest, four bits and checkpointing the strongest.",
        understanding=True,
    ),
)
