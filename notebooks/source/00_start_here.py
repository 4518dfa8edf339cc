# %% [markdown]
# # 00 · Start here
#
# **Question.** What are LoRA and QLoRA, and what do they do to a real model?
#
# **Assumes.** Python, and that you have seen a matrix product and a training loop. No GPU, no network.
#
# **Seconds.** About 40 on two cores, offline.
#
# 1. Three pictures
# 2. A first LoRA run: before and after
# 3. QLoRA: one more line
# 4. How much rank?
# 5. What is where

# %%
import matplotlib.pyplot as plt
import numpy as np

from minilora import (
    LoraConfig,
    Trainer,
    TrainingConfig,
    apply_lora,
    codebook,
    load_base,
    quantize,
    quantize_linears,
)
from minilora.adapters import count_parameters
from minilora.course import draw, style, table
from minilora.data import ByteTokenizer, EpochBatches, encode_records, split
from minilora.course.exercises import check
from minilora.training import answers, evaluate
from minilora.experiments.quantization.scale_memory import LLAMA, gigabytes

style()

# %% [markdown]
# ## 1. Three pictures
#
# **LoRA.** A linear layer of a language model is a matrix $W$. Fine-tuning changes it to $W + \Delta W$. LoRA (Hu et al. 2021) freezes $W$ and
# writes the change as a product of two thin matrices, $\Delta W = \frac{\alpha}{r} B A$. Only A and B are trained. Drawn to scale, for a layer of
# 128 x 128 and rank r = 8:

# %%
fig, ax = plt.subplots(figsize=(8.5, 2.9))
drawn = [
    (0, 0, 128, 128, "#999999", "W, frozen\n128 x 128 = 16,384"),
    (175, 0, 128, 128, "#D55E00", "full update\n16,384 trained"),
    (380, 0, 8, 128, "#0072B2", "B, 128 x 8"),
    (420, 120, 128, 8, "#0072B2", "A, 8 x 128"),
]
for left, bottom, width, height, shade, _ in drawn:
    ax.add_patch(plt.Rectangle((left, bottom), width, height, color=shade))
for (left, _, _, _, _, text), (dx, y) in zip(
    drawn, [(64, 64), (64, 64), (16, 30), (64, 100)], strict=True
):
    inside = left < 200
    ax.text(left + dx, y, text, ha="left" if left == 380 else "center", va="center",
            color="white" if inside else "black")  # fmt: skip
ax.text(
    484, 64, "LoRA: 2,048 trained", ha="center", va="center", color="#0072B2", weight="bold"
)
for x, sign in ((151, "+"), (341, "or"), (404, "@")):
    ax.text(x, 124 if sign == "@" else 64, sign, ha="center", va="center", fontsize=13)
ax.set_xlim(-4, 560)
ax.set_ylim(-4, 136)
ax.set_aspect("equal")
ax.axis("off")
ax.set_title("Two thin matrices in the place of a full update")
plt.show()

# %% [markdown]
# **Four bits.** The Q of QLoRA (Dettmers et al. 2023): the frozen $W$ is stored in four bits a weight. Each block of 64 weights keeps one number, its
# largest absolute value. Every weight becomes the nearest of 16 levels, times that number. Here are 64 real weights of our base model, and where they land:

# %%
weight = load_base().get_submodule("layers.0.self_attn.q_proj").weight.value
block = weight.ravel()[:64]
q = quantize(block, "nf4", block_size=64)
scale = q.scales[0]
fig, ax = plt.subplots(figsize=(8.5, 2.9))
ax.hlines(codebook("nf4") * scale, 0, 63, color="#e0e0e0", linewidth=0.9)
ax.vlines(np.arange(64), block, q.dequantize(), color="#D55E00", linewidth=1.5)
ax.plot(block, "o", color="#999999", markersize=4, label="weight")
ax.plot(
    q.dequantize(), "_", color="#0072B2", markersize=7, markeredgewidth=2, label="in four bits"
)
ax.grid(visible=False)
ax.set_xlabel("place in the block")
ax.set_ylabel("weight")
ax.set_title("64 weights move to the nearest of 16 levels; orange is the error")
ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
plt.show()
error = np.sqrt(np.mean((q.dequantize() - block) ** 2) / np.mean(block**2))
print(f"bytes: {block.nbytes} before, {q.nbytes} after; error: {100 * error:.1f} % of the RMS")

