"""Exercises of 05_double_quantization: bits of scale, bytes counted, decoding, and which scales suffer."""

import numpy as np

from minilora.course.exercises.exercise import Exercise


def _tensors(rng: np.random.Generator) -> list[tuple]:
    """(size, block_size, second_block_size): full blocks, a rest, and a tensor smaller than one second block."""
    return [(64 * 64, 64, 256), (1000, 64, 256), (2048 * 2048, 64, 256), (5000, 32, 16)]


EXERCISES = (
    Exercise(
        name="scale_bits",
        title="bits of scale per weight",
        question="""
The bits that scales cost per weight, for 8-bit scales of blocks of `b` weights with a 32-bit scale for `s` of them. (In the limit
of a large tensor; without the 4 bits of the code.)""",
        code='''
            def scale_bits(b, s):
                """-> bits per weight"""
                return ____
        ''',
        solution="8 / b + 32 / (b * s)",
        mistakes={
            "8 / b": "the second-level scale is forgotten: the 8-bit scales need scales of their own.",
            "32 / b": "that is before double quantization.",
            "8 / b + 32 / s": "divided by the second block size alone: s scales serve b times s weights.",
            "4 + 8 / b + 32 / (b * s)": "the 4 bits of the code are counted in; scales only.",
            "(8 / b + 32 / (b * s)) / 8": "those are bytes; bits are asked for.",
            "8 / b + 8 / (b * s)": "the second-level scales stay in 32 bits.",
        },
        cases=lambda rng: [(64, 256), (32, 16), (128, 512)],
        learned="For 64 and 256: 0.126953125, which everyone quotes as 0.127.",
    ),
    Exercise(
        name="stored_bytes",
        title="bytes of a real tensor",
        question="""
All bytes of a tensor of `size` weights in four bits with double quantization: nibbles, 8-bit scales, 32-bit second-level scales,
and one 32-bit offset (the mean that is subtracted from the scales). Blocks at the end may be partial. `ceil` is there for you.""",
        code='''
            from math import ceil


            def stored_bytes(size, b, s):
                """-> bytes"""
                blocks = ceil(size / b)
                return ____
        ''',
        solution="ceil(size / 2) + blocks + 4 * ceil(blocks / s) + 4",
        mistakes={
            "ceil(size / 2) + blocks + 4 * ceil(blocks / s)": "the offset is forgotten: four bytes, which a small tensor notices.",
            "ceil(size / 2) + 4 * blocks": "that is before double quantization: four bytes for each scale.",
            "ceil(size / 2) + blocks + 4 * (blocks // s) + 4": "a partial second-level block needs a scale, too: round up.",
            "size + blocks + 4 * ceil(blocks / s) + 4": "two codes share a byte.",
            "ceil(size / 2) + blocks + 4 * ceil(size / s) + 4": "second-level blocks hold scales, not weights.",
        },
        cases=_tensors,
        learned="Equal to `quantize(w, double_quant=True).nbytes`. One 64 x 64 pays .1406 bits of scale, not .127.",
    ),
    Exercise(
        name="decode_scale",
        title="a scale and back",
        question="""
Decode the scales from their 8-bit `codes`: `table` is the map of 256 values, `absmax2` the scale of their block, `offset` the
mean.""",
        code='''
            def decode_scale(codes, table, absmax2, offset):
                """codes: (n,) uint8   table: (256,)   ->   scales (n,)"""
                return ____
        ''',
        solution="table[codes] * absmax2 + offset",
        mistakes={
            "table[codes] * absmax2": "the offset is forgotten: the mean was subtracted before, add it again.",
            "table[codes] * (absmax2 + offset)": "the offset is multiplied; it is added after the map.",
            "(table[codes] + offset) * absmax2": "the offset is scaled; it was subtracted before the scaling, so it comes back after it.",
            "table[codes] * absmax2 - offset": "the sign of the offset: it was subtracted, so now it is added.",
            "codes / 255 * absmax2 + offset": "the codes are places in the map, not numbers on an even grid.",
        },
        cases=lambda rng: [(rng.integers(0, 256, 9, dtype=np.uint8), np.sort(rng.uniform(-1, 1, 256)), 0.7, 2.5)],
        learned="These scales then decode the weights: two levels, each a table's value times an absmax.",
    ),
    Exercise(
        name="gigabytes_saved",
        title="what it saves at scale",
        question="How many GB (10^9 bytes) does double quantization save on 65 billion weights (blocks of 64 and 256)?",
        code="saved_gb = ____",
        solution="65e9 * (32 / 64 - 8 / 64 - 32 / (64 * 256)) / 8 / 1e9",
        mistakes={
            "65e9 * (32 / 64 - 8 / 64 - 32 / (64 * 256)) / 1e9": "those are gigabits; eight bits make a byte.",
            "65e9 * (8 / 64 + 32 / (64 * 256)) / 8 / 1e9": "that is what the scales still cost; the saving is asked for.",
            "65e9 * (32 / 64) / 8 / 1e9": "that is what they cost before; something is left of it.",
            "65e9 * (32 / 64 - 8 / 64) / 8 / 1e9": "the second-level scales are forgotten.",
        },
        learned="3.03 GB: on a card of 48 GB that is room for longer sequences beside a 65B model.",
    ),
    Exercise(
        name="which_scales_suffer",
        title="which scales suffer?",
        question="""
No formula, a prediction. Four second-level blocks of 256 scales. In which do the scales lose most, relative to their size, when
they are quantized to 8 bits (mean subtracted, then absmax)?

a) All are 5. b) They crowd around 2.4, give or take 0.3. c) 255 crowd around 2.4, and one is 300. d) They crowd around 0.0000024,
give or take a tenth.""",
        code="answer = ____",
        solution='"c"',
        mistakes={
            '"a"': "minus their mean they are all 0, which is a value of the map: nothing is lost.",
            '"b"': "that is what normal weights give; the error is below one percent (section 7).",
            '"d"': "small is no trouble: the second-level scale divides the size away.",
        },
        learned="It is the outlier of lesson 04, one level up: one scale of 300 sets the step for 255 others.",
        understanding=True,
    ),
)
