"""What is measured on SmolLM2, a function for each process. Arguments and results are plain values; `work` holds what one
process leaves for another."""

import json
import multiprocessing
import re
import shutil
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from minilora import adapters, generate, machine, merge_lora, quantize, storage, stream
from minilora.analysis.error import rms_error
from minilora.analysis.memory import stored_bytes
from minilora.cli import main as command
from minilora.cli import models
from minilora.data import corpus
from minilora.experiments.quantization.quantized_loss import standard_error, window_losses
from minilora.interop import GGUFFile, load_foreign, save_llama, save_peft_adapter
from minilora.interop.files import open_tensors
from minilora.interop.gguf_llama import gguf_config, llama_tensors
from minilora.interop.survey import survey, total
from minilora.nn import Llama
from minilora.nn.layers import Linear

HERE = Path(__file__).parent
STORY = "Tell me a story about a lighthouse."
NEW_TOKENS = 64  # of the answer whose speed is measured
ROUNDS = 3
WINDOWS, LENGTH = 12, 256  # of held-out text, for the loss under each code
NF4 = {"code": "nf4", "block_size": 64, "double_quant": True}
QLORA = {
    "r": 8,
    "lora_alpha": 16,
    "target_modules": "all-linear",
    "lora_dropout": 0.0,  # dropout, decay and beta2 are not those of the command, which are chosen for the base
    "learning_rate": 2e-3,
    "weight_decay": 0.0,
    "adam_beta2": 0.999,
    "max_steps": 100,
    "batch_size": 4,
}
SAID = 24  # tokens of an answer to a question of facts; the longest fact has 22
SURVEYED = ("nf4", "int4", "int4_affine", "fp4")  # on weights that were never quantized


# ---- the file -------------------------------------------------------------------------------------------------------


def load(model: Path, code: str | None, **_: Any) -> dict[str, Any]:
    """CPU seconds of loading, the peak of the process's memory, and what the model takes."""
    before, started = machine.peak_memory(), time.process_time()
    opened = load_foreign(model, quantize=code)
    seconds = time.process_time() - started
    stored = Counter(tensor.dtype for tensor in GGUFFile(model).values())
    return {
        "file_bytes": model.stat().st_size,
        "stored": dict(stored),
        "parameters": sum(p.size for p in Llama.skeleton(opened.model.config, np.float32).parameters()),
        "cpu_seconds": seconds,
        "bytes": stored_bytes(opened.model),
        "peak_bytes": machine.peak_memory(),
        "peak_before": before,
    }


# ---- logits and tokens ----------------------------------------------------------------------------------------------


def our_logits(model: Path, work: Path, **_: Any) -> dict[str, Any]:
    """The logits of eight conversations, and the model as a folder for the peers."""
    opened = load_foreign(model)
    as_folder(model, work)
    ids = [opened.template.prompt(text, opened.tokenizer) for text in (STORY, *questions("known")[:7])]
    return keep_logits(opened.model, ids, work / "logits.npz")


def as_folder(model: Path, work: Path) -> Path:
    """The model as a folder for the peers, written once."""
    if not (work / "model").is_dir():
        opened = load_foreign(model)
        save_llama(opened.model, work / "model", tokenizer=opened.tokenizer)
    return work / "model"


def keep_logits(model: Llama, conversations: list[np.ndarray], path: Path) -> dict[str, Any]:
    arrays = {}
    for i, ids in enumerate(conversations):
        arrays |= {f"ids{i}": ids, f"logits{i}": model(ids[None], inference=True)[0][0]}
    storage.save_arrays(path, arrays, {})
    return {"conversations": len(conversations), "positions": sum(map(len, conversations))}


