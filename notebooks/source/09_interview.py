# %% [markdown]
# # 09 · The interview
#
# **Question.** What do interviewers ask about LoRA and QLoRA, what is a good answer, and which popular answers are wrong?
#
# **Assumes.** Lessons 00 to 05, or the courage to read the answers first.
#
# **Seconds.** About 50 on two cores, offline.
#
# 1. What they are: questions 1 to 7
# 2. The hyperparameters: 8 to 17
# 3. What trains: 18 to 21
# 4. The process: 22 to 24
# 5. Memory at the whiteboard: 25 to 28
# 6. Four bits: 29 to 37
# 7. When something goes wrong: 38 to 41
# 8. Every claim, with its verdict
# 9. The article's mistakes, by name
#
# The questions and the claims come from a widely copied Chinese article, *LoRA原理解析和实践* (2025). Each question has the answer for
# one minute, what to put on the whiteboard (an equation, or at most five lines of code that run here and in the tests), the evidence, what
# they ask next, and the wrong answers one hears.

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
from minilora.course import draw, numbers, style, table
from minilora.data import (
    ByteTokenizer,
    EpochBatches,
    encode_records,
    load_records,
    split,
)
from minilora.course.exercises import check
from minilora.nn import Linear, ops
from minilora.nn.module import Parameter
from minilora.training import evaluate

style()
rng = np.random.default_rng(0)
x, W, dy = (rng.standard_normal(shape) for shape in [(7, 5), (3, 5), (7, 3)])
A, B, s = rng.standard_normal((2, 5)), rng.standard_normal((3, 2)), 2.0
tokens = rng.integers(32, 127, (16, 129))  # a batch of bytes

# %% [markdown]
# # 1. What they are
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
# **They go on to ask.** Why low rank (3)? Why is B zero (4)? What does it save, and what not (28)?
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
# **Evidence.** [00](00_start_here.ipynb), [04](04_nf4.ipynb), [05](05_double_quantization.ipynb); `QuantizedLinear` in minilora/adapters/quantized.py.
#
# **They go on to ask.** Is it faster? No: decoding costs time, memory is what it saves. Is the adapter quantized? No.
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
# **Evidence.** The figure above: training reaches the bound at every rank. [03](03_rank.ipynb) on real tasks.
#
# **They go on to ask.** When is it not enough? Much new knowledge: LoRA learns less and forgets less (Biderman et al. 2024, arXiv 2405.09673).
#
# **Wrong answers.** "Weights have low rank": they do not; the *update* may. "Low rank is always enough": see question 8.
#
# ## 4. How are A and B initialized, and why?
#
# **In 60 seconds.** A random, B zero. The product is zero, so the first forward is that of the base, bit for bit. The gradient of B contains A x, which is not zero, so B moves in the
# first step; the gradient of A contains B, so A waits for the second step. If both were zero, both gradients would stay zero for ever. If both were random, training would start by undoing noise.
# The paper draws A from a Gaussian; PEFT draws it uniformly (Kaiming, ±1/sqrt(in)) unless told `"gaussian"`.
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
# **They go on to ask.** Could A be zero and B random? Yes, by symmetry of the argument. What is PiSSA? Start from the top singular vectors instead.
#
# **Wrong answers.** "Both are zero": stuck. "Both Gaussian": the model is damaged before it has seen any data.
#
# ## 5. Does LoRA slow inference down?
#
# **In 60 seconds.** Not if you merge: W + s B A is one matrix, and the model is as it was. Unmerged, each wrapped layer computes two more thin
# products, small in arithmetic but not free in launches and memory traffic. Merging is exact up to rounding for a dense base. For a 4-bit base it is
# not: see question 37.
#
# **At the whiteboard.** $W_{merged} = W + \frac{\alpha}{r} B A$

# %% tags=["whiteboard"]
layer.lora_B.value[:] = rng.standard_normal((3, 2))
dense = layer.merged()
assert type(dense) is Linear and np.allclose(dense(x)[0], layer(x)[0])

# %% [markdown]
# **Evidence.** [02, section 5](02_lora.ipynb); `benchmarks/merge.py` (8 x 128 tokens through our base, one thread): wrapped takes 1.11 of the base's time, merged 0.99, which is the base's within the noise. Token by token the bypass weighs more: 1.32.
#
# **They go on to ask.** How do you undo a merge? Keep the original: subtracting does not restore every bit.
#
# **Wrong answers.** "LoRA has no latency": only merged. Adapters in series (Houlsby) cannot be merged, LoRA can: that is the point.
#
# ## 6. How do you serve many tasks?
#
# **In 60 seconds.** One base in memory, one small adapter for each task, switched by name; or merged copies where latency counts most. An
# adapter of rank 16 is a thousandth of a large model, so hundreds fit beside it. In one batch, different rows can use different adapters if the serving system groups
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
# **They go on to ask.** What is in an adapter file? Question 24.
#
# **Wrong answers.** "Average the A and the B of two tasks": cross terms.
#
# ## 7. Is LoRA as good as full fine-tuning?
#
# **In 60 seconds.** On narrow tasks with enough rank on all layers, nearly. In our runs the gap closes as rank grows, at equal steps and each with its own swept learning rate,
# but on the hard task it does not vanish at r = 64. For large amounts of new knowledge full fine-tuning learns more and forgets more. A fair comparison sweeps the learning rate of each method.
#
# **At the whiteboard.** $\mathrm{capacity} \approx r (\mathrm{in} + \mathrm{out})$ summed over the targets, against what the task has to teach.

