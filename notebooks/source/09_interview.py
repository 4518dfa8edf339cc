# %% [markdown]
# # 09 · The interview
#
# **Question.** What do interviewers ask about LoRA and QLoRA, what is a good answer, and which popular answers are wrong?
#
# **Assumes.** Lessons 00 to 08, or the courage to read the answers first.
#
# **Seconds.** About 50 on two cores, offline.
#
# **Is it tomorrow?** Read the two minutes below. Then go down the list: say each answer aloud before you open it. The answers are folded (and open in print); what stands
# open is what you would write on the whiteboard, an equation or at most five lines of code that run here and in the tests. Last, read [section I](#section_i): what a widely copied list of answers gets wrong.
#
# {questions}
#
# The questions and the claims come from a widely copied Chinese article, *LoRA原理解析和实践* (2025).
#
# # Two minutes: "Tell me about LoRA and QLoRA"
#
# *LoRA* fine-tunes a model without changing its weights. Beside chosen linear layers it puts two thin matrices: A maps the input down to r numbers, B maps them up to the output, and the product, times alpha / r, is added to what the
# frozen layer gives. A starts random and B at zero, so training starts from the pretrained model. Only A and B have gradients and optimizer state, which is what saves memory: for Llama's 7B (6.74 billion) some 14 GB instead of 108 before activations. Afterwards the product can be
# added to the weight, so that inference costs nothing extra, or many small adapters can share one base.
#
# *QLoRA* takes the 14 GB on. The frozen weights are stored in four bits: blocks of 64, each divided by its largest absolute value, each weight rounded to one of 16 NF4 values, which are quantiles of the normal distribution. The scales are quantized again
# to 8 bits (double quantization), which makes 4.127 bits per weight. For each product the weights are decoded to 16 bits; the gradient flows through them to A and B, which stay in 16 or 32 bits. Paged optimizers catch peaks.
#
# What to add, if they nod: *activations* are not saved by either, checkpointing does that. The *learning rate* is about ten times that of full fine-tuning and matters most. Put adapters on *all linear layers*. Rank is *capacity*: at equal steps small ranks are also slower, which is easily mistaken for it.
#
# | | full fine-tuning | LoRA | QLoRA |
# |:---|:---|:---|:---|
# | the base is stored in | 16 bits | 16 bits, frozen | 4.127 bits, frozen |
# | trained | everything | A and B: r (in + out) per layer | the same |
# | 7B: weights | 13.5 GB | 13.5 GB | 3.9 GB (embedding and head in 16 bits) |
# | 7B: gradients, AdamW, adapter, r = 16 | 94 GB | 0.64 GB | 0.64 GB |
# | activations | all | as full where layers are adapted | the same |
# | training step | 1 | somewhat cheaper (no dW of frozen weights) | slower than LoRA: weights are decoded |
# | inference | as the base | as the base when merged | adapter beside the base, or merged in 16 bits |
# | quality | the reference | nearly equal while capacity suffices | as LoRA (QLoRA's table 4: 53.1 against 53.0 MMLU) |

# %%
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import norm

from minilora import (
    AdamW,
    LoraConfig,
    Trainer,
    TrainingConfig,
    apply_lora,
    codebook,
    gradcheck,
    load_adapter,
    load_base,
    merge_lora,
    quantize,
    quantize_linears,
    save_adapter,
)
from minilora.adapters import LoRALinear, count_parameters, lora_layers
from minilora.analysis import saved_bytes
from minilora.course import draw, label, measured, numbers, picture, pictures, style, table
from minilora.data import (
    ByteTokenizer,
    EpochBatches,
    encode_records,
    load_records,
    split,
)
from minilora.course.exercises import check
from minilora.nn import Linear, Parameter, checkpoint_blocks, ops
from minilora.training import evaluate

style()
rng = np.random.default_rng(0)
x, W, dy = (rng.standard_normal(shape) for shape in [(7, 5), (3, 5), (7, 3)])
A, B, s = rng.standard_normal((2, 5)), rng.standard_normal((3, 2)), 2.0
tokens = rng.integers(32, 127, (16, 129))  # a batch of bytes

# %% [markdown]
# # A. What they are
#
# ## 1. What is LoRA?
#
# **In 60 seconds.** LoRA fine-tunes a model without changing its weights. Beside chosen linear layers it puts a bypass of two thin matrices: A maps the
# input down to r numbers, B maps them up to the output. Only A and B train; their product, times alpha / r, is the update of the frozen weight. B starts at
# zero, so training starts from the pretrained model. Gradients and optimizer state exist for A and B alone, an adapter is a
# small file, and after training the product can be added to the weight, so that inference costs nothing extra.
#
# **At the whiteboard.** $y = x W^T + \frac{\alpha}{r}\, x A^T B^T$ (Hu et al. 2021, eq. 3). Bypass and merged weight are the same function:

# %% tags=["whiteboard"]
bypass = x @ W.T + s * (x @ A.T) @ B.T
merged = x @ (W + s * B @ A).T
assert np.allclose(bypass, merged)

# %% [markdown]
# **Evidence.** [02, section 2](02_lora.ipynb); `LoRA` in minilora/adapters/lora.py.
#
# **They go on to ask.** Why low rank (Q3)? Why is B zero (Q4)? What does it save, and what not (Q28)?
#
# **Wrong answers.** "It compresses the model": the model stays whole and frozen. "It trains a small part of the weights": it trains new ones.
#
# ## 2. What is QLoRA?
#
# **In 60 seconds.** QLoRA is LoRA over a frozen base that is stored in four bits. Each block of 64 weights is divided by its largest absolute value, and each quotient is stored as
# the nearest of 16 NF4 values, quantiles of the normal distribution. The blocks' scales are quantized again to 8 bits (double quantization). For each product the weights are
# decoded to floating point and then thrown away. Gradients flow through the decoded weights to A and B in 16 or 32 bits. A third part, paged
# optimizers, moves optimizer state to the CPU when a GPU runs short.
#
# **At the whiteboard.** $y = x\, \mathrm{decode}(c_1, c_2, W_{NF4})^T + s\, x A^T B^T$ (Dettmers et al. 2023, eq. 5). In code:

# %% tags=["whiteboard"]
model = load_base()
quantize_linears(model, "nf4", block_size=64, double_quant=True)
apply_lora(model, LoraConfig(r=8, lora_alpha=16), rng=rng)
assert model.loss(tokens[:, :-1], tokens[:, 1:])[0] > 0 and count_parameters(model)[0] == 17_920

# %% [markdown]
# **Evidence.** [00](00_start_here.ipynb), [04](04_nf4.ipynb), [05](05_double_quantization.ipynb), [06](06_qlora.ipynb); `QuantizedLinear` in minilora/adapters/quantized.py. A test holds a training step to one decoded matrix at a time.
#
# **They go on to ask.** Is it faster? Training is not: every product decodes its weights first. Generating one sequence at a time can be, two to four times on GPUs with fused kernels, because it is bound by reading weights from memory, and there are a quarter as many bytes. Is the adapter quantized? No.
#
# **Wrong answers.** "It computes in four bits": it stores in four and computes in 16 or 32. "It trains the quantized weights": they are frozen.
#
# ## 3. Why should a low-rank update be enough?
#
# **In 60 seconds.** It is an observation, not a theorem: fine-tuning a pretrained model to a narrow task needs few directions. The LoRA paper found r = 1 to 8 enough on its tasks (its table 6), and that
# the leading directions of r = 8 and r = 64 agree while the rest look like noise (its figure 3). What is a theorem is the bound: no rank-r matrix comes closer to a change than its
# truncated SVD. If the singular values of the change you need fall slowly, small ranks cannot do it, and full fine-tuning wins.
#
# **At the whiteboard.** Eckart & Young 1936: $\min_{\mathrm{rank}\, M \le r} |\Delta W - M|_F^2 = \sum_{i>r} \sigma_i^2$

# %% tags=["whiteboard"]
U, sigma, Vt = np.linalg.svd(rng.standard_normal((6, 8)), full_matrices=False)
full, best = (U * sigma) @ Vt, (U[:, :2] * sigma[:2]) @ Vt[:2]
assert np.isclose(np.sum((full - best) ** 2), np.sum(sigma[2:] ** 2))

# %%
draw("rank_known")

# %% [markdown]
# **Evidence.** The figure above: training reaches the bound at every rank, three seeds, *for isotropic inputs*; with correlated inputs another update than the truncated SVD is best ([03, section 2](03_rank.ipynb)). Of what full fine-tuning really changes on the base rank 8 would leave 16 to 45 % over, by kind of layer: no low rank there ([03, section 3](03_rank.ipynb), figure delta_spectrum).
#
# **They go on to ask.** When is it not enough? Much new knowledge: LoRA learns less and forgets less (Biderman et al. 2024, arXiv 2405.09673). On our narrow task the rate decides: half of it took seven tenths off what r = 8 and full fine-tuning of the same layers forgot, and at that half full fine-tuning learned more and forgot less, in every seed, than r = 8 at either rate ([07, section 1](07_methods_and_hyperparameters.ipynb)).
#
# **Wrong answers.** "Weights have low rank": they do not; the *update* may. "Low rank is always enough": see Q8.
#
# ## 4. How are A and B initialized, and why?
#
# **In 60 seconds.** A random, B zero. The product is zero, so the first forward is that of the base, bit for bit. The gradient of B contains A x, which is not zero, so B moves in the
# first step; the gradient of A contains B, so A waits for the second step. If both were zero, both gradients would stay zero for ever. If both were random, the model would be changed before it has learned anything.
# The paper draws A from a Gaussian; PEFT draws it uniformly (Kaiming, ±1/sqrt(in)) unless asked for `"gaussian"`.
#
# **At the whiteboard.** $dB = s\, dy^T (x A^T)$, $\;dA = s\, (dy\, B)^T x$

# %% tags=["whiteboard"]
layer = LoRALinear(Linear.from_weight(W, trainable=False))
layer.add_adapter("default", LoraConfig(r=2, lora_alpha=4), rng=rng)
y, backward = layer(x)
backward(dy)
assert np.array_equal(y, x @ W.T) and not layer.lora_A.grad.any() and layer.lora_B.grad.any()

# %% [markdown]
# **Evidence.** [02, section 3](02_lora.ipynb): four starts, their gradients.
#
# **They go on to ask.** Could A be zero and B random? It works, but the two are not mirror images: with A random larger rates are stable, and results are better on average (Hayou et al. 2024, arXiv 2406.08447); on our small base, each drawn by its own fan-in, B random learned more on each of five seeds' records, though one of its seeds lies among those of A random (figure init). What is PiSSA? Start from the top singular vectors instead: after 200 steps ahead of B = 0 in each of five seeds, over float32 as over NF4 (figure better_starts, alpha = 8; in 120 steps plain LoRA with alpha = 64 was level with PiSSA, figures methods and trainable_alpha).
#
# **Wrong answers.** "Both are zero": stuck. "Both random is ruin": disputed; small random values in both hardly hurt in Li et al. 2025 (2505.23194). "A and B are symmetric": not once they train.
#
# ## 5. Does LoRA slow inference down?
#
# **In 60 seconds.** Not if you merge: W + s B A is one matrix, and the model is as it was. Unmerged, each wrapped layer computes two more thin
# products, small in arithmetic but not free in launches and memory traffic. Merging is exact up to rounding for a dense base. For a 4-bit base it is
# not: see Q37.
#
# **At the whiteboard.** $W_{merged} = W + \frac{\alpha}{r} B A$

