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
# Mind what is given here: every direction of the input counts equally, and then the truncated SVD of $\Delta W$ is the best update *by construction*. Real inputs are correlated. What counts is the error of the *output*, $|x\,(\Delta W - M)^T|$, so the
# directions that the data use count more, and the best update is the truncated SVD of $\Delta W\, \Sigma^{1/2}$, taken back by $\Sigma^{-1/2}$, with $\Sigma$ the covariance of the inputs. A gradient sees the output's error: which of the two does LoRA find?
#
# ## 3. Singular values that fall slowly
#
# Real changes have no sharp edge. If each singular value is 0.8 of the one before, every rank gains a little, and there is no knee to find. Both cases with isotropic inputs, and the second with inputs whose directions fall off by 0.9 each, three seeds:

# %%
draw("rank_known")

# %% [markdown]
# On the right training leaves the truncated SVD of the change behind and finds the better update. So "LoRA approximates the SVD of the full update" holds for isotropic inputs only.

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
# And a real change? What full fine-tuning of the base's linear layers does on Roman numerals, and LoRA of two ranks beside it, five seeds. The control is a random update of the same rank and norm:

# %%
draw("delta_spectrum")

# %% [markdown]
# - **Singular values** (top left). The change has no low rank and no knee: the best update of rank 8 would leave 16 to 45 % of it over, by kind of layer. A low-rank update need not come near it to solve the task; it has to lower the loss.
# - **Shared directions** (top right, the measure of LoRA's figure 3). The first direction of r = 8's A lies within the 64 first of r = 64's to 0.66, and 0.51 would be chance; all eight together to hardly more than chance. The paper reports more than 0.5 for the first on GPT-3, where chance is near zero.
# - **Amplification** (LoRA's table 7): how little of its own directions the update finds in W. With r = 8 that is 6.6 (median of the layers), which sounds new; but a random update has 9.6. What was trained lies nearer to W than chance does.
# - **Intruder dimensions** (Shuttleworth et al. 2024, arXiv 2410.21228), leading directions that W had not: at r = 8 fewer than the control has, at r = 64 and in full fine-tuning more. So count them beside a control or not at all; whether they do harm is not asked here.
#
# ## 4. So many steps: speed
#
# Now the shipped base, and nobody knows the rank that a task needs. An easy task and a hard one:

# %%
rows = []
for task in ("dates", "roman"):
    rows += [[task, record.input, record.target] for record in split(task, 3, 1, seed=0)[0]]
table(["task", "input", "target"], rows)

# %% [markdown]
# Dates are mostly copying; the value of a Roman numeral, and the place of each digit, depends on the letters around it. The hard task at three budgets of steps, three seeds, each rank with the learning rate that a sweep found for it at that budget (figure rate_by_steps, [07, section 2](07_methods_and_hyperparameters.ipynb)):

# %%
draw("rank_fit")

# %%
fit = numbers("rank_fit")
full = {"full_linears": "full, the same linear layers", "full": "full, everything"}
rows = []
for method in fit["loss"]:
    losses = [f"{sorted(seeds)[1]:.3f}" for seeds in fit["loss"][method]]
    rows.append([full.get(method, f"LoRA, r = {method}"), fit["parameters"][method], *losses])
table(
    ["what is trained", "parameters", *(f"loss, {steps} steps" for steps in fit["budgets"])],
    rows,
)

# %% [markdown]
# Full fine-tuning stands beside the ranks twice: of the layers that LoRA adapts, and of everything. (On `k_proj` and `v_proj`, which are 64 wide, r = 64 is full rank already.)
#
# It is tempting to read one column as "the hard task needs more rank". But look along the rows: all runs of a column were stopped after the same number of steps, and a column shows how *fast* each rank learns.
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
# The same holds on the hard task. From the runs of section 4, r = 1 after three times the steps of r = 64, seed by seed:

# %%
rows = []
for r, budget in (("64", 0), ("1", 1), ("64", 1), ("1", 2)):
    losses = ", ".join(f"{loss:.2f}" for loss in fit["loss"][r][budget])
    exact = ", ".join(f"{share:.0%}" for share in fit["exact"][r][budget])
    rows.append([f"r = {r}, {fit['budgets'][budget]} steps", losses, exact])
