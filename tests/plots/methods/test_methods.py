"""All methods: what the caption says of made-up numbers, and that everything is drawn."""

import matplotlib
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.experiments.methods.sides import SIDES
from minilora.plots.methods.methods import LAYOUT, caption, draw, thousands


def entry(*losses, best=0.002):
    return {
        "rates": [best / 2, best, best * 2],
        "sweep": [2.0, losses[0], None],
        "best": best,
        "loss": list(losses),
        "exact": [0.25] * len(losses),
        "train_loss": [loss / 2 for loss in losses],
    }


def numbers(entries):
    alone = {name: value | {"rates": [value["best"]], "sweep": [value["loss"][0]]} for name, value in entries.items()}
    costs = {
        name: {"parameters": 1000 * (i + 1), "memory": {"weights": 10**6 * (i + 1)}, "milliseconds": 20.0 - i}
        for i, name in enumerate(entries)
    }
    records = {"roman": entries, "roman, 256 records": alone, "dates": entries}
    n_train = {"roman": 1600, "roman, 256 records": 256, "dates": 800}
    return {"steps": 100, "batch_size": 16, "n_train": n_train, "records": records, "costs": costs}


def test_the_caption_names_best_worst_and_ties():
    text = caption(numbers({"LoRA": entry(1.0, 1.1, 1.2), "full": entry(0.5, 0.6, 0.7), "DoRA": entry(0.6, 0.9, 1.0)}))
    assert "On roman full learns most (0.600, 25% exact; within its spread: DoRA), LoRA least (1.100, 25%)" in text
    assert "1.0 MB (LoRA) to 3.0 MB (DoRA)" in text and "18 ms (DoRA) to 20 ms (LoRA)" in text and "3 seeds" in text
    assert (
        "Not swept again, at the rates of the records before: roman, 256 records." in text and "At an end" not in text
    )
    at_an_end = entry(0.5, 0.6, 0.7) | {"best": 0.004}
    text = caption(numbers({"LoRA": entry(0.1, 0.2, 0.3), "full": at_an_end}))
    assert "At an end of its sweep, so that a better rate may lie beyond: full." in text
    assert "On dates LoRA learns most (0.200, 25% exact, and no other within its spread), full least" in text


def test_the_caption_parts_methods_of_loras_size_by_their_seeds():
    data = numbers(
        {"LoRA": entry(1.0, 1.1), "PiSSA": entry(0.8, 0.9), "DoRA": entry(1.05, 1.2), "full": entry(0.1, 0.2)}
    )
    for name, parameters in (("LoRA", 1000), ("PiSSA", 1000), ("DoRA", 1090), ("full", 9000)):
        data["costs"][name]["parameters"] = parameters
    text = caption(data)
    assert "beside LoRA: on roman better in every seed PiSSA, tied DoRA; on roman, 256 records better" in text
    data["records"]["dates"] = data["records"]["dates"] | {"DoRA": entry(1.2, 1.3)}
    assert "on dates better in every seed PiSSA, worse in every seed DoRA." in caption(data)


def test_the_caption_says_how_far_training_loss_falls_below_held_out_loss_where_records_are_seen_often():
    text = caption(numbers({"LoRA": entry(1.0, 1.0), "full": entry(0.8, 0.8), "norms": entry(2.0, 2.0)}))
    shown = "norms 1.000 against 2.000, LoRA 0.500 against 1.000, full 0.400 against 0.800"
    assert (
        f"roman, 256 records is seen 6.2 times: training loss against held-out loss, widest gap to narrowest: {shown}."
        in text
    )
    assert "dates is seen" not in text


@pytest.mark.parametrize("some", [SIDES, SIDES[:3]], ids=["all", "three"])
def test_every_method_has_a_row_and_a_panel_of_its_own(some):
    data = numbers({side.name: entry(1.0 + i, 1.5 + i, 2.0 + i) for i, side in enumerate(some)})
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, data)
    panels = [ax for ax in figure.axes if ax.axison]
    assert len(panels) == 2 + len(some)
    labels = [text.get_text().partition("\n")[0] for ax in panels for text in ax.get_yticklabels()]
    assert {side.name for side in some} <= set(labels)
    plt.close(figure)


def test_parameters_in_thousands():
    assert (thousands(93440), thousands(1408)) == ("93k", "1.4k")
