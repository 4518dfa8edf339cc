"""Exercises of 04_nf4: levels from quantiles, scaling, codes, nibbles, and a block with an outlier."""

import numpy as np

from minilora.course.exercises.exercise import Exercise

_LEVELS = np.array([-1.0, -0.4, 0.0, 0.3, 1.0])


def _blocks(rng: np.random.Generator) -> list[tuple]:
    """(weights, block_size): the largest of a block is sometimes negative."""
    w = rng.standard_normal(24)
    w[3], w[12] = -5.0, 4.0
    return [(w, 8), (w[:12], 4)]


EXERCISES = (
    Exercise(
        name="normal_levels",
        title="values from quantiles",
        question="""
Build the 16 values of NF4 from `norm.ppf`, with the offset `o`: 8 positive, 7 negative and one 0, sorted, and divided by the
largest. (Use `np.linspace`; the last digits may differ from the published table.)""",
        code='''
            from scipy.stats import norm


            def normal_levels(o):
                """(16,), from -1 to 1"""
                ____
        ''',
        solution="""
positive = norm.ppf(np.linspace(o, 0.5, 9)[:-1])
negative = -norm.ppf(np.linspace(o, 0.5, 8)[:-1])
levels = np.sort(np.concatenate([negative, [0.0], positive]))
return levels / levels.max()""",
        mistakes={
            """
positive = norm.ppf(np.linspace(o, 0.5, 9)[:-1])
negative = -norm.ppf(np.linspace(o, 0.5, 8)[:-1])
levels = np.sort(np.concatenate([negative, positive]))
return levels / levels.max()""": "the zero was dropped twice: each half ends at 0, and one of the two zeros must stay.",
            """
positive = norm.ppf(np.linspace(o, 0.5, 9))
negative = -norm.ppf(np.linspace(o, 0.5, 8))
levels = np.sort(np.concatenate([negative, positive]))
return levels / levels.max()""": "both zeros are still there: 17 values do not fit into four bits.",
            """
positive = norm.ppf(np.linspace(o, 0.5, 9)[:-1])
negative = -norm.ppf(np.linspace(o, 0.5, 8)[:-1])
return np.sort(np.concatenate([negative, [0.0], positive]))""": "not divided by the largest: a block's absmax must be a value of the code.",
            """
positive = norm.ppf(np.linspace(o, 0.5, 8)[:-1])
negative = -norm.ppf(np.linspace(o, 0.5, 9)[:-1])
levels = np.sort(np.concatenate([negative, [0.0], positive]))
return levels / np.abs(levels).max()""": "the halves are swapped: the positive side has 8 values, the negative 7.",
            """
levels = norm.ppf(np.linspace(1 - o, o, 16))
return levels / levels.max()""": "16 even quantiles have no zero among them; that is why there are two halves.",
            """
positive = norm.ppf(np.linspace(1.0, 0.5, 9)[:-1])
negative = -norm.ppf(np.linspace(1.0, 0.5, 8)[:-1])
levels = np.sort(np.concatenate([negative, [0.0], positive]))
return levels / levels.max()""": "the quantile of 1 is infinite: o cuts the tail, as equation (4) of the paper forgets.",
        },
        cases=lambda rng: [(0.9677083,), (0.95,)],
        learned="With the same spacing counted from both ends in float32 it is bit for bit the published table.",
    ),
    Exercise(
        name="absmax_blocks",
        title="scaling by blocks",
        question="Divide each block of `block_size` weights by its largest absolute value. Return the scaled weights and the scales.",
        code='''
            def absmax_blocks(w, block_size):
                """w: (n,), n a multiple of block_size   ->   scaled (n,), absmax (n / block_size,)"""
                blocks = w.reshape(-1, block_size)
                absmax = ____
                return (blocks / absmax[:, None]).ravel(), absmax
        ''',
        solution="np.abs(blocks).max(axis=1)",
        mistakes={
            "blocks.max(axis=1)": "the largest value, not the largest absolute value: a block's extreme may be negative.",
            "np.full(len(blocks), np.abs(blocks).max())": "one scale for the whole array: then one outlier spoils every block.",
            "np.abs(blocks).max(axis=1) / 7": "divided by 7 as for int4's integers; this code reaches from -1 to 1.",
            "np.abs(blocks).mean(axis=1)": "the mean lets large weights run beyond 1, where the code has no values.",
            "blocks.max(axis=1) - blocks.min(axis=1)": "that is the range, which affine int4 uses, together with the minimum.",
        },
        cases=_blocks,
        learned="One float32 for each block of 64: half a bit per parameter, which lesson 05 cuts to a quarter.",
    ),
    Exercise(
        name="nearest_codes",
        title="the nearest value",
        question="Give each scaled weight the index of the nearest of the sorted `levels`. (`np.searchsorted` and midpoints do it.)",
        code='''
            def nearest_codes(scaled, levels):
                """scaled: (n,)   levels: (m,), sorted   ->   (n,) indices into levels"""
                return ____
        ''',
        solution="np.searchsorted((levels[1:] + levels[:-1]) / 2, scaled)",
        mistakes={
            "np.searchsorted(levels, scaled, side='right') - 1": "that rounds down; the nearest value may be the one above.",
            "np.searchsorted(levels, scaled)": "that rounds up; the nearest value may be the one below.",
            "np.round((scaled + 1) / 2 * (len(levels) - 1)).astype(int)": "that takes the levels for evenly spaced, as int4's are.",
            "levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, scaled)]": "those are the values; what is stored are their indices.",
        },
        cases=lambda rng: [(rng.uniform(-1, 1, 40), _LEVELS)],
        learned="The thresholds lie midway between neighbors; the library compares with 15 of them.",
    ),
    Exercise(
        name="pack_nibbles",
        title="two codes in a byte",
        question="Put two 4-bit codes into each byte as bitsandbytes does: the first of a pair in the high half.",
        code='''
            def pack_nibbles(codes):
                """codes: (2 n,) uint8 from 0 to 15   ->   (n,) uint8"""
                return ____
        ''',
        solution="codes[0::2] << 4 | codes[1::2]",
        mistakes={
            "codes[1::2] << 4 | codes[0::2]": "nibbles in the other order: the first of a pair belongs in the high half.",
            "codes[0::2] | codes[1::2]": "both codes lie in the low half, on top of each other; shift one by four bits.",
            "codes[0::2] << 8 | codes[1::2]": "shifted by 8, a uint8 loses the code: a nibble has four bits.",
            "codes[: len(codes) // 2] << 4 | codes[len(codes) // 2 :]": "neighbors share a byte, not the two halves of the array.",
            "codes[0::2] << 4 & codes[1::2]": "& keeps only the bits set in both; the halves are joined by |.",
        },
        cases=lambda rng: [(rng.integers(0, 16, 20, dtype=np.uint8),)],
        learned="64 weights are now 32 bytes and one scale.",
    ),
    Exercise(
        name="beside_an_outlier",
        title="beside an outlier",
        question="""
No formula, a prediction. A block of 64: one weight is 100, the other 63 lie between -3 and 3. They go to NF4 and back (its values
beside zero are -0.091 and 0.080). How many *different* values do the 63 have then?""",
        code="different = ____",
        solution="1",
        mistakes={
            "16": "16 for the whole block, outlier included; but which of them lie near a weight of 3, divided by 100?",
            "15": "the other 15 values are there, but 3 / 100 = 0.03 is nearer to zero than to any of them.",
            "3": "the values beside zero stand for 8.0 and -9.1; a weight of 3 is nearer to zero.",
            "63": "each weight becomes one of 16 values, times the scale.",
            "7": "think of the quotients: all 63 lie within 0.03 of zero.",
        },
        learned="All become zero: this block has lost 63 of its 64 weights. The blocks around it have not noticed.",
        understanding=True,
    ),
)
