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
# 5. Optimal?
# 6. Outliers

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from minilora import codebook, load_base, quantize
from minilora.course import draw, numbers, show, style, table
from minilora.course.exercises import check
from minilora.analysis.codes import code_errors, outlier_errors, plant_outlier
from minilora.plots.style import color, label
from minilora.quant import blockwise, codebooks
from minilora.quant.abnormal import abnormal_float

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
# Two troubles.
#
# - **Infinity.** The quantiles of 0 and 1 are infinite. (The paper's equation 4, taken literally, has this trouble: at $i = 0$ it gives minus infinity.) So the tails must be cut, at an offset $o$.
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
fig, ax = plt.subplots(figsize=(7, 3.2))
z = np.linspace(-1, 1, 400)
ax.fill_between(
    z, norm.pdf(z * norm.ppf(o)), color="#dddddd", label="normal density, cut at the offset"
)
for code, height in (("int4", 0.12), ("nf4", 0.28)):
    ax.vlines(codebook(code), 0, height, color=color(code), label=label(code))
ax.set_xlabel("weight / absmax")
ax.set_ylabel("density")
ax.set_title("NF4 is dense where weights are, sparse at the ends")
ax.legend(loc="upper right")
ax.set_ylim(0, 0.6)
plt.show()

# %% [markdown]
# The recipe holds for any number of bits. Four panels, then a slider:

# %%
fig, axes = plt.subplots(1, 4, figsize=(10, 2.2), sharey=True)
for ax, bits in zip(axes, (2, 3, 4, 6), strict=True):
    ax.fill_between(z, norm.pdf(2.2 * z), color="#dddddd")
    ax.vlines(codebook(f"nf{bits}"), 0, 0.25, color=color("nf4"), linewidth=1)
    ax.set_title(f"{bits} bits: {2**bits} values")
    ax.set_xlabel("weight / absmax")
axes[0].set_ylabel("density")
plt.show()

# %% tags=["slider"]
from ipywidgets import interact


@interact(bits=(2, 8), block_size=[16, 64, 256, 1024, 4096])
def error_of_bits(bits=4, block_size=64):
    w = np.random.default_rng(0).standard_normal(2**16).astype(np.float32)
    print(f"RMS error on normal weights: {code_errors(w, f'nf{bits}', block_size)['rms']:.4f}")


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
print(f"{q.bits_per_param} bits a weight")

# %%
show(blockwise.pack, blockwise.unpack)

# %%
fig, ax = plt.subplots(figsize=(8, 3))
ax.hlines(codebook("nf4") * q.absmax[0], 0, 63, color="#d5e5f0", linewidth=1)
ax.vlines(range(64), block, back, color="#999999", linewidth=1)
ax.plot(block, "o", color="black", markersize=3, label="weight")
ax.plot(back, "_", color=color("nf4"), markersize=9, label="after NF4")
ax.set_xlabel("place in the block")
ax.set_ylabel("weight")
ax.set_title("Each weight moves to the nearest of 16 lines; large ones move farther")
ax.legend(loc="upper right", ncols=2)
ax.set_ylim(-1.1 * q.absmax[0], 1.4 * q.absmax[0])
plt.show()

# %% [markdown]
# ## 4. The error, by block size and source
#
# RMS error and mean absolute error, both over the RMS of the weights; below, each matrix of the base. Small blocks err less, since their scale fits better, and cost more scales (lesson 05).

# %%
draw("quantization_error")

# %%
w = rng.standard_normal(2**16).astype(np.float32)
table(
    ["RMS error, live", *(f"block {b}" for b in (16, 64, 256, 1024))],
    [
        [label(code), *(code_errors(w, code, b)["rms"] for b in (16, 64, 256, 1024))]
        for code in ("int4", "int4_affine", "fp4", "nf4")
    ],
)

# %% [markdown]
# - **NF4 beats symmetric int4** on normal and on real weights at every block size shown.
# - **Affine int4 wins in small blocks.** It stores a minimum and a maximum, so its 16 even values cover exactly what is there. It pays with a second number for each block: at block 32, one bit a weight more.
# - **On uniform weights int4 wins**: an even grid for an even law. The code must fit the source.
#
# ## 5. Optimal?
#
# The paper calls NF4 information-theoretically optimal for normal weights. A code of quantiles would be used evenly, each value 1/16 of the time. But we do not code
# normal weights: we code weights *divided by the largest of their block*, and their law is another one, that depends on the block size (Yoshida 2023).

