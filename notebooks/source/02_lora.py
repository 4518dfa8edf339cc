# %% [markdown]
# # 02 · LoRA: a bypass of two thin matrices
#
# **Question.** How can a model learn a task when none of its weights may change, and what does that save?
#
# **Assumes.** Lesson 01: a layer is called and gives back its output and its backward; `gradcheck`.
#
# **Seconds.** About 15 on two cores, offline.
#
# 1. From a full update to $B A$
# 2. One step, with every shape
# 3. Why A is random and B is zero
# 4. alpha / r
# 5. Merging and switching
# 6. What freezing saves, counted

# %%
import matplotlib.pyplot as plt
import numpy as np

from minilora import (
    LoraConfig,
    apply_lora,
    disable_adapters,
    gradcheck,
    load_base,
    merge_lora,
    set_adapter,
)
from minilora.adapters import LoRA, LoRALinear, count_parameters, lora_layers
from minilora.course import show, style, table
from minilora.course.exercises import check
from minilora.nn import Linear

style()

# %% [markdown]
# ## 1. From a full update to B A
#
# Full fine-tuning changes every weight: $W \to W + \Delta W$, and $\Delta W$ is as large as $W$. LoRA (Hu et al. 2021) writes the
# change as a product of two thin matrices and trains only those:
#
# $$ y = x W^T + \frac{\alpha}{r}\, x A^T B^T, \qquad A: (r, \mathrm{in}), \quad B: (\mathrm{out}, r) $$
#
# A change of rank $r$ needs $r(\mathrm{in} + \mathrm{out})$ numbers in the place of $\mathrm{in} \cdot \mathrm{out}$.

# %%
shapes = {
    "one square layer of a 7B model": (4096, 4096),
    "its MLP's gate": (11008, 4096),
    "q_proj of our base": (128, 128),
}
table(
    ["layer", "in x out", "r = 8: r (in + out)", "share, %"],
    [
        [name, n * k, 8 * (n + k), 100 * 8 * (n + k) / (n * k)]
        for name, (n, k) in shapes.items()
    ],
)

# %% [markdown]
# The smaller the layer, the larger the share: on our base of a million parameters, LoRA looks less thrifty than it is.
#
# ## 2. One step, with every shape
#
# This is all of LoRA: forward, and each line of backward under the line that it inverts.

# %%
show(LoRA.__call__)

# %% [markdown]
# The base layer is asked for its own backward, so whatever it is (dense, or in four bits) is its own affair. That is why QLoRA needs no
# class of its own. Here is one step on a small layer:

# %%
rng = np.random.default_rng(0)
layer = LoRALinear(Linear.from_weight(rng.standard_normal((3, 5)), trainable=False))
layer.add_adapter("default", LoraConfig(r=2, lora_alpha=4), rng=rng)
x, dy = rng.standard_normal((7, 5)), rng.standard_normal((7, 3))
y, backward = layer(x)
dx = backward(dy)
table(
    ["array", "shape"],
    [
        ["x, dx", f"{x.shape}, {dx.shape}"],
        ["W (frozen: its gradient is never computed)", layer.base_layer.weight.value.shape],
        ["lora_A, its gradient", f"{layer.lora_A.value.shape}, {layer.lora_A.grad.shape}"],
        ["lora_B, its gradient", f"{layer.lora_B.value.shape}, {layer.lora_B.grad.shape}"],
        ["y, dy", f"{y.shape}, {dy.shape}"],
    ],
)
print("gradient of W:", layer.base_layer.weight.grad)

# %% [markdown]
# Is the backward right? Not at B = 0: there many wrong ones pass, because dA is zero whatever we do. So B is made random first.

# %% tags=["rtol=30"]
layer.lora_B.value[...] = rng.standard_normal(layer.lora_B.value.shape)
print(f"worst relative error: {gradcheck(layer, x, rng=rng).worst:.0e}")

# %% [markdown]
# ## 3. Why A is random and B is zero
#
# The bypass must start at zero, so that training starts from the pretrained model and not from noise. Four starts, of which two do that and can learn:

