"""A difference is one that every seed sees, and that stands out of the spread of the differences."""

import pytest

from minilora.plots.pairs import compared, differ, differences, signed, standard_error


def test_pairs_are_compared_not_means():
    far_apart, shifted = [1.0, 5.0, 9.0], [1.1, 5.2, 9.1]
    assert differences(shifted, far_apart) == pytest.approx([0.1, 0.2, 0.1])
    assert differ(shifted, far_apart) and differ(far_apart, shifted)
    assert not differ(shifted, far_apart[::-1])


def test_one_seed_that_points_the_other_way_or_a_wide_spread_is_no_difference():
    zero = [0.0] * 5
    assert differ([1.0, 1.1, 0.9, 1.0, 1.2], zero)
    assert not differ([1.0, 1.1, 0.9, 1.0, -0.01], zero)
    assert not differ([0.01, 0.01, 0.01, 0.01, 3.0], zero)
    assert not differ(zero, zero)


def test_the_mean_and_its_standard_error_are_written_with_a_sign():
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / 3**0.5)
    assert signed([2.0, 3.0, 4.0], [1.0, 1.0, 1.0]) == "+2.000 ± 0.577"
    assert signed([1.0, 1.0], [3.0, 3.0], digits=1) == "-2.0 ± 0.0"


def test_ranges_that_part_say_more_than_pairs():
    assert compared([1.0, 1.1], [1.2, 1.3]) == "better in every seed"
    assert compared([1.2, 1.3], [1.0, float("inf")]) == "no difference beyond the seeds"
    assert compared([1.2, float("inf")], [1.0, 1.1]) == "worse in every seed"
    assert compared([1.0, 1.2], [1.1, 1.3]) == "lower with each seed, within their spread"
    assert compared([1.1, 1.3], [1.0, 1.2]) == "higher with each seed, within their spread"
    assert compared([1.0, 1.3], [1.1, 1.2], "alike") == "alike"
    assert compared([1.0, 1.0], [1.0, 1.0], "alike") == "alike"