# %% [markdown]
# **Memory.** Why all this: training needs more than the weights. For a model with the linear layers of Llama 7B, with the usual
# mixed precision (2 bytes for a weight, and for what is trained 2 for its gradient and 12 for AdamW's moments and a 32-bit copy), r = 8 on all of them:

# %%
hidden, intermediate, layers = LLAMA["7B"]
size = gigabytes(hidden, intermediate, layers)
trained = (
    8 * layers * (4 * 2 * hidden + 3 * (hidden + intermediate))
)  # r (in + out), seven matrices a layer
adapter = 16 * trained / 1e9
methods = {
    "full fine-tuning": (size["float16"], 14 * size["parameters"] / 1e9),
    "LoRA, r = 8": (size["float16"], adapter),
    "QLoRA, r = 8": (size["codes"] + size["double"], adapter),
}
fig, ax = plt.subplots(figsize=(8.5, 2.2))
for row, (frozen, rest) in enumerate(methods.values()):
    ax.barh(row, frozen, color="#0072B2", label="weights" if not row else None)
    ax.barh(row, rest, left=frozen, color="#D55E00",
            label="what training adds: gradients, AdamW, adapter" if not row else None)  # fmt: skip
    ax.text(frozen + rest + 1, row, f"{frozen + rest:.1f} GB", va="center")
ax.set_yticks(range(3), methods)
ax.invert_yaxis()
ax.set_xlim(0, 120)
ax.set_xlabel("GB, without activations")
ax.grid(visible=False)
ax.legend(loc="lower right")
ax.set_title("LoRA removes what training adds; four bits shrink what is left")
plt.show()
table(
    ["method", "weights, GB", "gradients, AdamW, adapter, GB", "sum, GB"],
    [[name, *map(float, parts), float(sum(parts))] for name, parts in methods.items()],
)

# %% [markdown]
# This is arithmetic, not a measurement, and it leaves out the activations, which LoRA hardly shrinks (lesson 02) and checkpointing does (lesson 01).
#
# ## 2. A first LoRA run: before and after
#
# The project ships a small Llama of a million parameters that has read the Python reference and nothing else. It has never been asked to rewrite a date:

# %%
tokenizer = ByteTokenizer()
training, held_out = split("dates", 3072, 256, seed=0)
eval_ids, eval_labels = encode_records(held_out, tokenizer)
model = load_base()
shown = [record.input for record in held_out[:5]]
said_before = answers(model, shown, tokenizer, max_new_tokens=12)
before = evaluate(model, eval_ids, eval_labels)
print("input:", shown[0], "   wanted:", held_out[0].target, "   said:", said_before[0])
print(f"held-out loss {before['loss']:.1f} nats a byte, {before['exact']:.0%} exactly right")

# %% [markdown]
# Three statements put LoRA on the model and train it. The model's file knows nothing of LoRA: the layers are wrapped from outside.

# %% tags=["rtol=0.5"]
apply_lora(
    model,
    LoraConfig(r=8, lora_alpha=8, target_modules="all-linear"),
    rng=np.random.default_rng(0),
)
batches = EpochBatches(*encode_records(training, tokenizer), 32, seed=0)
history = Trainer(
    model, TrainingConfig(max_steps=300, learning_rate=0.006, warmup_steps=15), batches
).train()
after = evaluate(model, eval_ids, eval_labels)
trained, total = count_parameters(model)
print(f"trained: {trained:,} of {total:,} parameters")
print(f"held-out loss: {before['loss']:.1f} before, {after['loss']:.2f} after")

# %%
fig, ax = plt.subplots(figsize=(6.5, 3))
ax.semilogy(history["step"], history["loss"])
ax.set_xlabel("step")
ax.set_ylabel("training loss, nats a byte")
ax.set_title("300 steps with 32 dates each: the loss falls a hundredfold")
plt.show()

# %% [markdown]
# Five dates that it has not seen in training, before and after. (What exactly it says may differ on your processor: training amplifies last bits.)

# %% tags=["rtol=0.5"]
said_after = answers(model, shown, tokenizer, max_new_tokens=12)
table(
    ["input", "before", "after", "wanted"],
    [
        [given, f"`{old}`", f"`{new}`", f"`{record.target}`"]
        for given, old, new, record in zip(
            shown, said_before, said_after, held_out[:5], strict=True
        )
    ],
)
print(f"exactly right, of 256: {before['exact']:.0%} before, {after['exact']:.0%} after")

