# %% [markdown]
# # 03 · Rank: speed and capacity are two things
#
# **Question.** How large must r be, what decides it, and when does more rank stop paying?
#
# **Assumes.** Lesson 02: A, B, alpha / r. The singular value decomposition.
#
# **Seconds.** About 30 on two cores, offline.
#
# 1. What no rank-r update can do better
# 2. A teacher of known rank
# 3. Singular values that fall slowly
# 4. So many steps: speed
# 5. As many steps as it takes: capacity
# 6. What full fine-tuning does besides
# 7. The learning rate, the rank and alpha
# 8. Where alpha / r stunts

# %%
import numpy as np

from minilora import AdamW, LoraConfig, Trainer, TrainingConfig, apply_lora, load_base
from minilora.adapters import LoRALinear
from minilora.course import draw, numbers, picture, pictures, style, table
from minilora.course.exercises import check
from minilora.data import ByteTokenizer, EpochBatches, encode_records, split
from minilora.nn import Linear
from minilora.training import evaluate

style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## 1. What no rank-r update can do better
#
# Suppose we knew the change $\Delta W$ that full fine-tuning would make. The product $B A$ has rank at most $r$, and Eckart & Young (1936) say how near
# such a matrix can come: keep the $r$ largest singular values, lose the others.
#
# $$ \min_{\mathrm{rank}\, M \le r} |\Delta W - M|_F^2 = \sum_{i > r} \sigma_i^2 $$
#
# ## 2. A teacher of known rank
#
# Make a change of rank 8 ourselves, and train LoRA to imitate it, with AdamW and gradients, knowing nothing of singular values:

# %% tags=["rtol=30"]
U, _ = np.linalg.qr(rng.standard_normal((48, 48)))
V, _ = np.linalg.qr(rng.standard_normal((64, 48)))
change = U[:, :8] @ V[:, :8].T  # (out, in), eight singular values of 1
rows = []
for r in (2, 4, 6, 8, 12):
    layer = LoRALinear(Linear.from_weight(np.zeros((48, 64)), trainable=False))
    layer.add_adapter("one", LoraConfig(r=r, lora_alpha=r), rng=np.random.default_rng(r))
    adam = AdamW([layer.lora_A, layer.lora_B], lr=0.02, weight_decay=0.0)
    x = np.eye(64)  # every direction of the input, equally often
    for step in range(600):
        adam.groups[0]["lr"] = 0.02 * (1 - step / 600)
        adam.zero_grad()
        y, backward = layer(x)
        backward(y - x @ change.T)
        adam.step()
    left = np.sum((change - layer.delta_weight()) ** 2) / np.sum(change**2)
    rows.append([r, f"{max(0, 8 - r) / 8:.3f}", f"{left:.3f}"])
table(["rank r", "must be left over", "left over by LoRA"], rows)

# %% [markdown]
# Training finds the best that its rank allows. Below rank 8 something is lost, at 8 nothing, and beyond it there is nothing left to gain: a **knee at the true rank**.
#
# Mind what is given here: every direction of the input counts equally. Real inputs are correlated, and then the best update is another one: what counts is the error of the *output*, $|x\,(\Delta W - M)^T|$, and the
# directions that the data use count more. With the same change, and inputs whose directions fall off by a factor of 0.9 each:

# %%
spread = 0.9 ** np.arange(64)  # the standard deviation of x along each axis
sigma = np.linalg.svd(change * spread, compute_uv=False)  # of what the data see of the change
rows = []
for r in (2, 4, 6):
    u, s, vt = np.linalg.svd(change)
    truncated = (u[:, :r] * s[:r]) @ vt[:r]
    lost = np.sum(((change - truncated) * spread) ** 2) / np.sum((change * spread) ** 2)
    rows.append([r, float(lost), float(np.sum(sigma[r:] ** 2) / np.sum(sigma**2))])
table(["rank r", "output error, truncated SVD of the change", "at best"], rows)

# %% [markdown]
# The truncated SVD of $\Delta W$ is optimal for isotropic inputs only; the bound for real data is the one of $\Delta W\, \Sigma^{1/2}$, with $\Sigma$ the covariance of the inputs. A gradient sees the output's error, so LoRA is pulled toward the better one.
#
# ## 3. Singular values that fall slowly
#
# Real changes have no sharp edge. If each singular value is 0.8 of the one before, every rank gains a little, and there is no knee to find. Both cases, three seeds, isotropic inputs:

# %%
draw("rank_known")

# %%
pictures.left_over(decay=0.8, r=8)
picture("Singular values that fall by 0.8 each, and the share that rank 8 must leave over")

# %% tags=["slider"]
from ipywidgets import interact


@interact(r=(1, 48), decay=(0.3, 0.99, 0.01))
def left_over_at_best(r=8, decay=0.8):
    pictures.left_over(decay, r)
    picture(
        f"Singular values that fall by {decay} each, and the share that rank {r} must leave over"
    )


# %% [markdown]
# ## 4. So many steps: speed
#
# Now the shipped base, and nobody knows the rank that a task needs. An easy task and a hard one:

