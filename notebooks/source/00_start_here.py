# %% [markdown]
# # 00 · Start here
#
# **Question.** What are LoRA and QLoRA, and what do they do to a real model?
#
# **Assumes.** Python, and that you have seen a matrix product and a training loop. No GPU, no network.
#
# **Seconds.** About 40 on two cores, offline.
#
# 1. Three pictures
# 2. LoRA beside QLoRA: before and after
# 3. What is stored, in bytes
# 4. How much rank?
# 5. What is where

# %%
import numpy as np

from minilora import LlamaConfig, LoraConfig, Trainer, TrainingConfig
from minilora import apply_lora, load_base, quantize, quantize_linears
from minilora.adapters import count_parameters
from minilora.analysis import (
    Setup,
    linear_shapes,
    rms_error,
    stored_bytes,
    trainable_parameters,
)
from minilora.course import draw, numbers, picture, pictures, style, table
from minilora.course.exercises import check
from minilora.data import ByteTokenizer, EpochBatches, encode_records, split
from minilora.training import answers, evaluate

style()
pictures.thin_matrices(width=128, r=8)
picture(
    "W, frozen, beside a full update of 16,384 numbers and LoRA's B and A with 2,048 numbers"
)

# %% [markdown]
# ## 1. Three pictures
#
# **LoRA**, above, drawn to scale. A linear layer of a language model is a matrix $W$. Fine-tuning changes it to $W + \Delta W$. LoRA (Hu et al. 2021)
# freezes $W$ and writes the change as a product of two thin matrices, $\Delta W = \frac{\alpha}{r} B A$. Only A and B are trained.
#
# **Four bits.** The Q of QLoRA (Dettmers et al. 2023): the frozen $W$ is stored in four bits per weight. Each block of 64 weights keeps one number, its
# largest absolute value. Every weight becomes the nearest of 16 levels, times that number. Here are 64 real weights of our base model, and where they land:

# %%
block = load_base().get_submodule("layers.0.self_attn.q_proj").weight.value.ravel()[:64]
pictures.rounded_block(block)
picture(
    "64 weights as dots, 16 levels as lines; a short orange line from each weight to its level"
)
q = quantize(block, "nf4", block_size=64)
print(f"bytes: {2 * block.size} in 16 bits, {q.nbytes} in four bits with the block's scale")
print(f"error: {rms_error(q.dequantize(), block):.1%} of the weights' RMS")

# %% [markdown]
# **Memory.** Why all this: training needs more than the weights. For a Llama 7B with the usual mixed precision (2 bytes for a weight; for what is
# trained 2 for its gradient and 12 for AdamW's moments and a 32-bit copy), r = 16 on all linear layers:

# %%
config = LlamaConfig(
    vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=32, tie_word_embeddings=False,
)  # fmt: skip
linear = sum(n * k for path, (n, k) in linear_shapes(config).items() if path != "lm_head") / 1e9
rest = 2 * 32000 * 4096 / 1e9  # embedding and head stay in 16 bits (norms are next to nothing)
lora = LoraConfig(r=16, target_modules="all-linear")
adapter = 16 * trainable_parameters(Setup(config, lora)) / 1e9
in_four = linear * (4 + 8 / 64 + 32 / (64 * 256)) / 8 + 2 * rest
methods = {
    "full fine-tuning": (2 * (linear + rest), 14 * (linear + rest)),
    "LoRA, r = 16": (2 * (linear + rest), adapter),
    "QLoRA, r = 16": (in_four, adapter),
}
pictures.memory_bars(methods)
picture("Bars: full fine-tuning 108 GB, LoRA 14 GB, QLoRA 4.5 GB, without activations")
table(
    ["method", "weights, GB", "gradients, AdamW, adapter, GB", "sum, GB"],
    [[name, *map(float, parts), float(sum(parts))] for name, parts in methods.items()],
)

# %% [markdown]
# This is arithmetic, not a measurement, and it leaves out the activations, which LoRA hardly shrinks (lesson 02) and checkpointing does (lesson 01).
#
# ## 2. LoRA beside QLoRA: before and after
#
# The project ships a small Llama of a million parameters that has read the Python reference and nothing else. It has never been asked to rewrite a date:

# %%
tokenizer = ByteTokenizer()
training, held_out = split("dates", 3072, 256, seed=0)
held_out_rows = encode_records(held_out, tokenizer)
base = load_base()
shown = [record.input for record in held_out[:5]]
said = {"before": answers(base, shown, tokenizer, max_new_tokens=12)}
before = evaluate(base, *held_out_rows)
print("input:", shown[0], "   wanted:", held_out[0].target, "   said:", said["before"][0])
print(f"held-out loss {before['loss']:.1f} nats per byte, {before['exact']:.0%} exactly right")

# %% [markdown]
# A few statements put LoRA on the model and train it. The model's file knows nothing of LoRA: the layers are wrapped from outside. QLoRA is the same run with one
# line more, which stores each frozen layer in four bits. Twice the same data, the same seed, the same rate:

# %%
batches = EpochBatches(*encode_records(training, tokenizer), 32, seed=0)
settings = TrainingConfig(max_steps=200, learning_rate=0.0048, warmup_steps=10)
lora = LoraConfig(r=16, lora_alpha=16, target_modules="all-linear")

model = load_base()
apply_lora(model, lora, rng=np.random.default_rng(0))
losses = {"LoRA": Trainer(model, settings, batches).train()["loss"]}
models = {"LoRA": model}

# %% [markdown]
# And in four bits:

# %%
model = load_base()
quantize_linears(model, "nf4", block_size=64, double_quant=True)  # the one line more
in_four_bits = evaluate(model, *held_out_rows)["loss"]
apply_lora(model, lora, rng=np.random.default_rng(0))
losses["QLoRA"] = Trainer(model, settings, batches).train()["loss"]
models["QLoRA"] = model

# %% tags=["rtol=0.6"]
rows = []
for (name, model), start in zip(models.items(), (before["loss"], in_four_bits), strict=True):
    after = evaluate(model, *held_out_rows)
    said[name] = answers(model, shown, tokenizer, max_new_tokens=12)
    rows.append([name, f"{start:.2f}", f"{after['loss']:.3f}", f"{after['exact']:.0%}"])
table(["", "held-out loss at the start", "after 200 steps", "exactly right, of 256"], rows)

# %%
steps = range(1, 201)
pictures.curves(
    {name: (steps, loss) for name, loss in losses.items()},
    "step", "training loss, nats per byte", "200 steps of 32 dates each: the curves lie on each other",
)  # fmt: skip
picture(
    "Training loss over 200 steps for LoRA and QLoRA; both fall more than thirtyfold, side by side"
)

# %% [markdown]
# Five dates that were not in the training set, before and after. (What exactly is said may differ on your processor: training amplifies last bits.)

# %% tags=["rtol=0.5"]
table(
    ["input", "wanted", "before", "LoRA", "QLoRA"],
    [
        [date, *(f"`{text}`" for text in (record.target, *(said[name][i] for name in said)))]
        for i, (date, record) in enumerate(zip(shown, held_out, strict=False))
    ],
)

# %% [markdown]
# This is one seed. A harder task, Roman numerals to decimal, r = 8, 500 steps, five seeds (committed numbers, figure qlora):

# %%
study = numbers("qlora")["studies"]["roman, r = 8"]
rows = []
for name, storage in (("LoRA", "float32"), ("QLoRA", "nf4 double")):
    found = study["storages"][storage]
    losses = ", ".join(f"{loss:.3f}" for loss in found["loss"])
    rows.append([name, losses, f"{np.median(found['exact']):.0%}"])
table(["", "held-out loss, seed by seed", "exactly right (median)"], rows)

# %% [markdown]
# The difference is no larger than that between seeds.
#
# ## 3. What is stored, in bytes
#
# Counted from the arrays that are really there. The base is computed in 32 bits here; a GPU would hold it in 16, so that is what four bits are to be compared with:

