"""The caption says what the numbers say, whichever way they go; every panel is drawn."""

from dataclasses import asdict, replace

import matplotlib
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.experiments.few_records import Recipe
from minilora.plots.training.finetune_defaults import LAYOUT, caption, differences, draw

CHOSEN, PLAIN = Recipe(r=32, lora_dropout=0.3), Recipe()


def entry(recipe, exact, held_out, n=200, loss=0.5):
    size = len(exact)
    return {
        "recipe": asdict(recipe),
        "draws": list(range(size)),
        "n_records": n,
        "exact": exact,
        "held_out": held_out,
        "loss": [loss] * size,
        "train_loss": [0.01] * size,
    }


@pytest.fixture
def numbers():
    return {
        "tried": [entry(CHOSEN, [0.8], [0.7]), entry(PLAIN, [0.1], [0.1])],
        "chosen": entry(CHOSEN, [0.88, 0.92, 0.9], [0.85, 0.95, 0.8]),
        "plain": entry(PLAIN, [0.1, 0.2, 0.3], [0.1, 0.1, 0.1], loss=0.66),
        "more": [entry(CHOSEN, [0.97, 0.99], [0.9, 1.0], n=400)],
    }


def test_the_caption_counts_what_reached_the_goal(numbers):
    said = caption(numbers)
    assert "90 ± 2% of 300 new dates exactly right (88 to 92%; 90% or more on 2 of 3)" in said
    assert "87 ± 8% of the 20 held out (80 to 95%; 90% or more on 1 of 3)" in said
    assert (
        "r = alpha = 32" in said
        and "dropout 0.3" in said
        and "With 400 records it is 98 ± 1% (2 draws, which with 200 give 90 ± 3%)" in said
    )
    assert "(r = alpha = 8, dropout 0) gets 20 ± 10%" in said and "loss on new dates 0.66" in said
    assert "it gets 80%, and what else was tried on them: 10% (r = alpha = 8, dropout 0). One task" in said
    assert "2 of 2 were tried on one draw" in said
    numbers["tried"].append(entry(replace(CHOSEN, max_steps=900), [0.8, 0.9], [0.7, 0.7]))
    assert "10% (r = alpha = 8, dropout 0), 80% (900 steps). One task" in caption(numbers)  # of the draw that both had
    assert "of the recipes 2 of 3 were tried on one draw" in caption(numbers)
    numbers["tried"] = [entry(CHOSEN, [0.8, 0.9], [0.7, 0.8]), entry(PLAIN, [0.1, 0.1], [0.1, 0.1])]
    assert caption(numbers).endswith("One task and one base.")  # each was tried on two
    numbers["chosen"] = entry(CHOSEN, [0.5, 0.5], [0.5, 0.5])
    assert "90% or more on 0 of 2" in caption(numbers)


def test_a_recipe_is_named_by_what_differs():
    assert differences(asdict(CHOSEN), asdict(CHOSEN)) == "chosen"
    other = replace(CHOSEN, weight_decay=1.0, target_modules=("q_proj", "v_proj"))
    assert differences(asdict(other), asdict(CHOSEN)) == "on q_proj, v_proj, decay 1"


def test_a_dot_per_draw_is_drawn(numbers):
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers)
    assert [len(c.get_offsets()) for c in axes[0].collections] == [1, 1]
    assert sum(len(c.get_offsets()) for c in axes[1].collections if hasattr(c, "get_offsets")) >= 12
    assert sorted({len(c.get_offsets()) for c in axes[2].collections}) == [2, 3]
    plt.close(figure)
