import json

import numpy as np
import pytest

pytest.importorskip("safetensors")

from minilora.adapters import adapter_state, load_adapter
from minilora.interop import load_peft_adapter
from minilora.nn.files import load_model


def test_a_run_becomes_a_folder_of_peft_and_comes_back(trained, command):
    code, said, _ = command("export", "--adapter", "run", "--out", "peft", "--json")
    assert code == 0 and json.loads(said)["base"].endswith("tiny.npz")
    model, _ = load_model("tiny.npz")
    load_adapter(model, "run/adapter.npz")
    load_peft_adapter(model, "peft", "back")
    mine, theirs = adapter_state(model), adapter_state(model, "back")
    for name, array in mine.items():
        np.testing.assert_array_equal(theirs[name], array)
    one = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--json")[1]
    two = command("evaluate", "--data", "my.jsonl", "--adapter", "peft", "--model", "tiny.npz", "--json")[1]
    assert json.loads(one) == json.loads(two)


def test_errors_that_a_user_meets(trained, command):
    command("export", "--adapter", "run", "--out", "peft")
    code, _, said = command("evaluate", "--data", "my.jsonl", "--adapter", "peft")
    assert code == 2 and "--model must be given for peft" in said
    code, _, said = command("export", "--adapter", "nowhere", "--out", "peft")
    assert code == 2 and "nowhere does not exist" in said
