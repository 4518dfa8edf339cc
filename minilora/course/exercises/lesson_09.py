"""Exercises of 09_interview: the whiteboard's arithmetic, what merging into four bits keeps, and a wrong claim."""

import numpy as np

from minilora.course.exercises.exercise import Exercise


def _models(rng: np.random.Generator) -> list[tuple]:
    """(frozen parameters, trained parameters)."""
    return [(7_000_000_000, 40_000_000), (1_000_000, 300_000)]


def _updates(rng: np.random.Generator) -> list[tuple]:
    """(base, update, rounded): `rounded` is base + update after quantizing again."""
    base, update = rng.standard_normal((6, 5)), 0.1 * rng.standard_normal((6, 5))
    return [(base, update, np.round((base + update) * 8) / 8), (base, 3 * update, np.round(base + 3 * update))]


EXERCISES = (
    Exercise(
        name="whiteboard_memory",
        title="QLoRA's memory in one line",
        question="""
Bytes for `frozen` parameters in NF4 with double quantization (block 64, second block 256, no offset counted) and `trained`
adapter parameters at 16 bytes each (16-bit weight and gradient, 32-bit moments and master copy).""",
        code='''
            def qlora_bytes(frozen, trained):
                """-> bytes, without activations"""
                return ____
        ''',
        solution="frozen * (4 + 8 / 64 + 32 / (64 * 256)) / 8 + 16 * trained",
        mistakes={
            "frozen * (4 + 8 / 64 + 32 / (64 * 256)) + 16 * trained": "those are bits of the frozen part; eight make a byte.",
            "frozen * 4 / 8 + 16 * trained": "the scales are missing: 0.127 bits per weight.",
            "frozen * (4 + 32 / 64) / 8 + 16 * trained": "that is before double quantization: half a bit of scales.",
            "frozen * (4 + 8 / 64 + 32 / 256) / 8 + 16 * trained": "the second-level scale serves 256 blocks, not weights.",
            "frozen * (4 + 8 / 64 + 32 / (64 * 256)) / 8 + 2 * trained": "a trained parameter has moments and more.",
            "(frozen + trained) * (4 + 8 / 64 + 32 / (64 * 256)) / 8": "the adapter is not quantized, and it is trained.",
        },
        cases=_models,
        learned="For 7B and 40 M (r = 16 on all linear layers): 3.6 GB and 0.64 GB. Activations come on top.",
    ),
    Exercise(
        name="adapter_megabytes",
        title="the size of an adapter file",
        question="""
An adapter of rank `r` on q, k, v and o of a model with `layers` layers of width `d` (all four square), stored in 16 bits. How
many megabytes (10^6 bytes)?""",
        code='''
            def adapter_megabytes(layers, d, r):
                """-> MB"""
                return ____
        ''',
        solution="2 * layers * 4 * r * (d + d) / 1e6",
        mistakes={
            "2 * layers * r * (d + d) / 1e6": "one matrix per layer is counted; there are four.",
            "2 * layers * 4 * r * d / 1e6": "half is missing: A and B both, and two bytes for each number.",
            "2 * layers * 4 * d * d / 1e6": "that is the four weight matrices themselves.",
            "4 * layers * 4 * r * (d + d) / 1e6": "that is an adapter stored in 32 bits.",
        },
        cases=lambda rng: [(32, 4096, 16), (96, 12288, 4)],
        learned="33.6 MB for a 7B model at r = 16: hundreds of them fit beside the base.",
    ),
    Exercise(
        name="merged_into_four_bits",
        title="what merging into four bits keeps",
        question="""
You merged `update` into the 4-bit weight `base` and quantized the sum again to `rounded`. How much of the update is still there?
Answer with the regression coefficient of the change that was made, `rounded - base`, on the change that was wanted: 1 means all
of it (with noise around it), 0 means nothing.""",
        code='''
            def share_kept(base, update, rounded):
                """base, update, rounded: (out, in)   ->   float"""
                return ____
        ''',
        solution="np.sum((rounded - base) * update) / np.sum(update**2)",
        mistakes={
            "np.linalg.norm(base + update - rounded) / np.linalg.norm(update)": (
                "that is the error against the update. It may be large and yet the update all there, under rounding noise."
            ),
            "1 - np.linalg.norm(base + update - rounded) / np.linalg.norm(update)": (
                "one minus the relative error is not the share that is kept: rounding noise has no direction, the update has one."
            ),
            "np.linalg.norm(rounded - base) / np.linalg.norm(update)": "sizes only: noise of the same size would count as kept.",
            "np.sum(rounded * update) / np.sum(update**2)": "the base is still in it: what changed is rounded - base.",
            "np.sum((rounded - base) * update) / np.sum((rounded - base) ** 2)": "the other way round: divide by the square of the update.",
            "np.sum((rounded - base) * update) / (np.linalg.norm(rounded - base) * np.linalg.norm(update))": (
                "that is the correlation: it says how noisy the change is, not how much of it is there."
            ),
        },
        cases=_updates,
        learned=(
            "With NF4, a normal matrix and an update of full rank it is 0.02 at |dW|/|W| = 0.01, 0.84 at 0.1 and 0.99 at 0.3 (question 37)."
        ),
    ),
    Exercise(
        name="the_wrong_one",
        title="the wrong one",
        question="""
Four sentences from interviews. Which one is wrong?

a) In QLoRA the base stays in four bits while the adapter trains. b) No straight-through estimator is needed, because the
quantized weights are not trained. c) NF4's sixteen values are used equally often, which makes it optimal. d) The adapter of a 65B
model at r = 64 on all linear layers takes more than 10 GB with its optimizer state.""",
        code="answer = ____",
        solution='"c"',
        mistakes={
            '"a"': "that one is right: each product decodes the weights and throws the decoded copy away.",
            '"b"': "that one is right: the codes are constants, and the gradient only passes through them (question 36).",
            '"d"': "that one is right: 800 million numbers at 16 bytes are 12.8 GB (question 26).",
        },
        learned="After absmax scaling the bins are used 5 to 1 unevenly (question 31); NF4 is good for another reason.",
        understanding=True,
    ),
)