# %%
weights = {name: stored_bytes(model) for name, model in models.items()}
trained, total = count_parameters(models["LoRA"])
q_proj = models["QLoRA"].get_submodule("layers.0.self_attn.q_proj").base_layer
linears = sum(n * k for n, k in linear_shapes(base.config).values())
table(
    ["", "kB", "bits per weight"],
    [
        ["linear layers in 32 bits", 4 * linears // 1000, 32],
        ["linear layers in 16 bits", 2 * linears // 1000, 16],
        ["linear layers in NF4, scales included",
         (weights["QLoRA"] - (weights["LoRA"] - 4 * linears)) // 1000, q_proj.q.bits_per_param],
        ["embedding and norms, not quantized, 32 bits", 4 * (total - trained - linears) // 1000, 32],
        ["the adapter, 32 bits", 4 * trained // 1000, 32],
    ],
)  # fmt: skip
print(
    f"trained: {trained:,} of {total:,} parameters, {trained / (total - trained):.0%} of the base"
)

# %% [markdown]
# Four bits take a quarter of sixteen, and a little more for the scales (lesson 05). On a model as small as this one the adapter is large beside its base; on 7B, the same r = 16 is 0.6 %.
#
# ## 4. How much rank?
#
# The rank r is the width of the bypass. A hard task (Roman numerals to decimal) at three ranks and with full fine-tuning, for three numbers of steps, three seeds
# (committed numbers; `python -m minilora figures rank_fit` computes them again in some minutes):

# %%
draw("rank_fit")

# %% [markdown]
# Mind what this shows: how far each rank gets in *so many steps*. A small rank learns more slowly; whether it could not learn the task at all is another question, which lesson 03 answers.
# The size of an adapter, on the layer above and on larger ones:

# %% tags=["slider"]
from ipywidgets import interact


@interact(r=(1, 128), width=[128, 1024, 4096, 12288])
def share(r=8, width=128):
    pictures.thin_matrices(width, r)
    picture(f"LoRA of rank {r} beside a layer of {width} x {width}, to scale")


# %% [markdown]
# ## 5. What is where
#
# | you ask | lesson | code |
# |:---|:---|:---|
# | How are gradients written by hand, and checked? | [01](01_backprop_by_hand.ipynb) | minilora/nn, minilora/analysis/gradcheck.py |
# | How does LoRA work, matrix by matrix? | [02](02_lora.ipynb) | minilora/adapters |
# | How large must the rank be? | [03](03_rank.ipynb) | minilora/experiments/rank |
# | Where do NF4's 16 numbers come from? | [04](04_nf4.ipynb) | minilora/quant/codebooks.py, blockwise.py |
# | What is double quantization? | [05](05_double_quantization.ipynb) | minilora/quant/double.py |
# | How is QLoRA trained, and merged? | [06](06_qlora.ipynb) | minilora/adapters/quantized.py, merging.py |
# | What else can be trained, and which knob first? | [07](07_methods_and_hyperparameters.ipynb) | minilora/adapters, minilora/experiments |
# | What will they ask me? | [09](09_interview.ipynb) | all of it |
#
# The figures are in [figures/](../figures/README.md), each with its numbers and the run they came from. The solutions of all exercises are in
# [notebooks/solutions](solutions/).
#
# ## Exercises
#
# Put your answer where `...` is and run the cell. `check` says that it is right, or what the likely mistake is.

# %%
exercise("lora_share")

# %%
exercise("bypass_forward")

# %%
exercise("four_bit_roundtrip")

# %%
exercise("what_grows")

# %% [markdown]
# ## Summary
#
# 1. LoRA freezes the weights and trains two thin matrices beside each: r (in + out) numbers per layer.
# 2. It saves gradients and optimizer state, not the weights and hardly the activations.
# 3. QLoRA stores the frozen weights in four bits: a scale for each block of 64, and 16 levels. It learned as LoRA did.
# 4. A small adapter taught a small model a task that it could not do at all, in 200 steps.
# 5. In code: `quantize_linears(model, ...)`, `apply_lora(model, ...)`, then train as always.
#
# **Papers.** Hu et al. 2021, *LoRA* (arXiv 2106.09685) · Dettmers et al. 2023, *QLoRA* (arXiv 2305.14314)
#
# **Next.** [01 · backprop by hand](01_backprop_by_hand.ipynb)
