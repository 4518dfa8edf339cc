# %% [markdown]
# # 03 · Rank: how many directions does a change need?
#
# **Question.** How large must r be, what decides it, and when does more rank stop paying?
#
# **Assumes.** Lesson 02: A, B, alpha / r. The singular value decomposition.
#
# **Seconds.** About 35 on two cores, offline.
#
# 1. What no rank-r update can do better
# 2. A teacher of known rank
# 3. Singular values that fall slowly
# 4. Two real tasks
# 5. Parameters against fit
# 6. The learning rate goes with the rank
# 7. Where alpha / r stunts

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from minilora import AdamW, LoraConfig
from minilora.adapters import LoRALinear
from minilora.course import draw, numbers, show, style, table
from minilora.data import split
from minilora.course.exercises import check
from minilora.experiments.finetuning import train
from minilora.experiments.rank import rank_fit, rank_known
from minilora.nn import Linear

style()

# %% [markdown]
# ## 1. What no rank-r update can do better
#
# Suppose we knew the change $\Delta W$ that full fine-tuning would make. The product $B A$ has rank at most $r$, and Eckart & Young (1936) say how near
# such a matrix can come: keep the $r$ largest singular values, lose the others.
#
# $$ \min_{\mathrm{rank}\, M \le r} |\Delta W - M|_F^2 = \sum_{i > r} \sigma_i^2 $$

# %%
show(rank_known.bound)

# %% [markdown]
# ## 2. A teacher of known rank
#
# Make a change of rank 8 ourselves, and train LoRA to imitate it, with AdamW and gradients, knowing nothing of singular values. Each rank live, for one seed, in fewer steps than the figure's:

# %%
show(rank_known.teacher)

# %% tags=["rtol=30"]
config = rank_known.Config(ranks=(2, 4, 6, 8, 12), steps=600)
change = rank_known.teacher("known", config, np.random.default_rng(0))
least = rank_known.bound(change, config.ranks)
rows = []
for r, bound in zip(config.ranks, least, strict=True):
    left = rank_known.fit(change, r, config, np.random.default_rng(r))
    rows.append([r, f"{bound:.3f}", f"{left:.3f}"])
table(["rank r", "must be left over", "left over by LoRA"], rows)

# %% [markdown]
# Training finds the best that its rank allows. Below rank 8 something is lost, at 8 nothing, and beyond it there is nothing left to gain: a **knee at the true rank**.
#
# ## 3. Singular values that fall slowly
#
# Real changes have no such edge. If each singular value is 0.8 of the one before, every rank gains a little, and there is no knee to find. Both cases, three seeds:

# %%
draw("rank_known")

# %%
fig, axes = plt.subplots(1, 4, figsize=(10, 2.3), sharey=True)
for ax, decay in zip(axes, (0.5, 0.7, 0.8, 0.95), strict=True):
    squares = (decay ** np.arange(48)) ** 2
    ax.plot(range(1, 49), 1 - np.cumsum(squares) / squares.sum(), color="#009E73")
    ax.set_title(f"each {decay} of the last")
    ax.set_xlabel("rank r")
axes[0].set_ylabel("left over at best")
plt.show()

# %% tags=["slider"]
from ipywidgets import interact


@interact(r=(1, 48), decay=(0.3, 0.99, 0.01))
def left_over_at_best(r=8, decay=0.8):
    squares = (decay ** np.arange(48)) ** 2
    print(f"rank {r} must leave over {squares[r:].sum() / squares.sum():.4f} of the change")


# %% [markdown]
# ## 4. Two real tasks
#
# Now the shipped base, and nobody knows the rank that a task needs. An easy task and a hard one:

# %%
rows = []
for task in ("dates", "roman"):
    rows += [[task, record.input, record.target] for record in split(task, 3, 1, seed=0)[0]]
table(["task", "input", "target"], rows)

# %% [markdown]
# Dates are mostly copying; the value of a Roman numeral, and the place of each digit, depends on the letters around it. Live, 60 steps of each rank on the hard task, which is far too few, but shows the order:

# %% tags=["rtol=0.3"]
rows = []
for r, rate in ((1, 0.012), (16, 0.0048)):
    run = rank_fit.lora_run("roman", r, rate, seed=0, steps=60)
    found = train(replace(run, n_train=1024, n_eval=64))
    rows.append([r, found["parameters"], f"{found['before']:.2f}", f"{found['loss']:.2f}"])
table(["rank r", "trained parameters", "loss before, nats a byte", "after 60 steps"], rows)

