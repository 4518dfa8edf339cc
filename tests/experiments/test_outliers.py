"""An outlier planted in a block: what it must and must not touch."""

import numpy as np

from minilora import quantize
from minilora.experiments.quantization.outliers import Config, plant, run


def test_blocks_without_the_outlier_are_the_same_bits():
    w = np.random.default_rng(1).standard_normal(1024).astype(np.float32)
    for code in ("int4", "nf4"):
        with_, without = (quantize(x, code, block_size=64).dequantize() for x in (plant(w, 50.0), w))
        assert np.array_equal(with_[64:], without[64:])
        assert not np.array_equal(with_[1:64], without[1:64])


def test_what_the_numbers_must_obey():
    numbers = run(Config(values=4096))
    for code in ("int4", "nf4"):
        block, tensor = numbers["error"]["block"][code], numbers["error"]["tensor"][code]
        assert np.ptp(block["outside"]) < 0.01 * block["outside"][0]  # only the RMS that it is divided by can move
        assert tensor["outside"] == sorted(tensor["outside"])
        assert block["inside"][-1] > 5 * block["outside"][-1]
        assert tensor["outside"][-1] > 5 * block["outside"][-1]


def test_planting_leaves_the_original_alone():
    w = np.zeros(4, np.float32)
    assert plant(w, 3.0)[0] == 3 and not w.any()