# %% tags=["whiteboard"]
layer.lora_B.value[:] = rng.standard_normal((3, 2))
dense = layer.merged()
assert type(dense) is Linear and np.allclose(dense(x)[0], layer(x)[0])

# %% [markdown]
# **Evidence.** [02, section 5](02_lora.ipynb); figure merge_and_switch (8 x 128 tokens through our base, one thread): beside it LoRA takes 1.01 of the base's time, merged 0.96, which is the base's within the noise. Token by token the bypass weighs more: 1.36 against 1.01. After 100 switches and 100 merges taken back every bit is there.
#
# **They go on to ask.** How do you undo a merge? Keep the original: subtracting does not restore every bit.
#
# **Wrong answers.** "LoRA has no latency": only merged. Adapters in series (Houlsby) cannot be merged, LoRA can: that is the point.
#
# ## 6. How do you serve many tasks?
#
# **In 60 seconds.** One base in memory, one small adapter for each task, switched by name; or merged copies where latency counts most. An
# adapter of rank 16 on all linear layers is 0.6 % of a 7B model, 80 MB in 16 bits, so hundreds fit on the disk and dozens beside it. In one batch, different rows can use different adapters if the serving system groups
# the products (S-LoRA, Punica). Adding two adapters is not adding their A and B: the product has cross terms; concatenate instead.
#
# **At the whiteboard.** $W_0 + B_1 A_1 \to W_0 + B_2 A_2$; and adding: $[B_1, B_2] [A_1; A_2] = B_1 A_1 + B_2 A_2$

# %% tags=["whiteboard"]
A2, B2 = rng.standard_normal((2, 5)), rng.standard_normal((3, 2))
both = np.hstack([B, B2]) @ np.vstack([A, A2])
assert np.allclose(both, B @ A + B2 @ A2)
assert not np.allclose((B + B2) @ (A + A2), B @ A + B2 @ A2)

# %% [markdown]
# **Evidence.** [02, section 5](02_lora.ipynb): two adapters on one base, switched, bit-equal to each alone.
#
# **They go on to ask.** What is in an adapter file? See Q24.
#
# **Wrong answers.** "Average the A and the B of two tasks": cross terms.
#
# ## 7. Is LoRA as good as full fine-tuning?
#
# **In 60 seconds.** On narrow tasks with adapters on all layers, nearly, while the adapter's capacity suffices. In our runs of equal steps, each at its own swept learning rate, full fine-tuning of the same layers is faster: after 180 steps 0.24 to 0.28, r = 64 0.37 to 0.54; after 540 steps their seeds overlap. Full fine-tuning
# usually also trains embedding, head and norms, which makes no difference beyond the seeds here (in the end 0.003 to 0.013 against 0.010 to 0.027): compare on the same layers, too. For large amounts of new knowledge full fine-tuning is reported to learn more and forget more (Biderman et al. 2024); on our narrow task full fine-tuning of the same layers learned more, and at half its rate more and forgot less than r = 8 at either rate, in every seed (Q3); to train embedding, head and norms as well forgets more in every seed. A fair comparison sweeps the learning rate of each method and says what is trained.
#
# **At the whiteboard.** $\mathrm{capacity} \approx r (\mathrm{in} + \mathrm{out})$ summed over the targets, against what the task has to teach.

# %%
draw("rank_fit")

# %% [markdown]
# **Evidence.** The figure above, three seeds; more in [03, sections 4 and 6](03_rank.ipynb); Biderman et al. 2024; *LoRA Without Regret* (2025).
#
# **They go on to ask.** Which tasks need more rank? See Q8.
#
# **Wrong answers.** "LoRA always equals full fine-tuning", "LoRA regularizes, so it is always better": neither was shown.
#
# # B. The hyperparameters
#
# ## 8. What does the rank r do?
#
# **In 60 seconds.** r is the number of directions that the update has. Parameters grow linearly with it, r (in + out) per layer, and so does capacity: about 2 bits each by *LoRA Without Regret*. A task
# asks for rank by how much it has to store. At equal steps a larger rank is also *faster*, which looks the same in a table: our r = 1 with nine times the steps passes r = 64. So before you double the rank, look whether the curve is still falling. Start at 8 or 16 on all linear layers.
#
# **At the whiteboard.** $r(\mathrm{in} + \mathrm{out})$; for square layers $2 r d$ instead of $d^2$

# %% tags=["whiteboard"]
model = load_base()
paths = apply_lora(model, LoraConfig(r=8, target_modules="all-linear"), rng=rng)
sizes = [layer.in_features + layer.out_features for layer in lora_layers(model).values()]
assert count_parameters(model)[0] == 8 * sum(sizes)

# %% [markdown]
# **Evidence.** [03, sections 4 and 5](03_rank.ipynb): figures rank_fit (Q7; three budgets of steps), rank_curves (longer runs), capacity (at least 1.9 bits per parameter at r = 1, 2.2 at r = 4; these two sizes only) and rank_known (Q3). With three times the steps r = 1 is where r = 64 was, three seeds: the table in section 5.
#
# **They go on to ask.** Is r = 64 on q and v better than r = 8 on all layers? Rarely: spread the budget (Q10).
#
# **Wrong answers.** "r = 1 underfits": after few steps it does, after many not; say which. "Complex tasks: large r *and* a high learning rate": at alpha = r higher ranks want lower rates (Q12). "r must divide d": no.
#
# ## 9. What does alpha do, and how is it set?
#
# **In 60 seconds.** The update acts with alpha / r. At a fixed alpha a smaller rank acts more strongly: with Adam the first update of r = 1 is 5 times that of r = 32, with rsLoRA, alpha / sqrt(r), it is about the same. Two conventions are common, alpha = r and alpha = 2 r. Neither is a law. Alpha and the learning
# rate are *two* knobs: alpha scales what B A does, the rate moves both A and B. At small products they trade nearly one for one (losses within a tenth, one seed), at larger ones they do not. Fix alpha (32 is a good choice: then the best rate hardly depends on r) and sweep the rate. At alpha = r it falls as r grows.
#
# **At the whiteboard.** $s = \alpha / r$, with rsLoRA $s = \alpha / \sqrt r$

# %% tags=["whiteboard"]
assert LoraConfig(r=8, lora_alpha=16).scaling(8, 16) == 2.0
assert LoraConfig(r=64, lora_alpha=16).scaling(64, 16) == 0.25
assert LoraConfig(r=64, lora_alpha=16, use_rslora=True).scaling(64, 16) == 2.0

# %% [markdown]
# Does the product alpha times rate decide, as one often hears? Roman numerals, r = 8, 150 steps, the same product four times, three seeds:

# %%
found = numbers("rate_by_rank")["product"]
rows = [
    [alpha, f"{found['value'] / int(alpha):.3g}", *(f"{loss:.2f}" for loss in losses)]
    for alpha, losses in found["loss"].items()
]
table(["alpha", "learning rate", "held-out loss", "another seed", "and another"], rows)

# %% [markdown]
# **Evidence.** The table, and the map of alpha against the rate in figure rate_by_rank (Q12). [03, section 7](03_rank.ipynb) for the first step by rank: with Adam, and with gradient descent.
#
# **They go on to ask.** Why two knobs? With Adam the first update is s times the rate times sign(dB) A, so there the product does decide. From the second step on A moves, by the rate and not by alpha; a high rate with a small alpha turns A over quickly. Under plain gradient descent alpha counts with its square.
#
# **Wrong answers.** "Alpha and the rate are one knob." The article says "start with alpha = r" in one place and "2 to 4 times r" in another: it contradicts itself, and neither is a law.
#
# ## 10. Which modules should be adapted?
#
# **In 60 seconds.** All linear layers of every block, MLP included; leave embeddings, norms and the head. The LoRA paper adapted attention only, and found q and v the best two at one budget (its table 5:
# Wq 70.4, Wq and Wv 73.7, all four 73.7 on WikiSQL). QLoRA found that all linear layers are needed to match full fine-tuning (its figure 2), and that then r hardly matters. At one budget: more layers with less rank.
#
# **At the whiteboard.** One budget of 18 million on GPT-3: r = 8 on one matrix, 4 on two, 2 on four.

# %% tags=["whiteboard"]
budget = {n: 96 * n * r * (12288 + 12288) for n, r in ((1, 8), (2, 4), (4, 2))}
assert set(budget.values()) == {18_874_368}

# %% [markdown]
# **Evidence.** One budget of 35,000 parameters on the base, five seeds: all layers (r = 3) 1.18, attention (r = 8) 1.24 and within the spread, q and v (r = 16) 1.44, the MLP alone 1.59, q alone (r = 27) 2.26 (figure target_modules, in [07, section 1](07_methods_and_hyperparameters.ipynb)); Hu et al. 2021, table 5; Dettmers et al. 2023, figure 2.
#
# **They go on to ask.** What does PEFT take by default? For Llama `q_proj` and `v_proj`; all linear layers must be asked for (`"all-linear"`). GPT-2's `c_attn`? It holds q, k and v in one matrix: adapting it adapts all three.
#
# **Wrong answers.** "q and v are best": the best *two of attention*, not the best choice. "Too many targets overfit": on 256 records the gap to the training loss grew with the targets, and the held-out loss fell.
#
# ## 11. Why freeze the base, and may part of it train?
#
# **In 60 seconds.** A frozen weight needs no gradient and no optimizer moments; a frozen layer without an adapter also keeps no input. That is the memory saved. And the base stays what it was for other tasks. It may be thawed in part (the last
# block, norms, new tokens' embeddings); then those parameters pay in full, and the adapter file must carry them.
#
# **At the whiteboard.** 4 numbers per trained parameter in AdamW (weight, gradient, two moments), 1 per frozen one

# %% tags=["whiteboard"]
model = load_base()
apply_lora(model, LoraConfig(r=8), rng=rng)
for name, p in model.named_parameters():
    p.trainable |= name.startswith("layers.4.")
assert count_parameters(model)[0] == 17_920 + 184_576  # A and B, and the last block

# %% [markdown]
# **Evidence.** [02, section 6](02_lora.ipynb): bytes counted.
#
# **They go on to ask.** Does freezing speed training up? The weight gradients are saved, a third of the arithmetic at best; forward and the input gradients remain.
#
# **Wrong answers.** "Freezing saves the forward": it does not.
#
# ## 12. Which learning rate?
#
# **In 60 seconds.** Several times that of full fine-tuning; ten times is the rule of thumb. In practice 1e-4 to 5e-4 for 7B models where full fine-tuning uses 1e-5 to 5e-5; QLoRA used 2e-4 up to 13B and 1e-4 above. It depends on alpha, on
# the model's size and on the number of steps, so sweep it at the length that you mean to train, with warm-up and decay, and sweep it for the method you compare with as well.
#
# **At the whiteboard.** First step: $\Delta W = -s\,\eta\,\mathrm{sign}(dB)\, A$ with Adam: the rate acts through alpha / r and through A's size.

# %% tags=["whiteboard"]
swept = numbers("rate_by_rank")
full, rules = swept["full_linears"]["best"]["rate"], swept["rules"].values()
best = [[found["best"]["rate"] for found in ranks.values()] for ranks in rules]
assert all(rate > full for rates in best for rate in rates)  # alpha = r, alpha = 32, rsLoRA
assert best[0][0] > 4 * best[0][-1] and max(best[1]) < 1.5 * min(best[1])

