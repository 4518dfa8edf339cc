# %% [markdown]
# # 07 · Methods and hyperparameters
#
# **Question.** What else can be trained instead of LoRA, which knob matters most, and what does a learning curve say?
#
# **Assumes.** Lessons 02 and 03: A, B, alpha / r, rank as speed and as capacity.
#
# **Seconds.** About 15 on two cores, offline.
#
# 1. What else can be trained
# 2. Alpha and the rate
# 3. How to read a learning curve
# 4. Overfitting, batches, a learned alpha
# 5. What to turn first

# %%
import numpy as np

from minilora import AdamW, BottleneckConfig, LoraConfig, PrefixConfig, PromptConfig
from minilora import Trainer, TrainingConfig, apply_lora, load_base
from minilora.adapters import METHODS, FullConfig, LoRALinear, PartialConfig, count_parameters
from minilora.analysis import saved_bytes
from minilora.course import draw, picture, pictures, show, sick_run, small_run, style, table
from minilora.course.exercises import check
from minilora.data import ByteTokenizer, EpochBatches, encode_records, split
from minilora.nn import Linear

style()
rng = np.random.default_rng(0)
training = encode_records(split("dates", 3072, 1, seed=0)[0], ByteTokenizer())

# %% [markdown]
# ## 1. What else can be trained
#
# LoRA is one answer to the question what should change. The others change something else:
#
# - **Full fine-tuning** changes the weights themselves. **Partial**: only some of them, the last blocks or the norms.
# - **Bottleneck adapters** (Houlsby et al. 2019) stand *behind* a layer, in series: down to m numbers, a nonlinearity, up again, added to what the layer gave. Nothing can be merged, because of the nonlinearity.
# - **Prefix tuning** (Li & Liang 2021; P-Tuning v2, Liu et al. 2022) leaves all layers alone and gives each attention trained keys and values *before* those of the tokens.
# - **Prompt tuning** (Lester et al. 2021) does so at the bottom only: trained embeddings before those of the tokens.
# - **DoRA** (Liu et al. 2024) is LoRA with one trained magnitude for each row of the weight. **PiSSA** and **LoftQ** are LoRA with another start.
#
# In the library each is a config, and a class whose forward and backward fit on a screen. The bottleneck's:

# %%
show(type(METHODS["bottleneck"].parts(load_base(), BottleneckConfig(), rng)["layers.0.mlp"]))

# %% [markdown]
# What they cost, on the base and a batch of 8 x 64 bytes: the numbers that train, and what backward keeps of the forward. And do they start from the model as it is?

# %%
tokens = rng.integers(32, 127, (8, 65))
base_logits, _ = load_base()(tokens)
tried = {
    "full fine-tuning": ("full", FullConfig(), "yes"),
    "the last block": ("partial", PartialConfig(last_blocks=1), "yes"),
    "the norms": ("partial", PartialConfig(last_blocks=0, norms=True), "yes"),
    "LoRA, r = 8, all linear": ("lora", LoraConfig(8, target_modules="all-linear"), "yes"),
    "LoRA, r = 8, q and v": ("lora", LoraConfig(8), "yes"),
    "DoRA, r = 8, all linear": ("lora", LoraConfig(8, target_modules="all-linear", use_dora=True), "yes"),
    "bottleneck, m = 36": ("bottleneck", BottleneckConfig(bottleneck_size=36), "no"),
    "prefix, 16 tokens": ("prefix", PrefixConfig(num_virtual_tokens=16), "no"),
    "prompt, 16 tokens": ("prompt", PromptConfig(num_virtual_tokens=16), "no"),
}  # fmt: skip
rows = []
for name, (method, config, merges) in tried.items():
    model = load_base()
    METHODS[method].apply(model, config, rng=np.random.default_rng(0))
    _, backward = model.loss(tokens[:, :-1], tokens[:, 1:])
    changed = np.abs(model(tokens)[0] - base_logits).max()
    start = (
        "as the base" if changed == 0 else "within rounding" if changed < 1e-3 else "changed"
    )
    rows.append(
        [name, count_parameters(model)[0], saved_bytes(backward, model) / 1e6, start, merges]
    )
table(["method", "trained", "kept for backward, MB", "starts", "merges"], rows)