# %% [markdown]
# ## 3. QLoRA: one more line
#
# `quantize_linears` replaces each frozen layer by one that stores four bits. The adapter code stays as it was. The bits are counted from what
# is stored:

# %%
model = load_base()
quantize_linears(model, "nf4", block_size=64, double_quant=True)
apply_lora(
    model,
    LoraConfig(r=8, lora_alpha=8, target_modules="all-linear"),
    rng=np.random.default_rng(0),
)
q_proj = model.get_submodule("layers.0.self_attn.q_proj").base_layer
in_four = evaluate(model, eval_ids, eval_labels)
print(f"q_proj: {q_proj.q.bits_per_param:.3f} bits a weight")
print(f"{q_proj.nbytes:,} bytes in the place of {4 * 128 * 128:,}")
print(
    f"held-out loss before training: {in_four['loss']:.2f}, with 32-bit weights {before['loss']:.2f}"
)

# %% [markdown]
# Training goes on as before: `Trainer(model, ...)`. Lesson 04 takes the four bits apart, lesson 05 the bits after the point.
#
# ## 4. How much rank?
#
# The rank r is the width of the bypass. An easy task and a hard one, each with seven ranks and with full fine-tuning, three seeds (committed
# numbers; `python -m minilora figures rank_fit` computes them again in some minutes):

# %%
draw("rank_fit")

# %% [markdown]
# What each rank trains on the whole base, and its share:

# %%
every_linear = 5 * sum(
    a + b for a, b in [(128, 128), (128, 64), (128, 64), (128, 128)] + 3 * [(128, 352)]
)
table(
    ["rank r", "trained parameters", "share of the base, %"],
    [[r, r * every_linear, 100 * r * every_linear / (total - trained)] for r in (1, 4, 16, 64)],
)

# %% tags=["slider"]
from ipywidgets import interact


@interact(r=(1, 128), width=[128, 1024, 4096, 12288])
def share(r=8, width=128):
    print(
        f"a {width} x {width} layer: {2 * r * width:,} trained of {width**2:,}, {200 * r / width:.2f} %"
    )


# %% [markdown]
# ## 5. What is where
#
# | you ask | lesson | code |
# |:---|:---|:---|
# | How are gradients written by hand, and checked? | [01](01_backprop_by_hand.ipynb) | minilora/nn, minilora/analysis/gradcheck.py |
# | How does LoRA work, matrix by matrix? | [02](02_lora.ipynb) | minilora/adapters |
# | How large must the rank be? | [03](03_rank.ipynb) | minilora/experiments/rank/rank_known.py, minilora/experiments/rank/rank_fit.py |
# | Where do NF4's 16 numbers come from? | [04](04_nf4.ipynb) | minilora/quant/codebooks.py, blockwise.py |
# | What is double quantization? | [05](05_double_quantization.ipynb) | minilora/quant/double.py |
# | What will they ask me? | [09](09_interview.ipynb) | all of it |
#
# The figures are in [figures/](../figures/README.md), each with its numbers and the run they came from. The solutions of all exercises are in
# [notebooks/solutions](solutions/).
#
# ## Exercises
#
# Put your answer in the place of `...` and run the cell. `check` says that it is right, or what the likely mistake is.

# %%
exercise("lora_share")

# %%
exercise("bypass_forward")

# %%
exercise("four_bit_roundtrip")

# %% [markdown]
# ## Summary
#
# 1. LoRA freezes the weights and trains two thin matrices beside each: r (in + out) numbers for each layer.
# 2. It saves gradients and optimizer state, not the weights and hardly the activations.
# 3. QLoRA stores the frozen weights in four bits: a scale for each block of 64, and 16 levels.
# 4. A small adapter taught a small model a task that it could not do at all, in 300 steps.
# 5. In code: `quantize_linears(model, ...)`, `apply_lora(model, ...)`, then train as always.
#
# **Papers.** Hu et al. 2021, *LoRA* (arXiv 2106.09685) · Dettmers et al. 2023, *QLoRA* (arXiv 2305.14314)
#
# **Next.** [01 · backprop by hand](01_backprop_by_hand.ipynb)