# %%
draw("rate_by_rank")

# %% [markdown]
# **Evidence.** The figure above, three seeds: each rank has its own valley, LoRA's to the right of full fine-tuning's. At alpha = r the valley moves left as r grows; at a fixed alpha = 32 it stays; with rsLoRA it moves less than at alpha = r ([03, section 7](03_rank.ipynb)). With more steps the valley of small ranks moves left, too (figure rate_by_steps, [07, section 2](07_methods_and_hyperparameters.ipynb)).
#
# **They go on to ask.** One rate for A and B? LoRA+ (arXiv 2402.12354) gives B about 16 times A's; on the base that was better than one rate in each of five seeds, in short runs, 64 times had the lowest median, but with 4, 64 and 256 times the seeds overlap with those of one rate, though with 64 each is lower than its own (figure loraplus). All that at alpha = 8: plain LoRA with alpha = 64 was lower with each seed than any of these ratios (figure trainable_alpha).
#
# **Wrong answers.** "The same as for full fine-tuning": then LoRA looks worse than it is. "Few parameters, so any rate goes": see Q40. "A small r bears high rates less": the reverse; at alpha = r the best rate of r = 1 is several times that of r = 64.

#
# ## 13. How many epochs?
#
# **In 60 seconds.** Until the held-out loss stops falling and rises again, and that comes sooner the smaller the set: instruction tuning commonly takes one to three passes. Few
# parameters do not prevent overfitting: rank 8 on all linear layers of a 7B model is 20 million numbers, against a few thousand examples. Watch held-out loss, keep the best checkpoint, and prefer more data to more passes.
#
# **At the whiteboard.** $\mathrm{steps} = \lfloor N / \mathrm{batch} \rfloor \cdot \mathrm{epochs}$ (here full batches only)

# %% tags=["whiteboard"]
training = encode_records(split("roman", 100, 1, seed=0)[0], ByteTokenizer())
batches = EpochBatches(*training, 32, seed=0)
assert batches.steps_per_epoch == 3  # what is left over is shuffled into another epoch
assert all(len(batches(step)[0]) <= 32 for step in range(8))

# %% [markdown]
# 128 Roman numerals, 4 batches an epoch, one seed, a constant rate:

# %% tags=["rtol=1"]
few, many = (encode_records(part, ByteTokenizer()) for part in split("roman", 128, 256, seed=0))
model = load_base()
apply_lora(model, LoraConfig(8, 8, target_modules="all-linear"), rng=np.random.default_rng(0))
schedule = TrainingConfig(120, 0.006, "constant", warmup_steps=8, eval_steps=20)
batches = EpochBatches(*few, 32, seed=0)
small_set = Trainer(model, schedule, batches, evaluate=lambda: evaluate(model, *many)).train()
table(
    ["step", "epoch", "training loss", "held-out loss", "held-out exact"],
    [
        [
            e["step"],
            e["step"] // 4,
            float(np.mean(small_set["loss"][e["step"] - 4 : e["step"]])),
            e["loss"],
            f"{e['exact']:.1%}",
        ]
        for e in small_set["eval"]
    ],
)

# %% [markdown]
# And noise: random values for random keys, which no rule gives, 1,000 steps, three seeds (figure capacity). The share that is given right in the end, medians:

# %%
noise = numbers("capacity")["ranks"]
known = {r: dict(zip(one["pairs"], one["known"], strict=True)) for r, one in noise.items()}
sizes = sorted(set.intersection(*map(set, known.values())))  # offered to every rank
rows = [
    [f"r = {r}", noise[r]["parameters"], *(f"{np.median(one[n]):.0%}" for n in sizes)]
    for r, one in known.items()
]
table(["", "parameters", *(f"of {n:,} pairs" for n in sizes)], rows)

# %% [markdown]
# **Evidence.** Figure small_data ([07, section 4](07_methods_and_hyperparameters.ipynb)): with a rate that falls to zero, the best for each length, 32 epochs beat 16 in each of five seeds on 256 numerals, although the records were known by heart. At a constant rate, one seed (the first table): the training loss keeps falling, and the held-out loss is lowest at step 80 and rises again. (Of exact answers there are too few, ten of 256 at most, to tell when they are most.) Whether other seeds and rates do the same this one run does not say. `Trainer(evaluate=...)` notes every measure that you ask for.
#
# **They go on to ask.** Does LoRA converge in fewer epochs than full fine-tuning? Not here: on 256 numerals full fine-tuning of the same layers is after 10 epochs where LoRA with r = 32 ends after 16, medians of five seeds, each at its swept rate (figure small_data). And the article's "5 to 20 epochs on small sets"? Far beyond common practice for instruction tuning;
# our base knows nothing of the task, and needs them. Decide by what you measure on held-out data.
#
# **Wrong answers.** "LoRA cannot overfit." It can. "Few parameters memorize noise more easily": the reverse. Of the same random pairs r = 4 knows more than r = 1 (the second table), and in bits it stores about four times as much (figure capacity).
#
# ## 14. Which batch size?
#
# **In 60 seconds.** As large as fits and still learns: gradient accumulation gives the same gradient with less memory. LoRA frees memory of weights' gradients and moments, which allows larger batches; but activations grow with the batch and often
# dominate. *LoRA Without Regret* (2025) found that LoRA tolerates large batches less well than full fine-tuning, at any rank.
#
# **At the whiteboard.** The mean over a batch is the mean of its parts' means (weighted by counted labels):

# %% tags=["whiteboard"]
logits, labels = rng.standard_normal((8, 1, 5)), rng.integers(0, 5, (8, 1))
whole = ops.cross_entropy(logits, labels)[0]
parts = [ops.cross_entropy(logits[i : i + 2], labels[i : i + 2])[0] for i in range(0, 8, 2)]
assert np.isclose(whole, np.mean(parts))

# %% [markdown]
# **Evidence.** Q28: what a batch costs in activations, measured. On 6,144 numerals in batches of 8 to 512, each at its own best rate, LoRA (r = 8) loses more (in nats) than full fine-tuning of the same layers by batches of 64 instead of 8, in each of five seeds; at equal steps full fine-tuning gains more from batches of 64, 128 and 256 instead of 16, in each seed, too; in 24 steps and fewer neither learns the task ([07, section 4](07_methods_and_hyperparameters.ipynb), figure batch_size).
#
# **They go on to ask.** Does a larger batch need another rate? Usually a larger one, less than in proportion: here LoRA's best rate grew fourfold from batches of 8 to 128 and no further, and that of full fine-tuning shows no trend.
#
# **Wrong answers.** "When compute is short, reduce r and enlarge the batch": r hardly changes compute, and a larger batch costs more compute and memory *per step*, about the same per sample.
#
# ## 15. What is lora_dropout?
#
# **In 60 seconds.** Dropout on the input of the bypass, in training only; the frozen path stays whole. It is a mild regularizer for small sets. QLoRA used 0.1 up to 13B and 0.05 above; for large sets 0 is common. In evaluation it must be
# off: here it acts only when a forward is given an `rng`.
#
# **At the whiteboard.** $y = x W^T + s\; \mathrm{dropout}(x) A^T B^T$, kept entries divided by $1 - p$

# %% tags=["whiteboard"]
ones = np.ones((400, 400))
dropped = ops.dropout(ones, 0.1, rng)[0]
assert abs((dropped == 0).mean() - 0.1) < 0.01 and abs(dropped.mean() - 1) < 0.01

# %% [markdown]
# **Evidence.** `LoRA.__call__`: the base layer gets `x`, the bypass gets `dropped`. On 256 numerals, 16 epochs, each at its own best rate, 0.1 helps with two of five seeds, and 0.3 is higher on each seed's records, within their spread ([07, section 4](07_methods_and_hyperparameters.ipynb), figure small_data); in the recipe for 200 dates, with more steps and decay, 0.3 has its place (figure finetune_defaults).
#
# **They go on to ask.** Does it make training slower? Yes, somewhat, and it keeps one more mask per layer.
#
# **Wrong answers.** "0.1 to 0.3 by default": 0.1 is what QLoRA used up to 13B, 0.3 is more than either paper. "Dropout of the rank": no, of the input.
#
# ## 16. What does weight decay do here?
#
# **In 60 seconds.** With AdamW it is no penalty in the loss: each step multiplies A and B by 1 - lr x decay, beside the gradient's step (Loshchilov & Hutter 2019). An L2 penalty in Adam would be divided by the gradient's size and act differently. It pulls A and B to zero, and so
# the model back to its base, which is a sensible place to be pulled to.
#
# **At the whiteboard.** $\theta \leftarrow (1 - \eta \lambda)\, \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)$

# %% tags=["whiteboard"]
p = Parameter(np.array([2.0, -4.0]))
p.accumulate(np.zeros(2))  # no gradient at all
AdamW([p], lr=0.1, weight_decay=0.5).step()
assert np.allclose(p.value, 0.95 * np.array([2.0, -4.0]))

# %% [markdown]
# **Evidence.** The five lines above; `AdamW.step` in minilora/training/optim.py. On 256 numerals an L2 penalty of 0.01 is far worse than none, decoupled decay of 0.5 is not, and 2 is lower on each of five seeds' records, within their spread (figure small_data).
#
# **They go on to ask.** Is it needed? Often it is 0 for LoRA, and in short runs it hardly matters: B grows from zero, and rate x decay x steps is far below 1 (2e-4 x 0.01 x 1000 = 0.002).
#
# **Wrong answers.** "It adds lambda times the sum of squares to the loss": that is L2, and in Adam not the same.
#
# ## 17. You have one day. In which order do you tune?
#
# **In 60 seconds.** Data first: look at fifty encoded examples, labels included. All linear layers, r = 16, alpha = 32, and leave them. Sweep the learning rate over a factor of ten in three or four values: it
# matters most. Then double r once and see whether the held-out loss moves. Dropout and decay last, if the training loss falls and the held-out loss rises.
#
# **At the whiteboard.** At r = 8 and alpha = 64 the worst of four rates over the best; r = 1 over r = 64, each at its best rate (alpha = r):

# %% tags=["whiteboard"]
found = numbers("rate_by_rank")
row = [np.median(seeds) for seeds in found["surface"]["loss"][-1]]
best = [min(sorted(g)[1] for g in x["loss"]) for x in found["rules"]["alpha = r"].values()]
assert max(row) / min(row) > best[0] / best[-1] > 1.5

# %% [markdown]
# **Evidence.** Figure rate_by_rank, at Q12 (150 steps of batch 16, three seeds). In so few steps rank counts as speed (Q8).
#
# **They go on to ask.** What if nothing helps? See Q39.
#
# **Wrong answers.** "First r and alpha, then the rest": the rate decides what r can show (Q9, Q12).
#
# # C. What trains
#
# In the article this is a section without a title: a bare `##`, and below it the answer to *which parameters does LoRA change in training?* That is Q18.
#
# ## 18. Which parameters train, and which do not?
#
# **In 60 seconds.** A and B of the target layers. Not the base's weights, not embeddings, norms, head or biases, unless asked for. In the frozen layers gradients still flow *through* the weights to earlier layers; they are only not computed *for* them. r and alpha are numbers, not parameters.
#
# **At the whiteboard.** $dx = dy\, W + s\, (dy\, B) A$ is needed; $dW = dy^T x$ is not.

