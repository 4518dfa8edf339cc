"""The caption of error_by_bits says about many bits what its numbers say."""

import copy

from minilora import gallery
from minilora.gallery.registry import select
from minilora.plots.quantization.error_by_bits import caption


def test_quantiles_of_many_bits_are_named_only_where_smaller_blocks_are_worse():
    numbers = gallery.load(select(["error_by_bits"])[0], gallery.COMMITTED)["numbers"]
    assert "NF6, NF7, NF8 have a larger error in blocks of 16 than of 4096" in caption(numbers)
    better = copy.deepcopy(numbers)
    for entry in better["sources"]["normal"].values():
        entry["rms"] = [[0.1 + 0.01 * i] * 3 for i in range(len(entry["rms"]))]
    assert "Quantiles" not in caption(better)
