import json

import numpy as np

from minilora import LoraConfig, apply_lora, save_adapter
from minilora.adapters import base_fingerprint, scale_adapter
from minilora.nn.files import load_model


def test_it_says_what_a_file_holds_and_how_it_was_trained(trained, command):
    code, said, _ = command("adapters", "run", "run/best.npz")
    assert code == 0
    for part in (
        "run/adapter.npz",
        "run/best.npz",
        "lora: r 2, lora_alpha 2, target_modules all-linear",
        "parameters, ",
        "on 22 rows of my.jsonl, 6 steps of 4",
        "rate 0.006, seed 0",
        "held out  exact",
        "step 6",
    ):
        assert part in said
    assert "use_dora" not in said and "None" not in said


def test_json_has_it_all(trained, command):
    (one,) = json.loads(command("adapters", "run", "--json")[1])
    model, _ = load_model("tiny.npz")
    assert one["method"] == "lora" and one["config"]["r"] == 2 and one["base"] == base_fingerprint(model)
    assert one["bytes"] == (trained / "adapter.npz").stat().st_size
    assert one["notes"]["training"]["max_steps"] == 6 and one["notes"]["data"]["held_out"] == 2


def test_quiet_is_a_line_each(trained, command):
    code, said, _ = command("adapters", "run", "run/best.npz", "--quiet")
    assert code == 0 and len(said.splitlines()) == 2 and "lora, " in said and " parameters" in said


def test_a_file_of_the_library_has_no_notes(command, place):
    model, _ = load_model("tiny.npz")
    apply_lora(model, LoraConfig(r=2), rng=np.random.default_rng(0))
    scale_adapter(model, "default", 0.5)
    save_adapter(model, "mine.npz")
    code, said, _ = command("adapters", "mine.npz")
    assert code == 0 and "unknown" in said and "acts 0.5 times as strongly" in said and "trained   on" not in said


def test_errors_that_a_user_meets(command, trained):
    code, _, said = command("adapters", "run", "my.jsonl")
    assert code == 2 and "my.jsonl" in said and said.count("\n") == 1
    code, _, said = command("adapters", "tiny.npz")
    assert code == 2 and "tiny.npz" in said
