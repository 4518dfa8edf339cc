"""One budget on different layers: the caption ranks only what the seeds part."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.methods.target_modules import LAYOUT, caption, draw, overfitting, pair


def entry(*losses, lowest=None, best=0.004):
    return {
        "r": 3,
        "parameters": 35_040,
        "rates": [0.002, 0.004, 0.008],
        "sweep": [2.0, losses[0], None],
        "best": best,
        "loss": list(losses),
        "exact": [0.25] * len(losses),
        "train_loss": [0.5] * len(losses),
        "lowest": list(losses if lowest is None else lowest),
    }


def numbers(**targets):
    names = ("q", "k", "v", "o", "qv", "qkvo", "mlp", "all")
    made = {name: entry(2.0 + i, 2.1 + i, 2.2 + i) for i, name in enumerate(names)} | targets
    few = {"r": 8, "n_train": 256, "steps": 300, "targets": {"q": entry(1.0, 1.1), "all": entry(1.2, 1.3)}}
    return {"task": "roman", "steps": 150, "batch_size": 16, "rslora_alpha": 8, "targets": made, "few": few}


def test_the_caption_names_the_best_and_what_ties_with_it():
    text = caption(numbers(all=entry(0.5, 0.6, 0.7), mlp=entry(0.65, 0.8, 0.9)))
    assert "are best spent on all (within its spread: mlp)." in text and "At an end" not in text
    assert "Every seed of all is better than any of qv." in text
    text = caption(numbers(all=entry(0.5, 0.6, 0.7, best=0.008)))
    assert "are best spent on all, in every seed." in text and "At an end of its sweep: all." in text


def test_a_pair_is_parted_only_by_its_seeds():
    targets = numbers(qkvo=entry(1.0, 1.1), mlp=entry(1.05, 1.2))["targets"]
    assert pair(targets, "qkvo", "mlp") == "qkvo and mlp do not differ by more than their seeds."
    assert pair(targets, "qv", "mlp") == "Every seed of mlp is better than any of qv."


def test_overfitting_is_claimed_only_where_more_targets_are_worse_on_new_records():
    few = numbers()["few"]
    assert "more targets do worse on new records: all is behind q in every seed" in overfitting(few)
    assert "for none had it been lower" in overfitting(few) and "the gap goes from 0.55 to 0.75" in overfitting(few)
    few["targets"]["all"] = entry(0.8, 0.9, lowest=(0.3, 0.4))
    text = overfitting(few)
    assert "do not overfit more: all is better on new records than q" in text and "lower before for all" in text
    few["targets"]["all"] = entry(0.8, 1.05)
    assert "do not differ on new records" in overfitting(few)


def test_every_target_is_drawn():
    figure, axes = plt.subplots(1, 3)
    draw(axes, numbers())
    assert len(axes[0].get_xticklabels()) == 8 and len(axes[1].lines) == 8 and len(axes[2].lines) == 2 * 2 * 3
    assert LAYOUT["ncols"] == 3
    plt.close(figure)