# %%
draw("rank_fit")

# %% [markdown]
# **Evidence.** The figure above, three seeds; Biderman et al. 2024; *LoRA Without Regret* (2025).
#
# **They go on to ask.** Which tasks need more rank? Question 8.
#
# **Wrong answers.** "LoRA always equals full fine-tuning", "LoRA regularizes, so it is always better": neither was found.
#
# # 2. The hyperparameters
#
# ## 8. What does the rank r do?
#
# **In 60 seconds.** r is the number of directions that the update has. Parameters and capacity grow linearly with it: r (in + out) for each layer. Below what the task needs, more rank
# lowers the loss; above, it changes little but still costs memory, and wants a lower learning rate. Start at 8 or 16 on all linear layers, double it, and stop when the held-out loss stops falling.
#
# **At the whiteboard.** $r(\mathrm{in} + \mathrm{out})$; for square layers $2 r d$ in the place of $d^2$

# %% tags=["whiteboard"]
model = load_base()
paths = apply_lora(model, LoraConfig(r=8, target_modules="all-linear"), rng=rng)
sizes = [layer.in_features + layer.out_features for layer in lora_layers(model).values()]
assert count_parameters(model)[0] == 8 * sum(sizes)

# %% [markdown]
# **Evidence.** The figures rank_fit (question 7) and rank_known (question 3); [03](03_rank.ipynb).
#
# **They go on to ask.** Is r = 64 on q and v better than r = 8 on all layers? Rarely: spread the budget (question 10).
#
# **Wrong answers.** "Complex tasks: large r *and* a high learning rate": in our sweep higher ranks want lower rates. "r must divide d": no.
#
# ## 9. What does alpha do, and how is it set?
#
# **In 60 seconds.** The update acts with alpha / r. At a fixed alpha a smaller rank acts more strongly. Two conventions go round, alpha = r and alpha = 2 r; both are fine, because alpha and the learning rate
# do nearly the same thing: fix one, sweep the other. For high ranks alpha / r stunts the update; rsLoRA divides by sqrt(r).
#
# **At the whiteboard.** $s = \alpha / r$, with rsLoRA $s = \alpha / \sqrt r$

# %% tags=["whiteboard"]
assert LoraConfig(r=8, lora_alpha=16).scaling(8, 16) == 2.0
assert LoraConfig(r=64, lora_alpha=16).scaling(64, 16) == 0.25
assert LoraConfig(r=64, lora_alpha=16, use_rslora=True).scaling(64, 16) == 2.0

# %% [markdown]
# Does the product decide? Eighty steps on dates, r = 8, first three runs with the same alpha times rate:

# %% tags=["rtol=0.3"]
training = encode_records(split("dates", 3072, 1, seed=0)[0], ByteTokenizer())
rows = []
for alpha, rate in ((8, 0.006), (16, 0.003), (32, 0.0015), (32, 0.006)):
    model = load_base()
    config = LoraConfig(r=8, lora_alpha=alpha, target_modules="all-linear")
    apply_lora(model, config, rng=np.random.default_rng(0))
    settings = TrainingConfig(max_steps=80, learning_rate=rate, warmup_steps=4)
    history = Trainer(model, settings, EpochBatches(*training, 32, seed=0)).train()
    rows.append([alpha, rate, round(alpha * rate, 3), float(np.mean(history["loss"][-10:]))])
table(["alpha", "learning rate", "product", "loss of the last ten steps"], rows)

# %% [markdown]
# **Evidence.** The table: at the same product nearly the same loss. [02, section 4](02_lora.ipynb).
#
# **They go on to ask.** And with Adam? Adam's step does not depend on the size of the gradient, so doubling alpha doubles the step in the update, as doubling the rate of B does.
#
# **Wrong answers.** The article says "start with alpha = r" in one place and "2 to 4 times r" in another: it contradicts itself, and neither is a law.
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
# **Evidence.** Hu et al. 2021, table 5; Dettmers et al. 2023, figure 2; here `target_modules="all-linear"`.
#
# **They go on to ask.** GPT-2's `c_attn`? It holds q, k and v in one matrix: adapting it adapts all three.
#
# **Wrong answers.** "q and v are best": the best *two of attention*, not the best choice. "Too many targets overfit": not in QLoRA's tests.
#
# ## 11. Why freeze the base, and may part of it train?
#
# **In 60 seconds.** A frozen weight needs no gradient, no optimizer moments and no saved input for its own gradient: that is the memory saved. And the base stays what it was for other tasks. It may be thawed in part (the last
# block, norms, new tokens' embeddings); then those parameters pay in full, and the adapter file must carry them.
#
# **At the whiteboard.** 4 numbers a trained parameter in AdamW (weight, gradient, two moments), 1 a frozen one

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
# **In 60 seconds.** Several times that of full fine-tuning; ten times is the rule of thumb. In practice 1e-4 to 5e-4 for 7B models where full fine-tuning uses 1e-5 to 5e-5; QLoRA used 2e-4 up to 13B and 1e-4 above. It depends on alpha / r and on
# the model's size, so sweep it, with warm-up and decay, and sweep it for the method you compare with as well.
#
# **At the whiteboard.** First step: $\Delta W = -s\,\eta\,\mathrm{sign}(dB)\, A$ with Adam: the rate acts through alpha / r and through A's size.