# %%
codes = quantize(w, "nf4", block_size=64).codes()
use = np.bincount(codes, minlength=16) / codes.size
fig, ax = plt.subplots(figsize=(7, 2.8))
ax.bar(range(16), use, color=color("nf4"))
ax.axhline(1 / 16, color="black", linestyle="--", linewidth=1, label="even use, 1/16")
ax.set_xlabel("code")
ax.set_ylabel("share of weights")
ax.set_title(
    f"Blocks of 64: the busiest value is used {use.max() / use.min():.1f} times as often as the idlest"
)
ax.legend()
plt.show()

# %% [markdown]
# So is another code better? Ask for the least mean absolute error under the true law: each value the *median* of what is rounded to it, found by going
# back and forth between bins and medians, with -1, 0 and 1 kept. Yoshida's AF4 is nearly that:

# %%
show(abnormal_float)

# %%
candidates = {
    "int4": codebook("int4"),
    "AF4 (zero put in afterwards)": abnormal_float(64),
    "NF4": codebook("nf4"),
    "best that keeps -1, 0, 1": abnormal_float(64, zero="value"),
}
big = rng.standard_normal((2**15, 64))
scaled = big / np.abs(big).max(axis=1, keepdims=True)
absmax = np.abs(big).max(axis=1)
rows = []
for name, levels in candidates.items():
    nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, scaled)]
    rows.append(
        [
            name,
            float(np.abs(nearest - scaled).mean()),
            float((np.abs(nearest - scaled).mean(axis=1) * absmax).mean()),
        ]
    )
table(
    ["code", "mean absolute error, scaled weights", "the same, in the weights' own units"], rows
)

# %% [markdown]
# NF4 is within a tenth of a percent of the best such code. **The claim of optimality is wrong as an argument, and nearly right as a result.** AF4 itself errs more than NF4 here: its published table follows exactly
# if zero is the edge of the first bins during the search and is put in afterwards, which leaves two narrow bins beside it.
#
# ## 6. Outliers
#
# "NF helps with outliers" is often said. Plant one weight of growing size, and measure the error of its neighbors and of all other weights, with int4 and with NF4, with one scale for everything and with one for each block of 64.

# %%
draw("outliers")

# %%
fig, axes = plt.subplots(1, 4, figsize=(10, 2.4), sharey=True)
for ax, size in zip(axes, (1, 5, 20, 100), strict=True):
    planted = plant_outlier(w[:64], size)
    ax.plot(planted[1:], quantize(planted, "nf4").dequantize()[1:], ".", color=color("nf4"))
    ax.set_title(f"outlier of {size}")
    ax.set_xlabel("weight")
axes[0].set_ylabel("after NF4")
plt.show()

# %% [markdown]
# The neighbors of a large outlier fall into three values, then into one: zero. That is so for any code with absmax scaling. NF4 softens a moderate outlier, since its middle is denser; against a large one it does nothing. The blocks confine the damage to 63 weights.

# %% tags=["slider"]
from ipywidgets import interact


@interact(size=(1, 100), code=["nf4", "int4"])
def outlier(size=10, code="nf4"):
    for name, block_size in (("a scale for 64", 64), ("one scale for all", 4096)):
        inside, outside = outlier_errors(plant_outlier(w[:4096], size), code, block_size, 64)
        print(f"{name:18} beside the outlier {inside:.3f}   all others {outside:.3f}")


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

# %% [markdown]
# ## Summary
#
# 1. A weight is stored as absmax times one of 16 values; int4's values are even, NF4's are quantiles of the normal law.
# 2. NF4 is built from two halves, so that zero is exact: 7 negative values, 0, 8 positive; the offset cuts the infinite tails.
# 3. On normal and real weights it errs about 15 % less than symmetric int4; affine int4 wins in small blocks, at a price.
# 4. Its values are not used evenly after absmax scaling, yet its error is almost the least possible with -1, 0 and 1 kept.
# 5. Against outliers the blocks help; the code softens a moderate one and no large one.
#
# **Papers.** Dettmers et al. 2023, *QLoRA* (arXiv 2305.14314), section 3 · Yoshida 2023 (arXiv 2306.06965) · Dettmers & Zettlemoyer 2022, *The case for 4-bit precision* (arXiv 2212.09720)
#
# **Next.** [05 · double quantization](05_double_quantization.ipynb)