# %% [markdown]
# - The trained numbers differ by a factor of hundreds, the memory that backward keeps by a factor of two. The gradient has to get down to the lowest thing that trains, and for a prompt that is the very bottom. (Here backward always goes down to the bottom; a framework with a graph stops at the lowest thing that trains, which
#   makes the last block cheap there.)
# - Prefix and prompt change the model before anything was learned: they add something that every token sees. They also lengthen what attention looks at, at inference, too.
# - DoRA trains hardly more than LoRA and keeps half as much again: it also scales the whole output, so it has to remember it.
# - What merges costs nothing at inference. What does not (bottleneck, prefix, prompt) can still be switched by name.
#
# **On which layers should LoRA stand?** One budget of parameters, spread over other layers, each at its own best rate, five seeds:

# %%
draw("target_modules")

# %% [markdown]
# As in LoRA's table 5, q or k alone learn less than v or o. There (WikiSQL) q and v together are ahead of o alone and tie with all four of attention; here they learn about as much as o alone, and all four have the lower loss in four of five seeds, within the spread. The MLP alone is behind attention in every seed, and attention alone ties with all layers; *LoRA Without Regret* found it the other way round on larger models. The rank
# that pays for all layers is 3, for q alone 27: many layers with little rank beat few with much. And on 256 records (right) more targets at one rank, with nine times the parameters, learn the records by heart *and* do better on new ones: the gap between the two grows, and yet the held-out loss falls.

# %% [markdown]
# And what does each *learn*? Seventeen of them on the base, each at its own best rate, on three sets of records:

# %%
draw("methods")

# %% [markdown]
# - In equal steps full fine-tuning has the lowest median on every set, with ten times the numbers (on numerals with many records PiSSA's seeds overlap with its own); on 256 records it also falls furthest below its held-out loss in training.
# - Of the methods of LoRA's size PiSSA, rsLoRA and LoRA+ are better than plain LoRA in every seed on Roman numerals, with many records and with few. On dates no variant is: all seven tie. All this at alpha = 8, where rsLoRA *is* LoRA with alpha = 22.6. With alpha = 64, at its own rate, plain LoRA ends below rsLoRA in every seed, below LoRA+ with each seed, and level with PiSSA (section 4): most of what these gain here a larger alpha gains, too. NF4 below, LoftQ, DoRA and a learned alpha tie everywhere; the bottleneck is worse everywhere.
# - Five seeds that overlap are a tie. These are short runs: what is fastest here need not be best in the end.
# - The best rate belongs to the method: from 0.001 (full) to 0.8 (prompt). A comparison at one rate would measure the rate. `minilora finetune` starts each `--method` at its own (but for LoRA the middle of these, from 120 steps of 16; it takes 600 of 32, which may want another).

# %% [markdown]
# **And what is lost?** Fine-tuning on a narrow task raises the loss on the text that the base was trained on:

# %%
draw("forgetting")

# %% [markdown]
# - *LoRA learns less and forgets less* (Biderman et al. 2024): of that this task shows the first half. At equal steps, each at the rate that is best for the task, every rank learns less than full fine-tuning of the same layers, in every seed; r = 8 and 64 forget more, in every seed, and r = 1 ties. That hangs on the rate: at half of it r = 64 forgets less in every seed, and r = 8 with each, than full fine-tuning does at its best rate. But full fine-tuning at half of *its* rate has learned more and forgotten less, in every seed, than r = 1 and r = 8 at any rate tried with all seeds, and forgets less than r = 64 at either. At the best rates only the prompt forgets less, and it learns least of all. Over the thirteen methods, who learned
#   less does not tell who forgot less: the rank correlation is within what chance gives.
# - At equal *learning* (top right) nothing forgets less than full fine-tuning of the same layers, and nearly everything forgets more in every seed. What costs most is beside the linear layers: to train embedding, head and norms as well learns as much within the seeds, at the same rate, and the text's loss rises by 5.3 instead of 1.4; norms
#   alone, 1,408 numbers, raise it above a guess of every byte alike.
# - Nor does |dW| / |W| tell it (bottom left). Where the weights have moved by 0.18, r = 1 has forgotten less than full fine-tuning of the same layers, and has learned little by then.
# - The *rate* does (bottom right; dashed). At half their best rate LoRA of r = 8 and 64 and full fine-tuning of the same layers forget less in each of five seeds, at the end 0.3 times as much; r = 8 learns as much within the seeds, the other two less in these 240 steps, but where they have learned the same they have forgotten less, too. In the sweeps (one seed) each
#   of the thirteen forgets less at half its best rate, and most pairs of methods are closer to each other than that step. So the comparison above is one of methods at the rates that are best for the new task, to a factor of two. What is best for the new task is not what is kindest to the old one.

