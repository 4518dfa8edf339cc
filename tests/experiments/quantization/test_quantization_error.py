"""Error by code, block size and source."""

import numpy as np

from minilora.experiments.quantization.quantization_error import Config, draw_source, run

CONFIG = Config(values=2**15, block_sizes=(32, 64, 256), seeds=(0,))


def test_what_the_numbers_must_obey():
    numbers = run(CONFIG)
    normal = {code: entry["rms"]["mean"] for code, entry in numbers["error"]["normal"].items()}
    assert normal["int4_affine"][0] < normal["nf4"][0]  # affine int4 wins at 32 ...
    assert normal["nf4"][2] < normal["int4_affine"][2]  # ... and loses at 256
    for entry in numbers["error"].values():
        for code in entry.keys() - {"int4_full"}:
            assert entry[code]["rms"]["mean"][0] < entry[code]["rms"]["mean"][2]
    assert len(numbers["layers"]) == 35


def test_sources_are_drawn_from_the_seed():
    for source in (*CONFIG.sources, "base"):
        one, same, other = (draw_source(source, CONFIG, seed) for seed in (0, 0, 1))
        assert one.dtype == np.float32 and np.array_equal(one, same)
        assert np.array_equal(one, other) == (source == "base")