# %% tags=["whiteboard"]
best = numbers("lr_sweep")["best"]
ratios = [
    rate / found["full"] for found in best.values() for r, rate in found.items() if r != "full"
]
assert min(ratios) > 2 and max(ratios) < 20

# %%
draw("lr_sweep")

# %% [markdown]
# **Evidence.** The figure above: each curve has its own valley, LoRA's to the right of full fine-tuning's.
#
# **They go on to ask.** One rate for A and B? LoRA+ (arXiv 2402.12354) gives B about 16 times A's.
#
# **Wrong answers.** "The same as for full fine-tuning": then LoRA looks worse than it is. "Few parameters, so any rate goes": see question 40.
#
# ## 13. How many epochs?
#
# **In 60 seconds.** Until the held-out loss turns, and it turns sooner the smaller the set: instruction tuning commonly takes one to three passes. Few
# parameters do not prevent overfitting: rank 8 on a 7B model is 20 million numbers, against a few thousand examples. Watch held-out loss, keep the best checkpoint, and prefer more data to more passes.
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
    ["step", "epoch", "training loss", "held-out loss"],
    [
        [
            e["step"],
            e["step"] // 4,
            float(np.mean(small_set["loss"][e["step"] - 4 : e["step"]])),
            e["loss"],
        ]
        for e in small_set["eval"]
    ],
)

# %% [markdown]
# **Evidence.** The table: the training loss keeps falling, the held-out loss turns. `Trainer(evaluate=...)` notes both.
#
# **They go on to ask.** And the article's "5 to 20 epochs on small sets"? Far beyond common practice for instruction tuning; in the table above about 20 were best, since our base knows nothing of the task. Decide by held-out loss.
#
# **Wrong answers.** "LoRA cannot overfit." It can.
#
# ## 14. Which batch size?
#
# **In 60 seconds.** As large as fits and still learns: gradient accumulation gives the same gradient with less memory. LoRA frees memory of weights' gradients and moments, which allows larger batches; but activations grow with the batch and often
# dominate. *LoRA Without Regret* (2025) found that LoRA tolerates large batches less well than full fine-tuning.
#
# **At the whiteboard.** The mean over a batch is the mean of its parts' means (weighted by counted labels):

# %% tags=["whiteboard"]
logits, labels = rng.standard_normal((8, 1, 5)), rng.integers(0, 5, (8, 1))
whole = ops.cross_entropy(logits, labels)[0]
parts = [ops.cross_entropy(logits[i : i + 2], labels[i : i + 2])[0] for i in range(0, 8, 2)]
assert np.isclose(whole, np.mean(parts))

# %% [markdown]
# **Evidence.** Question 28: what a batch costs in activations, measured.
#
# **They go on to ask.** Does a larger batch need another rate? Usually a larger one, less than in proportion.
#
# **Wrong answers.** "When compute is short, reduce r and enlarge the batch": r hardly changes compute, and a larger batch costs more of it.
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
# **Evidence.** `LoRA.__call__`: the base layer gets `x`, the bypass gets `dropped`.
#
# **They go on to ask.** Does it make training slower? Yes, somewhat, and it keeps one more mask for each layer.
#
# **Wrong answers.** "0.1 to 0.3 by default": more than the papers used. "Dropout of the rank": no, of the input.
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
# **Evidence.** The five lines above; `AdamW.step` in minilora/training/optim.py.
#
# **They go on to ask.** Is it needed? Often 0 for LoRA: the norm of a short run hardly grows.
#
# **Wrong answers.** "It adds lambda times the sum of squares to the loss": that is L2, and in Adam not the same.
#
# ## 17. You have one day. In which order do you tune?
#
# **In 60 seconds.** Data first: look at fifty encoded examples, labels included. All linear layers, r = 16, alpha = r or 2 r, and leave them. Sweep the learning rate over a factor of ten in three or four values: it
# matters most. Then double r once and see whether the held-out loss moves. Dropout and decay last, if the training loss falls and the held-out loss rises.
#
# **At the whiteboard.** Factors between best and worst held-out loss in our sweep, by what was changed:

# %% tags=["whiteboard"]
loss = numbers("lr_sweep")["loss"]["roman"]
by_rate = max(loss["8"]) / min(loss["8"])
by_rank = min(loss["1"]) / min(loss["64"])
assert by_rate > by_rank > 2

# %% [markdown]
# **Evidence.** The figure lr_sweep: at r = 8 the wrong rate costs more than the wrong rank at its best rate.
#
# **They go on to ask.** What if nothing helps? Question 39.
#
# **Wrong answers.** "First r and alpha, then the rest": the rate decides what r can show.
#
# # 3. What trains
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
# **In 60 seconds.** It could: one number for each layer. It adds nothing that B cannot express, since s B A = (s B) A. At step one its gradient is exactly zero, as B is zero. DoRA trains something better: one magnitude for each output (arXiv 2402.09353).
#
# **At the whiteboard.** $\partial L / \partial s = \langle dy,\; x A^T B^T \rangle = 0$ at $B = 0$