# %% [markdown]
# ## 2. Alpha and the rate
#
# One often hears that only the product of alpha and the learning rate matters. Here is a small problem on which that can be tried in a second: LoRA of rank 8 learns a known change (singular values falling by 0.8, as in lesson 03), 80 steps of AdamW at each alpha and each rate. The number is the share that is left over:

# %% tags=["rtol=0.1"]
U, _ = np.linalg.qr(rng.standard_normal((48, 48)))
V, _ = np.linalg.qr(rng.standard_normal((64, 48)))
change, x = (U * 0.8 ** np.arange(48)) @ V.T, np.eye(64)
alphas, rates = (2, 4, 8, 16, 32, 64), [0.000375 * 2**k for k in range(8)]
left_over = np.zeros((len(alphas), len(rates)))
for place in np.ndindex(left_over.shape):
    alpha, rate = alphas[place[0]], rates[place[1]]
    layer = LoRALinear(Linear.from_weight(np.zeros((48, 64)), trainable=False))
    layer.add_adapter("one", LoraConfig(r=8, lora_alpha=alpha), rng=np.random.default_rng(0))
    adam = AdamW([layer.lora_A, layer.lora_B], lr=rate, weight_decay=0.0)
    for _ in range(80):
        adam.zero_grad()
        y, backward = layer(x)
        backward(y - x @ change.T)
        adam.step()
    left_over[place] = np.sum((change - layer.delta_weight()) ** 2) / np.sum(change**2)
pictures.surface(rates, alphas, left_over, product=0.024)
picture(
    "What is left over by alpha and rate: it falls to the right, and upward only where alpha is small"
)

# %% tags=["rtol=0.1"]
diagonal = [
    (alphas[i], rates[5 - i], left_over[i, 5 - i]) for i in range(6)
]  # 2 x 0.012 and so on
table(
    ["alpha", "rate", "product", "left over"],
    [[a, f"{b:.2g}", f"{a * b:.3g}", f"{c:.2g}"] for a, b, c in diagonal],
)

# %% [markdown]
# At one product the results differ more than tenfold. The reason is in the update, $s B A$: the *first* step moves B alone, and there alpha and the rate act alike. From the second step on A moves too, by the rate and not by alpha. At a tiny rate a large alpha only stretches an A that
# stays where it was drawn; a rate that is high enough turns A to where it is needed. So alpha and the rate are **two knobs**: fix one (alpha = 32, or alpha = 2 r), and sweep the other.

# %% tags=["slider"]
from ipywidgets import interact


@interact(product=(0.003, 0.192, 0.003))
def surface(product=0.024):
    pictures.surface(rates, alphas, left_over, product)
    picture(f"The same surface with the line on which alpha times rate is {product}")


# %% [markdown]
# And on the base, with Roman numerals: three rules for alpha, the best rate of each rank under each, and the surface (below, right).

# %%
draw("rate_by_rank")

# %% [markdown]
# There the larger alpha does better at one product, and on the small problem the larger rate did: which of the two is better differs from problem to problem, and the product alone decides neither. At a fixed alpha of 32 the best rates of r = 1 and r = 64 lie close together; at alpha = r they do not. So fix alpha and sweep the rate.
#
# The best rate also depends on how long you train:

# %%
draw("rate_by_steps")