def beside(theirs, path: Path) -> dict[str, Any]:
    """How far a model of transformers or PEFT is from the logits that `keep_logits` kept."""
    import torch

    arrays, _ = storage.load_arrays(path)
    difference = size = 0.0
    same = 0
    for i in range(len(arrays) // 2):
        ours = arrays[f"logits{i}"]
        with torch.no_grad():
            their = theirs(torch.tensor(arrays[f"ids{i}"][None])).logits[0].numpy()
        difference, size = max(difference, float(np.abs(ours - their).max())), max(size, float(np.abs(their).max()))
        same += int((ours.argmax(-1) == their.argmax(-1)).sum())
    return {"largest_difference": difference, "largest_logit": size, "same_first_choice": same}


def their_logits(model: Path, work: Path, **_: Any) -> dict[str, Any]:
    """transformers on the same weights and tokens; and its tokenizers on the same texts."""
    import torch
    import transformers

    theirs = transformers.AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32)
    result = beside(theirs, work / "logits.npz")
    mine = load_foreign(model).tokenizer
    spaced = [text for text in corpus.load_topics().split("\n\n") if re.search(r"\s\s\d", text)]
    texts = [record["target"] for record in read("facts")] + spaced[:60]
    peers = {
        "our folder": transformers.AutoTokenizer.from_pretrained(work / "model"),
        "the GGUF file": transformers.AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name),
    }
    differ = {
        name: sum(peer.encode(text, add_special_tokens=False) != mine.encode(text).tolist() for text in texts)
        for name, peer in peers.items()
    }
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return result | {"texts": len(texts), "tokenizers_differ": differ, "versions": versions}


# ---- speed ----------------------------------------------------------------------------------------------------------


def speed(model: Path, work: Path, side: str, **_: Any) -> dict[str, Any]:
    """Tokens per second of a greedy answer, the median of a few rounds, after a first one that does not count."""
    one_round, text = (they_say if side == "transformers" else we_say)(model, work, side)
    one_round()
    rounds = [one_round() for _ in range(ROUNDS)]
    return {
        "tokens_per_second": median((n - 1) / (seconds - first) for n, first, seconds in rounds),
        "slowest_and_fastest": sorted((n - 1) / (seconds - first) for n, first, seconds in rounds)[:: ROUNDS - 1],
        "first_token_seconds": median(first for _, first, _ in rounds),
        "tokens": rounds[0][0],
        "peak_bytes": machine.peak_memory(),
        "text": text(),
    }


def we_say(model: Path, work: Path, side: str):
    """(a round, the text of the last one)."""
    opened = load_foreign(model, quantize={"float32": None, "Q4_1 as stored": "stored", "NF4": "nf4"}[side])
    ids, said = opened.template.prompt(STORY, opened.tokenizer), []

    def one_round():
        said.clear()
        started, first = time.perf_counter(), None
        for row in stream(opened.model, ids[None], NEW_TOKENS, eos_token_id=opened.tokenizer.eos_token_id):
            first = first or time.perf_counter() - started
            said.append(int(row[0]))
        return len(said), first, time.perf_counter() - started

    return one_round, lambda: opened.tokenizer.decode(said)


def they_say(model: Path, work: Path, side: str):
    """The same of transformers."""
    import torch
    import transformers

    torch.set_num_threads(machine.threads())
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:  # this one's memory is measured
        folder = other.submit(as_folder, model, work).result()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": STORY}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    said = []

    def some(n):
        started = time.perf_counter()
        out = theirs.generate(**ids, max_new_tokens=n, do_sample=False, pad_token_id=2)
        return out[0, ids["input_ids"].shape[1] :].tolist(), time.perf_counter() - started

    def one_round():
        _, first = some(1)
        said[:], seconds = some(NEW_TOKENS)
        return len(said), first, seconds

    return one_round, lambda: tokenizer.decode(said, skip_special_tokens=True)


# ---- the loss under each code ---------------------------------------------------------------------------------------


