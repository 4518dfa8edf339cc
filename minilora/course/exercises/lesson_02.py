"""Exercises of 02_lora: the update, its gradients, what is trained, and what alpha does that the rate does not."""

import numpy as np

from minilora.course.exercises.exercise import Exercise


def _pairs(rng: np.random.Generator) -> list[tuple]:
    """(lora_A (r, in), lora_B (out, r), alpha, r), tall and wide."""
    return [
        (rng.standard_normal((r, k)), rng.standard_normal((n, r)), a, r) for r, k, n, a in [(2, 5, 3, 8), (4, 6, 9, 2)]
    ]


def _gradients(rng: np.random.Generator) -> list[tuple]:
    """(x (N, in), dy (N, out), lora_A, lora_B, s); dy is random, as ones would hide errors."""
    return [
        tuple(rng.standard_normal(shape) for shape in [(7, k), (7, n), (r, k), (n, r)]) + (s,)
        for r, k, n, s in [(2, 5, 3, 4.0), (3, 6, 8, 0.5)]
    ]


EXERCISES = (
    Exercise(
        name="delta_weight",
        title="the update as a matrix",
        question="Write the matrix that LoRA adds to $W$, from `lora_A` (r, in) and `lora_B` (out, r), as PEFT scales it.",
        code='''
            def delta_weight(lora_A, lora_B, alpha, r):
                """(out, in)"""
                return ____
        ''',
        solution="(alpha / r) * lora_B @ lora_A",
        mistakes={
            "alpha * lora_B @ lora_A": "alpha is not divided by r. At the same alpha, rank 64 would act 64 times as strongly.",
            "lora_B @ lora_A": "the scaling is missing altogether; alpha and r decide how strongly the update acts.",
            "(alpha / r) * lora_A @ lora_B": "A and B are swapped: (r, in) @ (out, r) do not fit. B comes first.",
            "(alpha / r) * lora_A.T @ lora_B.T": "that is (in, out), the transpose; the weight is (out, in). B comes first, without .T.",
            "(alpha / r) * lora_B.T @ lora_A": "B needs no .T: (out, r) @ (r, in).",
            "(alpha / np.sqrt(r)) * lora_B @ lora_A": "that is rsLoRA's alpha / sqrt(r), PEFT's use_rslora=True; the default differs.",
            "(r / alpha) * lora_B @ lora_A": "alpha and r are swapped: more alpha must act more strongly.",
        },
        cases=_pairs,
        learned="This is `LoRALinear.delta_weight`, and what merging adds to W.",
    ),
    Exercise(
        name="lora_gradients",
        title="the two gradients",
        question="""
Forward: $h = x A^T$, then $y = x W^T + s\\, h B^T$. Given the upstream gradient `dy` (N, out), return `dlora_A` (r, in) and
`dlora_B` (out, r). The shapes leave you little choice; mind where $s$ goes.""",
        code='''
            def lora_gradients(x, dy, lora_A, lora_B, s):
                """x: (N, in)   dy: (N, out)   ->   dlora_A (r, in), dlora_B (out, r)"""
                ____
        ''',
        solution="""
h = x @ lora_A.T
dh = s * dy @ lora_B
return dh.T @ x, s * dy.T @ h""",
        mistakes={
            """
h = x @ lora_A.T
dh = dy @ lora_B
return dh.T @ x, dy.T @ h""": "s is lost on the way back: it multiplies y, so it multiplies both gradients.",
            """
h = x @ lora_A.T
dh = s * dy @ lora_B
return dh.T @ x, dy.T @ h""": "s is missing in dlora_B alone: y = ... + s h Bᵀ gives dB = s dyᵀ h.",
            """
h = x @ lora_A.T
dh = s * dy @ lora_B
return dh.T @ x, s * np.ones_like(dy).T @ h""": "an upstream gradient of ones hides this: dB has to use dy.",
            """
h = x @ lora_A.T
dh = s * dy @ lora_B
return s * dh.T @ x, s * dy.T @ h""": "s counts twice in dlora_A: it is already in dh.",
            """
h = x @ lora_A.T
dh = s * dy @ lora_B
return s * dy.T @ h, dh.T @ x""": "A and B are swapped: return dlora_A first.",
            """
h = x @ lora_A.T
dh = s * dy @ lora_B.T
return dh.T @ x, s * dy.T @ h""": "lora_B needs no .T on the way back: y = h Bᵀ gives dh = dy B.",
            """
h = x @ lora_A
dh = s * dy @ lora_B
return dh.T @ x, s * dy.T @ h""": "the .T of A is missing in h: h = x Aᵀ.",
            """
h = x @ lora_A.T
dh = s * dy @ lora_B
return x.T @ dh, h.T @ (s * dy)""": "both are transposed: a gradient has the shape of its parameter, (r, in) and (out, r).",
            """
h = lora_A @ x
dh = s * lora_B.T @ dy
return dh @ x.T, s * dy @ h.T""": "that is the column form; here an example is a row of x and of dy.",
        },
        cases=_gradients,
        learned="At B = 0, dh is zero and so is dlora_A, while dlora_B is not: B has to move first.",
    ),
    Exercise(
        name="trainable_count",
        title="counting what trains",
        question="""
How many parameters does LoRA of rank `r` train on the given `shapes`, a list of (out, in)? (Then check the GPT-3 claim below in
your head.)""",
        code='''
            def trainable_count(shapes, r):
                """shapes: [(out, in), ...] of the target layers   ->   int"""
                return ____
        ''',
        solution="sum(r * (n_in + n_out) for n_out, n_in in shapes)",
        mistakes={
            "sum(n_in * n_out for n_out, n_in in shapes)": "that is full fine-tuning: every weight of the targets.",
            "sum(2 * r * n_in for n_out, n_in in shapes)": "2 r d holds for square matrices alone; here in and out differ.",
            "sum(r * n_in for n_out, n_in in shapes)": "only A is counted; B is trained as well.",
            "sum(r * n_in * n_out for n_out, n_in in shapes)": "in and out are added, not multiplied: A is (r, in), B is (out, r).",
            "r * (shapes[0][0] + shapes[0][1])": "only the first layer is counted.",
        },
        cases=lambda rng: [([(128, 128), (64, 128), (352, 128)], 8), ([(5, 7), (11, 5)], 3)],
        learned="r (in + out) for each target; `count_parameters` counts the same from the arrays.",
    ),
    Exercise(
        name="gpt3_count",
        title="the 1.4 million",
        question="""
A well-known list of interview answers says that LoRA with r = 16 on GPT-3 (96 layers, width 12288, q and v) trains about 1.4
million parameters. What is the right number?""",
        code="gpt3_lora = ____",
        solution="96 * 2 * 16 * (12288 + 12288)",
        mistakes={
            "1_400_000": "that is the claim itself. It is less than one layer's pair of bypasses times two; count again.",
            "96 * 16 * (12288 + 12288)": "half is missing: q and v are two matrices per layer, and each has an A and a B.",
            "96 * 2 * 1 * (12288 + 12288)": "that is r = 1: the 4.7 million of the paper's smallest setting.",
            "96 * 4 * 16 * (12288 + 12288)": "that is twice the answer: q, k, v and o, where the question has q and v.",
        },
        learned="75,497,472: 54 times the claim, and still 0.04 % of 175 billion.",
    ),
    Exercise(
        name="alpha_and_rate",
        title="two knobs, not one",
        question="""
No formula to copy: think of where $s$ stands. alpha is doubled *and* the learning rate halved; A is the same. By which factor
does the update $s B A$ after the *first* step change: under plain gradient descent, and under Adam (whose first step is the rate
times the sign of the gradient)? Two numbers.""",
        code="factors = ____  # (gradient descent, Adam)",
        solution="(2, 1)",
        mistakes={
            "(1, 1)": "under gradient descent alpha counts twice: dB contains s, and s multiplies B again.",
            "(2, 2)": "Adam's step does not grow with the gradient, so there alpha counts once, and the rate is halved.",
            "(4, 2)": "the rate was halved, too.",
            "(1, 2)": "the other way round: in which of the two does dB, which contains s, enter with its size?",
            "(4, 1)": "right for Adam; under gradient descent alpha gives 4, and the rate takes half of it.",
            "(0.5, 1)": "alpha acts with its square under gradient descent, the rate once: 2 * 2 / 2.",
            "(2, 0.5)": "under Adam alpha doubles and the rate halves: nothing changes at the first step.",
        },
        learned="Even under Adam only the first step is the same: from the second on A moves too, and A feels the rate but not alpha.",
        understanding=True,
    ),
)