# %% tags=["whiteboard"]
model = load_base()
apply_lora(model, LoraConfig(r=8), rng=rng)
frozen = {m: p.value.tobytes() for m, p in model.named_parameters() if not p.trainable}
Trainer(model, TrainingConfig(max_steps=2), lambda i: (tokens[:, :-1], tokens[:, 1:])).train()
assert frozen == {m: p.value.tobytes() for m, p in model.named_parameters() if not p.trainable}

# %% [markdown]
# **Evidence.** The lines above: every frozen byte is the same after training.
#
# **They go on to ask.** New tokens? Then their embedding rows must train, too.
#
# **Wrong answers.** "Only A and B get gradients, so backward stops at the first LoRA layer it meets": it goes down to the lowest one.
#
# ## 19. Could alpha be trained?
#
# **In 60 seconds.** It could: one number per layer. It adds nothing that B cannot express, since s B A = (s B) A. At step one its gradient is exactly zero, as B is zero. At a tiny rate of its own it stays where it was, and at a large one it moves without any gain beyond the seeds' spread; what alpha starts at matters more. DoRA trains something better: one magnitude per output (arXiv 2402.09353).
#
# **At the whiteboard.** $\partial L / \partial s = \langle dy,\; x A^T B^T \rangle = 0$ at $B = 0$

# %% tags=["whiteboard"]
ds = np.sum(dy * (x @ A.T @ np.zeros_like(B).T))
assert ds == 0
assert np.allclose((5 * s * B) @ A, 5 * (s * B @ A))  # what s could do, B can do

# %% [markdown]
# **Evidence.** The lines above; on one layer a learned alpha ends where a fixed one does, to a hundredth, three seeds; on the base, from alpha = 1, 8 and 64 and at four rates of its own, within the spread of five seeds; seed by seed, from 1 at 1 and 100 times the rate a little lower than fixed, from 64 at 100 times a little higher (figure trainable_alpha, in [07, section 4](07_methods_and_hyperparameters.ipynb)).
#
# **They go on to ask.** What does DoRA split? Magnitude and direction of each row of the weight.
#
# **Wrong answers.** "Alpha is trained by default": in PEFT it is a constant.
#
# ## 20. How many parameters has LoRA with r = 16 on GPT-3?
#
# **In 60 seconds.** On q and v: 96 layers, two matrices each, A and B of 16 x 12288 each: 75,497,472. The article's "about 1.4 million" is wrong by a factor of 54; not even r = 1 is so small (4,718,592). It is still only
# 0.04 % of 175 billion.
#
# **At the whiteboard.** $L \cdot n \cdot 2 r d = 96 \cdot 2 \cdot 2 \cdot 16 \cdot 12288$

# %% tags=["whiteboard"]
count = {r: 96 * 2 * 2 * r * 12288 for r in (1, 4, 16)}
assert count == {1: 4_718_592, 4: 18_874_368, 16: 75_497_472}
assert round(count[16] / 1.4e6) == 54 and round(100 * count[16] / 175e9, 2) == 0.04

# %% [markdown]
# **Evidence.** Hu et al. 2021 report 4.7 M for r = 1 on q and v; [02, exercise 4](02_lora.ipynb).
#
# **They go on to ask.** All four attention matrices? Twice as much. And MLP? Another 2 (d + 4 d) r per layer.
#
# **Wrong answers.** "1.4 million."
#
# ## 21. Compare full fine-tuning, LoRA, adapters and P-Tuning.
#
# **In 60 seconds.** Full: all weights, most memory, the most capacity. LoRA: thin matrices beside the weights, can be merged. Adapters (Houlsby 2019): small bottleneck layers *in series*, cannot be merged, so they cost latency. Prompt, prefix and P-Tuning: trained vectors
# in the input (P-Tuning) or before the keys and values of every layer (prefix tuning, P-Tuning v2); they use up context length, and small ones hold less. On GPT-3 and WikiSQL (Hu et al. 2021, table 4): full 73.8, prefix embedding 63.1,
# prefix layer 70.1, adapter 73.2 (40 M), LoRA 73.4 (4.7 M) and 74.0 (37.7 M).
#
# **At the whiteboard.** Trained numbers per layer of width d: full $12 d^2$, LoRA on q and v $4 r d$, bottleneck of m twice $4 m d$, prefix of p tokens $2 p d$.

# %% tags=["whiteboard"]
d = 4096
full, lora, bottleneck, prefix = 12 * d * d, 4 * 8 * d, 4 * 64 * d, 2 * 20 * d
assert full > bottleneck > prefix > lora

# %% [markdown]
# **Evidence.** From the paper named; the order of sizes in the five lines holds for r = 8, m = 64 and p = 20 and changes with them. All of them are in minilora/adapters; [07, section 1](07_methods_and_hyperparameters.ipynb) counts what each trains on the base and what backward keeps. What each learns in equal steps at its own best rate, on three sets: figure methods, there, too. On Roman numerals full, LoRA, bottleneck, prefix and prompt come in this order, in every seed.
#
# **They go on to ask.** Which ones keep the base's weights? All but full fine-tuning. Which change the architecture? Adapters add layers in series.
#
# **Wrong answers.** "P-Tuning is prompt engineering": its prompts are trained vectors, not words.
#
# # D. The process
#
# ## 22. Walk me through a fine-tuning, from data to answer.
#
# **In 60 seconds.** Records of input and target, as JSONL. Split off a held-out set. Encode with the model's own tokenizer, truncate, mask the input in the labels. Load the base (in four bits, if memory is short), apply LoRA, train with warm-up and decay, watch held-out loss. Save the adapter: a
# small file. To use it: load base and adapter, merge if latency counts, generate.
#
# **At the whiteboard.** The whole process, in lines that run:

# %%
with tempfile.TemporaryDirectory() as folder:
    data, adapter = Path(folder) / "train.jsonl", Path(folder) / "adapter.npz"
    data.write_text(
        "".join(
            json.dumps({"input": i, "target": t}) + "\n"
            for i, t in split("roman", 64, 1, seed=0)[0]
        ),
        encoding="utf-8",
    )
    model, config = load_base(), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
    apply_lora(model, config, rng=np.random.default_rng(0))
    encoded = encode_records(load_records(data), ByteTokenizer())
    Trainer(
        model,
        TrainingConfig(max_steps=5, learning_rate=0.006),
        EpochBatches(*encoded, 32, seed=0),
    ).train()
    save_adapter(model, adapter)
    fresh = load_base()
    load_adapter(fresh, adapter)
    merge_lora(fresh)
    print(
        "records:",
        len(load_records(data)),
        "  adapter kB:",
        round(adapter.stat().st_size / 1000),
    )
    print(
        "loaded and merged acts as trained:",
        np.allclose(fresh(tokens)[0], model(tokens)[0], atol=1e-3),
    )

# %% [markdown]
# **Evidence.** The cell above; [00](00_start_here.ipynb) trains to the end.
#
# **They go on to ask.** In Hugging Face's names? `AutoModelForCausalLM`, `LoraConfig`, `get_peft_model`, `Trainer`, `save_pretrained`, `PeftModel.from_pretrained`, `merge_and_unload`.
#
# **Wrong answers.** Forgetting the held-out split; training on the input's tokens without meaning to.
#
# ## 23. What must the training data look like?
#
# **In 60 seconds.** Input and target become one sequence: input, separator, target, end. Each label is the token that comes next, with -100 on the input and on padding, so that the loss counts the target alone. Here the batcher shifts by one; in Hugging Face the model does, so there labels are the ids themselves. Shift in one place only. The end
# token must be learned, or the model never stops. Use the chat template the base was trained with. Truncate from the input, never the target.
#
# **At the whiteboard.** $L = -\frac{1}{|M|} \sum_{t \in M} \log p(x_{t+1} | x_{\le t})$, $M$: positions whose label is not -100

# %% tags=["whiteboard"]
records = split("roman", 4, 1, seed=0)[0]
ids, labels = encode_records(records, ByteTokenizer())
counted = [row[row != -100][:-1] for row in labels]  # without the end token
assert [ByteTokenizer().decode(row) for row in counted] == [target for _, target in records]

# %% [markdown]
# **Evidence.** `encode_records` in minilora/data/records.py.
#
# **They go on to ask.** Mean over tokens or over examples? Over counted tokens, here and in Hugging Face.
#
# **Wrong answers.** "The library masks the prompt for me": many do not unless asked. "Shift the labels for Hugging Face": then they are shifted twice.
#
# ## 24. What is in a saved adapter?
#
# **In 60 seconds.** A and B for every target, and the config that made them: rank, alpha, targets. Not the base: it is named, not copied. In PEFT: `adapter_model.safetensors` and `adapter_config.json`. On a base of other shapes PEFT raises an error; on another base of the same shapes it loads without a word and gives nonsense. (Here the file carries a fingerprint of its base and is refused.)
#
# **At the whiteboard.** $\mathrm{bytes} = 2 \sum r(\mathrm{in} + \mathrm{out})$ at 16 bits: GPT-3, r = 4, q and v: 37.7 MB ("35 MB" in the paper, against 350 GB)

# %% tags=["whiteboard"]
assert 2 * 96 * 2 * 2 * 4 * 12288 == 37_748_736
assert 2 * 175e9 == 350e9
assert round(350e9 / 37_748_736, -2) == 9_300  # "10,000 times smaller"

# %% [markdown]
# **Evidence.** `save_adapter` and `load_adapter` in minilora/adapters/state.py; Q22. With a model of 135 million parameters, there and back through PEFT: [08, section 7](08_a_real_model.ipynb).
#
# **They go on to ask.** Keys? `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`.
#
# **Wrong answers.** "The merged weights": then it is a model, not an adapter.
#
# # E. Memory at the whiteboard
#
# ## 25. What does it take to fine-tune a 7B model?
#
# **In 60 seconds.** Full fine-tuning in mixed precision with Adam: 2 bytes for the weight, 2 for the gradient, 4 + 4 for the moments and 4 for the master copy: 16 bytes per parameter, 112 GB. LoRA: 14 GB of frozen 16-bit weights, and 16 bytes for each adapter number: 20 million at r = 8 on all linear
# layers, 0.32 GB; 40 million at r = 16, 0.64 GB. QLoRA: 3.6 GB of weights in 4.127 bits, and the same adapter. To all three come activations. They depend on batch and length first, and on which layers are adapted second (Q28).
#
# **At the whiteboard.** $7 \cdot 16 = 112$ GB; $7 \cdot 2 = 14$ GB; $7 \cdot 4.127 / 8 = 3.6$ GB

# %% tags=["whiteboard"]
full, lora = 7e9 * 16 / 1e9, 7e9 * 2 / 1e9
qlora = 7e9 * (4 + 8 / 64 + 32 / (64 * 256)) / 8 / 1e9
adapter = 32 * 16 * (4 * (4096 + 4096) + 3 * (4096 + 11008))  # r = 16 on all linear layers
assert (full, lora, round(qlora, 1)) == (112, 14, 3.6)
assert adapter == 39_976_960 and round(16 * adapter / 1e9, 2) == 0.64

