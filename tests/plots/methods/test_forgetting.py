"""Learned against forgotten: what the caption claims needs every seed."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.experiments.methods.forgetting import SIDES
from minilora.plots.methods.forgetting import at_equal_learning, caption, draw, learns_and_forgets, slower

NAMES = [side.name for side in SIDES]


def entry(loss=0.5, text=2.0, equal=1.8, slow=1.8, size=0.1):
    """Three seeds a little apart, two rates."""
    near = [-0.01, 0.0, 0.01]
    return {
        "rates": [0.01, 0.005],
        "parameters": 1000,
        "step": [1, 2],
        "loss": [[[3.0, loss + d] for d in near]] * 2,
        "exact": [[[0.0, 0.5]] * 3] * 2,
        "text": [[[1.5, text + d] for d in near]] * 2,
        "size": [[[size / 2, size]] * 3] * 2,
        "equal": [[[at + d for d in near], [None] * 3] for at in (equal, slow)],
    }


def numbers(**changed):
    methods = {name: entry() for name in NAMES}
    methods["bottleneck"] = entry(size=0.0)
    methods |= {f"LoRA, {name}": value for name, value in changed.items() if name.startswith("r =")}
    return {
        "task": "roman",
        "steps": 2,
        "windows": 4,
        "factor": 0.5,
        "levels": [1.0, 0.2],
        "before": {"loss": 6.0, "text": 1.0},
        "methods": methods,
    }


def test_what_is_within_the_seeds_is_no_difference():
    assert "learned less: none; learned more: none; forgot less: none; forgot more: none" in learns_and_forgets(
        numbers()
    )
    assert "(less than full of the same layers in every seed: none; more: none)" in at_equal_learning(numbers())


def test_less_learned_and_less_forgotten_are_told_apart_from_equal_learning():
    data = numbers(**{"r = 1": entry(loss=1.0, text=1.6, equal=1.9), "r = 64": entry(text=2.5, equal=1.5)})
    assert "learned less: r = 1; learned more: none; forgot less: r = 1; forgot more: r = 64" in learns_and_forgets(
        data
    )
    text = at_equal_learning(data)
    assert "where the task's loss is 1: LoRA, r = 1 +0.90" in text and "in every seed: r = 64; more: r = 1)" in text
    assert "is 0.2" not in text  # nobody got there


def test_a_lower_rate_is_compared_at_equal_learning():
    text = slower(numbers(**{"r = 1": entry(equal=1.9, slow=1.5), "r = 8": entry(equal=1.5, slow=1.6)}))
    assert "LoRA, r = 1 +0.50 instead of +0.90 (less in every seed)" in text
    assert "LoRA, r = 8 +0.60 instead of +0.50 (more in every seed)" in text
    assert "LoRA, r = 64 +0.80 instead of +0.80 (no difference beyond the seeds)" in text
    once = numbers()
    for value in once["methods"].values():
        value["rates"] = value["rates"][:1]
    assert slower(once) == ""


def test_every_method_is_drawn_and_one_that_leaves_the_weights_alone_has_no_size():
    figure, axes = plt.subplots(1, 3)
    draw(axes, numbers())
    assert len([line for line in axes[0].lines if len(line.get_xdata())]) == 2 * len(NAMES)
    assert len(axes[2].lines) == 2 * (len(NAMES) - 1)
    assert "LoRA, r = 8 0.50 and +1.00" in caption(numbers())
    plt.close(figure)
