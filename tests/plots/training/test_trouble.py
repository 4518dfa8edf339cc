"""Trouble and remedies: the caption says what the seeds say, and every curve is drawn."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.training.trouble import (
    LAYOUT,
    MEMORY,
    caption,
    data_finding,
    divergence_finding,
    draw,
    fit_finding,
    memory_finding,
    steps_finding,
)


def curve(*losses, rate=0.01, train=None):
    found = {"rate": rate, "step": [0, 8], "loss": [[6.0] * len(losses), list(losses)]}
    return found | ({} if train is None else {"train": [[train] * len(losses)]})


def cell(weights, activations):
    return {
        "counted": {"weights": weights * 10**6, "activations": activations * 10**6},
        "peak": (activations + 2) * 10**6,
    }


def numbers():
    memory = {name: [cell(4, 5), cell(4, 10), cell(4, 40)] for name in MEMORY}
    memory["NF4 LoRA"] = [cell(1, 5), cell(1, 10), cell(1, 42)]
    memory["LoRA, checkpointing"] = [cell(4, 1), cell(4, 3), cell(4, 12)]
    return {
        "task": "roman",
        "batch_size": 16,
        "length": 128,
        "batches": [1, 2, 8],
        "memory": memory,
        "steps": 160,
        "rank and targets": {
            "r = 1": curve(1.3, 1.4),
            "r = 8": curve(1.0, 1.1),
            "r = 64": curve(0.5, 0.6),
            "k_proj alone": curve(1.8, 1.9, rate=0.02),
        },
        "rate too low": {
            "rate 0.0005": curve(1.8, 2.0),
            "alpha 4 times": curve(1.7, 1.9),
            "rate 0.006": curve(1.0, 1.1),
        },
        "divergence": {
            "rate 0.05": curve(None, 8.0),
            "warm-up": curve(2.0, 2.5),
            "clipping": curve(7.0, 9.0),
            "both": curve(1.5, 1.6),
            "rate 0.006": curve(1.0, 1.2),
        },
        "data": {
            "sound": curve(1.0, 1.1),
            "shuffled": curve(2.0, 2.2, train=1.9),
            "shifted twice": curve(4.0, 5.0, train=0.8),
        },
        "too few steps": {
            "40 steps": curve(1.8, 1.9),
            "160 steps": curve(1.0, 1.1),
            "480 steps": curve(0.1, 0.2),
            "40 steps, a quarter of the rate": curve(2.1, 2.2),
        },
    }


def test_memory_names_the_remedies_in_order():
    text = memory_finding(numbers())
    assert (
        "LoRA 44 (weights 4, activations 40); from there a batch of 1 9, checkpointing 16, the base in four bits 43"
        in text
    )
    assert "Peaks lie 2 to 2 MB higher" in text


def test_poor_fit_follows_the_seeds():
    text = fit_finding(numbers())
    assert "r = 1 1.35, r = 8 1.05, r = 64 0.55; r = 8 on k_proj alone at its best rate 0.02 1.85" in text
    assert "so all linear layers are better in every seed" in text
    assert "with alpha 4 times 1.80 (lower with each seed, within their spread), rate 0.006 1.05." in text


def test_divergence_counts_what_is_lost_and_what_each_remedy_brings_back():
    text = divergence_finding(numbers())
    assert "clipping diverged at the end (up to 8.0 on the way, 1 of 2 seeds without a number at last)" in text
    assert "with warm-up 2.25 (better in every seed), clipping 8.00 (no difference beyond the seeds), both 1.55" in text
    assert "rate 0.006 alone 1.10 (better in every seed)" in text


def test_faults_and_steps_are_told_apart():
    assert "shifted twice 0.80 on its training batches and 4.50 held out" in data_finding(numbers())
    assert "sound ones give 1.05 and the base 6.0" in data_finding(numbers())
    assert steps_finding(numbers()) == (
        "It does not converge: 40 steps 1.85, 160 steps 1.05, 480 steps 0.15; 40 steps, a quarter of the rate 2.15 "
        "(worse in every seed)."
    )
    assert "medians of 2 seeds; 160 steps of batch 16" in caption(numbers())


def test_every_curve_is_drawn_as_far_as_it_has_numbers():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers())
    drawn = [[line for line in ax.lines if len(line.get_xdata())] for row in axes for ax in row]
    assert [len(lines) for lines in drawn] == [10, 5, 4, 6, 6, 5]
    assert len(drawn[3][0].get_xdata()) == 1  # the run that diverged ends where a seed has no number
    plt.close(figure)
