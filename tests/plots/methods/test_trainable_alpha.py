"""Learned alphas: the caption compares spreads, and every start and ratio is drawn."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.methods.trainable_alpha import LAYOUT, caption, draw


def entry(losses, alpha, at_one=None):
    return {
        "rates": [0.003, 0.006],
        "sweep": [2.0, losses[0]],
        "best": 0.006,
        "loss": losses,
        "exact": [0.0] * len(losses),
        "learned": {"q_proj": [alpha, alpha], "o_proj": [alpha + 1, alpha + 2]},
        "at_one_rate": losses if at_one is None else at_one,
    }


def numbers(small, large, at_one=None):
    """`small`, `large`: (losses with a fixed alpha, losses with a learned one) from 1 and from 64."""
    right = {"0": entry([1.0, 1.1], 8), "0.1": entry([1.0, 1.2], 8.0), "10": entry([1.0, 1.2], 9.0)}
    starts = {"8": right}
    for alpha, (fixed, learned) in (("1", small), ("64", large)):
        start = float(alpha)
        starts[alpha] = {
            "0": entry(fixed, start, at_one),
            "0.1": entry(fixed, start),
            "10": entry(learned, 2 * start),
        }
    return {"task": "roman", "steps": 100, "r": 8, "ratios": [0.0, 0.1, 10.0], "one_rate": 0.006, "starts": starts}


def test_the_caption_follows_the_seeds():
    text = caption(numbers(([2.0, 2.2], [1.0, 1.4]), ([2.0, 2.2], [3.0, 3.4])))
    assert "from 1 2.100 fixed and 1.200 learned at 10 times the rate (better in every seed)" in text
    assert "from 64 2.100 fixed and 2.100 learned at 0.1 times the rate (within the seeds' spread)" in text
    assert (
        "At one rate, 0.006, 1 gives 2.100 fixed and 1.200 learned at 10 times the rate (better in every seed)" in text
    )
    assert "where 8 gives 1.050 fixed" in text and "At one rate, 0.006, 8 gives" not in text
    assert "at the best rates" in text and "2 seeds" in text and "and 2 at the one rate" in text
    assert "no alpha moves by more than 200.0%" in text  # from 1 to 3, the largest that the stand-in has
    assert "from 1 at 2.0 to 4.0 (most in o_proj, least in q_proj)" in text
    assert "A fixed" not in text  # one learned from 1 overlaps the best fixed one
    text = caption(numbers(([2.0, 2.2], [2.1, 2.4]), ([2.0, 2.2], [3.0, 3.4])))
    assert "worse" not in text.partition("Best rates")[0]
    assert "A fixed 8 is better in every seed than all that were learned from another start" in text


def test_pairs_are_told_where_the_spread_hides_them():
    text = caption(numbers(([2.0, 2.2], [1.9, 2.1]), ([2.0, 2.2], [2.1, 2.3])))
    assert (
        "With each seed, but within their spread, a learned alpha is lower from 1 at 10 times the rate, higher from 64 at 10 "
        "times the rate." in text
    )
    assert "With each seed" not in caption(numbers(([2.0, 2.2], [1.0, 1.4]), ([2.0, 2.2], [3.0, 3.4])))


def test_a_fixed_alpha_that_diverges_at_the_one_rate_is_said_and_drawn():
    data = numbers(([2.0, 2.2], [1.0, 1.4]), ([2.0, 2.2], [3.0, 3.4]), at_one=[None, 2.0])
    assert "At the rate 0.006 a fixed 64 diverges and a learned one gives 2.100." in caption(data)
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, data)
    plt.close(figure)


def test_every_start_and_ratio_is_drawn():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers(([2.0, 2.2], [1.0, 1.4]), ([2.0, 2.2], [3.0, 3.4])))
    for ax in axes[0]:
        dots = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
        assert len(dots) == 9 and [t.get_text() for t in ax.get_xticklabels()] == ["fixed", "0.1 times", "10 times"]
    assert [t.get_text() for t in axes[1, 0].get_xticklabels()] == ["q_proj", "o_proj"]
    plt.close(figure)