# %% tags=["whiteboard"]
ds = np.sum(dy * (x @ A.T @ np.zeros_like(B).T))
assert ds == 0
assert np.allclose((5 * s * B) @ A, 5 * (s * B @ A))  # what s could do, B can do

# %% [markdown]
# **Evidence.** The lines above. Whether it helps in practice is not measured here.
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
# **They go on to ask.** All four attention matrices? Twice as much. And MLP? Another 2 (d + 4 d) r a layer.
#
# **Wrong answers.** "1.4 million."
#
# ## 21. Compare full fine-tuning, LoRA, adapters and P-Tuning.
#
# **In 60 seconds.** Full: all weights, most memory, the most capacity. LoRA: thin matrices beside the weights, can be merged. Adapters (Houlsby 2019): small bottleneck layers *in series*, cannot be merged, so they cost latency. Prompt, prefix and P-Tuning: trained vectors
# in the input (P-Tuning) or before the keys and values of every layer (prefix tuning, P-Tuning v2); they use up context length, and small ones hold less. On GPT-3 and WikiSQL (Hu et al. 2021, table 4): full 73.8, prefix embedding 63.1,
# prefix layer 70.1, adapter 73.2 (40 M), LoRA 73.4 (4.7 M) and 74.0 (37.7 M).
#
# **At the whiteboard.** Trained numbers for each layer of width d: full $12 d^2$, LoRA on q and v $4 r d$, bottleneck of m twice $4 m d$, prefix of p tokens $2 p d$.

# %% tags=["whiteboard"]
d = 4096
full, lora, bottleneck, prefix = 12 * d * d, 4 * 8 * d, 4 * 64 * d, 2 * 20 * d
assert full > bottleneck > prefix > lora

# %% [markdown]
# **Evidence.** From the paper named. All four trained on one task here: to come with the training lessons.
#
# **They go on to ask.** Which ones keep the base's weights? All but full fine-tuning. Which change the architecture? Adapters add layers in series.
#
# **Wrong answers.** "P-Tuning is prompt engineering": its prompts are trained vectors, not words.
#
# # 4. The process
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
# **Evidence.** The cell above; [00](00_start_here.ipynb) with real training.
#
# **They go on to ask.** In Hugging Face's names? `AutoModelForCausalLM`, `LoraConfig`, `get_peft_model`, `Trainer`, `save_pretrained`, `PeftModel.from_pretrained`, `merge_and_unload`.
#
# **Wrong answers.** Forgetting the held-out split; training on the input's tokens without meaning to.
#
# ## 23. What must the training data look like?
#
# **In 60 seconds.** Input and target become one sequence: input, separator, target, end. Labels are the same sequence shifted by one, with -100 on the input and on padding, so that the loss counts the target alone. The end
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
# **Wrong answers.** "The library masks the prompt for me": many do not unless told.
#
# ## 24. What is in a saved adapter?
#
# **In 60 seconds.** A and B for every target, and the config that made them: rank, alpha, targets. Not the base: it is named, not copied. In PEFT: `adapter_model.safetensors` and `adapter_config.json`. Loading it onto a different base gives nonsense, without any error.
#
# **At the whiteboard.** $\mathrm{bytes} = 2 \sum r(\mathrm{in} + \mathrm{out})$ at 16 bits: GPT-3, r = 4, q and v: 37.7 MB ("35 MB" in the paper, against 350 GB)

# %% tags=["whiteboard"]
assert 2 * 96 * 2 * 2 * 4 * 12288 == 37_748_736
assert 2 * 175e9 == 350e9
assert round(350e9 / 37_748_736, -2) == 9_300  # "10,000 times smaller"

# %% [markdown]
# **Evidence.** `save_adapter` and `load_adapter` in minilora/adapters/state.py; question 22.
#
# **They go on to ask.** Keys? `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`.
#
# **Wrong answers.** "The merged weights": then it is a model, not an adapter.
#
# # 5. Memory at the whiteboard
#
# ## 25. What does it take to fine-tune a 7B model?
#
# **In 60 seconds.** Full fine-tuning in mixed precision with Adam: 2 bytes for the weight, 2 for the gradient, 4 + 4 for the moments and 4 for the master copy: 16 bytes a parameter, 112 GB. LoRA: 14 GB of frozen 16-bit weights, and 16 bytes for each of some 20 million
# adapter numbers, 0.3 GB. QLoRA: 3.6 GB of weights in 4.127 bits, and the same adapter. To all three come activations, which depend on batch and length, not on the method.
#
# **At the whiteboard.** $7 \cdot 16 = 112$ GB; $7 \cdot 2 = 14$ GB; $7 \cdot 4.127 / 8 = 3.6$ GB

# %% tags=["whiteboard"]
full, lora = 7e9 * 16 / 1e9, 7e9 * 2 / 1e9
qlora = 7e9 * (4 + 8 / 64 + 32 / (64 * 256)) / 8 / 1e9
adapter = 32 * 16 * (4 * (4096 + 4096) + 3 * (4096 + 11008))  # r = 16 on all linear layers
assert (full, lora, round(qlora, 1)) == (112, 14, 3.6)
assert adapter == 39_976_960 and round(16 * adapter / 1e9, 2) == 0.64

