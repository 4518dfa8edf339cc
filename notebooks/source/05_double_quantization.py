# %% [markdown]
# # 05 · Double quantization: the scales of the scales
#
# **Question.** What do the scales of four-bit weights cost, how does quantizing them again help, and what does that cost in turn?
#
# **Assumes.** Lesson 04: blocks, absmax, codes.
#
# **Seconds.** About 10 on two cores, offline.
#
# 1. Scales are memory
# 2. From 0.5 to 0.127 bits
# 3. Counted on real tensors
# 4. The 8-bit map
# 5. One row of scales, there and back
# 6. One weight, through both levels
# 7. What it costs in error
# 8. Gigabytes

# %%
import numpy as np

from minilora import codebook, load_base, quantize
from minilora.adapters import linear_paths
from minilora.analysis import rms_error
from minilora.course import draw, numbers, picture, pictures, show, style, table
from minilora.course.exercises import check
from minilora.quant import double, storage_bytes

style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## 1. Scales are memory
#
# A block of 64 weights in four bits is 256 bits of codes, and one float32 scale of 32 bits: an eighth on top. That is what "4-bit" hides:

# %%
pictures.bits_of_block(block_size=64, second=256)
picture(
    "Two bars: 256 bits of codes and 32 of scale, 4.5 bits per weight; after double quantization 4.127"
)

# %% [markdown]
# ## 2. From 0.5 to 0.127 bits
#
# $$ \frac{32}{64} = 0.5 \qquad\longrightarrow\qquad \frac{8}{64} + \frac{32}{64 \cdot 256} = 0.126953125 $$
#
# (Dettmers et al. 2023, section 3.) Each scale gets 8 bits, and 256 of *them* share one 32-bit scale: the same idea, one level up. A larger block would save scales, too, but at a price in error (lesson 04). Bits of scale per weight:

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
    pictures.bits_of_block(block_size, second)
    picture(f"Bits of a block of {block_size} before and after, second blocks of {second}")


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
            plain.bits_per_param - 4,
            f"{doubled.bits_per_param - 4:.4f}",
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
# What do the eight bits mean? The paper says FP8. The code of bitsandbytes, which QLoRA's users run, has a *dynamic map*: decades, each split finer than the one below (Dettmers 2016, arXiv 1511.04561).

# %%
show(double.dynamic_map)

# %%
pictures.maps(
    {
        "dynamic map": double.dynamic_map(),
        "linear int8": double.linear_int8_map(),
        "FP8 E4M3": double.e4m3_map(),
    }
)
picture(
    "The 256 values of three 8-bit maps: the dynamic map is dense near zero and reaches down to 1e-7"
)

# %% [markdown]
# The map reaches over seven decades and is dense near zero; int8 is even; E4M3 lies between. Which is best depends on what the scales look like.
#
# ## 5. One row of scales, there and back
#
# Scales are all positive and much alike. Half of a signed map would not be used, so their mean, the *offset*, is subtracted first. Then: absmax of 256 of them, nearest value of the map.

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
pictures.histogram(
    scales, float(stored.offset), f"offset {stored.offset:.2f}",
    "scale of a block of 64 normal weights", "Scales crowd around their mean",
)  # fmt: skip
picture("A histogram of scales, narrow around 2.4, with the offset marked in the middle")

# %% [markdown]
# ## 6. One weight, through both levels
#
# Take weight 1000 of the base's first matrix. What is stored of it is half a byte. To decode it, walk up: the nibble gives one of NF4's 16 values; its block's scale is itself a byte, which gives a value of the map;
# that, times the second-level scale, plus the offset, is the absmax.

# %%
matrix = tensors["base, q_proj 128 x 128"]
q, place = quantize(matrix, double_quant=True), 1000
block, second = place // 64, place // 64 // 256
byte = q.packed[place // 2]
nibble = byte >> 4 if place % 2 == 0 else byte & 15
nested = double.quantize_scales(
    quantize(matrix).scales
)  # the same scales, with their parts in view
value, entry = codebook("nf4")[nibble], double.dynamic_map()[nested.codes[block]]
absmax = entry * nested.absmax[second] + nested.offset
decoded = value * absmax
pictures.two_levels(
    float(matrix.ravel()[place]),
    [
        ("stored: the byte that holds it, and its half of it", f"0x{byte:02x} -> {nibble}"),
        ("level 1: NF4's value of that number", f"{value:+.6f}"),
        (f"stored: the code of block {block}'s scale", str(nested.codes[block])),
        ("level 2: the map's value of that number", f"{entry:+.6f}"),
        (f"times the scale of second-level block {second}", f"{nested.absmax[second]:.6f}"),
        ("plus the offset: the block's absmax", f"{absmax:.6f}"),
        ("the weight: NF4's value times the absmax", f"{decoded:+.6f}"),
    ],
)
picture(
    "Seven boxes from the stored byte, over NF4's value and the decoded scale, to the weight"
)
print(f"weight {matrix.ravel()[place]:.6f}   decoded by hand {decoded:.6f}")
print("the library decodes the same:", np.isclose(decoded, q.dequantize().ravel()[place]))

# %% [markdown]
# ## 7. What it costs in error
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
        rows.append([scale_code, name, f"{rms_error(decoded, scales):.4%}"])
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
# And on real scales, those of the base, and on scales among which outliers stand? (Committed numbers.)

# %%
draw("scale_codecs")

# %% [markdown]
# The base's scales are like those of normal weights, and the order is the same: int8, the dynamic map, E4M3. With outliers int8 is last by far: one large scale stretches its even steps for 256 of them, while a map that is dense near zero still tells the small ones apart. That is what the dynamic map is insurance against.
#
# ## 8. Gigabytes

# %%
draw("scale_memory")

# %%
rows = []
for name, size in numbers("scale_memory")["gigabytes"].items():
    parts = [size[key] for key in ("float16", "codes", "single", "double")]
    rows.append([name, *(f"{part:.2f}" for part in (*parts, parts[2] - parts[3]))])
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
print(f"16-bit scales alone: {16 / 64} bits per weight, {65e9 * 16 / 64 / 8 / 1e9:.2f} GB")

# %% [markdown]
# The paper's 3 GB for 65B are right. A simpler way, 16-bit scales, would get two thirds of the saving without a second level.
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

# %%
exercise("which_scales_suffer")

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
# **Next.** [06 · QLoRA](06_qlora.ipynb)
