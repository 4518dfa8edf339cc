"""What the lessons show for the peers' libraries beside our own: it runs, as it is written, and both sides agree."""

import contextlib
import copy
import io
import json
import re
import shutil
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
bnb = pytest.importorskip("bitsandbytes")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("gguf")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "interop"))

from ggufs import write_gguf  # noqa: E402

from minilora import Llama, LlamaConfig, generate  # noqa: E402
from minilora.adapters import QuantizedLinear, linear_paths  # noqa: E402
from minilora.analysis import stored_bytes  # noqa: E402
from minilora.interop import load_gguf, save_llama  # noqa: E402
from minilora.interop.blocks import q4_1  # noqa: E402

LESSON = "08_a_real_model"
PEERS = {"transformers", "bitsandbytes", "PEFT", "bitsandbytes, PEFT", "gguf", "tokenizers"}
STEPS = ("max_steps=100", "max_steps=10")  # what stands there, and what is run here
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CHAT = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class Step(NamedTuple):
    """A fence of the lesson after it was run: the names that each side has then, and what each printed."""

    section: int
    text: str
    theirs: dict
    ours: dict
    they_print: str
    we_print: str


def fences(lesson):
    """(section, [(label, code), ...]) of every fence of Python in a lesson; a fence has a part for each side."""
    source = (ROOT / "notebooks" / "source" / f"{lesson}.py").read_text(encoding="utf-8")
    section, found = 0, []
    for match in re.finditer(r"(?m)^# ## (\d+)\. |^# ```python\n((?:#.*\n)*?)# ```$", source):
        if match[1]:
            section = int(match[1])
            continue
        lines = [line.removeprefix("#").removeprefix(" ") for line in match[2].splitlines()]
        parts = "\n".join(lines).split("\n\n")
        found.append((section, [(re.search(r"  # (.+)$", part.split("\n")[0]), part) for part in parts]))
    return [(section, [(label and label[1], part) for label, part in parts]) for section, parts in found]


def small_smollm2():
    """The files that the lesson names, of a small model of SmolLM2's form, in the current folder."""
    facts = (ROOT / "benchmarks" / "smollm2" / "facts.jsonl").read_text(encoding="utf-8")
    Path("facts.jsonl").write_text(facts, encoding="utf-8")
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([facts + " 1984 1985" * 50], trainer)
    vocabulary = bpe.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    merges = [" ".join(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_theta=100000.0,
        initializer_range=0.1,
        tie_word_embeddings=True,
    )
    settings = {"token_type": [3] * 3 + [1] * (len(tokens) - 3), "bos_token_id": 1, "eos_token_id": 2}
    settings = {f"tokenizer.ggml.{key}": value for key, value in (settings | {"padding_token_id": 2}).items()}
    settings["tokenizer.chat_template"] = CHAT
    model = Llama(config, rng=np.random.default_rng(0))
    write_gguf(model, FILE, "Q4_1", vocabulary=(tokens, merges), changes=settings)
    model, tokenizer = load_gguf(FILE)
    save_llama(model, "HuggingFaceTB/SmolLM2-135M-Instruct", dtype="bfloat16", tokenizer=tokenizer)
    save_llama(model, "another")
    shutil.move("another/model.safetensors", "model.safetensors")


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """Every fence of the lesson, run in order, by what stands in it: steps("apply_chat_template")."""
    done, theirs, ours = [], {"np": np}, {"np": np}
    with contextlib.chdir(tmp_path_factory.mktemp("lesson")), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the libraries say of one another
        torch.manual_seed(0)
        small_smollm2()
        for section, parts in fences(LESSON):
            said = io.StringIO(), io.StringIO()
            for label, code in parts:
                side = label == "minilora"
                code = code.replace(*STEPS)
                with contextlib.redirect_stdout(said[side]):
                    exec(compile(code, f"lesson 08, section {section}: {code[:40]}...", "exec"), (theirs, ours)[side])
            text = "\n\n".join(code for _, code in parts)
            # copies, since later lines merge the model, and bitsandbytes lays its codes out again at the first call
            kept = [{name: copy.deepcopy(side.get(name)) for name in ("model", "in_nf4")} for side in (theirs, ours)]
            done.append(Step(section, text, theirs | kept[0], ours | kept[1], *(one.getvalue() for one in said)))
        yield lambda word: next(step for step in done if word in step.text)


def logits(model, ids):
    """Of either side, in NumPy."""
    if isinstance(model, Llama):
        return model(np.asarray(ids))[0]
    with torch.no_grad():
        return model(torch.as_tensor(np.asarray(ids))).logits.float().numpy()


IDS = np.random.default_rng(5).integers(3, 259, (2, 30))


def assert_same_logits(theirs, ours):
    np.testing.assert_allclose(logits(ours, IDS), logits(theirs, IDS), atol=2e-4)


def test_every_part_says_whose_it_is_and_every_section_has_both():
    parts = [(section, label) for section, found in fences(LESSON) for label, _ in found]
    assert {label for _, label in parts} == PEERS | {"minilora"}
    for section in range(1, 9):
        assert {label == "minilora" for where, label in parts if where == section} == {True, False}, section


def test_loading(steps):
    step = steps("gguf_file=path, dtype")
    assert_same_logits(step.theirs["model"], step.ours["model"])
    skeleton = steps('torch.device("meta")').theirs
    assert skeleton["parameters"] == sum(p.size for p in step.ours["model"].parameters())
    assert {p.device.type for p in skeleton["skeleton"].parameters()} == {"meta"}


def test_a_block_of_q4_1(steps):
    found = steps("GGMLQuantizationType.Q4_1").theirs
    assert found["raw"].nbytes == 20
    np.testing.assert_array_equal(found["decoded"], q4_1(found["raw"][None]).ravel())


def in_four_bits(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, bnb.nn.Linear4bit)}


