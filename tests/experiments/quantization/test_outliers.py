"""An outlier planted in a block: what it must and must not touch."""

import numpy as np

from minilora.experiments.quantization.outliers import Config, run


def test_what_the_numbers_must_obey():
    numbers = run(Config(values=4096))
    for code in ("int4", "nf4"):
        block, tensor = numbers["error"]["block"][code], numbers["error"]["tensor"][code]
        assert np.ptp(block["outside"]) < 0.01 * block["outside"][0]  # only the RMS that it is divided by can move
        assert tensor["outside"] == sorted(tensor["outside"])
        assert block["inside"][-1] > 5 * block["outside"][-1]
        assert tensor["outside"][-1] > 5 * block["outside"][-1]
