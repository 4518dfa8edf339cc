"""A small model in a file and small data beside it, so that commands run in a moment, in this process."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from minilora import Llama, LlamaConfig
from minilora.cli import main
from minilora.nn.files import save_model

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))  # for ggufs.py

TINY = LlamaConfig(
    vocab_size=256, hidden_size=16, intermediate_size=24, num_hidden_layers=2, max_position_embeddings=64
)


@pytest.fixture
def place(tmp_path, monkeypatch, records):
    """A folder to work in, with tiny.npz and my.jsonl (24 records)."""
    monkeypatch.chdir(tmp_path)
    save_model(Llama(TINY, rng=np.random.default_rng(0)), tmp_path / "tiny.npz")
    records("my.jsonl", *((f"{a} plus {b}", str(a + b)) for a in range(6) for b in range(4)))
    return tmp_path


@pytest.fixture
def records(tmp_path):
    """Write (input, target) pairs to a .jsonl."""

    def write(name, *pairs):
        lines = [json.dumps({"input": given, "target": target}) for given, target in pairs]
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    return write


@pytest.fixture
def command(place, capsys):
    """Run a command: (exit code, stdout, stderr)."""

    def run(*argv):
        code = main([str(arg) for arg in argv])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def finetune(command):
    """Run finetune on the small model: 6 steps, unless told otherwise."""

    def run(out="run", *more, data="my.jsonl", steps=6):
        given = ("--data", data) if data else ()
        length = ("--max-steps", steps) if steps else ()
        few = ("--model", "tiny.npz", "--batch-size", 4, "--eval-steps", 3, "--save-steps", 2, "--r", 2)
        return command("finetune", "--out", out, *given, *length, *few, *more)

    return run


@pytest.fixture
def trained(finetune, place):
    """The folder of a finished run."""
    assert finetune()[0] == 0
    return place / "run"


CHAT = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture
def write_chat_model(place):
    """Write a small model with a byte-level tokenizer and ChatML to a file; `changes`: metadata set last."""
    pytest.importorskip("gguf")
    pre_tokenizers = pytest.importorskip("tokenizers").pre_tokenizers
    from ggufs import write_gguf

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet, "th"]
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=64, intermediate_size=32, num_hidden_layers=1, max_position_embeddings=150
    )
    kinds = [3] * 3 + [1] * (len(tokens) - 3)
    changes = {"tokenizer.ggml.token_type": kinds, "tokenizer.chat_template": CHAT}
    changes |= {"tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}

    def write(name, **more):
        model = Llama(config, rng=np.random.default_rng(0))
        own = changes | {f"tokenizer.ggml.{key}": value for key, value in more.items()}
        return write_gguf(model, place / name, vocabulary=(tokens, ["t h"]), changes=own)

    return write


@pytest.fixture
def chat_model(write_chat_model):
    """chat.gguf: a small model whose end of a turn is its end of text, too."""
    return write_chat_model("chat.gguf")
