"""The memory of training, in miniature."""

import copy

from minilora.experiments.training.training_memory import PARTS, Config, run
from minilora.plots.training.training_memory import caption

SMALL = run(Config(batches=(1,), lengths=(16, 32)))


def cell(name, length=32):
    return next(c for c in SMALL["cells"] if (c["method"], c["length"]) == (name, length))


def test_what_is_counted_is_what_the_formula_says():
    assert len(SMALL["cells"]) == 6 * 2
    for cell in SMALL["cells"]:
        assert cell["counted"] == cell["formula"] and tuple(cell["counted"]) == PARTS
        kept = sum(size for part, size in cell["counted"].items() if part != "weights")
        assert kept < cell["peak"] < 3 * kept + 1_000_000


def test_each_method_saves_what_it_is_for():
    full, lora, nf4 = (cell(name)["counted"] for name in ("full", "LoRA", "NF4 LoRA"))
    assert lora["optimizer"] == 2 * lora["gradients"] < 0.2 * full["optimizer"]
    assert lora["activations"] > 0.8 * full["activations"]
    assert nf4["weights"] < 0.3 * lora["weights"]
    assert cell("LoRA, checkpointing")["counted"]["activations"] < 0.4 * lora["activations"]
    assert cell("prefix")["counted"]["gradients"] < 0.1 * lora["gradients"]
    assert cell("LoRA", 16)["counted"]["activations"] < 0.6 * lora["activations"]


def test_seven_billion_have_the_published_size_in_sixteen_bits():
    full = SMALL["large"]["full"]["512"]
    assert full["weights"] == full["gradients"] == 2 * 6_738_415_616 / 1e9
    assert full["optimizer"] == 4 * full["weights"]
    assert 3.8 < SMALL["large"]["NF4 LoRA"]["512"]["weights"] < 4.0


def test_the_caption_says_what_the_numbers_say():
    assert "exactly in 12 of 12 cases" in caption(SMALL)
    other = copy.deepcopy(SMALL)
    other["cells"][0]["counted"]["activations"] += 4
    assert "exactly in 11 of 12 cases" in caption(other)
