import json

import numpy as np
import pytest

from minilora import quantize
from minilora.interop.bitsandbytes import from_bitsandbytes, to_bitsandbytes

# Mean absolute and mean relative error on N(0, 1), as bitsandbytes publishes them in tests/test_functional.py
# (test_4bit_quant): averages over a thousand matrices of 1024 x 1024 for each cell. Blocks of 32 came later; their absolute
# errors are those in the description of its pull request 1854 (1024 x 1024, a thousand runs; relative ones it does not give).
BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
PUBLISHED = {
    ("fp4", "absolute"): (0.088918, 0.096545, 0.102947, 0.108685, 0.114087, 0.119312, 0.124460, 0.129573),
    ("fp4", "relative"): (None, 0.260130, 0.275734, 0.289842, 0.302852, 0.314982, 0.326402, 0.337228),
    ("nf4", "absolute"): (0.067750, 0.072792, 0.076835, 0.080326, 0.083535, 0.086603, 0.089592, 0.092537),
    ("nf4", "relative"): (None, 0.203299, 0.215252, 0.226044, 0.236021, 0.245365, 0.254146, 0.262457),
}


@pytest.fixture(scope="module")
def normal():
    return np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)


@pytest.mark.parametrize("code", ["fp4", "nf4"])
@pytest.mark.parametrize("block_size", BLOCKS)
def test_errors_are_the_published_ones(normal, code, block_size):
    error = np.abs(quantize(normal, code, block_size=block_size).dequantize() - normal)
    for kind, values in (("absolute", error), ("relative", error / (np.abs(normal) + 1e-8))):
        published = PUBLISHED[code, kind][BLOCKS.index(block_size)]
        if published is None:
            continue
        blocks = values.reshape(-1, block_size).mean(axis=1)  # independent of one another, the values in one are not
        sigma = blocks.std() / np.sqrt(blocks.size)
        assert abs(blocks.mean() - published) < 3.5 * sigma, kind
        assert sigma < 0.005 * published  # so that an error 2 % off would fail


def equal(one, two):
    assert one.keys() == two.keys()
    for key in one:
        assert (one[key].shape, one[key].dtype, one[key].tobytes()) == (
            two[key].shape,
            two[key].dtype,
            two[key].tobytes(),
        )


@pytest.mark.parametrize("code", ["nf4", "fp4"])
@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("shape", [(64, 96), (7, 9), (300,)])
def test_there_and_back(rng, code, double_quant, shape):
    q = quantize(rng.standard_normal(shape).astype(np.float32), code, block_size=32, double_quant=double_quant)
    arrays = to_bitsandbytes(q, "layer.weight")
    assert arrays["layer.weight"].shape == (-(-q.size // 2), 1)
    assert f"layer.weight.quant_state.bitsandbytes__{code}" in arrays
    assert ("layer.weight.nested_absmax" in arrays) == double_quant
    again = from_bitsandbytes({"other": np.zeros(3)} | arrays, "layer.weight")
    assert (again.shape, again.code, again.block_size, again.double_quant) == (shape, code, 32, double_quant)
    np.testing.assert_array_equal(again.packed, q.packed)
    np.testing.assert_array_equal(again.dequantize(), q.dequantize())
    equal(to_bitsandbytes(again, "layer.weight"), arrays)
    assert from_bitsandbytes(arrays, "layer.weight", dtype=np.float64).dequantize().dtype == np.float64


def test_what_bitsandbytes_does_not_have(rng):
    w = rng.standard_normal((8, 64)).astype(np.float32)
    with pytest.raises(ValueError, match="q.code must be one of 'nf4', 'fp4'"):
        to_bitsandbytes(quantize(w, "int4"))
    with pytest.raises(ValueError, match="scale_code must be one of 'dynamic'"):
        to_bitsandbytes(quantize(w, "nf4", double_quant=True, scale_code="int8"))
    with pytest.raises(ValueError, match="dtype must be one of"):
        to_bitsandbytes(quantize(w), dtype="float64")
    with pytest.raises(TypeError, match="q must be"):
        to_bitsandbytes(w)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": None}, "weight is missing"),
        ({"weight.absmax": None}, "weight.absmax is missing"),
        ({"weight.nested_absmax": None}, "weight.nested_absmax is missing"),
        ({"weight.absmax": np.zeros(3, np.uint8)}, "weight: absmax must have 8 codes"),
        ({"weight": np.zeros((5, 1), np.uint8)}, "weight: packed must hold 256 bytes"),
        ({"weight.quant_map": np.zeros(16, np.float32)}, "weight.quant_map must be the published table"),
        ({"weight.nested_quant_map": np.zeros(256, np.float32)}, "weight.nested_quant_map must be the published"),
        ({"weight.quant_state.bitsandbytes__nf4": None}, "must hold one key"),
        ({"weight.quant_state.bitsandbytes__fp4": np.zeros(1, np.uint8)}, "must hold one key"),
        ({"weight.quant_state.bitsandbytes__nf4": np.full(4, 91, np.uint8)}, "is not JSON"),
        ({"quant_type": "fp4"}, "quant_type of its name"),
        ({"dtype": "int8"}, "dtype must be one of float32"),
        ({"blocksize": 0}, "block_size must be"),
        ({"blocksize": "64"}, "block_size must be an int"),
        ({"shape": None}, "shape must be"),
        ({"shape": [8, 2**62]}, "packed must hold"),
        ({"nested_blocksize": 128}, "nested_blocksize must be one of 256"),
        ({"nested_offset": "x"}, "nested_offset must be a number"),
        ({"nested_dtype": "float16"}, "nested_dtype must be one of"),
    ],
)
def test_what_does_not_fit_together_is_named(rng, changes, message):
    arrays = to_bitsandbytes(quantize(rng.standard_normal((8, 64)).astype(np.float32), double_quant=True))
    key = "weight.quant_state.bitsandbytes__nf4"
    settings = json.loads(arrays[key].tobytes())
    for name, value in changes.items():
        if name in settings:
            arrays[key] = np.frombuffer(json.dumps(settings | {name: value}).encode(), np.uint8)
        elif value is None:
            del arrays[name]
        else:
            arrays[name] = value
    with pytest.raises(ValueError, match=message):
        from_bitsandbytes(arrays)
