"""Exercises of 03_rank: the bound, the best approximation, the trained parameters, speed against capacity."""

import numpy as np

from minilora.course.exercises.exercise import Exercise


def _spectra(rng: np.random.Generator) -> list[tuple]:
    """(singular values, falling; r)."""
    return [(np.array([5.0, 3.0, 2.0, 1.0, 0.5]), 2), (np.sort(rng.uniform(0, 4, 8))[::-1].copy(), 5)]


EXERCISES = (
    Exercise(
        name="left_over",
        title="the Eckart-Young bound",
        question="""
`sigma` are the singular values of a change, falling. Which share of the change, in squared Frobenius norm, must any rank-`r`
update leave over?""",
        code='''
            def left_over(sigma, r):
                """-> share between 0 and 1"""
                return ____
        ''',
        solution="np.sum(sigma[r:] ** 2) / np.sum(sigma**2)",
        mistakes={
            "np.sum(sigma[r:]) / np.sum(sigma)": "not squared: the squared Frobenius norm is the sum of the squares of sigma.",
            "np.sum(sigma[:r] ** 2) / np.sum(sigma**2)": "that is the share that is kept; what is left over is asked for.",
            "np.sum(sigma[r + 1 :] ** 2) / np.sum(sigma**2)": "off by one: rank r keeps r singular values, the first r.",
            "np.sum(sigma[r:] ** 2)": "the share is asked for: divide by the whole.",
            "sigma[r] / sigma[0]": "that is the bound in the spectral norm; here it is the Frobenius norm, so all the others count.",
        },
        cases=_spectra,
        learned="`bound` in minilora/experiments/rank/rank_known.py is this, and training reaches it.",
    ),
    Exercise(
        name="best_factors",
        title="A and B from the SVD",
        question="""
Make the best `lora_A` (r, in) for a known `change` (out, in) from its SVD, when `lora_B` is the first r columns of U. The check
looks at the product.""",
        code='''
            def best_product(change, r):
                """change: (out, in)   ->   lora_B @ lora_A, (out, in)"""
                U, sigma, Vt = np.linalg.svd(change, full_matrices=False)
                lora_B = U[:, :r]
                return lora_B @ (____)
        ''',
        solution="sigma[:r, None] * Vt[:r]",
        mistakes={
            "Vt[:r]": "the singular values are forgotten: U and Vt alone have length one.",
            "sigma[:r, None] * Vt[-r:]": "the last directions are the smallest; the first r are wanted.",
            "sigma[:r, None] ** 2 * Vt[:r]": "the singular values count twice.",
            "sigma[:r, None] * Vt[:, :r].T": "Vt is transposed already: its rows are the directions of the input.",
        },
        cases=lambda rng: [(rng.standard_normal((6, 5)), 2), (rng.standard_normal((5, 5)), 3)],
        learned="No rank-r matrix comes closer. PiSSA starts training from such factors, of W itself.",
    ),
    Exercise(
        name="base_trainable",
        title="all-linear on the base",
        question="""
The base has 5 layers. In each: q and o are 128 x 128; k and v are 64 x 128 (out x in); gate and up are 352 x 128; down is 128 x
352. How many parameters does LoRA of rank `r` on all linear layers train?""",
        code='''
            def base_trainable(r):
                """-> int"""
                return ____
        ''',
        solution="5 * r * (2 * (128 + 128) + 2 * (64 + 128) + 3 * (352 + 128))",
        mistakes={
            "r * (2 * (128 + 128) + 2 * (64 + 128) + 3 * (352 + 128))": "that is one layer; there are five.",
            "5 * r * (4 * (128 + 128) + 3 * (352 + 128))": "k and v are narrower: two of the four heads share keys and values.",
            "5 * r * (2 * (128 + 128) + 2 * (64 + 128) + 2 * (352 + 128))": "the MLP has three matrices: gate, up and down.",
            "5 * r * (2 * (128 + 128) + 2 * (64 + 128))": "that is attention alone; all linear layers include the MLP.",
            "5 * r * (2 * (128 + 128) + 2 * (64 + 128) + 3 * (352 + 128)) + r * (256 + 128)": "embedding and head are left alone.",
        },
        cases=lambda rng: [(1,), (16,), (64,)],
        learned="11,680 for each rank, as the figure rank_fit says; at r = 64 that is 78 % of the whole small model.",
    ),
    Exercise(
        name="speed_or_capacity",
        title="speed or capacity?",
        question="""
No formula. Held-out losses on one task, each rank at its own best rate (figure rank_fit):

| | after 60 steps | after 180 steps | after 540 steps |
|---|---:|---:|---:|
| r = 1 | 1.71 | 1.26 | 0.33 |
| r = 64 | 1.51 | 0.42 | 0.03 |

What do these numbers show about r = 1?

a) Its capacity is too small for this task. b) It learns more slowly; its capacity reaches at least 0.33. c) It overfits. d) Its
rate is too high.""",
        code="answer = ____",
        solution='"b"',
        mistakes={
            '"a"': "if its capacity ended at 1.26, more steps could not bring it to 0.33, below where r = 64 was after 180.",
            '"c"': "these are held-out losses, and they fall.",
            '"d"': "each rank has its own best rate here, and the loss falls steadily.",
        },
        learned="Whether r = 1 would ever reach 0.03 these numbers leave open; longer runs tell (figure rank_curves).",
        understanding=True,
    ),
)