def test_loading_in_nf4(steps):
    step = steps('quantize="nf4"')
    theirs = in_four_bits(step.theirs["in_nf4"])
    layers = linear_paths(step.ours["in_nf4"])
    ours = {path: layer for path, layer in layers.items() if isinstance(layer, QuantizedLinear)}
    assert {name.removeprefix("model.") for name in theirs} == set(ours)
    for name, layer in theirs.items():
        q = ours[name.removeprefix("model.")].q
        np.testing.assert_array_equal(layer.weight.data.numpy().ravel(), q.packed)
        np.testing.assert_array_equal(layer.weight.quant_state.absmax.numpy(), q.scales)
    # the lesson says that their count leaves out the scales, and ours does not
    scales = sum(layer.q.scales.nbytes for layer in ours.values())
    buffers = sum(b.nbytes for b in step.theirs["in_nf4"].buffers())
    footprint = step.theirs["in_nf4"].get_memory_footprint()
    namespace = dict(step.ours)
    assert footprint - buffers + scales == namespace["stored_bytes"](namespace["in_nf4"])


def test_logits_and_the_rotation(steps):
    step = steps("load_llama(")
    np.testing.assert_array_equal(step.ours["ids"], step.theirs["ids"].numpy())
    np.testing.assert_allclose(step.ours["logits"], step.theirs["logits"].numpy(), atol=1e-4)
    found = steps("rotate_half").theirs
    q, angles = np.arange(8.0), 5 * 10000.0 ** (-np.arange(4) / 4)
    cos, sin = np.cos(angles), np.sin(angles)
    expected = np.concatenate([q[:4] * cos - q[4:] * sin, q[4:] * cos + q[:4] * sin])
    np.testing.assert_allclose(found["turned"].numpy(), expected, atol=1e-5)


def test_turns_and_tokens(steps):
    step = steps("from_jinja")
    np.testing.assert_array_equal(step.ours["ids"], step.theirs["ids"].numpy())
    assert set(step.theirs["inputs"]) == {"input_ids", "attention_mask"}
    step = steps("Digits")
    assert step.theirs["pieces"] == ["in", "Ġ", "1", "9", "8", "4"]
    text = "in 1984 and 1985"
    ours = step.ours["tokenizer"].encode(text).tolist()
    assert step.theirs["from_folder"](text)["input_ids"] == ours
    assert step.theirs["from_gguf"](text)["input_ids"] != ours


def test_a_matrix_and_a_window_in_nf4(steps):
    step = steps("up_proj")
    np.testing.assert_allclose(step.ours["decoded"], step.theirs["decoded"].numpy(), rtol=3e-7)
    step = steps("added = ")
    assert step.ours["added"] != 0
    np.testing.assert_allclose(step.ours["before"], step.theirs["before"].item(), atol=1e-5)
    # bitsandbytes computes in bfloat16 where the processor can
    np.testing.assert_allclose(step.ours["added"], step.theirs["added"].item(), rtol=0.1)


def test_the_errors_of_a_file(steps):
    step = steps("safe_open")
    lines = sorted(step.they_print.splitlines()), sorted(step.we_print.splitlines())
    assert lines[0] == lines[1] and len(lines[0]) == 15  # seven matrices in each layer, and the embedding


def test_preparing_and_adapting(steps):
    step = steps("prepare_model_for_kbit_training")
    theirs = {n: p for n, p in step.theirs["model"].named_parameters() if p.requires_grad}
    ours = {n: p for n, p in step.ours["model"].named_parameters() if p.trainable}
    assert all("lora_" in name for name in (*theirs, *ours))
    assert sorted(tuple(p.shape) for p in theirs.values()) == sorted(p.value.shape for p in ours.values())
    assert f"{sum(p.size for p in ours.values()):,}" in step.they_print
    assert all(layer.weight.quant_state.nested for layer in in_four_bits(step.theirs["model"]).values())