# %% [markdown]
# **Evidence.** [05](05_double_quantization.ipynb) counts the bits. Here 7B is 7.0 billion, while Llama 7B has 6.74, hence the 108 GB of the two minutes. More exactly: the 6.48 billion weights of Llama 7B's linear layers take 3.34 GB in NF4, embedding and head in 16 bits 0.52, together 3.87 GB.
#
# **They go on to ask.** QLoRA's paper measures 5,048 MB for the 7B base. Why? Embedding and head explain 3.87 GB; what the other 1.2 GB are, the paper does not say. And its 26 MB of LoRA weights? 0.2 % of the weights, as it says; not r = 64 on all layers, which would be 320 MB in 16 bits.
#
# **Wrong answers.** "7B parameters are 7 GB": at 8 bits. Forgetting Adam's moments and the master copy.
#
# ## 26. How did 65B fit on one 48 GB GPU?
#
# **In 60 seconds.** 16-bit weights alone are 130 GB; full fine-tuning takes more than 780 GB by QLoRA's count (12 bytes per parameter). In NF4 with double quantization they are 33.5 GB; without the second quantization they would be 36.6. The adapter with gradient, moments and master copy is 16 bytes per number: 3.2 GB at r = 16 on all linear layers, 12.8 GB at r = 64. Activations
# are held down by gradient checkpointing, and paged optimizers catch the peaks.
#
# **At the whiteboard.** $65 \cdot 4.127 / 8 = 33.5$ GB; saved by double quantization: $65 \cdot 0.373 / 8 = 3.03$ GB

# %% tags=["whiteboard"]
single, double = 32 / 64, 8 / 64 + 32 / (64 * 256)
assert round(65 * (4 + double) / 8, 1) == 33.5
assert round(65 * (single - double) / 8, 2) == 3.03
r64 = 80 * 64 * (4 * 2 * 8192 + 3 * (8192 + 22016))  # 80 layers of width 8192
assert 65 * 12 == 780 and round(16 * r64 / 1e9, 1) == 12.8

# %% [markdown]
# **Evidence.** [05](05_double_quantization.ipynb), figure scale_memory.
#
# **They go on to ask.** Without double quantization? 36.6 GB: the 3 GB decide whether a longer sequence fits.
#
# **Wrong answers.** "65 times 4 / 8 = 32.5 GB": without scales. "The adapter is negligible": not at r = 64 with its optimizer state. "Four bits make training four times faster": no.
#
# ## 27. And GPT-3?
#
# **In 60 seconds.** Hu et al. report training memory falling from 1.2 TB to 350 GB, which is about the 16-bit weights: gradients and moments are gone. The checkpoint falls from 350 GB to 35 MB at r = 4 on q and v. With 4-bit weights it would be 90 GB, by arithmetic; the paper did not do that.
#
# **At the whiteboard.** $175 \cdot 2 = 350$ GB; $175 \cdot 4.127 / 8 = 90$ GB

# %% tags=["whiteboard"]
assert 175 * 2 == 350
assert round(175 * (4 + 8 / 64 + 32 / (64 * 256)) / 8) == 90

# %% [markdown]
# **Evidence.** Hu et al. 2021, section 4.2; Q24 for the checkpoint.
#
# **They go on to ask.** Did it train faster? 25 % on GPT-3, they report: the frozen weights' gradients are not computed.
#
# **Wrong answers.** "LoRA makes it 10,000 times cheaper": the *adapter* is 10,000 times smaller; memory fell to a third.
#
# ## 28. LoRA's parameters are few. Where does the rest of the memory go?
#
# **In 60 seconds.** Into activations: what the forward keeps for the backward. The gradient still has to pass through every layer, so attention's and the MLP's intermediate results stay. A frozen linear layer without an adapter does not keep its input,
# which saves some; LoRA on all layers keeps every input again, for dA, and its thin h besides: as much as full fine-tuning. Gradient checkpointing keeps each block's input (here, of long texts, attention's output as well) and computes the rest twice.
#
# **At the whiteboard.** Measured here on the base, a batch of 16 x 128 bytes:

# %% tags=["measured"]
rows = []
for name, targets, checkpointed in [
    ("full fine-tuning", None, False),
    ("LoRA r = 8 on all linear layers", "all-linear", False),
    ("LoRA r = 8 on q and v", ("q_proj", "v_proj"), False),
    ("the same with checkpointing", ("q_proj", "v_proj"), True),
]:
    model = load_base()
    if targets:
        apply_lora(model, LoraConfig(r=8, target_modules=targets), rng=rng)
    if checkpointed:
        checkpoint_blocks(model)
    _, backward = model.loss(tokens[:, :-1], tokens[:, 1:])
    kept = saved_bytes(backward, model)  # every array that the closures hold, each once
    trained = sum(p.value.nbytes for p in model.parameters() if p.trainable)
    rows.append([name, 3 * trained / 1e6, kept / 1e6])
activations = {row[0]: row[2] for row in rows}

# %% tags=["rtol=0.1"]
table(["MB", "gradients and moments", "activations kept"], rows)

# %% [markdown]
# **Evidence.** The table: LoRA cuts gradients and moments at once, activations not at all where layers are adapted; checkpointing does that. (Between forward and backward; during backward one block at a time is computed again.) Figure training_memory counts six methods beside the formula, which is exact in every case, with the measured peak, and computes 7B ([06](06_qlora.ipynb)).
#
# **They go on to ask.** What does checkpointing cost? One more forward, a third more time at most; on the shape of SmolLM2, 512 tokens, 24 % with one thread and 27 % with two, where PEFT pays 35 and 26 (medians of nine turns of a noisy machine, benchmarks/README.md): the last block is not run again, nor what only the output needs, nor, in long texts, attention itself. Of 561 MB of activations 126 remain.
#
# **Wrong answers.** "LoRA saves 99.9 % of the memory": of the trainable part.
#
# # F. Four bits
#
# ## 29. Derive NF4.
#
# **In 60 seconds.** Weights are about normal, so take quantiles of N(0, 1): a code of quantiles is used evenly. Zero must be exact, and 16 is even, so build two halves: 8 positive values and 7 negative ones from evenly spaced probabilities between an offset and 1/2,
# drop one of the two zeros, and divide by the largest. The offset, 0.9677083, cuts the tails, since the quantile of 1 is infinite. A weight is divided by its block's absmax and rounded to the nearest value.
#
# **At the whiteboard.** $q = \Phi^{-1}(\mathrm{linspace}(o, \tfrac12, 9))$ and its mirror with 8, $\; o = \tfrac12 [(1 - \tfrac1{32}) + (1 - \tfrac1{30})]$

# %% tags=["whiteboard"]
o = ((1 - 1 / 32) + (1 - 1 / 30)) / 2
positive, negative = norm.ppf(np.linspace(o, 0.5, 9)), -norm.ppf(np.linspace(o, 0.5, 8)[:-1])
nf4 = np.sort([*positive, *negative]) / positive.max()
assert np.allclose(nf4, codebook("nf4"), atol=1e-6) and len(nf4) == 16

# %% [markdown]
# **Evidence.** [04](04_nf4.ipynb), step by step, bit for bit.
#
# **They go on to ask.** Why not the paper's equation (4)? At i = 0 it asks for the quantile of 0: minus infinity.
#
# **Wrong answers.** "16 equal-probability bins": not after absmax scaling (31). "Learned values": they are computed once, from the normal law alone.
#
# ## 30. QLoRA's quantization is called symmetric. Is it?
#
# **In 60 seconds.** The scale is: one absmax for each block, no zero point, and -1, 0, 1 are all in the code. The grid is not: 7 negative values, 0, and 8 positive ones at other places. So within limits.
#
# **At the whiteboard.** $w \approx \mathrm{absmax} \cdot q[c]$: a scale, no offset; but $q \ne -q$ reversed

# %% tags=["whiteboard"]
q = codebook("nf4")
assert ((q < 0).sum(), (q == 0).sum(), (q > 0).sum()) == (7, 1, 8)
assert q[0] == -1 and q[-1] == 1 and not np.allclose(q, -q[::-1])
assert np.array_equal(codebook("int4"), -codebook("int4")[::-1])

# %% [markdown]
# **Evidence.** The lines above; [04](04_nf4.ipynb).
#
# **They go on to ask.** Why not 8 and 8 without a zero? Padding and pruned weights must stay exactly zero.
#
# **Wrong answers.** "Symmetric, so int4 by another name." "Asymmetric, so it has a zero point."
#
# ## 31. Is NF4 information-theoretically optimal?
#
# **In 60 seconds.** Not in the sense claimed. Equal use of the bins would need weights that are normal *after* scaling; but divided by their block's largest, they are not, and the law depends on the block size (Yoshida 2023). At block 64 the bins are used 5 to 1 unevenly. Nor is equal use the same as least error. In *mean absolute error* NF4 is
# within a tenth of a percent of the best code that keeps -1, 0 and 1; in *RMS error* about 3 % are to gain, and about 7 % with a signed absmax (BOF4, arXiv 2505.06653).
#
# **At the whiteboard.** How often the most used bin comes up, as a multiple of the least used, and an entropy below 4 bits:

# %% tags=["whiteboard"]
codes = quantize(rng.standard_normal(2**18).astype(np.float32), "nf4", block_size=64).codes()
use = np.bincount(codes, minlength=16) / codes.size
assert 4 < use.max() / use.min() < 7
assert 3.8 < -(use * np.log2(use)).sum() < 3.95  # bits, of 4

# %% [markdown]
# **Evidence.** Figures codebooks and optimal_code (five seeds); [04, section 6](04_nf4.ipynb).
#
# **They go on to ask.** And AF4? Its published values follow from medians under the scaled law, with zero put in afterwards; its error at block 64 is larger than NF4's here, in both measures.
#
# **Wrong answers.** "Yes, the paper proves it." It argues from equal use.
#
# ## 32. How much better is NF4 than int4 and FP4?
#
# **In 60 seconds.** On normal weights in blocks of 64, about 15 % less RMS error than symmetric int4. bitsandbytes' FP4 is worse than int4. Affine int4, with a minimum and a maximum per block, is smaller up to block 64, but stores twice the scales: at equal bits NF4's error is smaller except in blocks of 16. On uniform data int4 wins. In a model's loss NF4 is better than symmetric int4; against affine int4 that is undecided (the tables below). In QLoRA's
# table 2, mean perplexity was 34.34 with int4 and 27.41 with NF4.
#
# **At the whiteboard.** RMS error over the RMS of the weights, on N(0, 1), block 64:

# %% tags=["whiteboard"]
normal = numbers("quantization_error")["error"]["normal"]
rms = {code: found["rms"]["mean"][2] for code, found in normal.items()}  # blocks of 64
order = ["int4_affine", "nf4", "af4", "int4_full", "int4", "fp4"]
assert [code for code in sorted(rms, key=rms.get) if code in order] == order
assert 0.8 < rms["nf4"] / rms["int4"] < 0.9

# %% [markdown]
# The base with its linear layers in each code, on 96 held-out windows of 256 bytes, each compared with itself in floating point:

# %%
held = numbers("quantized_loss")
rows = []
four_bits = [
    (code, block) for code in ("nf4", "int4_affine", "int4", "fp4") for block in (32, 64, 256)
]
for code, block in [*four_bits, ("nf3", 64), ("nf2", 64)]:
    found = held["settings"][code if block == 64 else f"{code}, {block}"]
    change = f"{found['change']:+.4f} ± {found['standard_error']:.4f}"
    rows.append(
        [code.upper() if code in ("nf3", "nf2") else label(code), block, found["bits"], change]
    )
