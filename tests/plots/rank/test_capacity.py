"""The caption says whether capacity is a number of bits per parameter."""

from minilora.plots.rank.capacity import caption


def made_up(*most):
    ranks = {
        str(r): {
            "parameters": 100 * r,
            "rate": [0.1, 0.1],
            "bits": [[0.9] * 3, [bits] * 3],
            "known": [[1.0] * 3, [0.3] * 3],
        }
        for r, bits in enumerate(most, 1)
    }
    return {"offered": [1.0, 4.0], "steps": 10, "ranks": ranks}


def test_equal_bits_are_a_capacity_per_parameter():
    text = caption(made_up(2.0, 2.1))
    assert "at least 2.00 (r = 1), 2.10 (r = 2) bits" in text
    assert "about in proportion to its parameters at two sizes (100 and 200)" in text


def test_which_rates_the_sweeps_chose():
    data = made_up(2.0, 2.1)
    data["ranks"]["2"]["rate"] = [0.1, 0.05]
    assert "the best of two rates by the mean loss over these seeds (0.05 to 0.1)" in caption(data)


def test_unequal_bits_are_not():
    text = caption(made_up(2.0, 1.0))
    assert "not in proportion" in text and "2.00 (r = 1), 1.00 (r = 2)" in text


def test_bits_that_still_rise_at_the_largest_offer_are_said_to():
    data = made_up(2.0, 2.1)
    assert "with up to 4 offered, still rising there in every seed (" in caption(data)
    data["ranks"]["2"]["bits"] = [[2.05] * 3, [2.0, 2.1, 2.1]]
    assert "with up to 4 offered (" in caption(data)


def test_fewer_bits_at_the_largest_offer_are_not_called_a_capacity():
    data = made_up(2.0, 2.1)
    for found in data["ranks"].values():
        found["bits"] = [[1.9] * 3, [1.2, 1.1, 0.0]]
    text = caption(data)
    assert "at least 1.90 (r = 1), 1.90 (r = 2)" in text and "still rising" not in text
    assert "fewer are stored again, 1.10 (r = 1), 1.10 (r = 2), and 2 runs learn nothing" in text
