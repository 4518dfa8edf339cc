import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.quant import (
    blockwise,
    codebook,
    get_codebook,
    normal_float,
    quantize,
    quantize_scales,
    scale_map,
    storage_bytes,
)
from minilora.quant.blockwise import pack, packed_size, unpack

# Dettmers et al. 2023, appendix E, as float32.
PUBLISHED_NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip
CODES = ["int4", "int4_full", "fp4", "fp4_e2m1", "af4", *(f"nf{b}" for b in range(2, 9))]


def test_nf4_is_the_published_table_bit_for_bit():
    np.testing.assert_array_equal(codebook("nf4"), np.array(PUBLISHED_NF4, np.float32))


@pytest.mark.parametrize("bits", range(2, 9))
def test_normal_float_of_any_bits(bits):
    levels = normal_float(bits)
    assert levels.size == 2**bits
    assert (np.sum(levels < 0), np.sum(levels == 0), np.sum(levels > 0)) == (2 ** (bits - 1) - 1, 1, 2 ** (bits - 1))
    assert (levels[0], levels[-1]) == (-1, 1)
    assert (np.diff(levels) > 0).all()


@pytest.mark.parametrize("code", CODES)
def test_codebooks_are_sorted_and_reach_both_ends(code):
    levels = codebook(code)
    assert levels.dtype == np.float32
    assert (np.diff(levels) >= 0).all()
    assert levels[0] == -1
    assert levels[-1] == (0.875 if code == "int4_full" else 1)
    assert 0 in levels


@given(st.integers(1, 400), st.sampled_from(CODES), st.integers(1, 70), st.booleans(), st.integers(0, 9))
@settings(max_examples=120, deadline=None)
def test_what_a_quantized_tensor_promises(n, code, block_size, double, seed):
    w = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    q = quantize(w, code, block_size=block_size, double_quant=double)
    bits = get_codebook(code).bits
    assert q.nbytes == storage_bytes(n, bits=bits, block_size=block_size, double_quant=double)
    assert q.bits_per_param == 8 * q.nbytes / n
    np.testing.assert_array_equal(pack(q.codes(), bits, filler=q.packed[-1] & 15), q.packed)
    back = q.dequantize()
    assert back.shape == w.shape and back.dtype == w.dtype
    if not double:
        levels = codebook(code)
        gap = max(np.diff(levels).max() / 2, 1 - levels[-1])
        assert (np.abs(back - w) <= np.repeat(q.scales, block_size)[:n] * gap * (1 + 1e-5)).all()


