"""Few records: the caption says of each knob what the seeds say; every panel is drawn."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.training.small_data import KNOBS, LAYOUT, against, caption, draw, knob_finding, risen, values


def entry(*losses, value=None, best=0.01, middle=0.5):
    return {
        "value": value,
        "rates": [best],
        "sweep": [1.0],
        "best": best,
        "loss": list(losses),
        "exact": [0.25] * len(losses),
        "epoch": [1.0, 2.0],
        "train": [[0.4] * len(losses), [0.03] * len(losses)],
        "held_out": [[middle] * len(losses), list(losses)],
        "held_out_exact": [[0.1] * len(losses), [0.25] * len(losses)],
    }


def numbers():
    knobs = {knob: [entry(1.0, 1.1, value=0.5), entry(0.7, 0.8, value=2)] for knob in KNOBS}
    knobs["dropout"] = [entry(0.8, 1.3, value=0.1), entry(1.2, 0.9, value=0.3)]
    knobs["epochs"] = [entry(1.5, 1.6, value=1)]
    return {
        "task": "roman",
        "n_train": 256,
        "r": 32,
        "epochs": 2,
        "batch_size": 16,
        "default": entry(0.9, 1.2),
        "full": entry(0.2, 0.3, middle=0.9),
        "knobs": knobs,
    }


def test_the_caption_follows_the_seeds():
    text = caption(numbers())
    assert "training loss 0.03, held-out 1.05 (0.90 to 1.20; 25% exact), at its lowest 0.50 in epoch 1" in text
    assert "Full fine-tuning of the same layers: 0.03, 0.25 (0.20 to 0.30; 25% exact)" in text
    assert "; full fine-tuning gets to where the other ends by epoch 1. The held-out loss rises again" in text
    assert knob_finding(numbers(), "decay") == "0 1.05 (25%), 0.5 1.05 (25%), 2 0.75 (25%); 2 better in every seed"
    assert knob_finding(numbers(), "dropout").endswith("none differs by more than the seeds do")
    assert knob_finding(numbers(), "epochs") == "1 1.55 (25%), 2 1.05 (25%); 1 worse in every seed"


def test_what_rises_again_is_named_and_pairs_count_less_than_ranges():
    data = numbers()
    assert risen(data).startswith("The held-out loss rises again with the default, epochs 1, batch 0.5,")
    data["default"] = entry(0.4, 0.5)
    data["knobs"] = {knob: [entry(0.3, 0.45, value=0.5)] for knob in KNOBS}
    assert risen(data) == (
        "At these rates no held-out loss rises again, though records are learned by heart: the least training loss, 0.03 "
        "(the default), stands beside 0.45 held out."
    )
    assert knob_finding(data, "L2").endswith("; 0.5 lower on each seed's records, within their spread")
    data["knobs"]["L2"] = [entry(0.45, 0.55, value=0.5)]
    assert knob_finding(data, "L2").endswith("; 0.5 higher on each seed's records, within their spread")


def test_better_is_better_in_every_seed():
    default = entry(1.0, 2.0)
    assert against(entry(0.8, 0.9), default) == "better" and against(entry(2.1, 2.2), default) == "worse"
    assert against(entry(0.8, 1.1), default) == "alike" and against(default, default) == "alike"


def test_the_default_stands_among_a_knobs_values():
    assert list(values(numbers(), "batch")) == [0.5, 2, 16] and list(values(numbers(), "L2")) == [0, 0.5, 2]


def test_every_value_has_both_curves_in_a_panel_of_its_knob():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers())
    drawn = [len([line for line in ax.lines if len(line.get_xdata())]) for row in axes for ax in row]
    assert drawn == [4, 4, 6, 6, 6, 6]
    plt.close(figure)
