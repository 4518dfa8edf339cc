import pytest

from minilora.experiments.quantization.error_by_bits import Config, run


def test_bits_count_everything_and_equal_bits_decide():
    numbers = run(Config(codes=("int4_affine", "nf4"), block_sizes=(32, 64), values=2**16, seeds=(0,)))
    normal = numbers["sources"]["normal"]
    assert normal["nf4"]["bits"] == [5, 4.5] and normal["int4_affine"]["bits"] == [6, 5]
    assert normal["nf4"]["rms"][0][0] < normal["int4_affine"]["rms"][1][0]  # at five bits NF4 wins
    assert normal["lloyd signed"]["bits"] == normal["nf4"]["bits"]
    assert normal["lloyd signed"]["rms"][1][0] < normal["lloyd"]["rms"][1][0] < normal["nf4"]["rms"][1][0]
    assert normal["nf4 double"]["bits"][1] == pytest.approx(4.127, abs=2e-3)
