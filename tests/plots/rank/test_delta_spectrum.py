"""The caption follows the numbers."""

from minilora.plots.rank.delta_spectrum import MODULES, caption, left_over, phi


def made_up(left=0.3, intruders=2):
    methods = ("8", "64", "full_linears")
    modules = list(MODULES)

    def each(value):
        return {method: [[value] * len(modules)] * 3 for method in methods}

    return {
        "ranks": [8, 64],
        "kept": [8, 64],
        "k": 10,
        "modules": modules,
        "loss": dict.fromkeys(methods, [0.1, 0.2, 0.3]),
        "size": each(0.5),
        "left": [[[left, 0.0]] * len(modules)] * 3,
        "intruders": {"trained": each(intruders), "random": each(1)},
        "amplification": {"trained": each(4.0), "random": each(3.0)},
        "similarity": {"trained": [[[0.4, 0.9]] * 8] * 3, "drawn": [[[0.1, 0.5]] * 8] * 3},
    }


def test_shares_are_of_the_layers_of_one_kind():
    numbers = made_up()
    assert left_over(numbers, "k_proj") == [0.3, 0.0] and phi(numbers, "trained", 8) == [0.4, 0.9]


def test_a_change_of_low_rank_is_called_one():
    assert "has no low rank: rank 8 would leave 30% to 30%" in caption(made_up())
    assert "is nearly of low rank: rank 8 would leave 1% to 1%" in caption(made_up(left=0.01))


def test_each_number_stands_beside_its_control():
    text = caption(made_up(intruders=0))
    assert "r = 8 4.0 against 3.0" in text and "r = 8 0.00 against 1.00" in text
