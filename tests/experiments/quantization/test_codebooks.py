"""Where codes put their levels, and where weights are."""

import pytest

from minilora.experiments.quantization.codebooks import Config, run, share_inside


def test_what_the_numbers_must_obey():
    numbers = run(Config(values=2**14))
    for source in ("normal", "base"):
        assert sum(numbers["nf4_use"][source]) == pytest.approx(1)
        assert sum(numbers["density"][source]) * 2 / 80 == pytest.approx(1)
    assert 3 < numbers["nf4_unevenness"]["normal"] < 9  # not equal-probability bins (Yoshida 2023)
    assert numbers["inner_half"]["nf4"] > numbers["inner_half"]["int4"]


def test_the_share_inside():
    assert share_inside([-1.0, -0.4, 0.0, 0.5], 0.5) == 0.5