def loss(model: Path, work: Path, setting: dict[str, Any] | None, **_: Any) -> dict[str, Any]:
    """Held-out loss of English prose, window by window: of the model as the file has it (no setting), or the change that
    a code makes to it, with the standard error of the paired difference, and the error of the weights."""
    opened = load_foreign(model, quantize=setting)
    sections = corpus.split_sections(corpus.sections(corpus.load_topics()))[1]
    ids = np.concatenate([opened.tokenizer.encode(body + "\n\n") for _, body in sections])[: WINDOWS * LENGTH + 1]
    windows = ids[:-1].reshape(WINDOWS, LENGTH), ids[1:].reshape(WINDOWS, LENGTH)
    losses = window_losses(opened.model, *windows)
    if setting is None:
        storage.save_arrays(work / "losses.npz", {"losses": losses}, {})
        return {
            "windows": WINDOWS,
            "length": LENGTH,
            "loss": float(losses.mean()),
            "standard_error": standard_error(losses),
        }
    change = losses - storage.load_arrays(work / "losses.npz")[0]["losses"]
    layers = adapters.linear_paths(opened.model)
    file = GGUFFile(model)
    tensors = llama_tensors(file, gguf_config(file))
    pairs = [(layer.dense_weight(), tensors[f"{path}.weight"].read(np.float32)) for path, layer in layers.items()]
    after, before = (np.concatenate([pair[i].reshape(-1) for pair in pairs]) for i in (0, 1))
    return setting | {
        "bits": 8 * sum(layer.nbytes for layer in layers.values()) / before.size,
        "rms_error": rms_error(after, before),
        "values": before.size,
        "values_changed": int(np.count_nonzero(after != before)),
        "change": float(change.mean()),
        "standard_error": standard_error(change),
    }


def minilm(model: Path, minilm: str, **_: Any) -> dict[str, Any]:
    """The error of each code on weights that have never been quantized: all-MiniLM-L6-v2, float32."""
    tensors = open_tensors(minilm)
    rows = [row for row in survey(tensors, SURVEYED, (32, 64)) if row["results"]]
    kurtosis = sorted((row["kurtosis"], row["name"]) for row in rows)
    by_name = {row["name"]: row for row in rows}
    worst = by_name[kurtosis[-1][1]]
    return {
        "file_bytes": Path(minilm).stat().st_size,
        "matrices": len(rows),
        "values": sum(row["values"] for row in rows),
        "kurtosis_median": median(k for k, _ in kurtosis),
        "kurtosis_largest": kurtosis[-1][0],
        "kurtosis_largest_name": worst["name"],
        "largest_of_it": float(np.abs(tensors[worst["name"]].read(np.float32)).max() / worst["rms"]),
        "errors_of_it": {key(one): one["rms_error"] for one in worst["results"]},
        "errors": {key(one): one["rms_error"] for one in total(rows)},
        "errors_of_the_median": {
            key(rows[0]["results"][i]): median(row["results"][i]["rms_error"] for row in rows)
            for i in range(len(rows[0]["results"]))
        },
        "errors_of_normal_weights": normal_errors(),
    }


def key(result: dict[str, Any]) -> str:
    return f"{result['code']}/{result['block_size']}"


def normal_errors() -> dict[str, float]:
    """The same errors on a million normal values."""
    w = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    pairs = [(code, size) for code in SURVEYED for size in (32, 64)]
    return {f"{code}/{size}": rms_error(quantize(w, code, block_size=size).dequantize(), w) for code, size in pairs}


# ---- QLoRA ----------------------------------------------------------------------------------------------------------


