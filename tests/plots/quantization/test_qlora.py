"""LoRA over few bits: the caption calls a difference only what every seed sees, and counts what is won back."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.quantization.qlora import LAYOUT, LOOKS, caption, draw


def entry(losses, before, rates=(0.006, 0.012)):
    return {
        "best": 0.006,
        "rates": list(rates),
        "sweep": [losses[0] + 0.1 * i for i in range(len(rates))],
        "curve": [[1.0, loss] for loss in losses],
        "before": [before] * len(losses),
        "loss": losses,
        "exact": [1 - loss for loss in losses],
    }


def study(task, r, names, two_bits, before=8.0):
    floats = [0.10, 0.12, 0.11, 0.10, 0.12]
    seeds = len(two_bits)
    found = {name: entry([0.11, 0.115, 0.105, 0.11, 0.11][:seeds], 6.0) for name in names}
    found["float32"] = entry(floats[:seeds], 6.0)
    found["nf4"] = entry([0.11, 0.11, 0.12, 0.11, 0.11][:seeds], 6.0)
    found["nf2"] = entry(two_bits, before)
    numbers = {"task": task, "r": r, "steps": 100, "parameters": 7, "steps_read": [50, 100]}
    return numbers | {"storages": {name: found[name] for name in LOOKS if name in found}}


def numbers(two_bits=(0.5, 0.53, 0.51, 0.5, 0.53), before=8.0):
    three = ("float32", "nf4", "nf2")
    sizes = {"float32": 4e6, "nf4": 0.65e6, "nf4 double": 0.6e6, "nf2": 0.4e6}
    return {
        "windows": 2,
        "batch_size": 16,
        "text": {"loss": 1.1},
        "bases": {
            name: {"bytes": sizes.get(name, 0.6e6), "bits": 4.5, "text": {"change": 0.25, "standard_error": 0.01}}
            for name in LOOKS
        },
        "own_text": {
            "r": 8,
            "steps": 100,
            "batch_size": 4,
            "length": 256,
            "storages": {
                "float32": entry([1.0, 1.1, 1.2], 1.0),
                "nf4": entry([1.0, 1.1, 1.2], 1.1),
                "nf2": entry([1.2, 1.3, 1.4], 1.8),
            },
        },
        "studies": {
            "roman, r = 8": study("roman", 8, LOOKS, list(two_bits), before),
            "dates, r = 8": study("dates", 8, LOOKS, list(two_bits), before),
            "roman, r = 1": study("roman", 1, three, [0.9, 0.92, 0.91]),
        },
    }


def test_a_difference_is_claimed_only_where_every_seed_sees_it():
    assert "NF2 +0.404 ± 0.002: NF2 is worse in every seed." in caption(numbers())
    assert ": NF2 is better in every seed." in caption(numbers((0.01, 0.03, 0.02, 0.01, 0.02)))
    assert "none is a difference" in caption(numbers((0.5, 0.11, 0.5, 0.5, 0.5)))


def test_three_seeds_are_a_hint():
    assert "NF2 is worse in every seed, which with 3 is a hint." in caption(numbers((0.5, 0.53, 0.51)))
    assert "nothing that 3 seeds can tell apart" in caption(numbers((0.5, 0.11, 0.51)))


def test_what_is_won_back_is_the_share_of_the_gap_on_the_same_text():
    text = caption(numbers())
    assert "NF4 +0.0000 ± 0.0000 of 0.1000, 100% of it won back" in text
    assert "NF2 +0.2000 ± 0.0000 of 0.8000, 75% of it won back" in text
    small = numbers()
    small["own_text"]["storages"]["nf4"]["before"] = [1.004] * 3  # too little for a share
    assert "NF4 +0.0000 ± 0.0000 of 0.0040; NF2" in caption(small)


def test_where_two_bits_stood_before_training_is_told_in_either_direction():
    assert "untrained +2.00 from float32" in caption(numbers())
    assert "untrained -1.00 from float32" in caption(numbers(before=5.0))


def test_ranks_bytes_and_rates_are_those_of_the_numbers():
    text = caption(numbers())
    assert "By rank (r = 1, 8) on roman, float32 0.110, 0.110" in text
    assert "NF2 +0.800 ± 0.000, +0.404 ± 0.002." in text
    assert "0.65 MB instead of 4.00 MB" in text and "roman, r = 1: 0.006 for all" in text
    other = numbers()
    other["studies"]["roman, r = 8"]["storages"]["nf2"]["best"] = 0.012
    of_two_bits = "roman, r = 8: 0.006 for float32, NF4, NF4 + double quant., FP4, int4 and NF3, 0.012 for NF2;"
    assert of_two_bits in caption(other)


def test_every_storage_is_drawn_in_every_panel():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers())
    assert [len(ax.lines) for ax in axes[0][:2]] == [len(LOOKS)] * 2
    assert len(axes[1][0].get_yticklabels()) == len(LOOKS) and len(axes[0][2].get_yticklabels()) == len(LOOKS) - 1
    assert len(axes[1][1].lines) == 3  # the storages that every rank has
    plt.close(figure)
