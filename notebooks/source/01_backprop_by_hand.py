# %% [markdown]
# # 01 · Backprop by hand
#
# **Question.** How does a gradient get through a transformer, layer by layer, and how do we know that it is right?
#
# **Assumes.** Derivatives, the chain rule, products of matrices.
#
# **Seconds.** About 10 on two cores, offline.
#
# 1. The contract
# 2. RMSNorm
# 3. One attention head, with numbers
# 4. Cross-entropy
# 5. Is it right? gradcheck
# 6. Why not ones
# 7. What backward keeps

# %%
import numpy as np

from minilora import LoraConfig, apply_lora, gradcheck, load_base
from minilora.analysis import GradcheckError, Setup, activation_bytes, saved_bytes
from minilora.course import picture, pictures, show, style, table
from minilora.course.exercises import check
from minilora.nn import checkpoint_blocks, ops

style()
np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(0)

# %% [markdown]
# ## 1. The contract
#
# Every layer and every op here is called, and gives back its output *and its backward*:
#
# ```python
# y, backward = layer(x)
# dx = backward(dy)        # dy: the gradient of the loss with respect to y, of y's shape
# ```
#
# Backward answers one question: if the loss changes by `dy` for each change of `y`, how does it change with `x`? Nothing is kept on the layer; what backward needs is in its closure. The simplest one:

# %%
show(ops.linear)

# %% [markdown]
# The comment quotes the line that is inverted: $y = x W^T \Rightarrow dx = dy\, W,\; dW = dy^T x$. A model is such pairs, one behind the other; its backward calls theirs in the opposite order.
#
# ## 2. RMSNorm
#
# $$ y = g \cdot n, \qquad n = \frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}} $$
#
# (Zhang & Sennrich 2019, equation 4.) Each $x_i$ acts twice: directly, and through the mean, which all share. So $dx$ has two parts: $dn / \mathrm{rms}$, less its share along $n$.

# %%
show(ops.rms_norm)

# %%
x, gain, dy = np.array([[3.0, 4.0]]), np.array([1.0, 2.0]), np.array([[1.0, 0.0]])
y, backward = ops.rms_norm(x, gain, 0.0)
dx, dgain = backward(dy)
print("x", x, " rms", np.sqrt(np.mean(x**2)).round(4), " y", y)
print("dx", dx, " dgain", dgain)
print(
    "dx along x:",
    abs(np.sum(dx * x)).round(12),
    "(the length of x does not matter to y, so no gradient points along it)",
)

# %% [markdown]
# ## 3. One attention head, with numbers
#
# $$ y = p\, v, \qquad p = \mathrm{softmax}\!\left( \frac{q k^T}{\sqrt d} + \mathrm{mask} \right) $$
#
# (Vaswani et al. 2017, equation 1.) Three tokens, $d = 2$, one head. A token may look at itself and back.

# %%
show(ops.causal_attention)

# %%
q = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[None, None]  # (B, H, T, d) = (1, 1, 3, 2)
k = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, -1.0]])[None, None]
v = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])[None, None]
scores = q[0, 0] @ k[0, 0].T / np.sqrt(2)
print("scores q kᵀ / sqrt(d):\n", scores)
masked = np.where(np.tri(3), np.exp(scores), 0)
print("probabilities, each row sums to one:\n", masked / masked.sum(axis=1, keepdims=True))
y, backward = ops.causal_attention(q, k, v)
print("y = p v:\n", y[0, 0])

# %% [markdown]
# Token 1 sees itself alone, so its output is its own $v$. Now let the loss depend on the *second* token's first number only, and look at who gets a gradient:

# %%
dy = np.zeros_like(y)
dy[0, 0, 1, 0] = 1.0
dq, dk, dv = backward(dy)
for name, gradient in (("dq", dq), ("dk", dk), ("dv", dv)):
    print(f"{name}:\n", gradient[0, 0])

# %% [markdown]
# - Only the second query has a gradient: the others did not act on that output.
# - The third key and value have none: token 2 cannot see token 3. A gradient there would be a leak from the future.
# - `dv` is the second row of probabilities: a value counts as much as it is looked at.
# - The gradients of the two keys are opposite: softmax only knows differences.
#
# ## 4. Cross-entropy
#
# $$ L = -\frac{1}{|M|} \sum_{t \in M} \log p_t[\mathrm{label}_t], \qquad dz_t = \frac{p_t - \mathrm{onehot}(\mathrm{label}_t)}{|M|} $$
#
# $M$ are the positions that count: a label of -100 is ignored (prompts and padding), in the sum *and* in the number that it is divided by.

# %%
show(ops.cross_entropy)

# %%
logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
labels = np.array([0, 2, -100])
loss, backward = ops.cross_entropy(logits, labels)
print("loss", round(float(loss), 4))
print("dlogits:\n", backward())

