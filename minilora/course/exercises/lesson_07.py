"""Exercises of 07_methods_and_hyperparameters: predictions, a prefix counted, the checkpoint to keep, and four broken runs."""

import numpy as np

from minilora.course.exercises.exercise import Exercise


def _curves(rng: np.random.Generator) -> list[tuple]:
    """(steps, training loss, held-out loss, lists of equal length); the held-out loss is lowest in the middle."""
    first = ([20, 40, 60, 80, 100], [1.4, 0.9, 0.5, 0.2, 0.1], [1.8, 1.0, 0.9, 1.3, 1.7])
    return [
        first,
        ([5, 10, 15, 20], [2.0, 1.0, 0.9, 0.4], [2.1, 1.3, 1.25, 1.24]),
        ([1, 2, 3], [1.0, 0.5, 0.6], [0.9, 1.0, 1.2]),
    ]


EXERCISES = (
    Exercise(
        name="what_helps_most",
        title="predict, then run",
        question="""
A run on dates: LoRA with r = 8 and alpha = 8 on all linear layers, rate 0.0015, 40 steps of 8 records. Its loss is still high.
Which single change lowers it most, in the same 40 steps?

a) r = 16, with alpha = 16. b) The rate four times as high. c) A dropout of 0.1. d) alpha = 16.

Predict first. Then run this cell and the next one, which trains all five.""",
        code="best_change = ____",
        solution='"b"',
        mistakes={
            '"a"': "twice the rank helps somewhat, as it learns faster; but the rate is the knob that is far off here.",
            '"c"': "dropout is against overfitting; in 40 steps of 8 out of 3,072 records nothing was even seen twice.",
            '"d"': "that doubles the bypass, which helps somewhat; a higher rate does so, too, and moves A besides.",
        },
        learned="The rate first: at too low a rate no other knob shows what it can do.",
        understanding=True,
    ),
    Exercise(
        name="order_of_sizes",
        title="who trains least?",
        question="""
A prediction for another model: 32 blocks of width 4096 (as many heads for keys as for
queries), an MLP of width 11008, a vocabulary of 32,000. Put these in order, from the one that trains the fewest numbers to the
one that trains the most: `"bottleneck"` of 64 behind attention and MLP, `"last block"`, `"lora"` of rank 8 on q and v,
`"norms"` (two per block and one at the end), `"prefix"` of 20 tokens, `"prompt"` of 20 tokens.""",
        code="order = ____  # a list of six names",
        solution='["prompt", "norms", "lora", "prefix", "bottleneck", "last block"]',
        mistakes={
            '["norms", "prompt", "lora", "prefix", "bottleneck", "last block"]': (
                "a norm has one number for each of 4096 channels, and there are 65 of them; the prompt has 20 rows of 4096."
            ),
            '["prompt", "prefix", "norms", "lora", "bottleneck", "last block"]': (
                "a prefix has keys and values in every one of the 32 blocks; a prompt is at the bottom only."
            ),
            '["prompt", "norms", "prefix", "lora", "bottleneck", "last block"]': (
                "per block: LoRA has 2 matrices of 8 (4096 + 4096), the prefix 2 x 20 x 4096. Which is more?"
            ),
            '["prompt", "norms", "lora", "bottleneck", "prefix", "last block"]': (
                "per block: the bottleneck stands in two places, each down and up: 4 x 64 x 4096; the prefix has 2 x 20 x 4096."
            ),
            '["prompt", "norms", "lora", "prefix", "last block", "bottleneck"]': (
                "one block of this model has 202 million weights; all bottlenecks together have 34 million."
            ),
            '["last block", "bottleneck", "prefix", "lora", "norms", "prompt"]': "the other way round: the fewest first.",
        },
        learned="82 thousand, 266 thousand, 4.2, 5.2, 33.8 and 202 million. The order changes with r, m and the tokens, so say them.",
        understanding=True,
    ),
    Exercise(
        name="prefix_numbers",
        title="counting a prefix",
        question="""
Prefix tuning gives the attention of each of `layers` blocks `tokens` trained keys and values. Queries have `heads` heads, keys
and values only `kv_heads` (grouped queries), each `head_dim` wide. How many numbers train, without the MLP?""",
        code='''
            def prefix_numbers(layers, heads, kv_heads, head_dim, tokens):
                """-> int"""
                return ____
        ''',
        solution="layers * 2 * kv_heads * head_dim * tokens",
        mistakes={
            "layers * 2 * heads * head_dim * tokens": "keys and values have kv_heads heads; several queries share one.",
            "layers * kv_heads * head_dim * tokens": "half is missing: keys and values.",
            "2 * kv_heads * head_dim * tokens": "that is one block; each has its own.",
            "layers * 2 * head_dim * tokens": "that is one head: each of them has its own keys and values.",
            "heads * head_dim * tokens": "that is a prompt: one embedding per token, at the bottom only.",
            "layers * 3 * kv_heads * head_dim * tokens": "there are no queries in a prefix: nothing is asked, only found.",
        },
        cases=lambda rng: [(5, 4, 2, 32, 16), (32, 32, 8, 128, 20)],
        learned="On our base, 16 tokens: 10,240 numbers, as many as a KV cache of 16 tokens holds.",
    ),
    Exercise(
        name="checkpoint_to_keep",
        title="which checkpoint to keep",
        question="""
A run scored itself at `steps`: lists of the losses on training records and on held-out records. Return the step whose checkpoint
you would keep.""",
        code='''
            def checkpoint_to_keep(steps, train, held_out):
                """three lists of equal length   ->   one of steps"""
                return ____
        ''',
        solution="steps[int(np.argmin(held_out))]",
        mistakes={
            "steps[int(np.argmin(train))]": "the training loss falls as long as records can be learned by heart.",
            "steps[-1]": "the last one: by then the held-out loss may have risen for long.",
            "int(np.argmin(held_out))": "that is its place in the list; the step is asked for.",
            "min(held_out)": "that is the loss there; the step is asked for.",
            "steps[int(np.argmax(held_out))]": "that is where it is worst: a loss is to be small.",
            "steps[int(np.argmin(np.abs(np.subtract(held_out, train))))]": (
                "the smallest gap is not the smallest loss: early on both are high; a gap alone is no harm."
            ),
        },
        cases=_curves,
        learned="Mind that the held-out records then chose the checkpoint: score what you report on others.",
    ),
    Exercise(
        name="which_of_four_causes",
        title="this run is broken: which of four causes?",
        question="""
Say what ails P, Q, R and S, in this order: `"divergence"`, `"too few steps"`, `"overfitting"` or `"underfitting"`.""",
        code="causes = ____  # four names, for P, Q, R and S",
        solution='("overfitting", "underfitting", "divergence", "too few steps")',
        mistakes={
            '("overfitting", "too few steps", "divergence", "underfitting")': (
                "compare the ends of Q and S: which of the two is still falling, and which is flat?"
            ),
            '("overfitting", "divergence", "underfitting", "too few steps")': (
                "both are high, but one of Q and R was lower before, and jumps: underfitting is calm."
            ),
            '("divergence", "underfitting", "overfitting", "too few steps")': (
                "in P the held-out loss rises alone; in R the training loss does not fall either. Divergence spoils both."
            ),
            '("underfitting", "overfitting", "divergence", "too few steps")': (
                "overfitting shows a gap between the two curves. Which of P and Q has one?"
            ),
            '("too few steps", "underfitting", "divergence", "overfitting")': (
                "where there are too few steps the held-out loss still falls at the end, beside the training loss."
            ),
            '("overfitting", "underfitting", "too few steps", "divergence")': (
                "R and S: more steps help a run that still falls; which of them does?"
            ),
        },
        learned="P had 48 records, Q r = 1, R a hundred times the rate, S a fifth of the steps at a fifth of the rate.",
        understanding=True,
    ),
)
