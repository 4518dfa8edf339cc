# %% [markdown]
# # 05 · Double quantization: the scales of the scales
#
# **Question.** What do the scales of four-bit weights cost, how does quantizing them again help, and what does that cost in turn?
#
# **Assumes.** Lesson 04: blocks, absmax, codes.
#
# **Seconds.** About 15 on two cores, offline.
#
# 1. Scales are memory
# 2. From 0.5 to 0.127 bits
# 3. Counted on real tensors
# 4. The 8-bit map
# 5. One row of scales, there and back
# 6. What it costs in error
# 7. Gigabytes

# %%
import matplotlib.pyplot as plt
import numpy as np

from minilora import load_base, quantize
from minilora.adapters import linear_paths
from minilora.course import draw, show, style, table
from minilora.course.exercises import check
from minilora.analysis.scales import LLAMA, linear_gigabytes, scale_bits
from minilora.analysis.error import rms_error
from minilora.quant import double
from minilora.quant.tensor import storage_bytes

style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## 1. Scales are memory
#
# A block of 64 weights in four bits is 256 bits of codes, and one float32 scale of 32 bits: an eighth on top. That is what "4-bit" hides:

# %%
fig, ax = plt.subplots(figsize=(9, 2.2))
parts = {
    "before": (("codes, 64 x 4 bits", 256, "#0072B2"), ("scale, 32 bits", 32, "#D55E00")),
    "after": (
        ("", 256, "#0072B2"),
        ("scale, 8 bits", 8, "#E69F00"),
        ("1/256 of a 32-bit scale", 32 / 256, "#000000"),
    ),
}
for row, pieces in enumerate(parts.values()):
    left = 0
    for text, bits, shade in pieces:
        ax.barh(row, bits, left=left, color=shade, edgecolor="white", label=text or None)
        left += bits
    ax.text(left + 3, row, f"{left / 64:.3f} bits a weight", va="center")
ax.set_yticks([0, 1], ["before", "after double\nquantization"])
ax.invert_yaxis()
ax.set_xlim(0, 400)
ax.set_xlabel("bits that a block of 64 weights takes")
ax.legend(loc="upper center", bbox_to_anchor=(0.45, 1.25), ncols=4)
ax.grid(visible=False)
plt.show()

# %% [markdown]
# ## 2. From 0.5 to 0.127 bits
#
# $$ \frac{32}{64} = 0.5 \qquad\longrightarrow\qquad \frac{8}{64} + \frac{32}{64 \cdot 256} = 0.126953125 $$
#
# (Dettmers et al. 2023, section 3.) Each scale gets 8 bits, and 256 of *them* share one 32-bit scale: the same trick, one floor up. A larger block would save scales, too, but at a price in error (lesson 04). Bits of scale for each weight:

# %%
sizes, seconds = (32, 64, 128, 256), (64, 256, 1024)
table(
    ["block size", "float32 scales", *(f"8 bits, second blocks of {s}" for s in seconds)],
    [[b, 32 / b, *(8 / b + 32 / (b * s) for s in seconds)] for b in sizes],
)

# %% tags=["slider"]
from ipywidgets import interact


@interact(block_size=[16, 32, 64, 128, 256, 1024], second=[16, 64, 256, 1024, 4096])
def bits_of_scale(block_size=64, second=256):
    print(f"bits a weight before: {32 / block_size:.4f}")
    print(f"and after:            {8 / block_size + 32 / (block_size * second):.4f}")


# %% [markdown]
# ## 3. Counted on real tensors
#
# Formulas forget things: a last block that is not full, and the offset (section 5). So count the bytes of what is stored.

# %%
base = linear_paths(load_base())
tensors = {
    "64 x 64": rng.standard_normal((64, 64)).astype(np.float32),
    "base, q_proj 128 x 128": base["layers.0.self_attn.q_proj"].dense_weight(),
    "base, up_proj 352 x 128": base["layers.0.mlp.up_proj"].dense_weight(),
    "2048 x 2048": rng.standard_normal((2048, 2048)).astype(np.float32),
}
rows = []
for name, w in tensors.items():
    plain, doubled = quantize(w), quantize(w, double_quant=True)
    equal = doubled.nbytes == storage_bytes(w.size, double_quant=True)
    rows.append(
        [
            name,
            scale_bits(plain),
            f"{scale_bits(doubled):.4f}",
            doubled.nbytes,
            "yes" if equal else "NO",
        ]
    )
table(["tensor", "scale bits before", "after", "bytes stored", "as the formula says"], rows)

# %%
show(storage_bytes)

# %% [markdown]
# Small tensors pay more: one of 64 x 64 has 64 scales. They fill a quarter of a second-level block, which still has a 32-bit scale, and there is one offset: 8/64 + 64/4096 = .1406. **0.127 is a limit for large tensors.**
#
# ## 4. The 8-bit map
#
# What do the eight bits mean? The paper says FP8. The code that everyone runs, bitsandbytes, uses a *dynamic map*: decades, each split finer than the one below (Dettmers 2016, arXiv 1511.04561).

