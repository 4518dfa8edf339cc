# %% [markdown]
# # 02 · LoRA: a bypass of two thin matrices
#
# **Question.** How can a model learn a task when none of its weights may change, and what does that save?
#
# **Assumes.** Lesson 01: a layer is called and gives back its output and its backward; `gradcheck`.
#
# **Seconds.** About 10 on two cores, offline.
#
# 1. From a full update to $B A$
# 2. One step, with every shape
# 3. Why A is random and B is zero, and step two
# 4. alpha / r
# 5. Merging and switching
# 6. What freezing saves, counted

# %%
import numpy as np

from minilora import (
    AdamW,
    LoraConfig,
    apply_lora,
    disable_adapters,
    gradcheck,
    load_base,
    merge_lora,
    set_adapter,
)
from minilora.adapters import LoRA, LoRALinear, count_parameters, lora_layers
from minilora.course import picture, pictures, show, style, table
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
# A change of rank $r$ needs $r(\mathrm{in} + \mathrm{out})$ numbers instead of $\mathrm{in} \cdot \mathrm{out}$.

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
# The smaller the layer, the larger the share: on our base of a million parameters, LoRA saves a smaller share than on a large one.
#
# ## 2. One step, with every shape
#
# This is all of LoRA: forward, and each line of backward under the line that it inverts.

# %%
show(LoRA.__call__)

# %% [markdown]
# The base layer is asked for its own backward, so whatever it is (dense, or in four bits) does not matter here. That is why QLoRA needs no
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
# ## 3. Why A is random and B is zero, and step two
#
# The bypass starts at zero, so that training starts from the pretrained model instead of from noise. Four starts, of which two do that and can learn:

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
# - **A zero, B random** starts from the model and can learn, too. It looks like the mirror image, but is not equivalent: Hayou et al. (2024) find that a random A bears larger rates and does better on average.
# - **Both random** changes the output before anything was learned. How much that harms is disputed: Li et al. (2025) find that small random values in both hardly hurt and make small rates work better.
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
# And **step two**, when A moves. Three steps of AdamW on this text, rate 0.001; the sizes are those of all layers' matrices together:

# %% tags=["rtol=0.02"]
adapters = lora_layers(model).values()
A_start = [layer.lora_A.value.copy() for layer in adapters]
optimizer = AdamW([p for p in model.parameters() if p.trainable], lr=0.001, weight_decay=0.0)
rows = []
for step in (1, 2, 3):
    optimizer.zero_grad()
    loss, backward = model.loss(tokens[:, :-1], tokens[:, 1:])
    backward()
    dA = np.sqrt(sum(np.sum(layer.lora_A.grad**2) for layer in adapters))
    dB = np.sqrt(sum(np.sum(layer.lora_B.grad**2) for layer in adapters))
    optimizer.step()
    moved = sum(
        np.sum((layer.lora_A.value - old) ** 2)
        for layer, old in zip(adapters, A_start, strict=True)
    )
    B_size = np.sqrt(sum(np.sum(layer.lora_B.value**2) for layer in adapters))
    rows.append([step, float(loss), float(dA), float(dB), float(np.sqrt(moved)), float(B_size)])
table(
    ["step", "loss before it", "size of dA", "size of dB", "A moved by", "size of B after"],
    rows,
)

# %% [markdown]
# In the first step A has no gradient and stays where it was drawn; B leaves zero. In the second, dA is no longer zero, because B is not, and A moves as well. Adam divides each gradient by its own
# size, so A moves by steps of nearly full size, however small dA still is.
#
# ## 4. alpha / r
#
# At a fixed alpha the bypass acts with $s = \alpha / r$: less, the larger the rank. What that does to the *update* depends on the optimizer. The first step on one layer of 64 x 64, alpha = 8, the mean over
# ten draws, with Adam, which trains nearly all language models, and with plain gradient descent. `use_rslora` divides by $\sqrt r$ (Kalajdzievski 2023):

# %%
ranks = [1, 2, 4, 8, 16, 32]
sizes = {}
for optimizer_name in ("Adam", "gradient descent"):
    for use_rslora in (False, True):
        name = f"{optimizer_name}, alpha / {'sqrt(r)' if use_rslora else 'r'}"
        for r in ranks:
            draws = []
            for seed in range(10):
                random = np.random.default_rng(seed)
                x, dy = (
                    random.standard_normal((256, 64)),
                    random.standard_normal((256, 64)) / 256,
                )
                one = LoRALinear(Linear.from_weight(np.zeros((64, 64)), trainable=False))
                one.add_adapter("default", LoraConfig(r, 8, use_rslora=use_rslora), rng=random)
                _, backward = one(x)
                backward(dy)
                if optimizer_name == "Adam":
                    AdamW([one.lora_B], lr=0.001, weight_decay=0.0).step()
                else:
                    one.lora_B.value -= 0.1 * one.lora_B.grad  # dA is zero at the first step
                draws.append(np.linalg.norm(one.delta_weight()))
            sizes.setdefault(name, []).append(float(np.mean(draws)))