def test_the_memory_of_a_qlora_run(steps):
    step = steps("weight_bytes(")
    for name in ("weights", "gradients", "moments"):
        assert step.theirs[name] == step.ours[name], name
    assert step.ours["weights"] == stored_bytes(step.ours["model"])
    trained = [p for p in step.ours["model"].parameters() if p.trainable]
    assert step.ours["gradients"] == sum(p.value.nbytes for p in trained) > 0


def test_rows_and_training(steps):
    step = steps("DataCollatorForSeq2Seq")
    for theirs, ids, labels in zip(step.theirs["rows"], *step.ours["rows"], strict=True):
        counted = ids[: len(theirs["input_ids"]) - 1]
        np.testing.assert_array_equal(theirs["input_ids"][:-1], counted)
        np.testing.assert_array_equal(theirs["labels"][1:], labels[: len(counted)])  # shifted here, there in the model
        assert set(labels[len(counted) :]) <= {-100}
    assert step.theirs["settings"].max_steps == step.ours["settings"].max_steps == 10
    batch = step.theirs["collator"](step.theirs["rows"][:4])
    untrained = steps("load_llama(").theirs["model"]
    with torch.no_grad():
        assert step.theirs["model"](**batch).loss < untrained(**batch).loss
    rows = [part[:4] for part in step.ours["rows"]]
    assert step.ours["model"].loss(*rows)[0] < steps("load_llama(").ours["model"].loss(*rows)[0]


def test_answers(steps):
    step = steps("max_new_tokens=24")
    assert all(isinstance(side["answer"], str) for side in (step.theirs, step.ours))
    np.testing.assert_array_equal(step.ours["ids"], step.theirs["inputs"]["input_ids"].numpy())


def test_adapters_both_ways(steps):
    step = steps("save_peft_adapter")
    assert_same_logits(step.theirs["model"], step.ours["model"])
    again = steps("load_peft_adapter(base").ours["base"]
    assert_same_logits(step.theirs["model"], again)


def test_merging_keeps_the_sum_in_float(steps):
    step = steps("merge_and_unload")
    beside = steps("save_peft_adapter")
    for merged, before in ((step.theirs, beside.theirs), (step.ours, beside.ours)):
        np.testing.assert_allclose(logits(merged["model"], IDS), logits(before["model"], IDS), atol=2e-4)
    assert_same_logits(step.theirs["model"], step.ours["model"])


@pytest.mark.filterwarnings("ignore:Merge lora module to 4-bit:UserWarning")
def test_over_four_bits_peft_quantizes_the_sum_again(steps):
    model = copy.deepcopy(steps("DataCollatorForSeq2Seq").theirs["model"])
    layer = model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
    before, update = decoded(layer.base_layer), layer.get_delta_weight("default").detach().numpy()
    merged = in_four_bits(model.merge_and_unload())
    assert len(merged) == 14
    made = decoded(merged["model.layers.0.mlp.up_proj"]) - before
    assert np.linalg.norm(update) < 0.05 * np.linalg.norm(before)
    assert np.vdot(made, update) / np.vdot(update, update) < 0.5  # of a small update; in float it would be 1


def decoded(layer):
    return bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).numpy()


def test_talking(steps):
    step = steps("TextStreamer")
    ids = step.ours["ids"]
    said = generate(step.ours["model"], ids, 64, eos_token_id=step.ours["tokenizer"].eos_token_id)
    np.testing.assert_array_equal(said, step.theirs["said"].numpy())
    assert step.they_print.strip() and step.we_print


@pytest.fixture
def half(tmp_path):
    """half() -> a small Llama of transformers, stored in 16 bits and loaded in NF4."""
    sizes = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    config = transformers.LlamaConfig(**sizes, num_attention_heads=4)
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    nf4 = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    return lambda: transformers.AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=nf4)


def adapted(model):
    return peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))


ignoring = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@ignoring
def test_the_steps_of_preparing_and_why_it_comes_first(half):
    """Lesson 06, section 2: the first two rows of its table, the hook and the checkpointing, and the exercise on the order."""
    model = half()
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16, torch.uint8}
    model = peft.prepare_model_for_kbit_training(model)
    assert not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32, torch.uint8}
    assert model.get_input_embeddings()(torch.tensor([[1]])).requires_grad
    assert model.is_gradient_checkpointing
    model = adapted(model)
    assert {"lora_A", "lora_B"} == {n.split(".")[-3] for n, p in model.named_parameters() if p.requires_grad}
    peft.prepare_model_for_kbit_training(model)
    assert not any(p.requires_grad for p in model.parameters())


@ignoring
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_which_checkpointing_needs_an_input_with_a_gradient(half, use_reentrant):
    """Lesson 06, section 2: the third row of its table."""
    kind = {"use_reentrant": use_reentrant}
    model = adapted(peft.prepare_model_for_kbit_training(half(), gradient_checkpointing_kwargs=kind)).train()
    model.get_input_embeddings()._forward_hooks.clear()  # PEFT and transformers each put theirs on
    ids = torch.tensor([[1, 2, 3]])
    assert model(ids, labels=ids).loss.requires_grad is not use_reentrant
