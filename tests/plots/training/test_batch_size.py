"""Batch sizes: the caption follows the seeds, whichever way they go; every line is drawn."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.training.batch_size import LAYOUT, by_batch, caption, draw, gaps, power


def entries(*losses):
    return [
        {
            "rates": [0.01],
            "sweep": [1.0],
            "best": 0.01 * 2**i,
            "valley": 0.01 * 2**i,
            "loss": list(one),
            "exact": [max(0.0, 1 - loss) for loss in one],
        }
        for i, one in enumerate(losses)
    ]


def numbers(lora, full, lora_few, full_few):
    return {
        "task": "roman",
        "samples": 1024,
        "sizes": [8, 32, 128],
        "steps": [128, 32, 8],
        "small": 32,
        "larger": [128],
        "equal_samples": {"LoRA": entries(*lora), "full, same linears": entries(*full)},
        "equal_steps": {"LoRA": entries(lora_few), "full, same linears": entries(full_few)},
    }


FULL = ((0.1, 0.1), (0.2, 0.2), (1.0, 1.0))


def test_a_gap_that_grows_by_the_batch_is_said_to():
    data = numbers(((0.2, 0.3), (0.4, 0.5), (1.6, 1.7)), FULL, (1.8, 1.9), (1.7, 1.8))
    text = caption(data)
    assert (
        "LoRA's loss is higher by 0.15, 0.25, 0.65 nats (2.5, 2.2, 1.6 times): from batches of 8 to 128 the gap grows in every seed."
        in text
    )
    assert (
        "with batches of 32 and with the larger ones, 0.10 and 0.65 (in the 8 steps of 128): from 32 it grows in every seed to 128."
        in text
    )
    assert "1,024 samples in batches of 8, 32, 128 (128, 32, 8 steps)" in text
    assert "LoRA, r = 8: 0.01 to 0.04, as the batch to the power 0.50 ± 0.00" in text
    assert "At 128 (8 steps) neither learned the task" in text
    assert [round(gap, 6) for gap in gaps(data, "equal_steps")[0]] == [0.1, 0.1]


def test_a_gap_that_shrinks_or_stays_is_not():
    text = caption(numbers(((0.2, 0.3), (1.4, 1.5), (1.1, 1.2)), FULL, (1.9, 1.9), (1.8, 1.7)))
    assert (
        "the gap does not change by more than the seeds do; to 32, where it is widest, it grows in every seed." in text
    )
    assert "0.15 and 0.15 (in the 8 steps of 128): from 32 it does not change by more than the seeds do to 128." in text


def test_both_methods_are_drawn_at_equal_samples_and_at_equal_steps():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers(((0.2, 0.3), (0.4, 0.5), (1.6, 1.7)), FULL, (1.8, 1.9), (1.7, 1.8)))
    assert [len(ax.lines) for ax in axes] == [4, 3, 4]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["8\n(128)", "32\n(32)", "128\n(8)"]
    plt.close(figure)


def test_rates_without_a_trend_are_not_given_one():
    data = numbers(((0.2, 0.3), (0.4, 0.5), (1.6, 1.7)), FULL, (1.8, 1.9), (1.7, 1.8))
    for entry, rate in zip(data["equal_samples"]["LoRA"], (0.01, 0.02, 0.01), strict=True):
        entry["valley"] = rate
    assert "LoRA, r = 8: 0.01 to 0.01, without a trend" in by_batch(data)
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, data)
    assert len(axes[2].lines) == 3  # marks of both, and a line through those of full fine-tuning alone
    plt.close(figure)


def test_the_power_is_the_slope_on_logarithmic_axes():
    slope, error, middle = power([8, 32, 128], [0.1, 0.4, 1.6])
    assert abs(slope - 1) < 1e-12 and error < 1e-12 and abs(middle - 0.4) < 1e-12
