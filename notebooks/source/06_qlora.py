# %% [markdown]
# # 06 · QLoRA: train beside four bits, and leave them again
#
# **Question.** How is an adapter trained on a base that is stored in four bits, what does that cost and win back, and how do the two become one model?
#
# **Assumes.** Lesson 02 (LoRA), 04 and 05 (four bits, scales).
#
# **Seconds.** About 20 on two cores, offline.
#
# 1. A base in four bits
# 2. Prepared for training
# 3. What the loss counts
# 4. Train
# 5. What four bits took, and what training wins back
# 6. The merge
# 7. What it says

# %%
import tracemalloc

import numpy as np

from minilora import (
    Llama, LlamaConfig, LoraConfig, apply_lora, generate, load_base, merge_lora, quantize, quantize_linears,
)  # fmt: skip
from minilora.adapters import QuantizedLinear, freeze, linear_paths
from minilora.analysis import saved_bytes, stored_bytes
from minilora.course import draw, numbers, picture, pictures, show, style, table
from minilora.course.exercises import check
from minilora.data import ByteTokenizer, EpochBatches, Template, encode_records, split
from minilora.nn import checkpoint_blocks
from minilora.training import Trainer, TrainingConfig, evaluate

style()

# %% [markdown]
# ## 1. A base in four bits
#
# QLoRA (Dettmers et al. 2023) is LoRA over a base whose linear layers are stored in four bits. There is no QLoRA class here: a layer in four bits is called and asked like any linear layer, so LoRA wraps it like any other.

