"""Scales in eight bits: the three maps, the error they leave, and no size of scale that breaks them."""

import numpy as np
import pytest

from minilora import quantize
from minilora.quant import QuantizedScales, quantize_scales, scale_map
from minilora.quant.double import SCALE_MAPS


@pytest.mark.parametrize("scale_code", SCALE_MAPS)
def test_double_quantization_costs_little_error(rng, scale_code):
    scales = np.abs(rng.standard_normal(1000)).astype(np.float32) + 1
    q = quantize_scales(scales, scale_code=scale_code)
    assert np.abs(q.dequantize() - scales).max() < 0.07 * np.abs(scales - scales.mean()).max()
    assert q.nbytes == 1000 + 4 * 4 + 4
    assert q.offset == scales.mean() and q.scale_code == scale_code


@pytest.mark.parametrize("scale_code", SCALE_MAPS)
def test_a_tie_takes_the_lower_value(scale_code):
    levels = scale_map(scale_code)
    middles = (levels[:-1] + levels[1:]) * np.float32(0.5)
    scales = np.concatenate([middles[:255], [1.0]]).astype(np.float32)  # the largest is 1, so nothing is rescaled
    codes = quantize_scales(scales, scale_code=scale_code, offset=0.0).codes
    np.testing.assert_array_equal(codes[:-1], np.arange(len(middles[:255])))


@pytest.mark.parametrize("scale_code", SCALE_MAPS)
@pytest.mark.parametrize("n", [1, 255, 256, 257, 600])
def test_each_scale_takes_the_nearest_value_of_its_block(rng, scale_code, n):
    scales = rng.uniform(0, 3, n).astype(np.float32)
    q = quantize_scales(scales, scale_code=scale_code)
    assert q.absmax.size == -(-n // 256)
    centered = scales - q.offset
    for block in range(q.absmax.size):
        part = centered[256 * block : 256 * (block + 1)]
        assert q.absmax[block] == np.abs(part).max()
        grid = scale_map(scale_code) * q.absmax[block]
        nearest = np.abs(part[:, None] - grid).min(axis=1)
        decoded = q.dequantize()[256 * block : 256 * (block + 1)] - q.offset
        np.testing.assert_allclose(np.abs(decoded - part), nearest, atol=1e-6)


def test_8_bit_maps():
    dynamic = scale_map("dynamic")
    assert dynamic.size == 256 and dynamic[127] == 0 and dynamic[-1] == 1
    assert dynamic[0] == np.float32(-0.99296874)
    assert scale_map("e4m3").size == 253 and scale_map("int8").size == 255
    np.testing.assert_array_equal(np.rint(scale_map("int8") * 127), np.arange(-127, 128))
    finite = scale_map("e4m3") * 448
    assert {448.0, 416.0, 2.0**-9, 2.0**-6, 1.0, 1.125} <= set(finite.tolist())
    for scale_code in SCALE_MAPS:
        levels = scale_map(scale_code)
        assert levels.dtype == np.float32 and (np.diff(levels) > 0).all() and levels[-1] == 1
        assert scale_map(scale_code) is levels and not levels.flags.writeable


def test_the_dynamic_map_has_decades_of_1_to_64_values():
    positive = scale_map("dynamic")[128:-1].astype(np.float64)
    edges = [10.0 ** (i - 7) for i in range(8)]
    assert [int(np.sum((positive > a) & (positive < b))) for a, b in zip(edges, edges[1:], strict=False)] == [
        1, 2, 4, 8, 16, 32, 64,
    ]  # fmt: skip


def test_a_given_offset_is_used():
    scales = np.array([1, 2, 3], np.float32)
    q = quantize_scales(scales, offset=1.5)
    assert q.offset == np.float32(1.5) and type(q.offset) is np.float32
    np.testing.assert_array_equal(q.absmax, [1.5])


def test_the_table_lookup_misses_by_at_most_one_code(rng):
    scales = rng.uniform(0, 1, 100_000).astype(np.float32)
    nearest, table = (quantize_scales(scales, lookup=lookup).codes.astype(int) for lookup in ("nearest", "table"))
    missed = np.abs(nearest - table)
    assert missed.max() == 1 and 0 < np.mean(missed) < 0.01


@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-38, 1e-20, 1.0, 1e20, 3.4e38])
@pytest.mark.parametrize("scale_code", SCALE_MAPS)
@pytest.mark.parametrize("lookup", ["nearest", "table"])
def test_no_size_of_scale_gives_nan_or_infinity(size, scale_code, lookup):
    scales = np.linspace(size / 2, size, 300).astype(np.float32)
    back = quantize_scales(scales, scale_code=scale_code, lookup=lookup).dequantize()
    assert np.isfinite(back).all()
    assert np.abs(back.astype(float) - scales).max() <= max(0.07 * float(size), 1e-38)