table(["roman", "held-out loss", "exactly right"], rows)

# %% [markdown]
# With three times the steps, the rank that "underfits" at 180 is where r = 64 was, with 11,680 parameters instead of 747,520. **Rank 1 was slow, not too small.** Longer runs; since the rate falls by a cosine to zero, every curve is flat at its end, whether more steps would help or not, so there are runs with twice the steps beside them:

# %%
draw("rank_curves")

# %% [markdown]
# With 1,800 steps r = 1 answers as many right as r = 64 does after 900, 99 to 100 % in each of five seeds, so for the answers to this task, which we call the hard one, more rank buys speed. It keeps a larger *loss*, though, in every seed (at the rates that are best for 900 steps; part of it may be the rate), and r = 64 with 1,800 steps a smaller one still: right as often, less sure. Whether more steps would close that is open. Full fine-tuning of the same layers has the lowest median of all after 900.
#
# What is capacity, then? Count bits. Facts that follow no rule (a random value for each of N random keys) have to be stored in the parameters, so offer more and more of them and count what is known. That is a lower bound of what an adapter holds: 1,000 steps, two sizes, four times apart, and every offer at a rate of its own, three seeds. At six bits per parameter fewer are stored than at four; since an adapter could leave the other pairs alone, it is the training that falls short there, not the room.

# %%
draw("capacity")

# %% [markdown]
# *LoRA Without Regret* (2025) finds about 2 bits per parameter, and that LoRA learns as full fine-tuning does until the adapter is full. Converting numerals is a rule and takes few bits; memorizing a book is not.
# So a task asks for rank by how much it has to *store*, and asks for steps by how hard it is to find.
#
# The count of parameters is $r \sum (\mathrm{in} + \mathrm{out})$ over the targets. On a model of a million parameters that is a large share; on 7 billion, r = 16 is 0.6 percent.
#
# ## 6. What full fine-tuning does besides
#
# "Full fine-tuning is better" often compares two things at once. It also trains the embedding (which is the head, too) and the norms; and r = 64 on `k_proj` and `v_proj`, which are 64 wide, is already full rank. How much of the gap is *what* is trained, and how much is *how*? After 150 steps, each at the best of its
# rates, the median of three seeds (the sweep of section 7):

# %%
sweep = numbers("rate_by_rank")
rows = []
for name, found in (
    ("LoRA, r = 64, alpha = 64", sweep["rules"]["alpha = r"]["64"]),
    ("full, the same linear layers", sweep["full_linears"]),
    ("full, everything", sweep["full"]),
):
    rows.append([name, min(sorted(seeds)[1] for seeds in found["loss"])])
table(["what is trained", "held-out loss"], rows)

# %% [markdown]
# Most of the lead is there on the same layers, so it is one of *how*. And it is one of speed: in the figure of section 4, after 180 steps every seed of full fine-tuning of the same layers (0.24 to 0.28) is ahead of r = 64 (0.37 to 0.54); after 540 the two overlap (0.010 to 0.027, and 0.014 to 0.036). *What*
# is trained besides, embedding and norms, makes no difference beyond the seeds there (0.003 to 0.013 in the end).
#
# ## 7. The learning rate, the rank and alpha
#
# A comparison of ranks at one learning rate would be a comparison of learning rates. And the bypass acts with $s$, which every rule chooses otherwise: $s = 1$ at alpha = r; $s = 32 / r$ at a fixed alpha = 32; $s = 8 / \sqrt r$ with rsLoRA at alpha = 8.
#
# First one step, with Adam, which trains nearly all language models. It moves B by $\eta\, \mathrm{sign}(dB)$, so that $\Delta W = -s\, \eta\, \mathrm{sign}(dB)\, A$: a sum of r terms, about $s \sqrt r$ large. Hence the first update shrinks with $\sqrt r$ at a fixed alpha, *grows* with $\sqrt r$ at alpha = r,
# and stays with rsLoRA. Plain gradient descent feels $s^2$. Measured on the base, the median of three seeds:

# %%
first = sweep["first_step"]
rows = []
for optimizer, name in (("adam", "Adam"), ("gradient descent", "gradient descent")):
    for rule, sizes in first[optimizer].items():
        middle = [sorted(seeds)[1] for seeds in sizes]
        ratio = f"{middle[0] / middle[-1]:.3g}"
        rows.append([f"{name}, {rule}", *(f"{size:.2g}" for size in middle), ratio])
table(["size of dW / size of W", *(f"r = {r}" for r in first["ranks"]), "first / last"], rows)

# %% [markdown]
# Then whole trainings, each rank under each rule at five rates a factor of $\sqrt 2$ apart:

# %%
draw("rate_by_rank")

# %% [markdown]
# Which rule gives which of the published findings?
#
# - **alpha = 32, s = 32 / r.** The best rate is nearly the same at every rank, as *LoRA Without Regret* (2025) reports for the same setting. B A is then a mean over r directions, whose size at a given rate does not grow with r once A moves, too.
# - **alpha = r, s = 1.** B A is a sum over r directions, and the best rate falls as r grows. In the words of muA (Chen, Villar & Hayou 2026, arXiv 2602.06204) these are the two regimes: a best rate that is invariant in rank, or one that falls with it, depending on the scaling and on how A and B start. Theirs falls as $1 / r$ in the limit
#   of large width and rank; here it falls more slowly.
# - **rsLoRA, s = 8 / sqrt(r)** (Kalajdzievski 2023, for gradients that neither vanish nor explode as r grows) lies between them. It keeps the *first* update the same at every rank, not the best rate: that is decided by the steps that follow, in which A moves.
#
# Is alpha times the rate what counts? The framed cells of the map have one product. With Adam it decides the first step. From the second on A moves as well, by the rate and not by alpha, so a high rate with a small alpha is another training than a low rate with a large one. Alpha and the rate are two knobs.
#
# What this does not settle: longer training (these are 150 steps), other sizes of model, other optimizers.
#
# ## 8. Where alpha / r stunts
#
# At a fixed alpha, $\alpha / r$ turns large ranks down. rsLoRA argues for $\alpha / \sqrt r$. Where the rate is the same for all ranks, how much does that matter? On a teacher whose singular values fall by 0.8 each, 200 steps of plain gradient descent and of AdamW, alpha = 8, the median of three seeds:

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
    "Share left over by rank: with gradient descent and alpha / r it rises from r = 8 on, the others fall"
)

# %% [markdown]
# Under plain gradient descent, alpha / r makes a larger rank learn *less* from r = 8 on: its gradients carry the small factor, and the steps are small. With alpha / sqrt(r) that is repaired. AdamW divides by the gradient's size and hides most of the
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
# 1. For isotropic inputs the best rank-r update keeps the r largest singular values of the change, and training gets there; a knee is at the change's rank, if it has one.
# 2. At equal steps a larger rank is ahead. Speed and capacity are two things; capacity is counted in bits per parameter.
# 3. Compare ranks only at their own best learning rates, and say what alpha did meanwhile: at a fixed alpha = 32 the best rate is nearly the same at every rank, at alpha = r it falls.
# 4. Alpha and the rate are two knobs. rsLoRA keeps Adam's first update the same at every rank.
# 5. Compare full fine-tuning on the same layers, too, and say what is trained.
#
# **Papers.** Eckart & Young 1936 · Hu et al. 2021, *LoRA* (arXiv 2106.09685), tables 6 and 7, figure 3 · Kalajdzievski 2023, *rsLoRA* (2312.03732) · Biderman et al. 2024, *LoRA learns less and forgets less* (2405.09673) · Shuttleworth et al. 2024, *LoRA vs full fine-tuning: an illusion of equivalence* (2410.21228) · Chen, Villar & Hayou 2026, *Learning rate scaling across LoRA ranks* (2602.06204) · Schulman et al. 2025, *LoRA Without Regret*
#
# **Next.** [04 · NF4](04_nf4.ipynb)
