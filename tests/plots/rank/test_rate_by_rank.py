"""The caption counts from the numbers."""

import matplotlib.pyplot as plt

from minilora.plots.rank.rate_by_rank import caption, draw_surface


def made_up(rates):
    def ranks(rule):
        return {
            r: {
                "alpha": 8,
                "scaling": 1.0,
                "rates": [0.1, 0.2],
                "loss": [[1.0], [None]],
                "best": {"rate": rate, "seeds": [rate]},
            }
            for r, rate in zip(("1", "64"), rates[rule], strict=True)
        }

    sizes = {"alpha = r": [[1.0], [2.0]], "alpha = 32": [[6.0], [2.0]], "rsLoRA": [[1.0], [1.0]]}
    return {
        "ranks": [1, 64],
        "seeds": 1,
        "steps": 10,
        "rules": {rule: ranks(rule) for rule in rates},
        "full_linears": {"rates": [0.01], "loss": [[1.0]], "best": {"rate": 0.01, "seeds": [0.01]}},
        "first_step": {"ranks": [1, 64], "adam": sizes, "gradient descent": sizes},
        "surface": {"r": 8},
        "product": {"value": 0.5, "loss": {"8": [1.0], "16": [0.25]}},
    }


def test_ratios_and_losses_are_those_of_the_numbers():
    text = caption(made_up({"alpha = r": [0.1, 0.02], "alpha = 32": [0.02, 0.03], "rsLoRA": [0.05, 0.05]}))
    assert "alpha = r 0.1, 0.02 (5.0 times apart)" in text and "alpha = 32 0.02, 0.03 (1.5 times)" in text
    assert "r = 1 to 64 differs 3.0 times" in text and "product 0.5 gives 1.00, 0.25 for alpha = 8, 16" in text
    assert "2.0 to 10.0 times that of full fine-tuning" in text


def test_the_map_shows_medians_and_leaves_out_where_a_seed_diverged():
    figure, ax = plt.subplots()
    loss = [[[1.0, 3.0, 1.25], [2.0, None, 2.0]]]
    draw_surface(ax, {"r": 8, "alphas": [8], "rates": [0.003, 0.024], "loss": loss}, 0.192)
    assert [text.get_text() for text in ax.texts] == ["1.25", "nan"] and len(ax.patches) == 1  # the framed cell
    plt.close(figure)
