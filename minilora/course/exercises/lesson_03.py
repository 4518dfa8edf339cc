"""Exercises of 03_rank: the bound, the best approximation, the trained parameters, the scaling."""

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
The base has 5 layers. In each: q and o are 128 x 128; k and v are 64 x 128 (out x in); gate and up are 352 x 128; down is 128 x 352.
How many parameters does LoRA of rank `r` on all linear layers train?""",
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
        name="next_rate",
        title="a rate for an unswept rank",
        question="""
The best learning rates are known at ranks `known` (ascending). Rates go with ranks as lines on log-log paper. Interpolate for rank `r`.
(`np.interp`, `np.log`, `np.exp`.)""",
        code='''
            def next_rate(r, known, rates):
                """-> learning rate"""
                return ____
        ''',
        solution="np.exp(np.interp(np.log(r), np.log(known), np.log(rates)))",
        mistakes={
            "np.interp(r, known, rates)": "that is a straight line in r; on log-log paper both are logarithms.",
            "np.interp(np.log(r), np.log(known), rates)": "the rates are logarithms, too; and undo it at the end.",
            "np.interp(np.log(r), np.log(known), np.log(rates))": "that is the logarithm of the rate: exp is missing.",
            "rates[np.argmin(np.abs(np.array(known) - r))]": "that takes the nearest rank's rate; interpolate.",
        },
        cases=lambda rng: [(4, [1, 8, 64], [0.012, 0.006, 0.003]), (16, [1, 8, 64], [0.02, 0.01, 0.001])],
        learned="This is how rank_fit chooses rates between the swept ranks, the same way for both tasks.",
    ),
)
