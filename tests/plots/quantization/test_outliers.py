"""The caption of outliers claims what its numbers show, and only that."""

import copy

import pytest

from minilora import gallery
from minilora.gallery.registry import select
from minilora.plots.quantization.outliers import caption


@pytest.fixture
def numbers():
    return copy.deepcopy(gallery.load(select(["outliers"])[0], gallery.COMMITTED)["numbers"])


def test_it_names_medians_seeds_and_spread(numbers):
    for measure, base in (("rms", 0.4), ("mae", 0.3)):
        for code, more in (("int4", 0.02), ("nf4", 0.01)):
            numbers["error"][measure]["tensor"][code]["outside"][2] = [base + more, 9.0, 0.0, base + more, base + more]
    text = caption(numbers)
    assert "10 standard deviations brings the RMS error of the others to 0.42 and 0.41 of their RMS" in text
    assert "(mean absolute error: 0.32 and 0.31)" in text
    assert "Medians of 5 seeds" in text and "9.00 elsewhere" in text


def test_what_it_says_of_the_committed_numbers(numbers):
    text = caption(numbers)
    assert "at 100 nothing is left of them" in text and "whatever its size, and only its own block suffers" in text
    assert "at 1, 5, 10, 30; at 100 they are equal: the code softens a moderate outlier and no large one." in text


@pytest.mark.parametrize("measure", ["rms", "mae"])
def test_nothing_is_left_only_where_the_error_is_that_of_zeros(numbers, measure):
    numbers["error"][measure]["tensor"]["nf4"]["outside"][-1] = [0.7] * 5
    assert "nothing is left" not in caption(numbers) and "; at 100 it is (" in caption(numbers)


@pytest.mark.parametrize("measure", ["rms", "mae"])
def test_blocks_contain_it_only_where_no_other_moves_and_its_own_suffers(numbers, measure):
    moved, unharmed = copy.deepcopy(numbers), copy.deepcopy(numbers)
    moved["error"][measure]["block"]["int4"]["outside"][-1] = [0.2] * 5
    unharmed["error"][measure]["block"]["nf4"]["inside"][2] = [0.09] * 5
    assert "contain" in caption(numbers)
    assert "contain" not in caption(moved) and "beside one of 100" in caption(moved)
    assert "contain" not in caption(unharmed) and "whatever its size." in caption(unharmed)


@pytest.mark.parametrize("measure", ["rms", "mae"])
def test_one_seed_that_disagrees_takes_a_size_from_the_code(numbers, measure):
    codes = numbers["error"][measure]["block"]
    codes["nf4"]["inside"][2][3] = codes["int4"]["inside"][2][3]
    assert "at 1, 5, 30; at 100 they are equal. Medians" in caption(numbers)
    codes["nf4"]["inside"] = codes["int4"]["inside"]
    assert "not smaller than int4's in every seed at any size" in caption(numbers)
