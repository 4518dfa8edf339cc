import json

import numpy as np
import pytest

from minilora.adapters import QuantizedLinear
from minilora.cli import models
from minilora.data import ChatTemplate, Template
from minilora.interop import load_foreign


def finetune_chat(command, out, *more):
    return command(
        "finetune", "--data", "my.jsonl", "--model", "chat.gguf", "--out", out, "--max-steps", 3, "--batch-size", 4,
        "--r", 2, "--quiet", *more,
    )  # fmt: skip


def test_a_gguf_file_goes_through_every_command(chat_model, command, place):
    assert finetune_chat(command, "run", "--quantize", "nf4", "--double-quant", "--block-size", 32)[0] == 0
    opened = models.open_with_adapter(None, "run")
    layer = opened.model.layers[0].mlp.up_proj.base_layer
    assert isinstance(layer, QuantizedLinear) and layer.q.double_quant and layer.q.block_size == 32
    assert opened.template == ChatTemplate("Be kind.") and opened.notes["template"] == "chatml:Be kind."
    code, said, _ = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--json")
    apart = json.loads(said)
    assert code == 0 and apart["n"] == 24
    assert command("generate", "--adapter", "run", "--prompt", "1 plus 1", "--max-new-tokens", 3)[0] == 0
    code, said, _ = command("merge", "--adapter", "run", "--out", "merged")
    assert code == 0 and "use it as --model merged" in said
    merged = load_foreign(place / "merged")
    assert merged.template == ChatTemplate("Be kind.")
    again = json.loads(command("evaluate", "--data", "my.jsonl", "--model", "merged", "--json")[1])
    assert again["loss"] == pytest.approx(apart["loss"], rel=1e-5)
    code, _, said = command("merge", "--adapter", "run", "--out", "merged.npz")
    assert code == 2 and "must be a folder for a model with a tokenizer of its own" in said
    assert command("merge", "--adapter", "run", "--out", "half", "--dtype", "bfloat16")[0] == 0
    assert (place / "half/model.safetensors").stat().st_size < (place / "merged/model.safetensors").stat().st_size * 0.6


def test_chat_overrides_a_template_of_ones_own(chat_model, command):
    own = "{input}\\n{target}{eos}"
    assert finetune_chat(command, "run", "--template", own)[0] == 0
    opened = models.open_with_adapter(None, "run")
    assert opened.template == Template("{input}\n{target}{eos}")
    assert models.chat_template(opened) == ChatTemplate("Be kind.")
    ask = ("generate", "--adapter", "run", "--prompt", "1 plus 1", "--max-new-tokens", 6)
    assert command(*ask)[0] == command(*ask, "--chat")[0] == 0
    code, _, said = command("generate", "--model", "tiny.npz", "--prompt", "x", "--chat")
    assert code == 2 and "needs a model with a chat template" in said
    assert models.to_template("chatml:Be loud.") == ChatTemplate("Be loud.")


def test_a_base_merged_into_a_folder(trained, command, place):
    pytest.importorskip("safetensors")
    code, said, _ = command("merge", "--adapter", "run", "--out", "folder")
    assert code == 0 and "transformers loads it" in said
    from minilora.interop import load_llama

    model = load_llama(place / "folder")
    adapted = models.open_with_adapter(None, "run").model
    ids = np.arange(8).reshape(1, 8)
    np.testing.assert_allclose(model(ids)[0], adapted(ids)[0], atol=1e-5)
    code, _, said = command("merge", "--adapter", "run", "--out", "folder.npz", "--dtype", "float16")
    assert code == 2 and "--dtype must be left out" in said


def test_a_folder_that_is_no_model(command, place):
    (place / "empty").mkdir()
    code, _, said = command("generate", "--model", "empty", "--prompt", "x")
    assert code == 2 and "'empty' is a folder without config.json" in said