def test_equal_scales_are_exact():
    scales = np.full(300, 0.3, np.float32)
    np.testing.assert_allclose(quantize_scales(scales).dequantize(), scales, rtol=1e-6)


def test_doubly_quantized_weights_of_any_size_are_finite():
    w = (np.linspace(-1, 1, 6400) * 3.4e38).astype(np.float32)
    back = quantize(w, double_quant=True).dequantize()
    assert np.isfinite(back).all()
    assert np.abs(back.astype(float) - w).max() < 0.25 * 3.4e38


SCALES, CODES = np.ones(300, np.float32), np.zeros(300, np.uint8)
TWO = np.ones(2, np.float32)
REFUSED = [
    (lambda: quantize_scales(None), TypeError, "scales must be a numpy array"),
    (lambda: quantize_scales(SCALES.astype(float)), TypeError, r"scales must be float32.*scales.astype\(np.float32\)"),
    (lambda: quantize_scales(SCALES[None]), ValueError, "scales must have 1 axis"),
    (lambda: quantize_scales(SCALES[:0]), ValueError, "scales must not be empty"),
    (
        lambda: quantize_scales(SCALES * np.float32("nan")),
        ValueError,
        r"scales must be finite, got nan at index \(0,\)",
    ),
    (lambda: quantize_scales(SCALES, offset="a"), TypeError, "offset must be a number"),
    (lambda: quantize_scales(SCALES, offset=1e39), ValueError, r"offset must be at most 3.40.*got 1e\+39"),
    (lambda: quantize_scales(SCALES * np.float32(3e38), offset=-3e38), ValueError, "scales - offset must be finite"),
    (
        lambda: quantize_scales(SCALES, scale_code="fp8"),
        ValueError,
        "scale_code must be one of 'dynamic', 'int8', 'e4m3'",
    ),
    (
        lambda: quantize_scales(SCALES, lookup="fast"),
        ValueError,
        "lookup must be one of 'nearest', 'table', got 'fast'",
    ),
    (lambda: scale_map(["dynamic"]), ValueError, "scale_code must be one of"),
    (lambda: QuantizedScales(CODES, TWO[:1], 0.0, "int8"), ValueError, "absmax must have 2 entries"),
    (lambda: QuantizedScales(CODES, TWO, None, "int8"), TypeError, "offset must be a number"),
    (lambda: QuantizedScales(CODES, TWO, 0.0, "int9"), ValueError, "scale_code must be one of"),
    (lambda: QuantizedScales(CODES.astype(int), TWO, 0.0, "int8"), TypeError, "codes must be uint8"),
    (
        lambda: QuantizedScales(CODES + np.uint8(255), TWO, 0.0, "int8"),
        ValueError,
        "codes must lie in 0 .. 254, got .* 255",
    ),
    (lambda: QuantizedScales(CODES[None], TWO, 0.0, "int8"), ValueError, "codes must have 1 axis"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(call, error, message):
    with pytest.raises(error, match=f"^({message})"):
        call()
