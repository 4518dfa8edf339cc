# %% [markdown]
# # 04 · NF4: sixteen values for a weight
#
# **Question.** Which sixteen values should a weight be rounded to, where do NF4's come from, and how much better are they?
#
# **Assumes.** The normal distribution and its quantiles; what a byte is.
#
# **Seconds.** About 20 on two cores, offline.
#
# 1. An even grid under a bell
# 2. The codebook, step by step
# 3. One block of 64 weights, there and back
# 4. The error, by block size and source
# 5. The error against what is stored
# 6. Optimal?
# 7. Outliers

# %%
import numpy as np
from scipy.stats import norm

from minilora import codebook, load_base, quantize
from minilora.analysis import mean_absolute_error, rms_error
from minilora.course import draw, label, picture, pictures, show, style, table
from minilora.course.exercises import check
from minilora.quant import abnormal_float, blockwise, codebooks

style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## 1. An even grid under a bell
#
# Four bits have 16 codes. The obvious code is the integers: $-7 \ldots 7$ times a step, the step chosen so that the largest weight is exact
# (absmax / 7). But weights are not spread evenly: they crowd around zero. Below, weights of our base and normal weights, each divided
# by the largest of its block of 64, and where three codes put their values.

# %%
draw("codebooks")

# %% [markdown]
# ## 2. The codebook, step by step
#
# The idea of NormalFloat (Dettmers et al. 2023, section 3): let the values be *quantiles* of the normal distribution, so that normal weights use all of
# them about equally. Sixteen even quantiles, first attempt:

# %%
attempt = norm.ppf(np.linspace(0, 1, 16))
print("even quantiles from 0 to 1:", attempt[:3].round(2), "...", attempt[-3:].round(2))
inner = norm.ppf(np.linspace(1 / 32, 31 / 32, 16))
print("the tails cut off:         ", inner.round(2))
print("is zero among them?        ", bool(np.any(inner == 0)))

# %% [markdown]
# Two difficulties.
#
# - **Infinity.** The quantiles of 0 and 1 are infinite. (The paper's equation 4, taken literally, has this difficulty: at $i = 0$ it gives minus infinity.) So the tails must be cut, at an offset $o$.
# - **No zero.** Sixteen is even, so symmetric quantiles have no zero in the middle. But zero must be exact, for padding and pruned weights.
#
# The way out: two halves, built apart, each running from its end down to zero: nine points for the positive side, eight for the negative.
# Both end at zero, and one of the *two zeros* is dropped: 8 + 7 + 1 = 16.

# %%
cut_16, cut_15 = 1 - 1 / 32, 1 - 1 / 30  # half a bin cut off, were there 16 bins, or 15
o = (cut_16 + cut_15) / 2
positive = norm.ppf(np.linspace(o, 0.5, 9))
negative = -norm.ppf(np.linspace(o, 0.5, 8))
print(f"offset o = {o:.7f}, the mean of {cut_16:.5f} and {cut_15:.5f}")
print("positive side:", positive.round(3))
print("negative side:", negative.round(3))

# %%
values = np.sort(np.concatenate([negative[:-1], [0.0], positive[:-1]]))  # one zero for both
values = values / values.max()  # the largest weight of a block must be exact
table(
    ["code", "NF4", "step to the next"],
    [
        [i, f"{v:+.4f}", f"{step:.4f}" if step else "the end"]
        for i, (v, step) in enumerate(zip(values, np.diff(values, append=1), strict=True))
    ],
)

# %% [markdown]
# The odd offset now has a reason: with both halves ending at the same $o$, the positive side makes bins as 16 would, the negative side as 15 would; the mean of both cuts
# is taken. This is the library's version. It spaces the probabilities in float32 from both ends, as the published table was made; that decides the last bits.

# %%
show(codebooks.normal_float)

# %% tags=["rtol=0.5"]
published = codebook("nf4")
plain = values.astype(np.float32)
ulps = np.abs(plain.view(np.int32) - published.view(np.int32))
print(
    "this notebook's values and the library's agree to",
    f"{np.abs(plain - published).max():.0e}",
)
print(
    "values that differ in the last bits:",
    int((ulps > 0).sum()),
    "of 16, by up to",
    int(ulps.max()),
    "units in the last place",
)

# %% [markdown]
# The library's 16 values are equal to bitsandbytes' bit for bit (tests/parity compares them). How the spacing follows the density:

# %%
pictures.codes_under_density(("int4", "nf4"), cut=norm.ppf(o))
picture(
    "A bell curve with the 15 even values of int4 and the 16 of NF4, which crowd in the middle"
)

# %% [markdown]
# The recipe holds for any number of bits:

# %%
pictures.code_under_density(bits=3)
picture("The 8 values of three bits under a bell curve")

# %% tags=["slider"]
from ipywidgets import interact

normal_weights = np.random.default_rng(0).standard_normal(2**16).astype(np.float32)


@interact(bits=(2, 8), block_size=[16, 64, 256, 1024, 4096])
def error_of_bits(bits=4, block_size=64):
    pictures.code_under_density(bits)
    picture(f"The {2**bits} values of {bits} bits under a bell curve")
    q = quantize(normal_weights, f"nf{bits}", block_size=block_size)
    error = rms_error(q.dequantize(), normal_weights)
    print(f"RMS error {error:.4f} on normal weights, {q.bits_per_param:.3f} bits per weight")


# %% [markdown]
# ## 3. One block of 64 weights, there and back
#
# Real weights now: the first block of a matrix of the base. The largest absolute value becomes the scale; each quotient goes to the nearest value (15 thresholds midway between
# neighbors decide); two codes share a byte.

# %%
weight = load_base().get_submodule("layers.0.self_attn.q_proj").dense_weight()
block = np.ascontiguousarray(weight).reshape(-1)[:64]
q = quantize(block, "nf4", block_size=64)
back = q.dequantize()
print("absmax:        ", q.absmax)
print("first weights: ", block[:4])
print("scaled:        ", (block / q.absmax[0])[:4])
print("codes:         ", q.codes()[:4])
print(
    "bytes:         ",
    [f"0x{byte:02x}" for byte in q.packed[:2]],
    "(first code in the high half)",
)
print("back:          ", back[:4])
print(f"stored: {q.packed.nbytes} bytes of codes and {q.absmax.nbytes} of scale")
print(f"{q.bits_per_param} bits per weight")

# %%
show(blockwise.pack, blockwise.unpack)

# %%
pictures.rounded_block(block)
picture("64 weights, the 16 lines they may move to, and the distance that each moves")

# %% [markdown]
# ## 4. The error, by block size and source
#
# RMS error and mean absolute error, both over the RMS of the weights; below, each matrix of the base. Small blocks have a smaller error, since their scale fits better, and cost more scales (lesson 05).

# %%
draw("quantization_error")

# %%
w = rng.standard_normal(2**16).astype(np.float32)
table(
    ["RMS error, live", *(f"block {b}" for b in (16, 64, 256, 1024))],
    [
        [
            label(code),
            *(
                rms_error(quantize(w, code, block_size=b).dequantize(), w)
                for b in (16, 64, 256, 1024)
            ),
        ]
        for code in ("int4", "int4_affine", "fp4", "nf4")
    ],
)

# %% [markdown]
# - **NF4 beats symmetric int4** on normal and on real weights at every block size shown.
# - **Affine int4 has the smaller error in small blocks.** It stores a minimum and a maximum, so its 16 even values cover exactly what is there. But that is a second number for each block: at block 32, one bit per weight more. Is the comparison fair?
# - **On uniform weights int4 wins**: an even grid for an even distribution. The code must fit the source.
#
# ## 5. The error against what is stored
#
# Compare at equal bits. NF4 in blocks of 32 has one float32 scale for 32 weights; affine int4 in blocks of 64 has two for 64. Both take 5 bits per weight:

# %%
rows = []
for code, block_size in (
    ("nf4", 64),
    ("nf4", 32),
    ("int4_affine", 64),
    ("nf4", 16),
    ("int4_affine", 32),
):
    q = quantize(w, code, block_size=block_size)
    again = q.dequantize()
    errors = rms_error(again, w), mean_absolute_error(again, w)
    rows.append([label(code), block_size, q.bits_per_param, *errors])
table(["code", "block size", "bits per weight", "RMS error", "mean absolute error"], rows)

# %%
draw("error_by_bits")

# %% [markdown]
# So "affine int4 beats NF4 in small blocks" compares 5 bits with 4.5. At equal bits NF4's RMS error is smaller, except in blocks of 16. Error is not loss: on the base NF4 costs less than symmetric int4 in blocks of 32, 64 and 256, but against affine int4 that is undecided (figure quantized_loss; [lesson 09](09_interview.ipynb), question 32, has the numbers).
#
# ## 6. Optimal?
#
# The paper calls NF4 information-theoretically optimal for normal weights. A code of quantiles would be used evenly, each value 1/16 of the time. But we do not code
# normal weights: we code weights *divided by the largest of their block*. Their distribution is another one, and it depends on the block size (Yoshida 2023).