# %% [markdown]
# Each row sums to zero, the ignored row is zero, and the unsure guess (row 2) is pulled harder than the nearly right one (row 1).
#
# ## 5. Is it right? gradcheck
#
# A derivative can be had without any backward, from two forwards. Along a random direction $V$, through a random projection $R$ of the output:
#
# $$ \langle \nabla f, V \rangle \approx \frac{f(x + hV) - f(x - hV)}{2h}, \qquad f(x) = \sum R \cdot y(x) $$

# %% tags=["rtol=30"]
qkv = [rng.standard_normal((1, 2, 5, 4)) for _ in range(3)]
checked = {
    "rms_norm": gradcheck(
        lambda x, g: ops.rms_norm(x, g, 1e-5),
        rng.standard_normal((3, 8)),
        rng.standard_normal(8),
        rng=rng,
    ),
    "causal_attention": gradcheck(ops.causal_attention, *qkv, rng=rng),
    "cross_entropy": gradcheck(
        lambda z: ops.cross_entropy(z, labels), rng.standard_normal((3, 3)), rng=rng
    ),
}
model = load_base(dtype=np.float64)
tokens = np.frombuffer(b"def backward(dy):", np.uint8)[None].astype(int)
checked["the whole base model, every parameter"] = gradcheck(
    lambda ids: model.loss(ids[:, :-1], ids[:, 1:]), tokens, rng=rng, module=model, directions=1
)
table(
    ["what", "arrays checked", "worst relative error"],
    [[n, len(r.errors), f"{r.worst:.0e}"] for n, r in checked.items()],
)

# %% [markdown]
# Why not zero? Two errors fight. The curve between the two points costs about $h^2$; the rounding of a float64, about $10^{-16}$, is divided by $h$. Between them is a valley:

# %%
steps = 10.0 ** np.arange(-11, 0)
errors = [
    gradcheck(
        ops.causal_attention, *qkv, rng=np.random.default_rng(1), step=h, tolerance=10.0
    ).worst
    for h in steps
]
pictures.valley(steps, errors)
picture(
    "Relative error over the step h, log-log: a valley with its floor near 1e-11, between two lines"
)

# %% [markdown]
# At $h = 10^{-6}$ an error between $10^{-11}$ and $10^{-8}$ is what a *right* backward gives, for a deep model more, since rounding adds up on the way. That is why 5e-9, or what the whole base model shows above, is fine: a wrong backward is usually off by percents, not by billionths. It is also why the
# check runs in float64. In float32 rounding is $10^{-7}$; the valley's floor lies near $h = 0.003$, at about $10^{-5}$ (the median of 20 directions through this attention; the worst was $10^{-4}$). That would still
# find a lost factor, but not a small slip.

# %% tags=["slider"]
from ipywidgets import interact


@interact(exponent=(-11, -1))
def error_at(exponent=-6):
    random = np.random.default_rng(1)
    report = gradcheck(
        ops.causal_attention, *qkv, rng=random, step=10.0**exponent, tolerance=10.0
    )
    pictures.valley(steps, errors, chosen=10.0**exponent)
    picture("The valley with the chosen step marked")
    print(f"h = 1e{exponent}: relative error {report.worst:.0e}")


# %% [markdown]
# ## 6. Why not ones
#
# Why a *random* projection instead of the plain sum of the outputs? Take a softmax whose backward is wrong by a factor of three. The outputs of a softmax sum to one whatever goes in, so along ones the gradient is zero, and three times zero is zero:

# %%
p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
for name, dp in (("ones", np.ones((3, 3))), ("random", rng.standard_normal((3, 3)))):
    right = p * (dp - np.sum(dp * p, axis=1, keepdims=True))
    wrong = 3 * right
    print(
        f"upstream gradient of {name:7} wrong minus right, largest: {np.abs(wrong - right).max():.4f}"
    )

# %% [markdown]
# And `gradcheck` catches it, and prints both numbers:

# %% tags=["rtol=1"]
forward = lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
threefold = lambda z: (
    forward(z),
    lambda dp: 3 * forward(z) * (dp - np.sum(dp * forward(z), axis=1, keepdims=True)),
)
try:
    gradcheck(threefold, logits, rng=np.random.default_rng(0))
except GradcheckError as error:
    print(error)

# %% [markdown]
# ## 7. What backward keeps
#
# Training needs more memory than inference because of what backward needs of the forward. It is all in the closures, so it can be counted. One sequence of 128 tokens in a layer of width 128, in float32 (weights not counted):