# %%
show(double.dynamic_map)

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 2.8))
for row, (name, values) in enumerate(
    {
        "dynamic map": double.dynamic_map(),
        "linear int8": double.linear_int8_map(),
        "FP8 E4M3": double.e4m3_map(),
    }.items()
):
    axes[0].vlines(values, row - 0.35, row + 0.35, linewidth=0.6, color=f"C{row}")
    positive = np.sort(values[values > 0])
    axes[1].semilogy(np.linspace(0, 1, positive.size), positive, color=f"C{row}", label=name)
axes[0].set_yticks(range(3), ["dynamic map", "linear int8", "FP8 E4M3"])
axes[0].set_title("All values")
axes[0].set_xlabel("value")
axes[1].set_title("The positive ones, in order: how far down they reach")
axes[1].set_xlabel("place among them")
axes[1].set_ylabel("value")
axes[1].legend(loc="lower right")
plt.show()

# %% [markdown]
# The map reaches over seven decades and is dense near zero; int8 is even; E4M3 lies between. Which is best depends on what the scales look like.
#
# ## 5. One row of scales, there and back
#
# Scales are all positive and much alike. Half of a signed map would lie idle, so their mean, the *offset*, is subtracted first. Then: absmax of 256 of them, nearest value of the map.

# %%
w = tensors["2048 x 2048"]
scales = quantize(w).scales
stored = double.quantize_scales(scales)
print("scales:         ", scales[:4])
print("offset (mean):  ", stored.offset)
print("minus offset:   ", (scales - stored.offset)[:4])
print("absmax of 256:  ", stored.absmax[:1])
print("codes:          ", stored.codes[:4])
print("decoded:        ", stored.dequantize()[:4])

# %%
fig, ax = plt.subplots(figsize=(7, 2.8))
ax.hist(scales, bins=80, color="#bbbbbb")
ax.axvline(stored.offset, color="#D55E00", label=f"offset {stored.offset:.2f}")
ax.set_xlabel("scale of a block of 64 normal weights")
ax.set_ylabel("blocks")
ax.set_title("Scales crowd around their mean")
ax.legend()
plt.show()

# %% [markdown]
# ## 6. What it costs in error
#
# Of the scales, and of the weights, by map, with the offset and without:

# %%
rows = []
plain = rms_error(quantize(w).dequantize(), w)
for scale_code in ("dynamic", "int8", "e4m3"):
    for name, offset in (("the mean", None), ("none", 0.0)):
        decoded = double.quantize_scales(
            scales, scale_code=scale_code, offset=offset
        ).dequantize()
        of_scales = float(
            np.sqrt(np.mean((decoded - scales) ** 2)) / np.sqrt(np.mean(scales**2))
        )
        rows.append([scale_code, name, f"{of_scales:.4%}"])
table(["map", "offset", "RMS error of the scales"], rows)
table(
    ["scales", "RMS error of the weights"],
    [["float32", f"{plain:.5f}"]]
    + [
        [
            code,
            f"{rms_error(quantize(w, double_quant=True, scale_code=code).dequantize(), w):.5f}",
        ]
        for code in ("dynamic", "int8", "e4m3")
    ],
)

# %% [markdown]
# A scale that is off by 1 % moves a block's weights by 1 %; their rounding error is 9 %. Errors add in squares, so the second quantization disappears in the first. The
# offset does more for the scales than the choice of the map. On these scales plain int8 does best: they are much alike, and few lie near the offset's zero, where the dynamic map is fine.
#
# ## 7. Gigabytes

# %%
draw("scale_memory")

# %%
rows = []
for name, config in LLAMA.items():
    found = linear_gigabytes(config)
    rows.append(
        [
            name,
            *(f"{found[k]:.2f}" for k in ("float16", "codes", "single", "double")),
            f"{found['single'] - found['double']:.2f}",
        ]
    )
table(
    [
        "linear layers of Llama",
        "in 16 bits, GB",
        "4-bit codes",
        "float32 scales",
        "after double quantization",
        "saved",
    ],
    rows,
)
saved = 32 / 64 - 8 / 64 - 32 / (64 * 256)
print(f"on 65 billion weights exactly: {65e9 * saved / 8 / 1e9:.2f} GB saved")
print(f"16-bit scales alone: {16 / 64} bits a weight, {65e9 * 16 / 64 / 8 / 1e9:.2f} GB")

# %% [markdown]
# The paper's 3 GB for 65B are right. A plainer way, 16-bit scales, would get two thirds of the saving without a second level.
#
# ## Exercises

# %%
exercise("scale_bits")

# %%
exercise("stored_bytes")

# %%
exercise("decode_scale")

# %%
exercise("gigabytes_saved")

# %% [markdown]
# ## Summary
#
# 1. One float32 scale for 64 weights is half a bit for each; "4-bit" is 4.5.
# 2. Quantized again to 8 bits in blocks of 256, scales cost 0.127 bits: a limit that small tensors miss (.1406 for 64 x 64).
# 3. bitsandbytes uses an 8-bit dynamic map after subtracting the mean, not FP8; the subtraction matters more than the map.
# 4. The error of the weights hardly changes: the second rounding is small beside the first.
# 5. It saves 3.03 GB on 65 billion weights.
#
# **Papers.** Dettmers et al. 2023, *QLoRA* (arXiv 2305.14314), section 3 · Dettmers 2016, *8-bit approximations* (arXiv 1511.04561) · Micikevicius et al. 2022, *FP8 formats* (arXiv 2209.05433)
#
# **Next.** [09 · the interview](09_interview.ipynb)