print(f"in floating point: {held['float']['loss']:.3f} nats per byte")
table(["linear layers in", "block size", "bits per weight", "change, its standard error"], rows)

# %% [markdown]
# NF4 is better than symmetric int4 at each size of block. At five bits per weight NF4 in blocks of 32 is also ahead of affine int4 in blocks of 64. But affine int4 in blocks of 256, at 4.25 bits, is behind no NF4: undecided. And SmolLM2, with 135 million parameters, on twelve windows of 256 tokens (its file was in affine int4, in blocks of 32, before):

# %%
real = measured("smollm2")["loss"]
rows = []
for code in ("nf4", "nf4, 32", "int4_affine", "int4"):
    found = real[code]
    change = f"{found['change']:+.3f} ± {found['standard_error']:.3f}"
    rows.append([label(found["code"]), found["block_size"], found["bits"], change])
table(["all layers in", "block size", "bits per weight", "change, nats per token"], rows)

# %% [markdown]
# **Evidence.** [04, sections 4 and 5](04_nf4.ipynb); figures quantization_error, error_by_bits and quantized_loss. One base; the standard errors are over windows. What training wins back ([06, section 5](06_qlora.ipynb), figure qlora): of the 0.80 that NF2 takes on the base's own text nine tenths in 100 steps on such text; on two tasks that were new to it no code is behind float32 beyond the spread of five seeds, and on one of them NF2 is ahead in every seed. SmolLM2: [08, section 4](08_a_real_model.ipynb), with a trap for those who measure on files that were quantized before.
#
# **They go on to ask.** And fine-tuning after it? It recovers most of the loss; QLoRA's table 4: NF4 + DQ 53.1, BF16 53.0 MMLU.
#
# **Wrong answers.** "NF4 is always best": source and block size decide. "Affine int4 beats NF4": in error, at unequal bits.
#
# ## 33. Does NF4 help with outliers?
#
# **In 60 seconds.** The blocks do. An outlier stretches the scale of everything that shares it: with one scale for a tensor all weights fall into a few bins near zero; with blocks of 64 only its 63 neighbors suffer. NF4's dense middle softens a moderate outlier (figure outliers: up to 30 standard deviations its neighbors' error is smaller than int4's in all five seeds) and does nothing against a large one (at 100 both are equal).
#
# **At the whiteboard.** $\mathrm{step} \propto \max |w|$ over all that share a scale

# %% tags=["whiteboard"]
w = rng.standard_normal(4096).astype(np.float32)
w[0] = 100
blocks, tensor = (quantize(w, "nf4", block_size=b).dequantize() - w for b in (64, 4096))
assert np.abs(tensor[64:]).mean() > 7 * np.abs(blocks[64:]).mean()

# %% [markdown]
# **Evidence.** [04](04_nf4.ipynb), outliers: inside and outside the block, int4 and NF4, RMS and mean absolute error, 5 seeds.
#
# **They go on to ask.** What else is done? Smaller blocks, and rotations that spread an outlier over many weights (figure rotation: .151 to .088 with a loud column, no gain without). LLM.int8() keeps outlier *features of the activations* in 16 bits: another problem than outliers among weights.
#
# **Wrong answers.** "NF4's sparse ends catch outliers": the ends are +-1, whatever the outlier's size.
#
# ## 34. Derive 0.5 and 0.127 bits.
#
# **In 60 seconds.** One 32-bit scale for 64 weights: half a bit per weight. Double quantization stores it in 8 bits, with one 32-bit scale for 256 of them: 8/64 + 32/(64 x 256) = 0.127. Small tensors pay more: one of 64 x 64 has 64 scales in one second-level
# block, and keeps its offset: .1406 bits.
#
# **At the whiteboard.** $\frac{32}{64} = 0.5, \qquad \frac{8}{64} + \frac{32}{64 \cdot 256} = 0.127$

# %% tags=["whiteboard"]
small, large = (rng.standard_normal((n, n)).astype(np.float32) for n in (64, 1024))
bits = {w.shape[0]: quantize(w, double_quant=True).bits_per_param - 4 for w in (small, large)}
assert quantize(large).bits_per_param == 4.5
assert bits[64] == 0.140625 and 8 / 64 + 32 / (64 * 256) < bits[1024] < 0.1271

# %% [markdown]
# **Evidence.** [05](05_double_quantization.ipynb), figure scale_memory: formula and counted bytes.
#
# **They go on to ask.** And 16-bit scales instead of all this? 0.25 bits, simpler, twice as much.
#
# **Wrong answers.** "0.127 bits per parameter in all": beside the 4. "Double quantization quantizes the weights twice": the scales.
#
# ## 35. Do the scales become FP8?
#
# **In 60 seconds.** The paper says FP8. bitsandbytes subtracts the scales' mean and uses an 8-bit *dynamic map*: 256 values, dense near zero, over seven decades. On the base and on normal weights the scales are much alike, so the choice hardly matters: the error of the weights rises by less than 0.2 % with any of them, least with linear int8. With outliers among the weights linear int8 costs 1.8 %, the dynamic map 0.2 %.
#
# **At the whiteboard.** $\mathrm{scale} \approx \mathrm{map}[c] \cdot \mathrm{absmax}_2 + \mathrm{offset}$

# %% tags=["whiteboard"]
error = numbers("scale_memory")["error"]
assert all(1 <= error[code] / error["none"] < 1.002 for code in ("dynamic", "int8", "e4m3"))
q = quantize(large, double_quant=True)
assert np.allclose(q.scales, quantize(large).scales, rtol=0.05)

# %% [markdown]
# **Evidence.** [05](05_double_quantization.ipynb): the maps drawn, the error of each (figure scale_codecs, blocks of 64).
#
# **They go on to ask.** Why subtract the mean? Absmax values are all positive; centred, both halves of a signed map are used.
#
# **Wrong answers.** "E4M3, as in the paper": not in bitsandbytes (dynamic map), nor in torchao (int8).
#
# ## 36. How does a gradient get through four-bit weights?
#
# **In 60 seconds.** The codes are constants: no gradient is taken for them, and no straight-through trick is needed. The input's gradient is dy times the decoded weight; it flows on to earlier layers and to A and B.
#
# **At the whiteboard.** $dx = dy\; \mathrm{decode}(W) + s\, (dy\, B) A$. The whole 4-bit model with LoRA passes the gradient check:

# %% tags=["whiteboard"]
model = load_base(dtype=np.float64)
quantize_linears(model, "nf4", double_quant=True)
apply_lora(model, LoraConfig(r=2, target_modules=("v_proj",)), rng=rng)
report = gradcheck(lambda ids: model.loss(ids, ids), tokens[:1, :9], rng=rng, module=model)
assert report.worst < 1e-6

# %% [markdown]
# **Evidence.** The lines above; `QuantizedLinear` in minilora/adapters/quantized.py.
#
# **They go on to ask.** When is a straight-through estimator needed? When the quantized weights themselves are trained.
#
# **Wrong answers.** "Gradients are four-bit, too."
#
# ## 37. Can you merge a LoRA into a 4-bit base?
#
# **In 60 seconds.** Decode, add, keep it in 16 bits: exact. Quantizing the sum again rounds, and whether the update survives depends on its size. Decoded weights lie exactly on the code's values, so at |dW|/|W| = .01 nearly every one is rounded back and the base is left; at .1 five sixths of the update
# are there, at .3 all. A trained adapter is usually large: ours have about .5, and lost 1 to 6 points of exact answers. If the original weights are at hand, a small update survives there, even when their sum is quantized; a large one does worse, because it had learned to make up for the errors of the base it was trained on. So measure; or serve the 4-bit base with the adapter beside it.
#
# **At the whiteboard.** Share kept: the regression coefficient of $Q(W_4 + \Delta W) - W_4$ on $\Delta W$

# %% tags=["whiteboard"]
base = quantize(large).dequantize()
update = rng.standard_normal(large.shape).astype(np.float32)
made = {size: quantize(base + size * update).dequantize() - base for size in (0.01, 0.1, 0.3)}
kept = {size: np.sum(dW * update) / np.sum(size * update**2) for size, dW in made.items()}
assert kept[0.01] < 0.05 < 0.8 < kept[0.1] < 0.9 < 0.97 < kept[0.3]

# %% [markdown]
# **Evidence.** The lines above; figure merge_into_4bit and [06, section 6](06_qlora.ipynb): NF4 with double quantization, roman, r = 8, five seeds. Trained for 300 steps, exact (median, and all seeds): beside the base 87.5 (85.2 to 95.3) %; merged and quantized again 85.2 (79.3 to 94.5); onto the original weights, in float, 84.4 (80.5 to 93.4), then quantized 78.1 (77.3 to 91.0). Small adapters (100 steps at a low rate, |dW|/|W| = .010): of the fall in loss .02 to .03 is kept when quantized again, .96 to .99 on the original weights, quantized.
#
# **They go on to ask.** Why is an error norm misleading? At |dW|/|W| = .1 the new error is .78 of the update's norm, which sounds like ruin; but it is noise spread over all weights, and 84 % of the update are there (a normal matrix and an update of full rank, as on the whiteboard; in the figure, the base's matrices and updates of rank 8, it is 83 %).
#
# **Wrong answers.** "Merging is always lossless." "Merging into four bits destroys the adapter": only a very small one. "Merge a QLoRA adapter onto the 16-bit original": it was trained on other weights, the decoded ones.
#
# # G. When something goes wrong
#
# ## 38. Out of memory. What do you do?
#
# **In 60 seconds.** Find out what fills it. Weights: four bits. Activations: gradient checkpointing first, it is exact; then smaller batches with accumulation, then shorter sequences. Optimizer state: it is small with LoRA already. Reducing r comes last.
#
# **At the whiteboard.** memory = weights + 3 x trained + activations(batch, length); checkpointing keeps the blocks' inputs:

# %% tags=["whiteboard"]
weights = sum(p.value.nbytes for p in load_base().parameters()) / 1e6
assert weights < 4 < activations["LoRA r = 8 on q and v"]
assert activations["the same with checkpointing"] < 0.4 * activations["LoRA r = 8 on q and v"]

# %% [markdown]
# **Evidence.** The table of Q28; figure trouble, in [07, section 3](07_methods_and_hyperparameters.ipynb).
#
# **They go on to ask.** Does checkpointing change the result? No, bit for bit the same gradients (tests/nn/test_checkpointing.py).
#
# **Wrong answers.** "Smaller r": from 16 to 8 it saves 0.3 GB on a 7B model, with all its optimizer state.
#
# ## 39. Nothing is learned. What do you check?
#
# **In 60 seconds.** Is anything trainable, and did it move? Then: are labels masked so that something counts; is the rate high enough for LoRA; did the targets match any layer; is B still zero; is the adapter active in evaluation; is the end token learned. Overfit ten examples: if that fails, it is a bug and no hyperparameter. Only then: more rank, more layers, more data.
#
# **At the whiteboard.** After one step: $|B| > 0$, count of counted labels > 0, loss on ten examples falls