# %% [markdown]
# **Evidence.** [05](05_double_quantization.ipynb) counts the bits; Dettmers et al. 2023 measured 5,048 MB for their 7B base with r = 64, where embeddings and head stay in 16 bits.
#
# **They go on to ask.** Why is the measured base larger than 3.6 GB? Embedding and head are not quantized.
#
# **Wrong answers.** "7B parameters are 7 GB": at 8 bits. Forgetting Adam's moments and the master copy.
#
# ## 26. How did 65B fit on one 48 GB GPU?
#
# **In 60 seconds.** 16-bit weights alone are 130 GB; full fine-tuning takes more than 780 GB by QLoRA's count (12 bytes a parameter). In NF4 with double quantization they are 33.5 GB, of which double quantization saves 3.03. The adapter and its moments are a few GB, activations
# are held down by gradient checkpointing, and paged optimizers catch the peaks.
#
# **At the whiteboard.** $65 \cdot 4.127 / 8 = 33.5$ GB; saved by double quantization: $65 \cdot 0.373 / 8 = 3.03$ GB

# %% tags=["whiteboard"]
single, double = 32 / 64, 8 / 64 + 32 / (64 * 256)
assert round(65 * (4 + double) / 8, 1) == 33.5
assert round(65 * (single - double) / 8, 2) == 3.03
assert 65 * 12 == 780

# %% [markdown]
# **Evidence.** [05](05_double_quantization.ipynb), figure scale_memory.
#
# **They go on to ask.** Without double quantization? 36.6 GB: the 3 GB decide whether a longer sequence fits.
#
# **Wrong answers.** "65 times 4 / 8 = 32.5 GB": without scales. "Four bits make training four times faster": no.
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
# **Evidence.** Hu et al. 2021, section 4.2; question 24 for the checkpoint.
#
# **They go on to ask.** Did it train faster? 25 % on GPT-3, they report: the frozen weights' gradients are not computed.
#
# **Wrong answers.** "LoRA makes it 10,000 times cheaper": the *adapter* is 10,000 times smaller; memory fell to a third.
#
# ## 28. LoRA's parameters are few. Where does the rest of the memory go?
#
# **In 60 seconds.** Into activations: what the forward keeps for the backward. The gradient still has to pass through every layer, so attention's and the MLP's intermediate results stay. A frozen linear layer does not keep its input,
# which saves some; LoRA on all layers keeps it again, for dA. Gradient checkpointing keeps only each block's input and computes the rest twice.
#
# **At the whiteboard.** Measured here on the base, a batch of 16 x 128 bytes:

# %% tags=["measured"]
import tracemalloc

from minilora.nn.checkpointing import checkpoint_blocks

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
    tracemalloc.start()
    loss, backward = model.loss(tokens[:, :-1], tokens[:, 1:])
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    trained = sum(p.value.nbytes for p in model.parameters() if p.trainable)
    rows.append([name, 3 * trained / 1e6, kept / 1e6])
activations = {row[0]: row[2] for row in rows}

# %% tags=["rtol=0.1"]
table(["MB", "gradients and moments", "activations kept"], rows)

# %% [markdown]
# **Evidence.** The table: LoRA cuts gradients and moments at once, but activations hardly; checkpointing does that.
#
# **They go on to ask.** What does checkpointing cost? One more forward: about a third more time.
#
# **Wrong answers.** "LoRA saves 99.9 % of the memory": of the trainable part.
#
# # 6. Four bits
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
# **In 60 seconds.** Not in the sense claimed. Equal use of the bins would need weights that are normal *after* scaling; but divided by their block's largest, they are not, and the law depends on the block size (Yoshida 2023). At block 64 the bins are used 5 to 1 unevenly. Nor is equal use the same as least error. Yet NF4's mean absolute
# error is within a tenth of a percent of the best code that keeps -1, 0 and 1, so little is left to gain there.
#
# **At the whiteboard.** Use of the busiest bin over the idlest, and entropy below 4 bits:

# %% tags=["whiteboard"]
codes = quantize(rng.standard_normal(2**18).astype(np.float32), "nf4", block_size=64).codes()
use = np.bincount(codes, minlength=16) / codes.size
assert 4 < use.max() / use.min() < 7
assert 3.8 < -(use * np.log2(use)).sum() < 3.95  # bits, of 4

# %% [markdown]
# **Evidence.** Figure codebooks; tests/quant/test_abnormal.py for the best code; [04](04_nf4.ipynb).
#
# **They go on to ask.** And AF4? Its published values follow from medians under the scaled law, with zero put in afterwards; its error at block 64 is larger than NF4's, as measured here.
#
# **Wrong answers.** "Yes, the paper proves it." It argues from equal use.
#
# ## 32. How much better is NF4 than int4 and FP4?
#
# **In 60 seconds.** On normal weights in blocks of 64, about 15 % less RMS error than symmetric int4. bitsandbytes' FP4 is worse than int4. Affine int4, with a minimum and a maximum for each block, beats NF4 up to block 64 but stores twice the scales. On uniform data int4 wins. On a model, the differences in loss are small: the table below; in QLoRA's
# table 2, mean perplexity was 34.34 with int4 and 27.41 with NF4.
#
# **At the whiteboard.** RMS error over the RMS of the weights, on N(0, 1), block 64:

