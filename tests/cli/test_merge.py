import json

import pytest


@pytest.mark.parametrize("quantized", [(), ("--quantize", "nf4")])
def test_the_merged_model_acts_as_base_and_adapter(finetune, command, quantized):
    """Also over four bits: decoded, merged and kept in float32, it is exact up to rounding."""
    assert finetune("run", *quantized)[0] == 0
    code, said, _ = command("merge", "--adapter", "run", "--out", "merged.npz", "--json")
    assert code == 0 and json.loads(said)["layers"] == 14
    apart = json.loads(command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--json")[1])
    merged = json.loads(command("evaluate", "--data", "my.jsonl", "--model", "merged.npz", "--json")[1])
    assert merged["loss"] == pytest.approx(apart["loss"], rel=1e-5) and merged["n"] == apart["n"]


def test_a_merged_model_can_be_fine_tuned_again(trained, command):
    code, said, _ = command("merge", "--adapter", "run", "--out", "merged.npz")
    assert code == 0 and "use it as --model merged.npz" in said
    code, _, why = command(
        "finetune", "--data", "my.jsonl", "--model", "merged.npz", "--out", "again",
        "--max-steps", 1, "--batch-size", 4, "--r", 2, "--quiet"
    )  # fmt: skip
    assert code == 0, why


def test_what_no_weight_can_express_is_refused(command, place):
    command(
        "finetune", "--data", "my.jsonl", "--model", "tiny.npz", "--out", "run", "--method", "prompt",
        "--max-steps", 1, "--batch-size", 4, "--max-length", 40,
    )  # fmt: skip
    code, _, said = command("merge", "--adapter", "run", "--out", "merged.npz")
    assert code == 2 and "cannot be merged" in said and not (place / "merged.npz").exists()


def test_errors_that_a_user_meets(command, trained):
    code, _, said = command("merge", "--adapter", "run", "--out", "merged.bin")
    assert code == 2 and "--out must end in .npz or be a folder, got 'merged.bin'" in said
    code, _, said = command("merge", "--adapter", "nowhere", "--out", "merged.npz")
    assert code == 2 and "nowhere does not exist" in said