def train(model: Path, work: Path, seed: int, **_: Any) -> dict[str, Any]:
    """QLoRA on the invented facts, by the command that everybody uses. A run that was stopped resumes; its time, spent in
    several processes, is then not known. One that was done starts over."""
    run = work / f"run{seed}"
    if (run / models.ADAPTER_FILE).is_file():  # done before, and asked for again
        shutil.rmtree(run)
    begun = (run / "checkpoint.npz").is_file()
    settings = [text for name, value in QLORA.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    started = time.process_time()
    code = command(
        ["finetune", "--model", str(model), "--data", str(HERE / "facts.jsonl"), "--out", str(run), "--quiet"]
        + ["--eval-data", str(HERE / "paraphrases.jsonl"), "--quantize", "nf4", "--double-quant", "--seed", str(seed)]
        + ["--eval-steps", str(QLORA["max_steps"]), "--save-steps", "25", *settings]
        + ["--resume"] * (run / "run.json").is_file()
    )
    if code:
        raise RuntimeError(f"finetune ended with the code {code}")
    return {
        "seed": seed,
        "cpu_seconds": None if begun else time.process_time() - started,
        "peak_bytes": machine.peak_memory(),
        "adapter_bytes": (run / "adapter.npz").stat().st_size,
        "adapter_parameters": sum(a.size for a in adapters.read_adapter(run / "adapter.npz").arrays.values()),
    }


def ask(model: Path, work: Path, seed: int | None, **_: Any) -> dict[str, Any]:
    """What the model answers with the adapter of a seed, or without one (None): [right, of how many] of each file, and
    every answer. It answers with its weights decoded once, which are the same."""
    if seed is None:
        opened = models.open_model(str(model), NF4)
        for path, layer in adapters.linear_paths(opened.model).items():
            opened.model.set_submodule(path, Linear.from_weight(layer.dense_weight(), trainable=False))
    else:
        opened = models.open_with_adapter(None, str(work / f"run{seed}"))
        merge_lora(opened.model, keep_unmerged=False)
    said = {name: answers(opened, questions(name)) for name in ("facts", "paraphrases", "known")}
    right = {
        name: [is_right(name, text, record) for text, record in zip(texts, read(name), strict=True)]
        for name, texts in said.items()
    }
    return {
        "right": {name: [sum(ones), len(ones)] for name, ones in right.items()},
        "answers": said,
    }


def answers(opened: models.Opened, texts: list[str]) -> list[str]:
    """Greedy answers, prompts of one length side by side: the same as one by one, and several times faster."""
    model, tokenizer, template, _ = opened
    prompts = [template.prompt(text, tokenizer) for text in texts]
    said = [""] * len(texts)
    for length in sorted(set(map(len, prompts))):
        places = [i for i, ids in enumerate(prompts) if len(ids) == length]
        rows = generate(model, np.stack([prompts[i] for i in places]), SAID, eos_token_id=tokenizer.eos_token_id)[
            :, length:
        ]
        for i, row in zip(places, rows.tolist(), strict=True):
            ends = [*[k for k, token in enumerate(row) if token == tokenizer.eos_token_id], len(row)]
            said[i] = tokenizer.decode(row[: ends[0]])
    return said


def is_right(name: str, text: str, record: dict[str, str]) -> bool:
    """A trained fact must come back word for word; in other answers the name or number that matters must stand."""
    if name == "facts":
        return text.strip() == record["target"]
    return any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in record["key"].split("|"))


def export(model: Path, work: Path, **_: Any) -> dict[str, Any]:
    """The adapter as PEFT's folder, and the base it was trained over, NF4 decoded, as transformers' folder."""
    opened = models.open_with_adapter(None, str(work / "run0"))
    save_peft_adapter(opened.model, work / "adapter", base_model=str(work / "base"))
    base = models.open_model(str(model), opened.notes["quantization"])
    save_llama(base.model, work / "base", tokenizer=base.tokenizer)
    conversations = [opened.template.prompt(question, opened.tokenizer) for question in questions("facts")[:8]]
    return keep_logits(opened.model, conversations, work / "adapted.npz") | {
        "adapter_bytes": (work / "adapter" / "adapter_model.safetensors").stat().st_size
    }


def peft(work: Path, **_: Any) -> dict[str, Any]:
    """The exported adapter in PEFT: keys, and logits beside ours; without the adapter they would be far off."""
    import peft as library
    import torch
    import transformers
    from safetensors import safe_open

    theirs = transformers.AutoModelForCausalLM.from_pretrained(work / "base", dtype=torch.float32)
    without = beside(theirs, work / "adapted.npz")["largest_difference"]
    adapted = library.PeftModel.from_pretrained(theirs, work / "adapter")
    with safe_open(work / "adapter" / "adapter_model.safetensors", "np") as file:
        keys = set(file.keys())
    expected = set(library.get_peft_model_state_dict(adapted))
    return beside(adapted, work / "adapted.npz") | {
        "keys": len(keys),
        "missing_keys": len(expected - keys),
        "unexpected_keys": len(keys - expected),
        "difference_without_adapter": without,
        "version": library.__version__,
    }


# ---- data -----------------------------------------------------------------------------------------------------------


def read(name: str) -> list[dict[str, str]]:
    """The records of one of the files beside this one."""
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def questions(name: str) -> list[str]:
    return [record["input"] for record in read(name)]
