"""Exercises of 01_backprop_by_hand: products, softmax, cross-entropy, differences, and who receives a gradient."""

import numpy as np

from minilora.course.exercises.exercise import Exercise


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _probabilities(rng: np.random.Generator) -> list[tuple]:
    """(dp, p): random upstream gradients, and rows that sum to one."""
    return [(rng.standard_normal((4, 5)), _softmax(rng.standard_normal((4, 5)))) for _ in range(2)]


def _logits(rng: np.random.Generator) -> list[tuple]:
    """(softmax of the logits, labels), some labels ignored."""
    labels = np.array([1, -100, 0, 3, -100, 2])
    return [
        (_softmax(rng.standard_normal((6, 4))), labels),
        (_softmax(rng.standard_normal((6, 4))), labels[::-1].copy()),
    ]


EXERCISES = (
    Exercise(
        name="linear_backward",
        title="backward of a product",
        question="""
$y = x W^T$. Return `dx` (N, in) and `dweight` (out, in) from `dy` (N, out). The shapes leave one way to multiply; check that
nothing is missing or transposed.""",
        code='''
            def linear_backward(dy, x, weight):
                """dy: (N, out)   x: (N, in)   weight: (out, in)   ->   dx, dweight"""
                return ____
        ''',
        solution="dy @ weight, dy.T @ x",
        mistakes={
            "dy.T @ x, dy @ weight": "the two are swapped: dx comes first.",
            "dy @ weight, x.T @ dy": "dweight is transposed: it must have the shape of weight, (out, in).",
            "dy @ weight, np.ones_like(dy).T @ x": "an upstream gradient of ones hides this: dweight has to use dy.",
            "dy @ weight, dy.T @ x / len(x)": "divided by N: the mean belongs to the loss, whose backward has it already.",
            "dy @ weight.T, dy.T @ x": "weight needs no .T: it is (out, in), and dy @ weight is (N, out) @ (out, in).",
            "weight.T @ dy, dy.T @ x": "that is the column form; dy has one row per example, so dx = dy @ weight.",
            "dy @ weight, dy @ x": "a .T is missing in dweight: sum over the rows of dy and x, dyᵀ x.",
            "dy @ weight, dy[:1].T @ x[:1]": "the sum over all N rows is missing: every row used the same weight.",
        },
        cases=lambda rng: [tuple(rng.standard_normal(s) for s in [(6, 3), (6, 4), (3, 4)]) for _ in range(2)],
        learned="The forward has one such product, the backward these two: two thirds of the matrix work of training.",
    ),
    Exercise(
        name="softmax_backward",
        title="backward of a softmax",
        question="$p = \\mathrm{softmax}(s)$ along the last axis. Return `ds` from `dp` and `p`.",
        code='''
            def softmax_backward(dp, p):
                """dp, p: (N, V)   ->   ds: (N, V)"""
                return ____
        ''',
        solution="p * (dp - np.sum(dp * p, axis=-1, keepdims=True))",
        mistakes={
            "p * dp": "the sum over the row is missing: raising one logit lowers all the other probabilities.",
            "p * (1 - p) * dp": "that is the diagonal alone, a sigmoid's backward; the others in the row change, too.",
            "p * (dp - np.sum(dp, axis=-1, keepdims=True))": "the sum has to be weighted by p.",
            "p * (dp - np.sum(dp * p))": "the sum goes over each row, not over the whole array.",
            "3 * p * (dp - np.sum(dp * p, axis=-1, keepdims=True))": (
                "wrong by a factor; an upstream gradient of ones hides this, since then ds is zero anyway."
            ),
            "np.zeros_like(p)": "that is right for an upstream gradient of ones alone.",
        },
        cases=_probabilities,
        learned="Each row of ds sums to zero: adding a constant to all logits changes nothing.",
    ),
    Exercise(
        name="cross_entropy_backward",
        title="backward of cross-entropy, with ignored labels",
        question="""
The loss is the mean of $-\\log p[\\mathrm{label}]$ over the labels that count; -100 means ignored. Return the gradient of the
logits from `p`, their softmax. Rows with ignored labels get zero.""",
        code='''
            def cross_entropy_backward(p, labels):
                """p: (N, V)   labels: (N,)   ->   dlogits: (N, V)"""
                counts = labels != -100
                onehot = np.zeros_like(p)
                onehot[counts, labels[counts]] = 1
                return ____
        ''',
        solution="(p - onehot) * counts[:, None] / counts.sum()",
        mistakes={
            "(p - onehot) * counts[:, None] / len(labels)": "divided by all labels, not by those that count.",
            "(p - onehot) / counts.sum()": "ignored rows get a gradient: they must not count at all.",
            "(p - onehot) * counts[:, None]": "not divided: the loss is a mean.",
            "(onehot - p) * counts[:, None] / counts.sum()": "the sign is flipped: that would raise the loss.",
            "p * counts[:, None] / counts.sum()": "the one-hot of the label is missing: the right answer must be pulled up.",
        },
        cases=_logits,
        learned="Softmax minus one-hot over the count: the gradient that every language model starts from.",
    ),
    Exercise(
        name="central_difference",
        title="the numeric derivative",
        question="Estimate the derivative of `f` at `x` along the direction `v`, with an error of order $h^2$.",
        code='''
            def central_difference(f, x, v, h):
                """f: array -> number   x, v: arrays   ->   number"""
                return ____
        ''',
        solution="(f(x + h * v) - f(x - h * v)) / (2 * h)",
        mistakes={
            "(f(x + h * v) - f(x)) / h": "that is the one-sided difference: its error is of order h, not h squared.",
            "(f(x + h * v) - f(x - h * v)) / h": "the two points are 2 h apart.",
            "(f(x + h) - f(x - h)) / (2 * h)": "the direction is lost: a step of ones hides errors that cancel.",
            "(f(x - h * v) - f(x + h * v)) / (2 * h)": "the sign is flipped: minus the derivative.",
        },
        cases=lambda rng: [
            (_cubic, rng.standard_normal(4), rng.standard_normal(4), 0.1),
            (_cubic, np.arange(3.0), np.array([1, -2, 0.5]), 0.1),
        ],
        learned="`gradcheck` does this along random directions, through a random projection of the output.",
    ),
    Exercise(
        name="who_gets_a_gradient",
        title="who gets a gradient",
        question="""
No formula, a prediction. Five tokens, numbered 0 to 4, in an attention with a *window*: each token looks at itself and at the two
tokens before it. The loss depends on the output of token 3 alone. Which rows of `dk` are not zero? A list of numbers.""",
        code="rows = ____",
        solution="[1, 2, 3]",
        mistakes={
            "[3]": "that is dq: token 3's own query. Its output also depends on the keys that the query is compared with.",
            "[0, 1, 2, 3]": "that is a causal mask without the window: token 0 is out of token 3's sight.",
            "[2, 3, 4]": "token 4 comes later: nothing that token 3 puts out depends on it.",
            "[2, 3]": "the window holds three tokens: itself and the two before it.",
            "[1, 2]": "a token looks at itself, too.",
            "[0, 1, 2, 3, 4]": "only the tokens that token 3 can see acted on its output.",
            "[2, 3, 4, 5]": "count from 0, and back from token 3.",
        },
        learned="A gradient goes where the forward came from: dq to row 3, dk and dv to rows 1, 2 and 3.",
        understanding=True,
    ),
)


def _cubic(x):
    return float(np.sum(x**3) + x[0] * x[1])