# %%
rows = []
for task in ("dates", "roman"):
    rows += [[task, record.input, record.target] for record in split(task, 3, 1, seed=0)[0]]
table(["task", "input", "target"], rows)

# %% [markdown]
# Dates are mostly copying; the value of a Roman numeral, and the place of each digit, depends on the letters around it. 300 steps, three seeds, each rank with the learning rate that a sweep on another seed chose for it (section 7):

# %%
draw("rank_fit")

# %%
tasks = numbers("rank_fit")["tasks"]
rows = []
for r in ("1", "2", "4", "8", "16", "32", "64", "full"):
    exact = [f"{sorted(tasks[task]['exact'][r])[1]:.0%}" for task in ("dates", "roman")]
    rows.append([r, tasks["dates"]["parameters"][r], *exact])
table(["rank", "trained parameters", "dates exact", "roman exact"], rows)

# %% [markdown]
# At 300 steps more rank is better, and more so on the hard task; on dates little is gained beyond r = 8, on Roman numerals beyond r = 16, and from there on it is noise among seeds. It is tempting to read this as "the hard task needs more rank". But all runs were stopped after the same 300 steps. The curves show how *fast* each rank learns.
#
# ## 5. As many steps as it takes: capacity
#
# So give the small rank more time. Live and short, on dates, each with its own rate, one seed:

# %% tags=["rtol=0.4"]
tokenizer = ByteTokenizer()
training, held_out = (
    encode_records(part, tokenizer) for part in split("dates", 2048, 128, seed=0)
)
rows = []
for r, rate, steps in ((16, 0.0048, 60), (1, 0.012, 60), (1, 0.012, 240)):
    model = load_base()
    lora = LoraConfig(r=r, lora_alpha=r, target_modules="all-linear")
    apply_lora(model, lora, rng=np.random.default_rng(0))
    settings = TrainingConfig(max_steps=steps, learning_rate=rate, warmup_steps=steps // 20)
    Trainer(model, settings, EpochBatches(*training, 32, seed=0)).train()
    rows.append([r, steps, f"{evaluate(model, *held_out)['loss']:.2f}"])
table(["rank r", "steps", "held-out loss, nats per byte"], rows)

# %% [markdown]
# The same in full, on the hard task with seeds 0, 1, 2 (runs of `minilora.experiments.finetuning`, alpha = r, rates 0.012 and 0.003):
#
# | roman | held-out loss | exactly right |
# |:---|:---|:---|
# | r = 64, 300 steps | 0.015, 0.055, 0.049 | 100 %, 95 %, 95 % |
# | r = 1, 300 steps | 0.58, 0.67, 0.68 | 40 %, 27 %, 26 % |
# | r = 1, 900 steps | 0.043, 0.059, 0.039 | 99 %, 97 %, 100 % |
#
# With three times the steps, the rank that "underfits" at 300 is where r = 64 was, with 11,680 parameters instead of 747,520. **Rank 1 was slow, not too small.** What these runs do not settle is where each rank would end: for that one has to train until the curves are flat.
#
# What is capacity, then? Count bits. Facts that follow no rule (a random number for each of N keys) have to be stored in the parameters. *LoRA Without Regret* (2025) finds about 2 bits per parameter: LoRA learns as full fine-tuning does until the adapter is full, and falls behind after that.
# Converting numerals is a rule and takes few bits; memorizing a book is not. So a task asks for rank by how much it has to *store*, and asks for steps by how hard it is to find.
#
# The count is $r \sum (\mathrm{in} + \mathrm{out})$ over the targets. On a model of a million parameters that is a large share; on 7 billion, r = 16 is 0.6 percent.
#
# ## 6. What full fine-tuning does besides
#
# In the figure, full fine-tuning stays ahead of r = 64 in loss. Two things make that comparison unequal. Full fine-tuning also trains the embedding (which is the head, too) and the norms; and r = 64 on `k_proj` and `v_proj`, which are 64 wide, is already full rank. Trained on the same linear layers alone, full fine-tuning
# reached 0.014, 0.025, 0.018 on roman in 300 steps (seeds 0, 1, 2), where the whole model reached 0.005, 0.018, 0.008 and r = 64 0.015, 0.055, 0.049. So part of the gap is *what* is trained, and not *how*.
#
# ## 7. The learning rate, the rank and alpha
#
# A comparison of ranks at one learning rate would be a comparison of learning rates. Here is the sweep, with alpha = r and one seed:

# %%
draw("lr_sweep")

# %% [markdown]
# At alpha = r, higher ranks want lower rates. LoRA's best rates are 3 to 12 times that of full fine-tuning. (One seed, a coarse grid: neighboring rates can change places.)
#
# Is that a property of rank? Not quite: it is one of rank *at alpha = r*. The ends of the range again, on dates in 150 steps, now with three seeds, at alpha = r and at a fixed alpha = 32 (held-out losses of seeds 0, 1, 2):
#
# | rate | r = 1, alpha = 1 | r = 64, alpha = 64 | r = 1, alpha = 32 | r = 64, alpha = 32 |
# |---:|:---|:---|:---|:---|
# | 0.001 | | | 0.75, 0.73, 0.77 | 0.66, 0.65, 0.66 |
# | 0.003 | 1.04, 1.05, 1.09 | **0.11, 0.03, 0.09** | **0.56, 0.51, 0.59** | 0.10, 0.21, 0.31 |
# | 0.006 | 0.84, 0.84, 0.93 | 0.12, 0.16, 0.29 | 0.72, 0.57, 0.59 | **0.08, 0.12, 0.14** |
# | 0.012 | 0.64, 0.60, 0.67 | 1.03, 1.12, 1.22 | 2.28, 1.84, 2.22 | 0.63, 0.89, 0.84 |
# | 0.024 | **0.55, 0.51, 0.58** | 2.10, 1.90, 2.15 | | |
#
# At alpha = r the best rates of r = 1 and r = 64 lie at least eight times apart (for both, the best is at the end of the grid); at alpha = 32 within two times. *LoRA Without Regret* (2025) finds the same: nearly one rate for all ranks at a fixed alpha of 32. The small rank, by the way, bears the *higher* rate at alpha = r:
# 0.012 spoils r = 64 and is fine for r = 1. What these runs do not settle: longer training, other tasks, and a finer grid.
#
# ## 8. Where alpha / r stunts
#
# At a fixed alpha, $\alpha / r$ turns large ranks down. rsLoRA (Kalajdzievski 2023) argues for $\alpha / \sqrt r$. On a teacher whose singular values fall by 0.8 each, 200 steps of plain gradient descent and of AdamW, alpha = 8, the median of three seeds:

# %% tags=["rtol=0.05"]
decaying = (U * 0.8 ** np.arange(48)) @ V.T
ranks, results, x = (4, 8, 16, 32), {}, np.eye(64)
for optimizer in ("gradient descent", "AdamW"):
    for use_rslora in (False, True):
        name = f"{optimizer}, alpha / {'sqrt(r)' if use_rslora else 'r'}"
        for r in ranks:
            left = []
            for seed in range(3):
                layer = LoRALinear(Linear.from_weight(np.zeros((48, 64)), trainable=False))
                lora = LoraConfig(r=r, lora_alpha=8, use_rslora=use_rslora)
                layer.add_adapter("one", lora, rng=np.random.default_rng([seed, r]))
                adam = AdamW([layer.lora_A, layer.lora_B], lr=0.005, weight_decay=0.0)
                for _ in range(200):
                    adam.zero_grad()
                    y, backward = layer(x)
                    backward(y - x @ decaying.T)
                    if optimizer == "AdamW":
                        adam.step()
                    else:
                        for p in (layer.lora_A, layer.lora_B):
                            p.value -= 0.03 * p.grad
                left.append(
                    np.sum((decaying - layer.delta_weight()) ** 2) / np.sum(decaying**2)
                )
            results.setdefault(name, []).append(float(np.median(left)))
squares = 0.8 ** (2 * np.arange(48))
best = [float(squares[r:].sum() / squares.sum()) for r in ranks]
table(
    ["left over", *(f"r = {r}" for r in ranks)],
    [[name, *(f"{v:.4f}" for v in row)] for name, row in [("at best", best), *results.items()]],
)

# %%
lines = {name: (ranks, row) for name, row in {**results, "at best": best}.items()}
pictures.curves(
    lines, "rank r, alpha = 8", "share left over",
    "alpha / r stunts large ranks under gradient descent, hardly under AdamW", logx=True,
)  # fmt: skip
picture(
    "Share left over by rank: under gradient descent with alpha / r it rises with rank, the others fall"
)

# %% [markdown]
# Under plain gradient descent, alpha / r makes a larger rank learn *less*: its gradients carry the small factor, and the steps are small. With alpha / sqrt(r) that is repaired. AdamW divides by the gradient's size and hides most of the
# effect on this small teacher. So the stunting is real, and how much of it you meet depends on the optimizer.
#
# ## Exercises

# %%
exercise("left_over")

# %%
exercise("best_factors")

# %%
exercise("base_trainable")

# %%
exercise("speed_or_capacity")

# %% [markdown]
# ## Summary
#
# 1. For isotropic inputs the best rank-r update keeps the r largest singular values of the change; training gets there.
# 2. If the change has rank k, the knee is at k; if its singular values fall slowly, there is none.
# 3. At equal steps a larger rank is ahead; with three times the steps r = 1 caught up. Speed and capacity are two things.
# 4. Compare ranks only at their own best learning rates, and say what alpha did meanwhile.
# 5. At a fixed alpha, alpha / r turns large ranks down; alpha / sqrt(r) does not. AdamW hides much of it.
#
# **Papers.** Eckart & Young 1936 · Hu et al. 2021, *LoRA* (arXiv 2106.09685), table 6 · Kalajdzievski 2023, *rsLoRA* (2312.03732) · Biderman et al. 2024, *LoRA learns less and forgets less* (2405.09673) · Schulman et al. 2025, *LoRA Without Regret*
#
# **Next.** [04 · NF4](04_nf4.ipynb)