# %%
codes = quantize(w, "nf4", block_size=64).codes()
use = np.bincount(codes, minlength=16) / codes.size
pictures.bins_used(use)
picture("How often each of NF4's 16 codes is used in blocks of 64: far from evenly")

# %% [markdown]
# So is another code better? It depends on what is to be small. For the *mean absolute error*, each value should be the median of what is rounded to it; for the *RMS error*, the mean. Go back and forth between bins and values until both fit (Lloyd 1982), with -1, 0 and 1 kept.
# Yoshida's AF4 is the first of these, but for its zero:

# %%
show(abnormal_float)

# %%
draw("optimal_code")

# %% [markdown]
# **In mean absolute error NF4 is within a fraction of a percent of the best code that keeps -1, 0 and 1. In RMS error about 3 % are to gain, and about 7 % if the scale may be negative** (a signed absmax makes the largest weight +1, so that -1 is free for another value: BOF4, arXiv 2505.06653).
# So the claim of optimality is wrong as an argument (the bins are not used evenly), nearly right for one measure, and not for the other. AF4 itself has a larger error than NF4 here: its published table follows exactly
# if zero is the edge of the first bins during the search and is put in afterwards, which leaves two narrow bins beside it.
#
# ## 7. Outliers
#
# "NF helps with outliers" is often said. Plant one weight of growing size, and measure the error of its neighbors and of all other weights, in RMS and in mean absolute error, with int4 and with NF4, with one scale for everything and with one for each block of 64 (five seeds).

# %%
draw("outliers")

# %%
pictures.after_outlier(w[:64], size=20)
picture("Weights before and after NF4 beside an outlier of 20: they fall on a few levels")

# %% [markdown]
# The neighbors of a large outlier fall into a few values, then into one: zero. That is so for any code with absmax scaling. NF4 softens a moderate outlier, since its middle is denser: in all five seeds, by both measures. Against a large one it does nothing. The blocks confine the damage to 63 weights.
#
# Where outliers fill a *column*, every row has one, and a block of every row suffers. Then it helps to rotate first: random signs and a Hadamard matrix from the right mix each weight of a row with all others of it, and the inputs are rotated alike, so the product stays what it was (QuaRot 2024, arXiv 2404.00456):

# %%
draw("rotation")

# %% [markdown]
# With a column 20 times as large, the rotation brings NF4's error back from 0.151 to 0.088 of the RMS. Without one it changes nothing, and the base has none: its 35 matrices get better or worse by chance.


# %% tags=["slider"]
@interact(size=(1, 100), code=["nf4", "int4"])
def outlier(size=10, code="nf4"):
    pictures.after_outlier(w[:64], size, code)
    picture(f"Weights before and after {code} beside an outlier of {size}")


# %% [markdown]
# ## Exercises

# %%
exercise("normal_levels")

# %%
exercise("absmax_blocks")

# %%
exercise("nearest_codes")

# %%
exercise("pack_nibbles")

# %%
exercise("beside_an_outlier")

# %% [markdown]
# ## Summary
#
# 1. A weight is stored as absmax times one of 16 values; int4's values are even, NF4's are quantiles of the normal distribution.
# 2. NF4 is built from two halves, so that zero is exact: 7 negative values, 0, 8 positive; the offset cuts the infinite tails.
# 3. On normal and real weights its RMS error is about 15 % smaller than symmetric int4's, and at equal bits smaller than affine int4's, except in blocks of 16. In loss it is better than symmetric int4; against affine int4 that is undecided.
# 4. Its values are not used evenly after absmax scaling; its mean absolute error is nearly the least possible, its RMS error is not.
# 5. Against outliers the blocks help; the code softens a moderate one and no large one. A rotation spreads a column of them over all weights.
#
# **Papers.** Dettmers et al. 2023, *QLoRA* (arXiv 2305.14314), section 3 · Yoshida 2023 (arXiv 2306.06965) · BOF4 2025 (arXiv 2505.06653) · Dettmers & Zettlemoyer 2022, *The case for 4-bit precision* (arXiv 2212.09720)
#
# **Next.** [05 · double quantization](05_double_quantization.ipynb)