# %%
rows = []
for name, fill_A, fill_B in [
    ("A random, B zero (LoRA)", 1, 0),
    ("A zero, B random", 0, 1),
    ("both zero", 0, 0),
    ("both random", 1, 1),
]:
    for parameter, fill in ((layer.lora_A, fill_A), (layer.lora_B, fill_B)):
        parameter.zero_grad()
        parameter.value[...] = fill * np.random.default_rng(1).standard_normal(
            parameter.value.shape
        )
    y, backward = layer(x)
    backward(dy)
    changed = np.abs(y - x @ layer.base_layer.dense_weight().T).max()
    rows.append(
        [name, changed, np.linalg.norm(layer.lora_A.grad), np.linalg.norm(layer.lora_B.grad)]
    )
table(
    ["start", "output changed by", "size of dA", "size of dB"],
    [[row[0], *map(float, row[1:])] for row in rows],
)

# %% [markdown]
# - **A random, B zero:** nothing changes at first, and B has a gradient. After one step B is not zero, and A learns, too.
# - **Both zero:** each gradient contains the other matrix. Both are zero, and stay zero for ever: stuck.
# - **A zero, B random** would do as well; **both random** starts by damaging the model.
#
# The paper draws A from a Gaussian; PEFT's default is uniform on $\pm 1/\sqrt{\mathrm{in}}$ (`init_lora_weights=True`); both are here.
# On the real base the identity at the start holds bit for bit:

# %%
tokens = np.frombuffer(b"The return statement leaves the current function call.", np.uint8)[
    None
].astype(int)
model = load_base()
before, _ = model(tokens)
paths = apply_lora(model, LoraConfig(r=8, lora_alpha=16), rng=np.random.default_rng(0))
after, _ = model(tokens)
print(f"{len(paths)} layers wrapped, logits bit-equal: {np.array_equal(before, after)}")
print("trained, all:", count_parameters(model))

# %% [markdown]
# ## 4. alpha / r
#
# The same alpha acts more strongly at a small rank: $s = \alpha / r$. Here is the size of the update after one step of plain gradient
# descent, on one layer, for two scalings. `use_rslora` divides by $\sqrt r$ (Kalajdzievski 2023), so that a high rank is not stunted.

# %%
ranks = [1, 2, 4, 8, 16, 32]
x, dy = rng.standard_normal((256, 64)), rng.standard_normal((256, 64)) / 256
sizes = {}
for use_rslora in (False, True):
    for r in ranks:
        one = LoRALinear(Linear.from_weight(np.zeros((64, 64)), trainable=False))
        one.add_adapter(
            "default",
            LoraConfig(r=r, lora_alpha=8, use_rslora=use_rslora),
            rng=np.random.default_rng(r),
        )
        _, backward = one(x)
        backward(dy)
        one.lora_B.value -= 0.1 * one.lora_B.grad  # dA is zero at the first step
        sizes.setdefault(use_rslora, []).append(np.linalg.norm(one.delta_weight()))
table(
    ["scaling", *(f"r = {r}" for r in ranks)],
    [["alpha / r", *map(float, sizes[False])], ["alpha / sqrt(r)", *map(float, sizes[True])]],
)

# %%
fig, ax = plt.subplots(figsize=(6.5, 3.6))
for use_rslora, name in ((False, "alpha / r"), (True, "alpha / sqrt(r), rsLoRA")):
    ax.loglog(ranks, sizes[use_rslora], marker="o", label=name)
ax.set_xticks(ranks, ranks)
ax.set_xlabel("rank r, alpha = 8")
ax.set_ylabel("size of the update after one step")
ax.set_title("At a fixed alpha, alpha / r shrinks the update as the rank grows")
ax.legend()
plt.show()

# %% [markdown]
# "Smaller r at fixed alpha acts more strongly" holds. How to choose alpha is a convention ("alpha = r", "alpha = 2 r"): for plain gradient
# descent doubling alpha is like raising the learning rate, so sweep the two together, not one after the other.
#
# Slide rank and alpha, and see the scaling and the trained share of a 4096 x 4096 layer.
# (Without a kernel, the table and the figure above say the same for some values.)

# %% tags=["slider"]
from ipywidgets import interact


