"""LoRA+'s map: the caption follows the seeds, and every pair is drawn."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.methods.loraplus import LAYOUT, caption, draw


def numbers(plain, other):
    best = [{"rate": rate, "loss": runs, "exact": [0.0] * 3} for rate, runs in ((0.004, plain), (0.001, other))]
    return {
        "task": "roman",
        "steps": 100,
        "batch_size": 16,
        "r": 8,
        "ratios": [1.0, 16.0],
        "rates": [0.001, 0.004],
        "sweep": [[2.0, plain[0]], [other[0], None]],
        "best": best,
    }


def test_the_caption_follows_the_seeds():
    assert "A ratio of 16 (1.000 to 1.200) beats plain LoRA (2.000 to 2.200) in every seed" in caption(
        numbers([2.0, 2.1, 2.2], [1.0, 1.1, 1.2])
    )
    assert "its seeds and plain LoRA's overlap" in caption(numbers([1.1, 2.1, 2.2], [1.0, 1.1, 1.2]))
    assert "; 16 is lower with each seed, within their spread" in caption(numbers([1.1, 2.1, 2.2], [1.0, 2.0, 2.1]))
    text = caption(numbers([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]))
    assert text.startswith("No ratio beats plain LoRA") and "16: 2.100 at A 0.001" in text


def test_a_best_ratio_that_is_not_alone_or_not_inside_is_said_to_be_so():
    text = caption(numbers([2.0, 2.1, 2.2], [1.0, 1.1, 1.2]))
    assert "; 16 is the largest that was tried. Median" in text
    assert "The best rate of 1, 16 stands at an end of the rates tried." in text
    three = numbers([2.0, 2.1, 2.2], [1.0, 1.1, 1.2])
    three["ratios"].append(64.0)
    three["best"].append({"rate": 0.002, "loss": [1.15, 1.3, 1.4], "exact": [0.0] * 3})
    text = caption(three)
    assert "16 is not told from 64 by the seeds, so which ratio is best is not settled. Median" in text
    three["best"][-1]["loss"] = [1.25, 1.3, 1.4]
    assert "told from" not in caption(three) and "largest" not in caption(three)


def test_every_pair_is_written_into_the_map():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]))
    assert [text.get_text() for text in axes[0].texts] == ["2.00", "[1.00]", "[2.00]", "diverged"]
    plt.close(figure)