# %% tags=["whiteboard"]
model, ten = load_base(), encode_records(split("dates", 10, 1, seed=0)[0], ByteTokenizer())
apply_lora(model, LoraConfig(r=8, target_modules="all-linear"), rng=rng)
loss = Trainer(model, TrainingConfig(30, 0.006), EpochBatches(*ten, 10, seed=0)).train()["loss"]
moved = [layer.lora_B.value.any() for layer in lora_layers(model).values()]
assert loss[-1] < 0.5 * loss[0] and all(moved)

# %% [markdown]
# **Evidence.** The lines above; [02, section 3](02_lora.ipynb) for the stuck start; figure trouble ([07, section 3](07_methods_and_hyperparameters.ipynb)) for too few layers; figure capacity ([03, section 5](03_rank.ipynb)) for too little rank.
#
# **They go on to ask.** The loss falls, but the answers are bad? Wrong template, wrong stop token, sampling too hot, or a metric that the loss does not see.
#
# **Wrong answers.** "Raise r first." First let it train longer: a small rank is slow before it is small (Q8).
#
# ## 40. The loss diverges. What do you do?
#
# **In 60 seconds.** Lower the rate; add warm-up; clip gradients; lower alpha, too, if it is high for the rank (another knob: Q9). Look at the batch on which it jumped. At high rank, mind that alpha = r needs a lower rate. In 16 bits, look for overflow. If it does not diverge but merely does not converge yet, that is another case: then more steps, or a higher rate, help.
#
# **At the whiteboard.** The same rank and alpha at twice the best rate, from our sweep:

# %% tags=["whiteboard"]
found = numbers("rate_by_rank")["rules"]["alpha = r"]["64"]
loss = {rate: sorted(runs)[1] for rate, runs in zip(found["rates"], found["loss"], strict=True)}
assert loss[0.00424] > 1.4 * loss[0.00212]  # nats per byte, r = 64

# %% [markdown]
# **Evidence.** Figure rate_by_rank, at Q12 (three seeds). In figure trouble, r = 8 at a rate of 0.1 (its loss rises above where it began), five seeds: a lower rate halves the loss in every seed; warm-up, alone or with clipping, is lower with each seed, within their spread; clipping alone is not.
#
# **They go on to ask.** What does clipping do? It scales the whole gradient to a norm; with Adam it mostly damps single bad batches.
#
# **Wrong answers.** "Train longer": for slow convergence yes, for divergence no. (The article's heading is 模型不收敛, "does not converge", where its "more epochs" can help.)
#
# ## 41. How do you know that a hand-written gradient is right?
#
# **In 60 seconds.** Compare it with central differences in float64, along random directions, through a random projection of the output. Not ones: errors that sum to zero hide from them. Not at B = 0: there many wrong gradients of A pass. Then compare with another implementation.
#
# **At the whiteboard.** $\langle \nabla f, v \rangle \approx \frac{f(x + hv) - f(x - hv)}{2h}$, error $\sim h^2 + 10^{-16}/h$

# %% tags=["whiteboard"]
gain = rng.standard_normal(5)
report = gradcheck(lambda x, gain: ops.rms_norm(x, gain, 1e-5), x, gain, rng=rng)
assert report.worst < 1e-6

# %% [markdown]
# **Evidence.** [01](01_backprop_by_hand.ipynb); the tests print the worst error of all checks; tests/parity compares with torch.
#
# **They go on to ask.** Why 1e-6 for h? There the two errors are about balanced.
#
# **Wrong answers.** "The loss falls, so the gradients are right."
#
# # H. Every claim, with its verdict
#
# The 29 claims that the article makes. Numbers come from the cells above, the committed figures or the runs named in the questions; where only a paper settles a claim, it is named.

# %% tags=["rtol=0.3"]
names = "scale_memory", "rank_fit", "rate_by_rank", "outliers", "merge_and_switch"
scales, rank_fit, sweep, outliers, switching = map(numbers, names)
bins, inner = (numbers("codebooks")[key] for key in ("nf4_unevenness", "inner_half"))
ten, hundred = (
    {
        code: np.median(places["outside"][outliers["sizes"].index(size)])
        for code, places in outliers["error"]["rms"]["tensor"].items()
    }
    for size in (10, 100)
)
matrices = numbers("quantization_error")["layers"].values()
wins = sum(row["nf4"] < row["int4"] for row in matrices)
lost = {
    code: f"{one['change']:+.4f} ± {one['standard_error']:.4f}"
    for code, one in numbers("quantized_loss")["settings"].items()
}
smol = {code: one for code, one in measured("smollm2")["loss"].items() if "change" in one}
real = {
    code: f"{one['change']:+.3f} ± {one['standard_error']:.3f}" for code, one in smol.items()
}
full_mb, all_mb, qv_mb, checkpointed_mb = activations.values()
times = switching["models"]
token = {name: each["token"] / times["base"]["token"] for name, each in times.items()}
claims = [
    [1, "only a low-rank bypass trains", "holds", "every frozen byte unchanged after training ([18](#q18))"],
    [2, "A Gaussian, B zero", "holds; PEFT draws A uniformly", "step 1: dA = 0, dB not; step 2: A moves (lesson 02, section 3); both zero: stuck"],
    [3, "merging costs no latency", "holds",
     f"one linear layer is left, equal outputs ([5](#q5)); a generated token, base 1: beside {token['LoRA beside']:.2f}, merged {token['LoRA merged']:.2f} (medians of 21 rounds, one machine, figure merge_and_switch)"],
    [4, "tasks switch by swapping B A", "holds",
     f"two adapters, bit-equal to each alone (lesson 02, section 5) and after {switching['switches']} switches (figure merge_and_switch, {len(switching['bits']['switched_equal'])} seeds)"],
    [5, "storage and compute fall", "within limits",
     f"gradients and moments fall; activations: {full_mb:.0f} MB full, {all_mb:.0f} LoRA on all linear layers, {qv_mb:.0f} on q and v ([28](#q28))"],
    [6, "QLoRA quantizes symmetrically", "holds (no zero point)", "NF4's grid itself is no mirror image: 7 negative, 0, 8 positive ([30](#q30))"],
    [7, "NF4 is optimal for normal weights", "nearly, in mean absolute error; not in RMS error",
     f"bins used {bins['normal']:.1f} : 1; MAE within 0.1 % of the best code; RMS: 3 % to gain, 7 % with signed absmax (5 seeds, [31](#q31))"],
    [8, "NF helps with outliers", "within limits",
     f"blocks contain it; one scale for all, RMS error of the others: at 10 sigma NF4 has {ten['nf4']:.2f} where int4 has {ten['int4']:.2f}, "
     f"at 100 {hundred['nf4']:.2f} and {hundred['int4']:.2f} (medians of 5 seeds, figure outliers)"],
    [9, "int4 even, NF4 dense in the middle", "holds", f"within +-0.5: {inner['nf4']:.0%} of NF4's values, {inner['int4']:.0%} of int4's (figure codebooks)"],
    [10, "NF4 loses less than int4", "in RMS error at equal bits, except in blocks of 16; in loss better than symmetric int4, against affine undecided",
     f"RMS smaller than symmetric int4's on {wins} of {len(matrices)} matrices; loss {lost['nf4']}, symmetric int4 {lost['int4']}, affine int4 in blocks of 256 {lost['int4_affine, 256']} "
     f"(96 windows, paired, [32](#q32)); SmolLM2, nats per token: NF4 {real['nf4']}, affine int4 in blocks of 64 {real['int4_affine']} "
     "(12 windows, paired; its file was four-bit before; [08, section 4](08_a_real_model.ipynb))"],
]  # fmt: skip
table(["claim", "what is said", "verdict", "shown by"], claims)

# %% tags=["rtol=0.3"]
codecs = numbers("scale_codecs")
at_64 = codecs["block_sizes"].index(64)
weights = {
    (source, code): np.array(found["weights"][at_64])
    for source, codes in codecs["sources"].items()
    for code, found in codes.items()
}
added = {
    (source, code): np.median(error / weights[source, "float32"]) - 1
    for (source, code), error in weights.items()
}
large_bits, small_bits = (scales["counted"][name]["double"] for name in ("2048x2048", "64x64"))
steps = rank_fit["budgets"]
loss = {r: [sorted(seeds)[1] for seeds in runs] for r, runs in rank_fit["loss"].items()}
stored = numbers("capacity")["ranks"].values()
bits = [max(np.median(seeds) for seeds in found["bits"]) for found in stored]
best = {
    rule: [found["best"]["rate"] for found in ranks.values()]
    for rule, ranks in sweep["rules"].items()
}
ratios = [
    rate / sweep["full_linears"]["best"]["rate"] for rates in best.values() for rate in rates
]
apart = {rule: max(rates) / min(rates) for rule, rates in best.items()}
middle = {a: sorted(losses)[1] for a, losses in sweep["product"]["loss"].items()}
first = {
    (optimizer, rule): sorted(sizes[0])[1] / sorted(sizes[-1])[1]
    for optimizer in ("adam", "gradient descent")
    for rule, sizes in sweep["first_step"][optimizer].items()
}
long = numbers("rank_curves")
ends = {
    r: np.median([run[-1] for run in found["loss"]]) for r, found in long["methods"].items()
}
twice = {
    r: np.median([run[-1] for run in found["loss"]]) for r, found in long["longer"].items()
}
right = {
    r: np.median([run[-1] for run in found["exact"]]) for r, found in long["longer"].items()
}

# %% tags=["rtol=0.3"]
layers = numbers("target_modules")
spent = {name: np.median(found["loss"]) for name, found in layers["targets"].items()}
few = {name: np.median(found["loss"]) for name, found in layers["few"]["targets"].items()}
claims = [
    [11, "0.5 bit before, 0.127 after", "holds as a limit", f"counted {large_bits:.4f} on 2048x2048, {small_bits:.4f} on 64x64 ([34](#q34))"],
    [12, "the scales become FP8", "holds for the paper", "bitsandbytes: a dynamic map after subtracting the mean; NF4's error in blocks of 64 grows by "
     f"{added['base', 'dynamic']:.2%} on the base ({added['base', 'int8']:.2%} with int8), {added['normal', 'dynamic']:.2%} on normal weights ({added['normal', 'int8']:.2%}), "
     f"with outliers among them {added['outliers', 'dynamic']:.2%} ({added['outliers', 'int8']:.2%}; medians of {codecs['samples']['base']} matrices and of {codecs['samples']['normal']} seeds, figure scale_codecs, [35](#q35))"],
    [13, "2 r d instead of d²", "holds", "counted: r (in + out) ([8](#q8))"],
    [14, "small r underfits, large r nears full", "speed and capacity are two things",
     f"roman, r = 1 after {steps[0]}, {steps[1]}, {steps[2]} steps: {', '.join(f'{v:.2f}' for v in loss['1'])}; r = 64: {', '.join(f'{v:.2f}' for v in loss['64'])}; "
     f"full, same layers: {', '.join(f'{v:.2f}' for v in loss['full_linears'])} "
     f"(3 seeds); in the end r = 1 {ends['1']:.2f} after {long['steps']}, {twice['1']:.3f} after twice that ({right['1']:.0%} exact), r = 64 {ends['64']:.3f} and {twice['64']:.3f} ({right['64']:.0%}; 5 seeds, figure rank_curves); "
     f"capacity: at least {min(bits):.1f} to {max(bits):.1f} bits per parameter, at two sizes ([8](#q8))"],
    [15, "smaller r at fixed alpha acts stronger", "holds",
     f"first update, r = 1 over r = 32: {first['adam', 'alpha = 32']:.1f} times with Adam, {first['adam', 'rsLoRA']:.2f} with Adam and rsLoRA, "
     f"{first['gradient descent', 'alpha = 32']:.0f} with gradient descent (3 seeds, figure rate_by_rank)"],
    [16, "alpha = r; alpha = 2 to 4 r", "the article contradicts itself; neither is a law",
     f"at one product with the rate: losses {', '.join(f'{v:.2f}' for v in middle.values())} for alpha = {', '.join(middle)} (3 seeds): two knobs ([9](#q9)); "
     f"best rates of r = 1 to 64 are {apart['alpha = r']:.1f} times apart at alpha = r, {apart['alpha = 32']:.1f} at alpha = 32"],
    [17, "q and v; too many targets overfit", "q and v are not the best; the second not here",
     f"one budget of parameters, 5 seeds: {', '.join(f'{name} {loss:.2f}' for name, loss in sorted(spent.items(), key=lambda item: item[1]))}; "
     f"{layers['few']['n_train']} records, r = {layers['few']['r']}, 5 seeds, on new records: {', '.join(f'{name} {loss:.2f}' for name, loss in few.items())} ([10](#q10), figure target_modules)"],
    [18, "freezing saves; part may be thawed", "holds", "4 numbers per trained parameter, 1 per frozen one ([11](#q11))"],
    [19, "LoRA's rate is larger", "holds", f"{min(ratios):.1f} to {max(ratios):.1f} times that of full fine-tuning of the same layers (3 seeds, 150 steps, figure rate_by_rank)"],
]  # fmt: skip
table(["claim", "what is said", "verdict", "shown by"], claims)