@interact(r=(1, 128), alpha=(1, 128))
def scaling(r=8, alpha=16):
    print(f"alpha / r = {alpha / r:.3g}   alpha / sqrt(r) = {alpha / r**0.5:.3g}")
    print(f"trained: {100 * r * 8192 / 4096**2:.2f} %")


# %% [markdown]
# ## 5. Merging and switching
#
# After training, $W + \frac{\alpha}{r} B A$ is one matrix again: merged, the model costs what it cost before. Two adapters can sit
# on one base and be switched by name, without touching the base.

# %%
show(merge_lora)

# %% tags=["rtol=1.5"]
for i, layer in enumerate(lora_layers(model).values()):  # in the place of training: some update
    layer.lora_B.value[...] = 0.02 * np.random.default_rng(i).standard_normal(
        layer.lora_B.value.shape
    )
wrapped, _ = model(tokens)

apply_lora(
    model, LoraConfig(r=4, lora_alpha=8), rng=np.random.default_rng(5), adapter_name="second"
)
second, _ = model(tokens)
set_adapter(model, "default")
switched, _ = model(tokens)
with disable_adapters(model):
    base_again, _ = model(tokens)
print("switched back to the first, bit-equal:", np.array_equal(switched, wrapped))
print("the second is new, so equal to the base:", np.array_equal(second, before))
print("disabled, bit-equal to the base:", np.array_equal(base_again, before))

merge_lora(model)
merged, _ = model(tokens)
print(f"largest logit: {np.abs(wrapped).max():.0f}")
print(f"merged: largest difference in a logit {np.abs(merged - wrapped).max():.0e}")
print("layers left that are LoRA:", len(lora_layers(model)))

# %% [markdown]
# Merging is exact up to rounding; unmerging would not restore every last bit of $W$ by subtraction, which is why `unmerge_lora`
# here keeps the original. Merging into a *4-bit* base is another matter: it has to be quantized again, and a small update is lost.
#
# ## 6. What freezing saves, counted
#
# Full fine-tuning with AdamW keeps for every weight a gradient and two moments. LoRA keeps them for A and B alone.

# %%
rows = []
for name, r in (
    ("full fine-tuning", 0),
    ("LoRA, r = 8, q and v", 8),
    ("LoRA, r = 64, q and v", 64),
):
    model = load_base()
    if r:
        apply_lora(model, LoraConfig(r=r, lora_alpha=r), rng=np.random.default_rng(0))
    weights = sum(p.value.nbytes for p in model.parameters())
    trained = sum(p.value.nbytes for p in model.parameters() if p.trainable)
    rows.append(
        [
            name,
            weights // 1000,
            trained // 1000,
            2 * trained // 1000,
            (weights + 3 * trained) // 1000,
        ]
    )
table(["kB", "weights", "gradients", "AdamW's moments", "sum"], rows)

# %% [markdown]
# What this table leaves out is what backward needs of the forward, the activations, and they do not shrink so much: the frozen layers still
# run, and the gradient still passes through them. A frozen `Linear` no longer keeps its input, that is all:

# %%
from minilora.nn import ops

show(ops.linear_frozen)

# %% [markdown]
# ## Exercises

# %%
exercise("delta_weight")

# %%
exercise("lora_gradients")

# %%
exercise("trainable_count")

# %%
exercise("gpt3_count")

# %% [markdown]
# ## Summary
#
# 1. LoRA trains $B A$ beside a frozen $W$: $r(\mathrm{in} + \mathrm{out})$ numbers for each layer.
# 2. B starts at zero, so the model starts as it was, bit for bit; A must not be zero too, or nothing ever moves.
# 3. The update acts with alpha / r: at a fixed alpha, a smaller rank acts more strongly.
# 4. Merged, it costs nothing at inference; unmerged, adapters on one base are switched by name.
# 5. Gradients and optimizer state shrink to A and B; weights and most activations stay.
#
# **Papers.** Hu et al. 2021, *LoRA* (arXiv 2106.09685), equation 3 · Kalajdzievski 2023, *rsLoRA* (arXiv 2312.03732)
#
# **Next.** [03 · rank](03_rank.ipynb)