# %% tags=["whiteboard"]
normal = numbers("quantization_error")["error"]["normal"]
rms = {code: found["rms"]["mean"][2] for code, found in normal.items()}  # blocks of 64
order = ["int4_affine", "nf4", "af4", "int4_full", "int4", "fp4"]
assert [code for code in sorted(rms, key=rms.get) if code in order] == order
assert 0.8 < rms["nf4"] / rms["int4"] < 0.9

# %% tags=["rtol=0.1"]
prose = np.frombuffer(
    b"The value of the expression is the value of its last item. " * 8, np.uint8
)[None].astype(int)
rows = []
for code in ("none", "int4", "fp4", "nf4", "nf3", "nf2"):
    model = load_base()
    if code != "none":
        quantize_linears(model, code)
    loss, _ = model.loss(prose[:, :255], prose[:, 1:256], inference=True)
    rows.append([code, float(loss)])
quantized_loss = dict(rows)
table(["base's linear layers in", "loss on a piece of prose, nats a byte"], rows)

# %% [markdown]
# **Evidence.** [04](04_nf4.ipynb), figure quantization_error.
#
# **They go on to ask.** And fine-tuning after it? It recovers most of the loss; QLoRA's table 4: NF4 + DQ 53.1, BF16 53.0 MMLU.
#
# **Wrong answers.** "NF4 is always best": block size, source and stored statistics decide.
#
# ## 33. Does NF4 help with outliers?
#
# **In 60 seconds.** The blocks do. An outlier stretches the scale of everything that shares it: with one scale for a tensor all weights fall into a few bins near zero; with blocks of 64 only its 63 neighbors suffer. NF4's dense middle softens a moderate outlier (figure outliers) and does nothing against a large one.
#
# **At the whiteboard.** $\mathrm{step} \propto \max |w|$ over all that share a scale

# %% tags=["whiteboard"]
w = rng.standard_normal(4096).astype(np.float32)
w[0] = 100
blocks, tensor = (quantize(w, "nf4", block_size=b).dequantize() - w for b in (64, 4096))
assert np.abs(tensor[64:]).mean() > 7 * np.abs(blocks[64:]).mean()

# %% [markdown]
# **Evidence.** [04](04_nf4.ipynb), outliers: inside and outside the block, int4 and NF4.
#
# **They go on to ask.** What else is done? Outlier columns in 16 bits (LLM.int8()), rotations, smaller blocks.
#
# **Wrong answers.** "NF4's sparse ends catch outliers": the ends are +-1, whatever the outlier's size.
#
# ## 34. Derive 0.5 and 0.127 bits.
#
# **In 60 seconds.** One 32-bit scale for 64 weights: half a bit for each. Double quantization stores it in 8 bits, with one 32-bit scale for 256 of them: 8/64 + 32/(64 x 256) = 0.127. Small tensors pay more: one of 64 x 64 has 64 scales in one second-level
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
# **They go on to ask.** And 16-bit scales in the place of all this? 0.25 bits, simpler, twice as much.
#
# **Wrong answers.** "0.127 bits a parameter in all": beside the 4. "Double quantization quantizes the weights twice": the scales.
#
# ## 35. Do the scales become FP8?
#
# **In 60 seconds.** The paper says FP8. bitsandbytes subtracts the scales' mean and uses an 8-bit *dynamic map*: 256 values, dense near zero, over seven decades. Linear int8 and E4M3 do nearly as well, since the scales are much alike: the error of the weights hardly changes.
#
# **At the whiteboard.** $\mathrm{scale} \approx \mathrm{map}[c] \cdot \mathrm{absmax}_2 + \mathrm{offset}$

# %% tags=["whiteboard"]
error = numbers("scale_memory")["error"]
assert all(1 <= error[code] / error["none"] < 1.002 for code in ("dynamic", "int8", "e4m3"))
q = quantize(large, double_quant=True)
assert np.allclose(q.scales, quantize(large).scales, rtol=0.05)

# %% [markdown]
# **Evidence.** [05](05_double_quantization.ipynb): the maps drawn, the error of each.
#
# **They go on to ask.** Why subtract the mean? Absmax values are all positive; centred, both halves of a signed map are used.
#
# **Wrong answers.** "E4M3, as in the paper": not in the code that everybody runs.
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
# **In 60 seconds.** Decode, add, keep it in 16 bits: exact. Quantize it again and a small update is lost: the rounding is larger than it. At |dW|/|W| = .01 the new error is about as large as the update. So serve the 4-bit base with the adapter beside it, or merge in 16 bits.
#
# **At the whiteboard.** $|W_4 + \Delta W - Q(W_4 + \Delta W)|$ against $|\Delta W|$

# %% tags=["whiteboard"]
base = quantize(large).dequantize()
update = 0.01 * rng.standard_normal(large.shape).astype(np.float32)
again = quantize(base + update).dequantize()
lost = np.linalg.norm(base + update - again) / np.linalg.norm(update)
assert 0.9 < lost < 1.3

