"""An outlier planted in a block: what it must and must not touch."""

import numpy as np
import pytest

from minilora.analysis.codes import outlier_errors, plant_outlier
from minilora.experiments.quantization.outliers import Config, run

SMALL = Config(values=4096, seeds=(0, 7))


@pytest.fixture(scope="module")
def numbers():
    return run(SMALL)


@pytest.mark.parametrize("measure", ["rms", "mae"])
@pytest.mark.parametrize("code", SMALL.codes)
def test_what_the_numbers_must_obey(numbers, measure, code):
    block, tensor = (
        {place: np.array(rows) for place, rows in numbers["error"][measure][scaling][code].items()}
        for scaling in ("block", "tensor")
    )
    assert block["inside"].shape == tensor["outside"].shape == (5, 2)  # sizes, seeds
    assert (np.ptp(block["outside"], axis=0) < 1e-6).all()  # the outlier is in another block
    assert (np.diff(tensor["outside"], axis=0) >= 0).all()
    assert (block["inside"][-1] > 5 * block["outside"][-1]).all()
    assert (tensor["outside"][-1] > 5 * block["outside"][-1]).all()


def test_every_number_is_that_of_its_seed_and_size(numbers):
    w = np.random.default_rng(7).standard_normal(4096).astype(np.float32)
    for scaling, block_size in (("block", 64), ("tensor", 4096)):
        expected = outlier_errors(plant_outlier(w, 10.0), "nf4", block_size, 64)
        found = {m: {p: rows[2][1] for p, rows in numbers["error"][m][scaling]["nf4"].items()} for m in expected}
        assert found == expected


def test_at_last_only_zeros_are_left(numbers):
    everything = {"rms": 1.0, "mae": np.sqrt(2 / np.pi)}  # of normal weights
    for measure, error in everything.items():
        for by_place in numbers["error"][measure]["tensor"].values():
            assert by_place["outside"][-1] == pytest.approx([error, error], rel=0.03)