@given(st.integers(0, 200), st.integers(2, 8), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_unpack_inverts_pack(n, bits, seed):
    codes = np.random.default_rng(seed).integers(0, 2**bits, n).astype(np.uint8)
    packed = pack(codes, bits)
    assert packed.size == packed_size(n, bits)
    np.testing.assert_array_equal(unpack(packed, n, bits), codes)


def test_nibble_order():
    np.testing.assert_array_equal(pack(np.array([1, 2, 3], np.uint8), 4, filler=7), [0x12, 0x37])


@pytest.mark.parametrize("code", CODES)
def test_the_nearest_level_is_taken(code):
    x = np.linspace(-1, 1, 4001).astype(np.float32)
    back = quantize(x, code, block_size=x.size).dequantize()
    nearest = np.abs(x[:, None] - codebook(code)[None]).min(axis=1)
    np.testing.assert_allclose(np.abs(back - x), nearest, atol=1e-7)


@pytest.mark.parametrize("shape", [(5,), (7, 9), (64, 64), (3, 4, 5), (1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("code", ["nf4", "int4_affine", "nf3"])
def test_shapes_and_dtypes(rng, shape, dtype, code):
    w = rng.standard_normal(shape).astype(dtype)
    back = quantize(w, code, block_size=16).dequantize()
    assert (back.shape, back.dtype) == (shape, dtype)
    assert np.abs(back - w).max() < 0.6 * np.abs(w).max()
    np.testing.assert_array_equal(
        quantize(w.T, code).dequantize(), quantize(np.ascontiguousarray(w.T), code).dequantize()
    )


def test_zero_blocks_stay_zero():
    q = quantize(np.zeros(128, np.float32))
    assert set(q.packed) == {0x77}
    assert not q.dequantize().any() and not q.scales.any()


def test_affine_keeps_both_ends_of_a_block(rng):
    w = rng.uniform(3, 5, 256).astype(np.float32)
    back = quantize(w, "int4_affine", block_size=256).dequantize()
    assert back.min() == w.min() and back.max() == pytest.approx(w.max(), rel=1e-6)
    assert np.abs(back - w).max() <= (w.max() - w.min()) / 30 * 1.001
    assert quantize(w, "int4_affine", block_size=64).bits_per_param == 4 + 2 * 32 / 64


@pytest.mark.parametrize("block_size", [3, 8, 16, 48, 100])
def test_affine_in_any_block_size(rng, block_size):
    w = rng.standard_normal(200).astype(np.float32)
    back = quantize(w, "int4_affine", block_size=block_size).dequantize()
    for start in range(0, 200, block_size):
        block, again = w[start : start + block_size], back[start : start + block_size]
        assert np.abs(block - again).max() <= np.ptp(block) / 30 * 1.001 + 1e-7


# RMS and mean absolute error over N(0, 1) in blocks of 64; half a million values leave them within 0.3 % (five sigma).
KNOWN = {
    "int4": (0.1077, 0.0914), "int4_full": (0.0993, 0.0830), "fp4": (0.1220, 0.0966), "fp4_e2m1": (0.1057, 0.0803),
    "nf4": (0.0920, 0.0728), "af4": (0.0957, 0.0752), "int4_affine": (0.0897, 0.0757),
}  # fmt: skip


@pytest.mark.parametrize("code", KNOWN)
def test_error_on_normal_weights(code):
    w = np.random.default_rng(7).standard_normal(2**19, dtype=np.float32)
    difference = quantize(w, code).dequantize() - w
    assert np.sqrt(np.mean(difference**2)) == pytest.approx(KNOWN[code][0], rel=4e-3)
    assert np.mean(np.abs(difference)) == pytest.approx(KNOWN[code][1], rel=4e-3)


def test_scales_cost_what_the_formula_says(rng):
    w = rng.standard_normal((1024, 1024), dtype=np.float32)
    assert quantize(w).bits_per_param == 4.5
    assert quantize(w, double_quant=True).bits_per_param == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-4)
    small = quantize(rng.standard_normal((64, 64), dtype=np.float32), double_quant=True)
    assert small.bits_per_param == 4.140625


@pytest.mark.parametrize("scale_code", ["dynamic", "int8", "e4m3"])
def test_double_quantization_costs_little_error(rng, scale_code):
    scales = np.abs(rng.standard_normal(1000)).astype(np.float32) + 1
    q = quantize_scales(scales, scale_code=scale_code)
    assert np.abs(q.dequantize() - scales).max() < 0.07 * np.abs(scales - scales.mean()).max()
    assert q.nbytes == 1000 + 4 * 4 + 4


def test_8_bit_maps():
    dynamic = scale_map("dynamic")
    assert dynamic.size == 256 and dynamic[127] == 0 and dynamic[-1] == 1
    assert dynamic[0] == np.float32(-0.99296874)
    assert scale_map("e4m3").size == 253 and scale_map("int8").size == 255
    finite = scale_map("e4m3") * 448
    assert {448.0, 416.0, 2.0**-9} <= set(finite.tolist())


def test_no_temporary_is_larger_than_the_result(rng):
    w = rng.standard_normal((1024, 1024), dtype=np.float32)
    quantize(w)
    tracemalloc.start()
    q = quantize(w)
    peak = tracemalloc.get_traced_memory()[1]
    assert peak < 2 * q.nbytes + 2**20  # the result, and chunks that do not grow with it
    tracemalloc.reset_peak()
    held = tracemalloc.get_traced_memory()[0]
    back = q.dequantize()
    assert tracemalloc.get_traced_memory()[1] - held < 2 * back.nbytes
    tracemalloc.stop()


@pytest.mark.parametrize("code", ["nf4", "nf3", "int4_affine"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_change_no_bit(code, dtype, rng, monkeypatch):
    w = rng.standard_normal(3 * blockwise.CHUNK + 77).astype(dtype)
    found = {}
    for told, below in (("1", 0), ("3", 0), ("3", 10**9)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        monkeypatch.setattr(blockwise, "SERIAL_BELOW", below)
        q = quantize(w, code, block_size=64)
        found[told, below] = (q.packed.tobytes(), q.scales.tobytes(), q.dequantize().tobytes())
    assert len(set(found.values())) == 1


def test_an_error_in_a_thread_is_raised(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(blockwise, "SERIAL_BELOW", 0)
    with pytest.raises(ZeroDivisionError):
        blockwise.for_each_chunk(lambda start, end: 1 / start, 3 * blockwise.CHUNK, 64)


@pytest.mark.parametrize(("told", "threads"), [("3", 3), ("0", 1), ("1", 1)])
def test_threads_are_told_by_the_environment(told, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert blockwise.threads() == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert blockwise.threads() >= 1
