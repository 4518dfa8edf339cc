import numpy as np

from minilora.experiments.quantization.rotation import Config, run


def test_a_rotation_spreads_an_outlier_column_and_nothing_else():
    numbers = run(Config(codes=("nf4",), sizes=(1.0, 20.0), seeds=(0, 1)))
    plain, rotated = (np.mean(numbers["error"]["nf4"][kind], axis=1) for kind in ("plain", "rotated"))
    assert abs(plain[0] / rotated[0] - 1) < 0.01 and plain[1] > 1.5 * rotated[1]
    assert len(numbers["base"]["nf4"]["plain"]) == 35
