from minilora.experiments.quantization.optimal_code import Config, run
from minilora.plots.quantization.optimal_code import caption


def test_lloyd_is_never_worse_than_nf4_where_it_was_trained():
    numbers = run(Config(block_sizes=(64, 256), values=2**16, seeds=(0, 1)))
    for errors in numbers["error"].values():
        for nf4, pinned, signed in zip(errors["nf4"], errors["pinned"], errors["signed"], strict=True):
            assert all(s < p < 1.002 * n for n, p, s in zip(nf4, pinned, signed, strict=True))
    assert min(numbers["use"][1]) < 0.6 * min(numbers["use"][0])  # larger blocks use the bins less evenly
    assert "2 seeds" in caption(numbers)