# %% tags=["rtol=0.3"]
held_out = [e["loss"] for e in small_set["eval"]]
small, few_records = numbers("finetune_defaults"), numbers("small_data")
sides = {"default": few_records["default"], "full": few_records["full"]} | {
    f"{knob} {side['value']:g}": side
    for knob, some in few_records["knobs"].items()
    for side in some
}
ends = {
    name: f"{np.median(side['loss']):.2f} ({np.median(side['exact']):.0%})"
    for name, side in sides.items()
}  # held-out loss, and the share of exact answers
methods = numbers("methods")
compared = [
    f"{name} {cost['parameters'] / 1000:.0f}k numbers, {sum(cost['memory'].values()) / 1e6:.0f} MB, "
    f"{cost['milliseconds']:.0f} ms for a step, "
    f"loss {np.median(methods['records']['roman'][name]['loss']):.2f}"
    for name, cost in methods["costs"].items()
    if name in ("full", "LoRA", "bottleneck", "prefix", "prompt")
]
large = numbers("batch_size")
batch_loss = {
    method: ", ".join(f"{np.median(side['loss']):.2f}" for side in by_size)
    for method, by_size in large["equal_samples"].items()
}
trouble = numbers("trouble")
mb = {
    name: sum(cells[-1]["counted"].values()) / 1e6 for name, cells in trouble["memory"].items()
}
kinds = ("rank and targets", "rate too low", "divergence", "data", "too few steps")
last = {
    name: f"{np.median(run['loss'][-1]):.2f}"
    for kind in kinds
    for name, run in trouble[kind].items()
}
starts = numbers("trainable_alpha")["starts"]
medians = {
    alpha: [np.median(side["loss"]) for side in sides.values()]
    for alpha, sides in starts.items()
}
learned = [(losses[0], min(losses[1:])) for losses in medians.values()]  # fixed comes first

# %% tags=["rtol=0.3"]
claims = [
    [20, "few epochs, faster than full; too many overfit", "neither here, at the best rates; in one run at a constant rate too many did",
     f"256 numerals, r = 32, 5 seeds: held-out loss (exact) after 4, 8, 16, 32 epochs {ends['epochs 4']}, {ends['epochs 8']}, {ends['default']}, {ends['epochs 32']}; full fine-tuning after 16 "
     f"{ends['full']} (figure small_data); 128 numerals at a constant rate, one seed: {min(held_out):.1f} at best, {held_out[-1]:.1f} in the end ([13](#q13))"],
    [21, "LoRA allows larger batches", "memory allows them; learning pays for them, and LoRA more, in nats, up to 64",
     f"{large['samples']:,} numerals in batches of {', '.join(map(str, large['sizes']))}, each at its best rate, 5 seeds: held-out loss of LoRA (r = 8) {batch_loss['LoRA']}, of full fine-tuning of the "
     f"same layers {batch_loss['full, same linears']} (figure batch_size); on language models LoRA Without Regret (2025) reports a gap that grows with the batch"],
    [22, "dropout .1 to .3", "not by itself: .1 changes nothing, .3 is no help; combined it can be part of a good recipe",
     f"256 numerals, 16 epochs, 5 seeds, each at its best rate: none {ends['default']}, .1 {ends['dropout 0.1']}, .3 {ends['dropout 0.3']} (figure small_data); 200 dates, many more epochs: "
     f"r = 32 with dropout .3 and decay .5 {np.mean(small['chosen']['exact']):.0%} exact on {len(small['chosen']['draws'])} draws, r = 8 without {np.mean(small['plain']['exact']):.0%} on {len(small['plain']['draws'])} (figure finetune_defaults)"],
    [23, "weight decay is an L2 penalty", "within limits",
     f"AdamW decouples it: it shrinks without any gradient ([16](#q16)); 256 numerals, 5 seeds: none {ends['default']}, decoupled .5 {ends['decay 0.5']} and 2 {ends['decay 2']}, "
     f"L2 .001 {ends['L2 0.001']} and .01 {ends['L2 0.01']}: two knobs (figure small_data)"],
    [24, "alpha may be trained", "possible, and of no use here",
     f"the base, from alpha = {', '.join(starts)}, each side at its best rate: fixed {', '.join(f'{loss[0]:.2f}' for loss in learned)}, "
     f"learned at the best of four rates of its own {', '.join(f'{loss[1]:.2f}' for loss in learned)}, within the spread of 5 seeds (figure trainable_alpha); one layer: 0.42 to 0.43 alike (3 seeds, lesson 07, section 4); "
     "B can express it; its gradient at step 1 is exactly 0 ([19](#q19))"],
    [25, "GPT-3 at r = 16: 1.4 M", "wrong", "75,497,472 on q and v; r = 1 alone is 4,718,592 ([20](#q20))"],
    [26, "full, LoRA, adapter, P-Tuning: what is trained", "holds",
     f"counted and trained on the base, roman, 120 steps, 5 seeds, each at its best rate: {'; '.join(compared)} (figure methods, also for dates and 256 records; lesson 07, section 1); large models: Hu et al. 2021, table 4 ([21](#q21))"],
    [27, "the workflow", "holds",
     "one cell from JSONL to a merged model ([22](#q22)); what is too long loses the start of its input (`encode_records`, `truncation`); with a held-out score and what the model says, [06, sections 4 to 7](06_qlora.ipynb); as four commands, README.md"],
    [28, "out of memory: batch, 4 bits, checkpoints", "holds; which helps most depends on what fills the memory",
     f"16 texts of 128 tokens, MB counted: LoRA {mb['LoRA']:.0f}, over NF4 {mb['NF4 LoRA']:.0f}, with checkpointing {mb['LoRA, checkpointing']:.0f}, both {mb['NF4 LoRA, checkpointing']:.0f}: "
     "activations lead on the base (figure trouble), weights on 7B (figure training_memory)"],
    [29, "poor fit: more r; no convergence: lower rate, more epochs", "more r: for what has to be stored; slow is not full; more epochs: holds; lower rate: against divergence only",
     f"numerals, 160 steps, 5 seeds: r = 1, 8, 64 {last['r = 1']}, {last['r = 8']}, {last['r = 64']} (speed: rank_curves); k alone {last['k_proj alone']}; rate .0005 {last['rate 0.0005']}, with 4 times the alpha {last['alpha 4 times']}; too high a "
     f"rate {last['rate 0.1']}, with warm-up and clipping {last['both']}; labels shifted twice {last['shifted twice']}; 40 and 480 steps {last['40 steps']} and {last['480 steps']}, 40 at a lower rate {last['40 steps, a quarter of the rate']} (figure trouble)"],
]  # fmt: skip
table(["claim", "what is said", "verdict", "shown by"], claims)

# %% [markdown]
# # I. The article's mistakes, by name
#
# 1. **The 1.4 million.** r = 16 on GPT-3's q and v are 75,497,472 parameters (Q20).
# 2. **alpha = r, and alpha = 2 to 4 r.** Both are recommended, in different places; neither is a law (Q9).
# 3. **Complex tasks: large r and a high rate.** At alpha = r, higher ranks want lower rates (Q12).
# 4. **A small r bears high rates less.** The reverse: at alpha = r the best rate of r = 1 is several times that of r = 64, three seeds (Q12).
# 5. **Few parameters memorize noise more easily.** The reverse: of random values for random keys r = 4 stores about four times the bits that r = 1 does (Q13).
# 6. **Little compute: smaller r, larger batch.** r hardly changes compute; a larger batch costs more of it per step (Q14).
# 7. **LoRA converges faster.** Not here: full fine-tuning is after 10 epochs where LoRA ends after 16 (medians; after 12 in every seed: Q13).
# 8. **Weight decay as an L2 penalty in the loss.** Not in AdamW (Q16).
# 9. **NF4 is optimal.** Its bins are used unevenly, and in RMS error other codes are better (Q31).
# 10. **Query and value layers as the choice, and BERT's `query_layer`.** All linear layers do better in QLoRA's tests (Q10); BERT's modules in Hugging Face are called `query` and `value`: a target `query_layer` matches nothing.
#
# Not mistakes, though often called so: B A above and W_A W_B below are the same thing for columns and for rows (in PEFT A (r, in) acts first and is random, B (out, r) is zero, Q4); "symmetric quantization" means a scale without a zero point, which is so (Q30); "FP8" is what QLoRA's paper says (Q35); "more epochs" stands under 模型不收敛, "does not converge", where it can help (Q40).
#
# ## Exercises

# %%
exercise("whiteboard_memory")

# %%
exercise("adapter_megabytes")

# %%
exercise("merged_into_four_bits")

# %%
exercise("the_wrong_one")

# %% [markdown]
# ## Summary
#
# 1. LoRA trains a thin bypass of a frozen base; QLoRA stores that base in about 4.13 bits per weight.
# 2. It saves gradients and optimizer state at once; activations only where a layer has no adapter; and little computing.
# 3. Rank is capacity, and at equal steps speed; alpha and the rate are two knobs; all linear layers are the safe choice.
# 4. NF4 is good, not optimal; blocks do most of the work; double quantization saves 0.373 bits.
# 5. Count at the whiteboard: r (in + out), 16 bytes per trained parameter, 4.127 bits per stored one.
#
# **Papers.** Hu et al. 2021 (arXiv 2106.09685) · Dettmers et al. 2023 (2305.14314) · Yoshida 2023 (2306.06965) · Kalajdzievski 2023 (2312.03732) · Biderman et al. 2024 (2405.09673) · Hayou et al. 2024 (2406.08447) · Schulman et al. 2025, *LoRA Without Regret* · Houlsby et al. 2019 (1902.00751) · Li & Liang 2021 (2101.00190)
#
# **Back to** [00 · start here](00_start_here.ipynb)