# %% [markdown]
# ## 5. Parameters against fit
#
# The full measurement: 300 steps, three seeds, each rank with the learning rate that a sweep on another seed chose for it (section 6).

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
# - The hard task needs more rank for the same share of right answers.
# - Returns diminish. On dates little is gained beyond r = 8, on Roman numerals beyond r = 16; from there it is noise among seeds.
# - At equal steps full fine-tuning stays ahead in loss. LoRA of r = 64 trains three quarters as many parameters of this small model and does not quite catch up: rank is not the only difference, the path of training is another.
#
# The count is $r \sum (\mathrm{in} + \mathrm{out})$ over the targets. On a model of a million parameters that is a large share; on 7 billion, r = 16 is half a percent.
#
# ## 6. The learning rate goes with the rank
#
# A comparison of ranks at one learning rate would be a comparison of learning rates. Here is the sweep, with alpha = r:

# %%
draw("lr_sweep")

# %% [markdown]
# Higher ranks want lower rates: at alpha = r each direction acts with strength 1, and there are more of them, so the same step moves the model farther. LoRA's best rates are 3 to 12 times that of full fine-tuning.
# *LoRA Without Regret* (2025) finds the best rate nearly independent of rank at a fixed alpha of 32, where alpha / r does part of this work. Both can be true: the product decides.
#
# ## 7. Where alpha / r stunts
#
# At a fixed alpha, $\alpha / r$ turns large ranks down. rsLoRA (Kalajdzievski 2023) argues for $\alpha / \sqrt r$. On the decaying teacher, 200 steps of plain gradient descent and of AdamW, alpha = 8:

# %% tags=["rtol=0.05"]
setup = rank_known.Config()
change = rank_known.teacher("decaying", setup, np.random.default_rng(0))
x = np.eye(setup.in_features)
ranks, results = (4, 8, 16, 32), {}
for optimizer in ("gradient descent", "AdamW"):
    for use_rslora in (False, True):
        for r in ranks:
            lora = LoraConfig(r=r, lora_alpha=8, use_rslora=use_rslora)
            layer = LoRALinear(Linear.from_weight(np.zeros_like(change), trainable=False))
            layer.add_adapter("one", lora, rng=np.random.default_rng(r))
            adam = AdamW([layer.lora_A, layer.lora_B], lr=0.005, weight_decay=0.0)
            for _ in range(200):
                adam.zero_grad()
                y, backward = layer(x)
                backward(y - x @ change.T)
                if optimizer == "AdamW":
                    adam.step()
                else:
                    for p in (layer.lora_A, layer.lora_B):
                        p.value -= 0.03 * p.grad
            left = np.sum((change - layer.delta_weight()) ** 2) / np.sum(change**2)
            results.setdefault((optimizer, use_rslora), []).append(float(left))
best = rank_known.bound(change, ranks)
table(
    ["left over", *(f"r = {r}" for r in ranks)],
    [["at best", *(f"{b:.4f}" for b in best)]]
    + [
        [f"{o}, {'alpha / sqrt(r)' if rs else 'alpha / r'}", *(f"{v:.4f}" for v in row)]
        for (o, rs), row in results.items()
    ],
)

# %%
fig, ax = plt.subplots(figsize=(7, 3.4))
for (optimizer, use_rslora), row in results.items():
    shade = "#D55E00" if optimizer == "AdamW" else "#0072B2"
    name = f"{optimizer}, alpha / {'sqrt(r)' if use_rslora else 'r'}"
    ax.plot(ranks, row, "--" if use_rslora else "-", color=shade, marker="o", label=name)
ax.plot(ranks, best, color="black", linewidth=1, label="at best")
ax.set_xscale("log", base=2)
ax.set_yscale("log")
ax.set_ylim(1e-5, 2)
ax.set_xticks(ranks, ranks)
ax.set_xlabel("rank r, alpha = 8")
ax.set_ylabel("share of the change left over")
ax.set_title("alpha / r stunts large ranks under gradient descent, hardly under AdamW")
ax.legend(loc="lower left", ncols=2)
plt.show()

# %% [markdown]
# Under plain gradient descent, alpha / r makes a larger rank learn *less*: its gradients carry the small factor, and the steps are small. With alpha / sqrt(r) that is mended. AdamW divides by the gradient's size and hides most of the
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
exercise("next_rate")

# %% [markdown]
# ## Summary
#
# 1. The best rank-r update keeps the r largest singular values of the change; training gets there.
# 2. If the change has rank k, the knee is at k; if its singular values fall slowly, there is none.
# 3. A harder task needs more rank; beyond what it needs, more rank gains little.
# 4. Compare ranks only at their own best learning rates: at alpha = r, higher ranks want lower ones.
# 5. At a fixed alpha, alpha / r turns large ranks down; alpha / sqrt(r) does not. AdamW hides much of it.
#
# **Papers.** Eckart & Young 1936 · Hu et al. 2021, *LoRA* (arXiv 2106.09685), table 6 · Kalajdzievski 2023, *rsLoRA* (2312.03732) · Biderman et al. 2024, *LoRA learns less and forgets less* (2405.09673) · Schulman et al. 2025, *LoRA Without Regret*
#
# **Next.** [04 · NF4](04_nf4.ipynb)