# %% [markdown]
# From 60 to 540 steps the best rates of r = 1 and r = 8 fall by two steps of the grid (2.2 times); for r = 64 and for full fine-tuning they move by one step, which the three seeds do not settle. A rate that was found in short runs is where the sweep for a long one starts, not where it ends.
#
# ## 3. How to read a learning curve
#
# Two curves tell most of what goes wrong: the loss on records that were trained on, and on records that were not. Look at four things in this order: does the loss go *up* where it was lower before? Is it still *falling* at the end? Is there a *gap* between the two? Are both *flat and high*?
# Here is a run that takes a tenth of a second: LoRA with r = 16 on one frozen layer, whose change is known, and targets with noise. A loss of 1 is that of a layer that has learned nothing. First a good run, then four that differ from it in a single setting:

# %%
show(small_run)

# %% tags=["rtol=0.2"]
runs = {
    "a good run": small_run(),
    "rate times 100": small_run(rate=1.0),
    "30 steps, not 300": small_run(steps=30),
    "48 records, not 2048": small_run(records=48),
    "r = 1, not 16": small_run(r=1),
}
pictures.training_curves(runs, top=2.2)
picture(
    "Five pairs of curves: good, shooting up, ending while it falls, with a gap, flat and high"
)
rows = []
for name, run in runs.items():
    lowest = min(run["held_out"])
    quarter = 1 - run["held_out"][-1] / run["held_out"][-1 - len(run["step"]) // 4]
    rows.append(
        [
            name,
            f"{run['train'][-1]:.2f}",
            f"{run['held_out'][-1]:.2f}",
            f"{lowest:.2f}",
            f"{100 * quarter:.0f} %",
        ]
    )
table(
    [
        "run",
        "training loss at the end",
        "held-out loss",
        "at its lowest",
        "last quarter took away",
    ],
    rows,
)

# %% [markdown]
# | what you see | what it is | what helps | what does not |
# |:---|:---|:---|:---|
# | both rise, jump, or settle far above where they were | **divergence**: the rate is too high | a lower rate; warm-up and clipping where it is nearly right | more steps |
# | both still fall at the end, side by side | **too few steps**, or a rate too low | more steps; a higher rate | more rank, for now |
# | training loss near zero, held-out loss far above it and rising | **overfitting**: too few records | more records, an earlier checkpoint, dropout, decay | more steps |
# | both flat and high, side by side | **underfitting**: too little trains | more targets, more rank, another method | more steps, regularization |
#
# And on the base, on Roman numerals, each remedy as a curve, five seeds. Memory first, which no learning curve shows:

# %%
draw("trouble")

# %% [markdown]
# - **Out of memory.** On this small model activations are nearly everything, so checkpointing and a smaller batch take most away and four bits next to nothing; on 7B weights lead (figure training_memory).
# - **Poor fit, or only slow?** k_proj alone, at its own best rate, stays far above all linear layers in every seed: too little trains. More rank and a higher rate get further in 160 steps, too, but that is speed: with three times the steps r = 8 is past where r = 64 stands here (last panel). A larger alpha helps a rate that is too low, and less than the right rate does.
# - **Divergence.** At 0.1, far above the best rate, the loss rises above where it began. Warm-up, and warm-up with clipping, end lower with each seed, by a tenth at most; clipping alone does nothing that the seeds show. The lower rate halves the loss in every seed.
# - **The data.** Labels that are shifted twice give a training loss that falls as it should; on sound held-out records the loss rises. Only reading some encoded records finds the cause.
# - **Not yet.** Three times the steps help; a lower rate, which the article advises, makes too few steps worse.
#
# Three traps. A schedule that decays to zero makes *every* curve flat in the end, so flatness counts only while the rate is still high (the small runs above keep theirs constant; those of the figure fall to zero). Training loss from single batches is noisy: average it, or score the same records each time. And loss is not what you want in the end: exact answers may still
# rise while the held-out loss does already.
#
# ## 4. Overfitting, batches, a learned alpha
#
# **What helps on few records?** The base again, with 256 Roman numerals: LoRA with r = 32 for 16 epochs, one knob at a time, each value at its own best rate, five seeds. Dashed is the loss on records that were trained on. Before you look: which of dropout 0.1, dropout 0.3 and twice the epochs helps most?

# %%
draw("small_data")

# %% [markdown]
# Every panel has the gap of an overfitting run, and yet the first remedy of the table, stopping early, would have cost most of the answers here: after 32 epochs the records are known by heart, and the held-out loss is lower than after 16 in every seed. A gap says that the two losses differ. Whether more steps help is said by the held-out curve alone. (The schedule
# matters, too: every rate falls to zero here. At a constant, higher rate the held-out loss did rise again in the one run of [09, question 13](09_interview.ipynb#q13), where it was tried.)
#
# Dropout of 0.1 helps with two of five seeds, and 0.3 is higher on each seed's records, by less than the seeds differ among themselves: in 16 epochs it is underfitting that it adds to. Decoupled decay of 2 is lower on each seed's records, again by less than the seeds differ. An L2 penalty of 0.01, which goes through Adam, is far worse than none, and decay of 0.5 and 2 is not: they are two knobs, whose values do not compare.
#
# On 200 dates the same question was asked for the defaults of `minilora finetune`. There more rank, more steps, dropout and decay *together* brought most answers right where the plain recipe learned its records by heart; these runs do not part the four. So try regularization with enough steps, never instead of them; and get more records:

# %%
draw("finetune_defaults")

# %% [markdown]
# **Does LoRA tolerate large batches worse?** Every run sees equally many records, each method and batch at its own best rate. A large batch then means few steps, so the crosses take as few steps with smaller batches: what parts them from the dots is the batch alone.

# %%
draw("batch_size")

# %% [markdown]
# At equal samples large batches cost both methods dearly, even at their own rates, and LoRA first: with batches of 32 it gets about a quarter of the answers right, full fine-tuning of the same layers 97 %. Up to batches of 64 the gap grows in every seed, from 0.04 to 0.83 nats, as *LoRA Without Regret* reports of language models. Beyond that it shrinks again,
# since in the 24 and 12 steps of 256 and 512 neither learns the task. It is not the few steps alone: with as few steps of batches of 16 (crosses) the gap is smaller in every seed at 64, 128 and 256. Full fine-tuning makes more of a larger batch than LoRA does. (At 512 the seeds do not tell.) LoRA's best rate grows fourfold up to batches of 128 and no further (over all sizes as the batch to the power 0.37); that of full fine-tuning shows no trend.
#
# **Does it pay to learn alpha?** Its rate as a multiple of that of A and B, each at the best of four rates, 100 steps, three seeds:

# %% tags=["rtol=0.05"]
rows = []
for ratio in (0, 0.1, 10, 100):
    losses = {
        rate: sorted(
            small_run(rate=rate, steps=100, alpha_rate=ratio, seed=seed)["held_out"][-1]
            for seed in range(3)
        )
        for rate in (0.005, 0.01, 0.02, 0.04)
    }
    rate = min(losses, key=lambda rate: losses[rate][1])
    rows.append(
        [
            f"{ratio} times" if ratio else "alpha is fixed",
            f"{rate:g}",
            *(f"{loss:.3f}" for loss in losses[rate]),
        ]
    )
table(["alpha's rate", "best rate", "lowest held-out loss", "median", "highest"], rows)

# %% [markdown]
# No. What a learned alpha could do, B can do as well, since $(s B) A = s (B A)$: the losses agree to a hundredth. On the base, from three starts, five seeds:

# %%
draw("trainable_alpha")

# %% [markdown]
# There too a learned alpha changes nothing beyond the seeds' spread once each side has its own rate; seed by seed, one that starts at 1 and learns at 1 or 100 times the rate ends a little lower than a fixed 1, and one that starts at 64 and learns at 100 times a little higher. What alpha *starts* at does: fixed at 64 it beats 8, and 8 beats 1, in every seed of these short runs. Learning does not bring a small alpha there. At a rate as small as is usually advised alpha stays where it was; at 100 times the rate of A and B it
# comes from 1 to between 4 and 10 and no further. Only where the rate is left at one that does not suit alpha (0.006 with alpha = 1) does learning help in every seed, and then alpha = 8 from the start helps more.
#
# **Which of A and B starts random, and should B learn faster?** On the base, each side at its own best rate:

# %%
draw("init")

# %%
draw("loraplus")

# %% [markdown]
# B may learn 16 to 64 times as fast as A: 16 is better than one rate for both in every seed, 64 has the lowest median, and the seeds do not tell the two apart. At 4, 64 and 256 the seeds overlap with plain LoRA's, though seed by seed 64 is lower in all five. A's rate has to fall as the ratio grows (left); a map with too few low rates would have ended at 16. And alpha is 8 here: with alpha = 64 plain LoRA at one rate for both is below every ratio of this figure with each seed (the figure of alpha above), so a B that learns faster does what a larger alpha does.
#
# B random has the lower loss on each of five seeds' records, though the spreads overlap. Both gains are those of short runs on a small model, with the start's scale and the rate as the likely reasons; the captions say what is left open.
#
# ## 5. What to turn first
#
# | order | knob | try | because |
# |---:|:---|:---|:---|
# | 0 | the data | read fifty encoded records, labels included | no knob repairs a label that is shifted twice |
# | 1 | the learning rate | four values over a factor of ten | it decides whether anything else can be seen |
# | 2 | steps | until the curve is flat at a constant rate; then the rate again | a small rank is slow before it is small (lesson 03), and longer runs of it want a lower rate (section 2) |
# | 3 | what trains | all linear layers | one budget is better spread (section 1; [09, question 10](09_interview.ipynb#q10)) |
# | 4 | rank | double once, with the rate swept again | if that changes nothing, capacity is not the limit |
# | 5 | regularization: dropout, decay, fewer steps | only where the held-out curve rises | it slows what already learns too little |
# | 6 | alpha | 32 or 64 instead of 8, with the rate swept again; then leave it | in short runs on the base a large one learns more at its own best rate (section 4); learning it does not pay |
#
# ## Exercises

# %%
exercise("what_helps_most")

# %% tags=["rtol=0.4"]
rows = []
for name, rate, settings in (
    ("as it was", 0.0015, {}),
    ("a) r = 16, alpha = 16", 0.0015, {"r": 16, "lora_alpha": 16}),
    ("b) rate 0.006", 0.006, {}),
    ("c) dropout 0.1", 0.0015, {"lora_dropout": 0.1}),
    ("d) alpha = 16", 0.0015, {"lora_alpha": 16}),
):
    if best_change is not ...:  # predict first
        model = load_base()
        config = LoraConfig(
            **{"r": 8, "lora_alpha": 8, "target_modules": "all-linear"} | settings
        )
        apply_lora(model, config, rng=np.random.default_rng(0))
        plan = TrainingConfig(max_steps=40, learning_rate=rate, warmup_steps=2)
        history = Trainer(model, plan, EpochBatches(*training, 8, seed=0)).train()
        rows.append([name, f"{np.mean(history['loss'][-10:]):.2f}"])
if rows:
    table(["40 steps on dates", "training loss, mean of the last ten steps"], rows)
else:
    print("predict first: nothing was trained yet")

# %%
exercise("order_of_sizes")

# %%
exercise("prefix_numbers")

# %%
exercise("checkpoint_to_keep")

# %% [markdown]
# Four such runs came back from four students. Each has one of the four causes of section 3, and no two have the same:

# %%
pictures.training_curves({letter: sick_run(letter) for letter in "PQRS"}, top=2.2)
picture("Four pairs of learning curves, P, Q, R and S, each training loss and held-out loss")

# %%
exercise("which_of_four_causes")

# %% [markdown]
# ## Summary
#
# 1. Methods differ in what trains, where it sits and whether it merges; the memory that backward keeps hardly depends on how little trains.
# 2. Alpha and the learning rate are two knobs: the rate also moves A. Fix alpha, sweep the rate.
# 3. Rising is divergence, still falling is too few steps, a gap is overfitting, flat and high together is underfitting.
# 4. Compare methods only at their own best rates, and say what was equal: steps, parameters or records.
# 5. Data first, then the rate, then steps; everything else after that.
#
# **Papers.** Houlsby et al. 2019 (arXiv 1902.00751) · Li & Liang 2021 (2101.00190) · Lester et al. 2021 (2104.08691) · Liu et al. 2022, *P-Tuning v2* (2110.07602) · Hayou et al. 2024, *LoRA+* (2402.12354) · Liu et al. 2024, *DoRA* (2402.09353) · Schulman et al. 2025, *LoRA Without Regret*
#
# **Next.** [08 · a real model](08_a_real_model.ipynb)