# %% [markdown]
# **Evidence.** The lines above; `merge_lora` here makes a dense layer of a 4-bit one, and says so.
#
# **They go on to ask.** At larger updates? At .1 about three quarters of the update are lost, at .3 a third.
#
# **Wrong answers.** "Merging is always lossless."
#
# # 7. When something goes wrong
#
# ## 38. Out of memory. What do you do?
#
# **In 60 seconds.** Find out what fills it. Weights: four bits. Activations: gradient checkpointing first, it is exact; then smaller batches with accumulation, then shorter sequences. Optimizer state: it is small with LoRA already. Reducing r is the least of all levers.
#
# **At the whiteboard.** memory = weights + 3 x trained + activations(batch, length); checkpointing keeps the blocks' inputs:

# %% tags=["whiteboard"]
weights = sum(p.value.nbytes for p in load_base().parameters()) / 1e6
assert weights < 4 < activations["LoRA r = 8 on q and v"]
assert activations["the same with checkpointing"] < 0.2 * activations["LoRA r = 8 on q and v"]

# %% [markdown]
# **Evidence.** Question 28's table.
#
# **They go on to ask.** Does checkpointing change the result? No, bit for bit the same gradients (tests/nn/test_checkpointing.py).
#
# **Wrong answers.** "Smaller r": a few MB of many GB.
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
# **Evidence.** The lines above; [02, section 3](02_lora.ipynb) for the stuck start; figure rank_fit for too little rank.
#
# **They go on to ask.** The loss falls, but the answers are bad? Wrong template, wrong stop token, sampling too hot, or a metric that the loss does not see.
#
# **Wrong answers.** "Raise r first."
#
# ## 40. The loss diverges. What do you do?
#
# **In 60 seconds.** Lower the rate, or alpha, which is nearly the same; add warm-up; clip gradients. Look at the batch on which it jumped. At high rank, mind that alpha = r needs a lower rate. In 16 bits, look for overflow. More epochs do not cure divergence, they prolong it.
#
# **At the whiteboard.** The same rank, four times its best rate, from our sweep:

# %% tags=["whiteboard"]
found = numbers("lr_sweep")
loss = dict(zip(found["lora_rates"], found["loss"]["roman"]["64"], strict=True))
assert loss[0.003] < 0.1 and loss[0.012] > 1  # nats a byte, r = 64

# %% [markdown]
# **Evidence.** Figure lr_sweep, at question 12.
#
# **They go on to ask.** What does clipping do? It scales the whole gradient to a norm; with Adam it mostly damps single bad batches.
#
# **Wrong answers.** The article's "more epochs".
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
# # 8. Every claim, with its verdict
#
# The 29 claims that the article makes. *Measured* numbers come from the cells above or the committed figures; the others are marked with the paper that they are taken from.

# %% tags=["rtol=0.3"]
before, rank_fit, sweep = (
    numbers("scale_memory"),
    numbers("rank_fit")["tasks"],
    numbers("lr_sweep"),
)
bins, inner = (numbers("codebooks")[key] for key in ("nf4_unevenness", "inner_half"))
layers35 = numbers("quantization_error")["layers"]
wins = sum(found["nf4"] < found["int4"] for found in layers35.values())
claims = [
    [1, "only a low-rank bypass trains", "holds", "every frozen byte unchanged after training (question 18)"],
    [2, "A Gaussian, B zero", "holds; PEFT draws A uniformly", "step 1: dA = 0, dB not; both zero: stuck (4)"],
    [3, "merging costs no latency", "holds", "one linear layer is left, equal outputs (5); benchmarks/merge.py"],
    [4, "tasks switch by swapping B A", "holds", "two adapters, bit-equal to each alone (lesson 02)"],
    [5, "storage and compute fall", "within limits",
     f"gradients and moments fall; activations: {activations['full fine-tuning']:.0f} MB full, "
     f"{activations['LoRA r = 8 on all linear layers']:.0f} MB LoRA (28)"],
    [6, "QLoRA quantizes symmetrically", "within limits", "scale yes; grid 7 negative, 0, 8 positive (30)"],
    [7, "NF4 is optimal", "within limits", f"bins used {bins['normal']:.1f} : 1; MAE within 0.1 % of the best code (31)"],
    [8, "NF helps with outliers", "within limits", "blocks contain it; NF4 softens a moderate one, no large one (33, figure outliers)"],
    [9, "int4 even, NF4 dense in the middle", "holds", f"within +-0.5: {inner['nf4']:.0%} of NF4's values, {inner['int4']:.0%} of int4's (figure codebooks)"],
    [10, "NF4 loses less than int4", "within limits",
     f"on {wins} of {len(layers35)} matrices; affine int4 wins up to block 64 (32)"],
]  # fmt: skip
table(["claim", "what is said", "verdict", "shown by"], claims)

