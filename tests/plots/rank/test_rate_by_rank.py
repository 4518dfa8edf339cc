"""The caption counts from the numbers."""

from minilora.plots.rank.rate_by_rank import caption


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