# %%
base, model = load_base(), load_base()
paths = quantize_linears(model, "nf4", block_size=64, double_quant=True)
linears = sum(layer.dense_weight().nbytes for layer in linear_paths(base).values())
in_four = sum(model.get_submodule(path).nbytes for path in paths)
table(
    ["", "in 32 bits, kB", "as stored now, kB"],
    [
        [f"{len(paths)} linear layers", linears // 1000, in_four // 1000],
        ["embedding (the head, too) and norms", (stored_bytes(base) - linears) // 1000,
         (stored_bytes(model) - in_four) // 1000],
    ],
)  # fmt: skip

# %% [markdown]
# What is stored in four bits is not computed in four bits. Each product decodes its weight, and the decoded copy is gone when the product is done; backward decodes it again:

# %%
show(QuantizedLinear.__call__)

# %% [markdown]
# Two things to read off it. *Backward has no dW*: codes are not trained, so nothing is kept of x either, and no straight-through estimator is needed; the gradient passes through the weight as through any constant. And *nothing is
# kept on the layer*, so of all decoded weights only one exists at a time. Measured on a wider model, whose matrices are large beside all else, with three tokens, which have hardly any activations:

# %% tags=["rtol=0.3"]
config = LlamaConfig(
    vocab_size=16, hidden_size=512, intermediate_size=1536, num_hidden_layers=2
)
wide, ids = Llama(config, rng=np.random.default_rng(0)), np.array([[1, 2, 3]])
sizes = [layer.dense_weight().nbytes for layer in linear_paths(wide).values()]
quantize_linears(wide, "nf4", double_quant=True)
freeze(wide)
tracemalloc.start()
_, backward = wide.loss(ids, ids)
backward()
peak = tracemalloc.get_traced_memory()[1]
tracemalloc.stop()
print(f"peak of forward and backward: {peak / 1e6:.1f} MB")
print(f"one decoded matrix, the largest: {max(sizes) / 1e6:.1f} MB; all of them: {sum(sizes) / 1e6:.1f} MB")  # fmt: skip

# %% [markdown]
# ## 2. Prepared for training
#
# With PEFT one calls `prepare_model_for_kbit_training(model)` between loading in four bits and `get_peft_model`. It sounds like magic, but it is four steps. What each does, why, and what it is here:
#
# | in PEFT | why there | here |
# |:---|:---|:---|
# | `requires_grad = False` for every parameter that there is | only the adapter is to train; so this must come *before* the adapter is put on | `apply_lora` freezes the base as it puts the adapter on |
# | parameters in 16 bits are cast to 32 (norms, embedding, head; not the codes) | sums over many values lose digits in 16 bits | what is not in four bits is float32 from the start |
# | `enable_input_require_grads()` | PyTorch's older checkpointing (`use_reentrant=True`, PEFT's default) builds no graph for a block whose *input* needs no gradient, and the embedding is frozen: the adapters would get no gradient. The newer kind does without | no graph is searched: each block has its backward, and it is called |
# | `gradient_checkpointing_enable()` | with the weights in four bits, activations are soon the largest part | `checkpoint_blocks(model)` |
#
# Two lines remain, `apply_lora` and `checkpoint_blocks`, and what they do can be checked: which parameters are trainable, and that checkpointing changes the memory and not one bit of a gradient.

# %%
apply_lora(
    model,
    LoraConfig(r=8, lora_alpha=8, target_modules="all-linear"),
    rng=np.random.default_rng(0),
)
trainable = {name: p for name, p in model.named_parameters() if p.trainable}
kinds = sorted({name.split(".")[-1] for name in trainable})
print(f"trainable: {sum(p.size for p in trainable.values()):,} numbers, all of them {kinds}")

tokenizer = ByteTokenizer()
training, held_out = split("roman", 3072, 256, seed=0)
rows = encode_records(training[:16], tokenizer)
loss, backward = model.loss(*rows)
kept = saved_bytes(backward, model)
backward()
gradients = {name: p.grad.copy() for name, p in trainable.items()}

# %%
checkpoint_blocks(model)
for p in trainable.values():
    p.zero_grad()
loss, backward = model.loss(*rows)
print(f"kept for backward: {kept / 1e6:.2f} MB, with checkpointing {saved_bytes(backward, model) / 1e6:.2f} MB")  # fmt: skip
backward()
same = all(np.array_equal(p.grad, gradients[name]) for name, p in trainable.items())
print("every gradient equal, bit for bit:", same)

# %% [markdown]
# Where the memory goes, counted from the arrays that are held, for six ways to train (committed numbers; `python -m minilora figures training_memory` counts again):

# %%
draw("training_memory")

# %% [markdown]
# On a model of a million parameters activations are nearly all of it, and four bits save little. On 7B the weights are most of what LoRA leaves: that is what the four bits are for. Adapters on *all* linear layers keep as many activations
# as full fine-tuning does; it is checkpointing that takes those away.
#
# ## 3. What the loss counts
#
# A record is a prompt and an answer. The model reads both and is graded on the answer alone: labels of the prompt are -100, which the loss ignores. `labels[t]` is the token *after* `ids[t]`, shifted here, once (Hugging Face shifts inside the model):

# %%
record = training[0]
tokens, first_counted = Template().encode((record.input, record.target), tokenizer)
row_ids, row_labels = (array[0] for array in encode_records([record], tokenizer))
special = {tokenizer.bos_token_id: "<bos>", tokenizer.sep_token_id: "<sep>", tokenizer.eos_token_id: "<eos>"}  # fmt: skip
names = {i: special.get(i, tokenizer.decode(np.array([i])) if i not in special else "") for i in set(tokens)}  # fmt: skip
print("the record:", record, "  the target starts at place", first_counted)
table(
    ["place", "the model reads", "and has to say", "label"],
    [
        [t, names[i], names[label] if label != -100 else "(anything)", int(label)]
        for t, (i, label) in enumerate(zip(row_ids, row_labels, strict=True))
    ],
)

# %% [markdown]
# The end token counts: a model that never learned to stop does not. The first label that counts stands at the place of `<sep>`, before the target: that is where the target's first token has to be said.
#
# ## 4. Train
#
# Training is what it was in lesson 02; the trainer does not know that there are four bits. The same short run over the base in 32 bits and in NF4, the same seed and data:

# %%
held_out_rows = encode_records(held_out, tokenizer)
batches = EpochBatches(*encode_records(training, tokenizer), 16, seed=0)
settings = TrainingConfig(max_steps=80, learning_rate=0.003, warmup_steps=4)
losses, models = {}, {}
for name, code in (("float32", None), ("NF4, double quantization", "nf4")):
    model = load_base()
    if code:
        quantize_linears(model, code, double_quant=True)
    lora = LoraConfig(r=8, lora_alpha=8, target_modules="all-linear")
    apply_lora(model, lora, rng=np.random.default_rng(0))
    losses[name] = Trainer(model, settings, batches).train()["loss"]
    models[name] = model

# %%
pictures.curves(
    {name: (range(1, 81), loss) for name, loss in losses.items()},
    "step", "training loss, nats per byte", "LoRA over 32 bits and over four: 80 steps of 16 Roman numerals",
)  # fmt: skip
picture("Training loss over 80 steps, over float32 and over NF4: the curves lie side by side")

# %% [markdown]
# ## 5. What four bits took, and what training wins back
#
# What each way of storing takes from the base, before any training, on text that it has not read (committed numbers):

# %%
draw("quantized_loss")

# %% [markdown]
# NF4 takes next to nothing, so there is little to win back. After the eighty steps above, on held-out numerals:

# %% tags=["rtol=0.2"]
ends = {name: evaluate(model, *held_out_rows)["loss"] for name, model in models.items()}
table(
    ["LoRA over", "held-out loss after 80 steps"], [[name, loss] for name, loss in ends.items()]
)

# %% [markdown]
# Eighty steps and one seed settle nothing. More steps, more seeds, and seven ways to store the base (committed numbers):

# %%
draw("qlora")

# %% [markdown]
# Two questions are easily taken for one. *What does the base get back of what it knew?* For that, train it on its own text, and look at the loss that quantizing raised, on windows that it has not read:

# %%
found = numbers("qlora")["own_text"]
reference = found["storages"]["float32"]
table(
    ["base in", "loss above float32, untrained", f"after {found['steps']} steps, each seed"],
    [
        [name, one["before"][0] - reference["before"][0],
         ", ".join(f"{a - b:.4f}" for a, b in zip(one["loss"], reference["loss"], strict=True))]
        for name, one in found["storages"].items() if name != "float32"
    ],
)  # fmt: skip

# %% [markdown]
# Nine tenths of what NF2 took come back, and one tenth is still missing. *What does a new task notice of the bits?* Here, less than the seeds do. On numerals no code differs from float32 beyond the spread of five seeds, at r = 8, nor do NF4 and NF2 at r = 1 and 32. On dates five codes are level with float32, and NF2, which took most, ends *ahead* of it in every
# seed. (Rates matter more. One seed preferred a rate of 0.012 for NF4 to 0.006, by 1 % of the loss; all five together chose 0.006. So wherever two rates were close, all five seeds chose. For float32 on dates they were not quite: there one seed did.) The base knew neither task, so quantizing had nothing of them to take. That is the mild reading of "QLoRA matches LoRA": on a
# task that training teaches, the adapter learns to use the weights that there are. It does not say that a model keeps all that it *knew*.
#
# If the start is what few bits spoil, start nearer. LoftQ puts into A and B what it can of the error of quantizing; PiSSA puts the largest singular values of W there, and only the rest is quantized. (Lesson 02 starts with B = 0.) How far the weights are from the float ones before any step, with two bits:

# %%
floats = {path: layer.dense_weight() for path, layer in linear_paths(base).items()}
norm = sum(np.sum(w**2) for w in floats.values()) ** 0.5
rows = []
for name, start in (("B = 0", True), ("LoftQ", "loftq"), ("PiSSA", "pissa")):
    near = load_base()
    two_bits = None if start is True else {"code": "nf2", "double_quant": True}
    if start is True:
        quantize_linears(near, "nf2", double_quant=True)
    lora = LoraConfig(
        r=8, target_modules="all-linear", init_lora_weights=start, loftq_config=two_bits
    )
    apply_lora(near, lora, rng=np.random.default_rng(0))
    layers = linear_paths(near).items()
    off = sum(np.sum((layer.dense_weight() - floats[path]) ** 2) for path, layer in layers)
    rows.append([name, float(off**0.5 / norm)])
table(["start, over NF2", "distance to the float weights, over their norm"], rows)

# %% [markdown]
# Is nearer at first better at last? Both starts with one and five rounds of fitting codes and A, B to each other, then two hundred steps; and PiSSA over float32, where nothing is to be made up for (committed numbers):

# %%
draw("better_starts")

# %% [markdown]
# Two hundred steps end while the loss still falls steeply: in a run of 500, B = 0 comes down to a tenth of this loss (figure qlora, above). At this point LoftQ and PiSSA are ahead of B = 0 over NF4 in every seed, and LoftQ over NF2, too. But hardly *because* they are nearer. Over float32, where no error is to be repaired, PiSSA gains as much as over NF4;
# and over NF4 LoftQ's start, though nearer to the float weights, costs the base's own text no less than B = 0 does. What both have besides is a B that is not zero, so that A learns from the first step on. Over NF2 LoftQ repairs nearly half of what the text lost and PiSSA two thirds, and still PiSSA, the nearest, is not ahead in every seed. In lesson 07's shorter runs
# LoftQ with one round ties with plain LoRA. So a better start is worth a try when steps are few; that it makes up for the bits, these numbers do not show.

# %% [markdown]
# ## 6. The merge
#
# Beside the base, the adapter costs a little time for each token; merged, nothing (lesson 02). But the base is in four bits now, and there are three things that "merge" can mean:
#
# 1. decode, add, **keep the sum in float**: exact, and four times as large;
# 2. decode, add, **quantize again**: four bits, and the update has to survive the rounding;
# 3. add the update to the **original** weights, if one still has them, and keep or quantize that.

# %%
model = models["NF4, double quantization"]
layer = model.get_submodule("layers.0.mlp.up_proj")
decoded = layer.base_layer.dense_weight()
update = layer.dense_weight() - decoded
original = base.get_submodule("layers.0.mlp.up_proj").dense_weight()


# %% tags=["rtol=0.3"]
four_bits = {"block_size": 64, "double_quant": True}
again = quantize(decoded + update, "nf4", **four_bits).dequantize()
onto = quantize(original + update, "nf4", **four_bits).dequantize()
plain = quantize(original, "nf4", **four_bits).dequantize()
size = np.linalg.norm(update) / np.linalg.norm(decoded)
print(f"|dW| / |W| of this layer after 80 steps: {size:.2f}")
table(
    ["merged", "share of the update in the weight"],
    [
        ["kept in float", 1.0],
        ["quantized again", float(np.vdot(again - decoded, update) / np.vdot(update, update))],
        ["onto the original, quantized", float(np.vdot(onto - plain, update) / np.vdot(update, update))],
    ],
)  # fmt: skip

# %% [markdown]
# The share is a regression coefficient: how much of the wanted change is in the change that was made. The error of each weight is something else. It looks worse, but noise spread over all weights costs little loss (lesson 09, question 37). Why a small update disappears can be seen weight by weight. Decoded weights lie *exactly* on the levels, and
# an update that does not carry a weight half way to the next level is rounded back:

# %%
pictures.rounded_back(0.03)
picture(
    "Weights on the levels of NF4 and a small update: nearly all are rounded back to their level"
)

# %% tags=["slider"]
from ipywidgets import interact


@interact(size=[0.01, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0], code=["nf4", "int4", "nf3", "nf2"])
def rounded_back(size=0.05, code="nf4"):
    pictures.rounded_back(size, code)
    picture(
        f"Weights on the levels of {code} with an update of size {size}, and where they land"
    )


# %% [markdown]
# Original weights lie between the levels, each at another place. A small update carries few of them over a border as well, but those few in the right proportion: on average the whole update is there. What that does to real adapters, small and large:

# %%
draw("merge_into_4bit")

# %% [markdown]
# Mind the right panel. A *large* adapter does better on the decoded weights it was trained on than on the original ones, in float and quantized alike; rounded again, it is level with the original weights in float. Part of what it learned is to make up for the errors of its base, and on other
# weights that part is wrong. So "merge the QLoRA adapter into the 16-bit model" is not what it was trained for.
#
# In code, the exact one is `merge_lora(model)`. Quantizing again is a second, explicit line, so that nobody does it by accident:

# %% tags=["rtol=0.2"]
beside = evaluate(model, *held_out_rows)["loss"]
merge_lora(model, keep_unmerged=False)
merged = evaluate(model, *held_out_rows)["loss"]
quantize_linears(model, "nf4", double_quant=True)
requantized = evaluate(model, *held_out_rows)["loss"]
table(
    ["this adapter, 80 steps", "held-out loss"],
    [["beside the NF4 base", beside], ["merged, in float", merged], ["merged, quantized again", requantized]],
)  # fmt: skip

# %% [markdown]
# ## 7. What it says
#
# A prompt is laid out as in training, up to `<sep>`, and continued until the end token. Greedily, token by token, what is merged and back in four bits says after its eighty steps:

# %% tags=["rtol=30"]
prompt = Template().prompt(training[0].input, tokenizer)
row = generate(model, prompt[None], 12, eos_token_id=tokenizer.eos_token_id)[0]
answer = tokenizer.decode(row[len(prompt) :])
print(f"{training[0].input} -> {answer}   wanted: {training[0].target}")

# %% [markdown]
# Digits and an end: the form is learned first, the value later. Held-out numerals, and what the base and an adapter that was trained to the end say to them: beside the base, and merged in each way. (Committed with figure merge_into_4bit, seed 0.)

# %%
said = next(a["said"] for a in numbers("merge_into_4bit")["adapters"] if a["rate"] == 0.006)
ways = ("input", "wanted", "before", "beside", "requantized", "original requantized")
table(ways, [[f"`{said[way][i]}`" for way in ways] for i in range(len(said["input"]))])

# %% [markdown]
# The model before training was never asked for numerals and goes on as the Python reference would.
#
# ## Exercises

# %%
exercise("masked_labels")

# %%
exercise("decoded_at_once")

# %%
exercise("merged_in_four_bits")

# %%
exercise("steps_in_order")

# %%
exercise("small_and_requantized")

# %% [markdown]
# ## Summary
#
# 1. QLoRA is LoRA over layers that decode their weight for each product, one at a time; codes are never trained.
# 2. Preparing means: freeze, keep the rest in 32 bits, checkpoint. It comes before the adapter.
# 3. The loss counts the answer and its end, not the prompt; labels are shifted once.
# 4. NF4 takes next to nothing, at a quarter of 16 bits. Of what NF2 takes from the base's own text, training on it wins back nine tenths; on two tasks that the base did not know, no code is behind float32 beyond the spread of the seeds.
# 5. Merged in float it is exact. Quantized again, a small update is lost (add it to the original weights instead), and a large one costs a few answers.
#
# **Papers.** Dettmers et al. 2023, *QLoRA* (arXiv 2305.14314) · Li et al. 2023, *LoftQ* (arXiv 2310.08659) · Meng et al. 2024, *PiSSA* (arXiv 2404.02948) · Chen et al. 2016, *sublinear memory* (arXiv 1604.06174)
#
# **Next.** [07 · methods and hyperparameters](07_methods_and_hyperparameters.ipynb)
