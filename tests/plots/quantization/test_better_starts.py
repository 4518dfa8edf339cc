"""Better starts: the caption says better or worse only where every seed does."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.quantization.better_starts import LAYOUT, caption, draw


def side(losses, rate=0.006):
    return {
        "best": rate,
        "rates": [rate, 2 * rate],
        "sweep": [losses[0], None],
        "curve": [[1.0, loss] for loss in losses],
        "before": [6.0] * 3,
        "loss": losses,
        "exact": [0.1, 0.25, 0.3],
    }


def numbers(loftq=(0.5, 0.6, 0.7), pissa=(0.3, 0.4, 0.5), pissa_float=(0.35, 0.4, 0.5)):
    def start(*values):
        return {"error": list(values), "change": [v / 2 for v in values], "standard_error": [0.01] * len(values)}

    plain = [0.5, 0.6, 0.7]
    starts = {"B = 0": start(0.4), "LoftQ": start(0.3, 0.2), "PiSSA": start(0.25, 0.2)}
    sides = {"B = 0": side(plain), "LoftQ": side(list(loftq)), "PiSSA": side(list(pissa), 0.003)}
    return {
        "task": "roman",
        "r": 8,
        "steps": 100,
        "batch_size": 16,
        "rounds": [1, 5],
        "steps_read": [50, 100],
        "starts": {"nf4": starts, "nf2": starts},
        "sides": {"nf4": sides, "nf2": sides, "float32": {"B = 0": side(plain), "PiSSA": side(list(pissa_float))}},
    }


def test_better_and_worse_follow_the_seeds():
    text = caption(numbers())
    assert "LoftQ is lower in 0 of 3 seeds (+0.000 ± 0.000; 25% exact), which is not called a difference" in text
    assert "PiSSA is better (-0.200 ± 0.000; 25% exact)" in text
    assert "LoftQ is worse (+0.100 ± 0.000;" in caption(numbers(loftq=(0.6, 0.7, 0.8)))
    assert "PiSSA is lower in 2 of 3 seeds" in caption(numbers(pissa=(0.3, 0.4, 0.75)))


def test_the_gain_over_floats_is_set_beside_those_over_the_codes():
    text = caption(numbers(pissa_float=(0.34, 0.44, 0.54)))
    assert "PiSSA changes -0.160 ± 0.000: 80% of what it gains over NF4 and 80% of what it gains over NF2" in text
    text = caption(numbers(pissa_float=(0.5, 0.6, 0.7)))
    assert "PiSSA changes +0.000 ± 0.000." in text and "of what it gains" not in text
    assert "of what it gains" not in caption(numbers(pissa=(0.6, 0.7, 0.8)))


def test_starts_and_rates_are_those_of_the_numbers():
    text = caption(numbers())
    assert "over NF2 B = 0 0.400 (+0.200), LoftQ 0.300 and 0.200 (+0.150 and +0.100)" in text
    assert "NF4 B = 0 0.006, LoftQ 0.006, PiSSA 0.003" in text


def test_every_side_is_drawn():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers())
    assert len(axes[1][2].get_xticklabels()) == 3
    assert [len(ax.lines) for ax in axes[1][:2]] == [5, 5]
    plt.close(figure)