# %% tags=["rtol=0.3"]
large_bits, small_bits = (before["counted"][name]["double"] for name in ("2048x2048", "64x64"))
exact = {
    task: {r: sorted(runs)[1] for r, runs in found["exact"].items()}
    for task, found in rank_fit.items()
}
ratios = [
    rate / best["full"]
    for best in sweep["best"].values()
    for r, rate in best.items()
    if r != "full"
]
claims = [
    [11, "0.5 bit before, 0.127 after", "holds as a limit", f"counted {large_bits:.4f} on 2048x2048, {small_bits:.4f} on 64x64 (34)"],
    [12, "the scales become FP8", "within limits", "bitsandbytes: a dynamic map after subtracting the mean (35)"],
    [13, "2 r d in the place of d²", "holds", "counted: r (in + out) (8)"],
    [14, "small r underfits, large r nears full", "holds until capacity suffices",
     f"Roman numerals exact: r = 1 {exact['roman']['1']:.0%}, r = 16 {exact['roman']['16']:.0%}, full {exact['roman']['full']:.0%}"],
    [15, "smaller r at fixed alpha acts stronger", "holds", "update after one step, by r (lesson 02, section 4)"],
    [16, "alpha = r; alpha = 2 to 4 r", "the article contradicts itself", "the product with the rate decides (9)"],
    [17, "q and v; too many targets overfit", "within limits", "from Dettmers et al. 2023, figure 2: all linear layers are best"],
    [18, "freezing saves; part may be thawed", "holds", "4 numbers a trained parameter, 1 a frozen one (11)"],
    [19, "LoRA's rate is larger", "holds", f"{min(ratios):.0f} to {max(ratios):.0f} times full fine-tuning's (figure lr_sweep)"],
]  # fmt: skip
table(["claim", "what is said", "verdict", "shown by"], claims)

# %% tags=["rtol=0.3"]
r64 = dict(zip(sweep["lora_rates"], sweep["loss"]["roman"]["64"], strict=True))
checkpointed = activations["the same with checkpointing"]
held = [e["loss"] for e in small_set["eval"]]
claims = [
    [20, "few epochs; too many overfit", "holds; how few depends on the set",
     f"128 numerals: held-out loss {min(held):.1f} at best, {held[-1]:.1f} in the end; training {small_set['loss'][-1]:.1f} (13)"],
    [21, "LoRA allows larger batches", "within limits", "from LoRA Without Regret (2025): tolerates them less well"],
    [22, "dropout .1 to .3", "not shown", "from Dettmers et al. 2023: .1 up to 13B, .05 above"],
    [23, "weight decay is an L2 penalty", "within limits", "AdamW decouples it: shrinks without any gradient (16)"],
    [24, "alpha may be trained", "possible, adds nothing to B", "its gradient at step 1 is exactly 0 (19)"],
    [25, "GPT-3 at r = 16: 1.4 M", "wrong", "75,497,472 on q and v (20)"],
    [26, "full, LoRA, adapter, P-Tuning", "holds", "from Hu et al. 2021, table 4 (21); not measured here yet"],
    [27, "the workflow", "holds", "one cell from JSONL to a merged model (22)"],
    [28, "out of memory: batch, 4 bits, checkpoints", "holds",
     f"activations {activations['LoRA r = 8 on q and v']:.0f} -> {checkpointed:.0f} MB by checkpointing (28)"],
    [29, "poor fit: more r; divergence: lower rate, more epochs", "within limits",
     f"rate: loss {r64[0.012]:.1f} -> {r64[0.003]:.2f} at r = 64 (40); more epochs cure no divergence"],
]  # fmt: skip
table(["claim", "what is said", "verdict", "shown by"], claims)

# %% [markdown]
# # 9. The article's mistakes, by name
#
# 1. **The 1.4 million.** r = 16 on GPT-3's q and v are 75,497,472 parameters (question 20).
# 2. **alpha = r, and alpha = 2 to 4 r.** Both are recommended; neither is a law (9).
# 3. **Complex tasks: large r and a high rate.** At alpha = r, higher ranks want lower rates (8, 12).
# 4. **Little compute: smaller r, larger batch.** r hardly changes compute; a larger batch costs more (14).
# 5. **Divergence: more epochs.** They prolong it (40).
# 6. **NF4 is optimal.** Only in part: its bins are used unevenly, and other codes win elsewhere (31, 32).
# 7. **NF4 eases outliers.** The blocks do (33).
# 8. **FP8 scales.** A dynamic 8-bit map after subtracting the mean (35).
# 9. **Symmetric quantization.** The scale, not the grid (30).
# 10. **Weight decay as an L2 penalty.** Not in AdamW (16).
# 11. **B A above, W_A W_B below.** The two halves of the article order the factors differently. In PEFT, A (r, in) acts first and is random, B (out, r) is zero (4).
# 12. **Query and value layers as the choice.** All linear layers do better (10).
#
# ## Exercises

# %%
exercise("whiteboard_memory")

# %%
exercise("adapter_megabytes")

# %%
exercise("merged_into_four_bits")

# %% [markdown]
# ## Summary
#
# 1. LoRA trains a thin bypass of a frozen base; QLoRA stores that base in about 4.13 bits a weight.
# 2. It saves gradients and optimizer state at once, activations hardly, and computing little.
# 3. Rank is capacity, alpha and the learning rate are one knob, all linear layers are the default.
# 4. NF4 is good, not optimal; blocks do most of the work; double quantization saves 0.373 bits.
# 5. Count at the whiteboard: r (in + out), 16 bytes a trained parameter, 4.127 bits a stored one.
#
# **Papers.** Hu et al. 2021 (arXiv 2106.09685) · Dettmers et al. 2023 (2305.14314) · Yoshida 2023 (2306.06965) · Kalajdzievski 2023 (2312.03732) · Biderman et al. 2024 (2405.09673) · Houlsby et al. 2019 (1902.00751) · Li & Liang 2021 (2101.00190)
#
# **Back to** [00 · start here](00_start_here.ipynb)
