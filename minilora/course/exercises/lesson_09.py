"""Exercises of 09_interview: the whiteboard's arithmetic."""

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
Bytes for `frozen` parameters in NF4 with double quantization (block 64, second block 256, no offset counted) and `trained` adapter
parameters at 16 bytes each (16-bit weight and gradient, 32-bit moments and master copy).""",
        code='''
            def qlora_bytes(frozen, trained):
                """-> bytes, without activations"""
                return ____
        ''',
        solution="frozen * (4 + 8 / 64 + 32 / (64 * 256)) / 8 + 16 * trained",
        mistakes={
            "frozen * (4 + 8 / 64 + 32 / (64 * 256)) + 16 * trained": "those are bits of the frozen part; eight make a byte.",
            "frozen * 4 / 8 + 16 * trained": "the scales are missing: 0.127 bits for each weight.",
            "frozen * (4 + 32 / 64) / 8 + 16 * trained": "that is before double quantization: half a bit of scales.",
            "frozen * (4 + 8 / 64 + 32 / 256) / 8 + 16 * trained": "the second-level scale serves 256 blocks, not weights.",
            "frozen * (4 + 8 / 64 + 32 / (64 * 256)) / 8 + 2 * trained": "a trained parameter has moments and more.",
            "(frozen + trained) * (4 + 8 / 64 + 32 / (64 * 256)) / 8": "the adapter is not quantized, and it is trained.",
        },
        cases=_models,
        learned="For 7B and 40 M: 3.6 GB and 0.64 GB. The rest of the GPU is for activations.",
    ),
    Exercise(
        name="adapter_megabytes",
        title="the size of an adapter file",
        question="""
An adapter of rank `r` on q, k, v and o of a model with `layers` layers of width `d` (all four square), stored in 16 bits.
How many megabytes (10^6 bytes)?""",
        code='''
            def adapter_megabytes(layers, d, r):
                """-> MB"""
                return ____
        ''',
        solution="2 * layers * 4 * r * (d + d) / 1e6",
        mistakes={
            "2 * layers * r * (d + d) / 1e6": "one matrix a layer is counted; there are four.",
            "2 * layers * 4 * r * d / 1e6": "half is missing: A and B both, and two bytes for each number.",
            "2 * layers * 4 * d * d / 1e6": "that is the four weight matrices themselves.",
            "4 * layers * 4 * r * (d + d) / 1e6": "that is an adapter stored in 32 bits.",
        },
        cases=lambda rng: [(32, 4096, 16), (96, 12288, 4)],
        learned="33.6 MB for a 7B model at r = 16: hundreds of them fit beside the base.",
    ),
    Exercise(
        name="merged_into_four_bits",
        title="what merging into four bits loses",
        question="""
You merged `update` into `base` and quantized the sum again to `rounded`. How large is the error of the merged weight, as a share of
the update? (Frobenius norms. 1 means: the error is as large as what was learned.)""",
        code='''
            def share_lost(base, update, rounded):
                """base, update, rounded: (out, in)   ->   float"""
                return ____
        ''',
        solution="np.linalg.norm(base + update - rounded) / np.linalg.norm(update)",
        mistakes={
            "np.linalg.norm(base - rounded) / np.linalg.norm(update)": "the update counts as an error here: compare with base + update.",
            "np.linalg.norm(base + update - rounded) / np.linalg.norm(base)": "against the base, any update looks safe.",
            "np.linalg.norm(base + update - rounded)": "the share is asked for: divide by the size of the update.",
            "(np.linalg.norm(base + update - rounded) / np.linalg.norm(update)) ** 2": "that is the ratio of squares.",
            "abs(np.linalg.norm(base + update) - np.linalg.norm(rounded)) / np.linalg.norm(update)": (
                "the norm of the difference, not the difference of norms: equal norms may lie far apart."
            ),
        },
        cases=_updates,
        learned="At |dW|/|W| = .01 it is about 1 in NF4: the adapter is lost.",
    ),
)