table(
    ["size of the first update", *(f"r = {r}" for r in ranks), "first / last"],
    [[name, *row, row[0] / row[-1]] for name, row in sizes.items()],
)

# %%
pictures.step_sizes(
    ranks, sizes, "With Adam, alpha / r shrinks the first update; rsLoRA keeps it"
)
picture("First update over the rank: flat for Adam with rsLoRA, gradient descent falls most")

# %% [markdown]
# - **With Adam** the step in B does not depend on the size of its gradient, so $s$ counts once: from r = 1 to 32 the update shrinks about 5 times. With rsLoRA it keeps its size to within 15 %.
# - **With plain gradient descent** $s$ counts twice: dB contains it, and B is multiplied by it again. Doubling alpha makes the first update four times as large; over the ranks it shrinks more than a hundred times.
#
# So "smaller r at fixed alpha acts more strongly" holds, and how much depends on the optimizer. How to choose alpha is a convention ("alpha = r", "alpha = 2 r"). **Alpha and the learning rate are two knobs, not one:**
# with Adam, doubling alpha and halving the rate gives the same first update, but from the second step on A moves too, and A feels the rate and not alpha. What that does to a run is measured in [09, question 9](09_interview.ipynb#q9).
#
# Slide rank and alpha, and see both scalings:

# %%
pictures.scaling_of_ranks(alpha=16, r=8)
picture(
    "alpha / r and alpha / sqrt(r) over the rank for alpha = 16; at r = 8 they are 2 and 5.66"
)

# %% tags=["slider"]
from ipywidgets import interact


@interact(r=(1, 128), alpha=(1, 128))
def scaling(r=8, alpha=16):
    pictures.scaling_of_ranks(alpha, r)
    picture(f"Both scalings over the rank for alpha = {alpha}")
    print(f"trained of a 4096 x 4096 layer: {100 * r * 8192 / 4096**2:.2f} %")


# %% [markdown]
# ## 5. Merging and switching
#
# After training, $W + \frac{\alpha}{r} B A$ is one matrix again: merged, the model costs what it cost before. Two adapters can sit
# on one base and be switched by name, without touching the base.

# %%
show(merge_lora)

# %% tags=["rtol=1.5"]
for i, layer in enumerate(lora_layers(model).values()):  # instead of training: some update
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
# here keeps the original. Merging into a *4-bit* base is another matter: the sum has to be quantized again, and a very small update is rounded away ([09, question 37](09_interview.ipynb#q37)).
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
# run, and the gradient still passes through them. A frozen `Linear` that is not wrapped no longer keeps its input:

# %%
from minilora.nn import ops

show(ops.linear_frozen)

# %% [markdown]
# But a *wrapped* layer keeps it after all, for $dA$, and its thin $h = x A^T$ besides. With LoRA on all linear layers of our base a batch of 16 x 128 bytes keeps 103 MB, full fine-tuning 104 MB, LoRA on q and v alone
# 79 MB ([01, section 7](01_backprop_by_hand.ipynb) counts them).
#
# ## Exercises

# %%
exercise("delta_weight")

# %%
exercise("lora_gradients")

# %%
exercise("trainable_count")

# %%
exercise("gpt3_count")

# %%
exercise("alpha_and_rate")

# %% [markdown]
# ## Summary
#
# 1. LoRA trains $B A$ beside a frozen $W$: $r(\mathrm{in} + \mathrm{out})$ numbers per layer.
# 2. B starts at zero, so the model starts as it was, bit for bit; B moves in the first step, A from the second.
# 3. The update acts with alpha / r: at a fixed alpha a smaller rank acts more strongly, with Adam by about sqrt(r).
# 4. Merged, it costs nothing at inference; unmerged, adapters on one base are switched by name.
# 5. Gradients and optimizer state shrink to A and B; weights stay, and where a layer is adapted its activations do, too.
#
# **Papers.** Hu et al. 2021, *LoRA* (arXiv 2106.09685), equation 3 · Kalajdzievski 2023, *rsLoRA* (arXiv 2312.03732) · Hayou et al. 2024 (2406.08447) and Li et al. 2025 (2505.23194) on how A and B start
#
# **Next.** [03 · rank](03_rank.ipynb)
