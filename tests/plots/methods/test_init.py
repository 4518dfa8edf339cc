"""What starts random: the caption says which is better only where the seeds do."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.methods.init import LAYOUT, caption, draw


def entry(losses, a, b):
    return {
        "rates": [0.001, 0.002],
        "sweep": [losses[0], None],
        "best": 0.001,
        "loss": losses,
        "exact": [0.0] * 3,
        "before": [6.0] * 3,
        "gradient": {"lora_A": [a, 1.0], "lora_B": [b, 1.0]},
    }


def numbers(a, b):
    starts = {
        "A random": entry(a, 0.0, 2.0),
        "B random": entry(b, 3.0, 0.0),
        "both random": entry([1.0, 1.1, 1.2], 1.0, 1.0),
        "both zero": entry([6.0] * 3, 0.0, 0.0),
    }
    return {"task": "roman", "steps": 100, "r": 8, "starts": starts}


def test_the_caption_follows_the_seeds():
    assert "A random is better than B random in every seed (1.100 against 2.100)" in caption(
        numbers([1.0, 1.1, 1.2], [2.0, 2.1, 2.2])
    )
    assert "B random is better than A random in every seed" in caption(numbers([2.0, 2.1, 2.2], [1.0, 1.1, 1.2]))
    text = caption(numbers([1.0, 1.1, 2.1], [2.0, 2.1, 2.2]))
    both = "A random (1.000 to 2.100) and B random (2.000 to 2.200)"
    assert f"A random has the lower loss on each seed's records, but {both} overlap" in text
    mixed = caption(numbers([1.0, 1.1, 2.3], [2.0, 2.1, 2.2]))
    assert "A random (1.000 to 2.300) and B random (2.000 to 2.200) do not differ by more than their seeds" in mixed
    assert "A's gradient is exactly 0 where A is random" in text and "both stay at exactly 0" in text


def test_every_start_is_drawn_with_its_two_gradients():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]))
    assert len([line for line in axes[0].lines if len(line.get_xdata())]) == 8
    assert len(axes[2].get_xticklabels()) == 4
    plt.close(figure)