# %%
x = rng.standard_normal((1, 128, 128)).astype(np.float32)
weight = rng.standard_normal((352, 128)).astype(np.float32)
heads = [rng.standard_normal((1, 4, 128, 32)).astype(np.float32) for _ in range(3)]
ids = rng.integers(0, 256, (1, 128))
called = {
    "linear": ops.linear(x, weight),
    "linear_frozen": ops.linear_frozen(x, weight),
    "rms_norm": ops.rms_norm(x, weight[0], 1e-5),
    "silu": ops.silu(x),
    "causal_attention": ops.causal_attention(*heads),
    "cross_entropy": ops.cross_entropy(
        rng.standard_normal((1, 128, 256)).astype(np.float32), ids
    ),
}
rows = []
for name, (_, backward) in called.items():
    kept = {}
    for variable, cell in zip(backward.__code__.co_freevars, backward.__closure__, strict=True):
        array = cell.cell_contents
        if isinstance(array, np.ndarray) and variable not in (
            "weight",
            "gain",
            "labels",
            "logits",
        ):
            whole = array if array.base is None else array.base  # a view keeps what it looks at
            kept.setdefault(id(whole), (variable, whole.nbytes))
    rows.append(
        [
            name,
            ", ".join(v for v, _ in kept.values()) or "nothing",
            sum(b for _, b in kept.values()),
        ]
    )
table(["op", "keeps", "bytes"], rows)

# %% [markdown]
# - A **frozen** linear layer keeps nothing: without $dW$ it does not need its input. This is where LoRA saves activations (where a layer is not adapted itself).
# - **Plain attention** keeps the probabilities, heads times $T^2$ numbers: at length 128 as much as four linear layers, and it grows with the square. FlashAttention (Dao et al. 2022) keeps one number per row instead
# and computes the probabilities again in backward, block by block: then attention's memory grows with $T$.

# %%
lengths = (64, 128, 256, 512)
table(
    [
        "length T",
        "q, k, v: 3 H T d numbers, kB",
        "probabilities: H T², kB",
        "a linear layer's input: T D, kB",
    ],
    [
        [T, 3 * 4 * T * 32 * 4 // 1000, 4 * T * T * 4 // 1000, T * 128 * 4 // 1000]
        for T in lengths
    ],
)


# %%
pictures.attention_memory(length=128, heads=4)
picture("MB of attention's probabilities over the length: twice as steep as q, k and v")


# %% tags=["slider"]
@interact(length=(16, 4096, 16), heads=(1, 32))
def attention_memory(length=128, heads=4):
    pictures.attention_memory(length, heads, width=32 * heads)
    picture("MB of attention's probabilities over the length, with the chosen length marked")


# %% [markdown]
# Now the whole model. One forward of the loss over 16 sequences of 128 bytes; `saved_bytes` walks through all the closures that hang on its backward and adds up every array, each once;
# `activation_bytes` says the same by formula, without a model:

# %%
tokens = rng.integers(32, 127, (16, 129))
q_and_v, everywhere = LoraConfig(r=8), LoraConfig(r=8, target_modules="all-linear")
rows = []
for name, lora, checkpointed in [
    ("full fine-tuning", None, False),
    ("LoRA r = 8 on all linear layers", everywhere, False),
    ("LoRA r = 8 on q and v", q_and_v, False),
    ("the same with checkpointing", q_and_v, True),
]:
    model = load_base()
    if lora:
        apply_lora(model, lora, rng=np.random.default_rng(0))
    if checkpointed:
        checkpoint_blocks(model)
    _, backward = model.loss(tokens[:, :-1], tokens[:, 1:])
    formula = activation_bytes(Setup(model.config, lora, checkpointing=checkpointed), 16, 128)
    weights = sum(p.value.nbytes for p in model.parameters())
    rows.append([name, weights / 1e6, saved_bytes(backward, model) / 1e6, formula / 1e6])
table(["MB", "weights", "kept for backward, counted", "by formula"], rows)

# %% [markdown]
# - Backward's memory is many times that of the weights, and it grows with the batch; the weights do not.
# - LoRA on all linear layers saves next to nothing here: each adapted layer keeps its input for $dA$, and its thin $h = x A^T$ besides. Only layers without an adapter save.
# - Checkpointing keeps each block's input and runs the block again in backward (Chen et al. 2016): the counted number is what is kept between forward and backward; the formula adds the one block that is at work.
#
# ## Exercises

# %%
exercise("linear_backward")

# %%
exercise("softmax_backward")

# %%
exercise("cross_entropy_backward")

# %%
exercise("central_difference")

# %%
exercise("who_gets_a_gradient")

# %% [markdown]
# ## Summary
#
# 1. A layer gives back its output and its backward; backward turns the gradient of the output into those of the inputs.
# 2. Each line of a backward inverts one line of its forward; what is shared in the forward is summed in the backward.
# 3. gradcheck compares with central differences; the error is a valley over the step, and 1e-8 is what right looks like.
# 4. Random directions, never ones: errors hide where sums are constant.
# 5. What backward keeps is most of the memory of training; a frozen linear layer keeps nothing, checkpointing little.
#
# **Papers.** Rumelhart et al. 1986 · Vaswani et al. 2017 (arXiv 1706.03762) · Zhang & Sennrich 2019 (1910.07467) · Chen et al. 2016, *Sublinear memory cost* (1604.06174) · Dao et al. 2022, *FlashAttention* (2205.14135) · Baydin et al. 2018, *Automatic differentiation in machine learning* (1502.05767)
#
# **Next.** [02 · LoRA](02_lora.ipynb)
