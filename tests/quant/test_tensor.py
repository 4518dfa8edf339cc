"""QuantizedTensor and quantize: shapes, bytes, errors on normal weights, and parts that fit together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.quant import QuantizedTensor, codebook, get_codebook, quantize, storage_bytes
from minilora.quant.blockwise import pack

CODES = ["int4", "int4_full", "fp4", "fp4_e2m1", "af4", *(f"nf{b}" for b in range(2, 9))]


@given(st.integers(1, 400), st.sampled_from(CODES), st.integers(1, 70), st.booleans(), st.integers(0, 9))
@settings(max_examples=120, deadline=None)
def test_what_a_quantized_tensor_promises(n, code, block_size, double, seed):
    w = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    q = quantize(w, code, block_size=block_size, double_quant=double)
    bits = get_codebook(code).bits
    assert q.nbytes == storage_bytes(n, bits=bits, block_size=block_size, double_quant=double)
    assert q.bits_per_param == 8 * q.nbytes / n
    assert q.double_quant == double and q.size == n
    np.testing.assert_array_equal(pack(q.codes(), bits, filler=q.packed[-1] & 15), q.packed)
    back = q.dequantize()
    assert back.shape == w.shape and back.dtype == w.dtype
    if not double:
        levels = codebook(code)
        gap = max(np.diff(levels).max() / 2, 1 - levels[-1])
        assert (np.abs(back - w) <= np.repeat(q.scales, block_size)[:n] * gap * (1 + 1e-5)).all()


@pytest.mark.parametrize("shape", [(5,), (7, 9), (64, 64), (3, 4, 5), (1, 1), ()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("code", ["nf4", "int4_affine", "nf3", "nf8"])
def test_shapes_and_dtypes(rng, shape, dtype, code):
    w = np.asarray(rng.standard_normal(shape), dtype)
    before = w.copy()
    q = quantize(w, code, block_size=16)
    back = q.dequantize()
    assert (back.shape, back.dtype) == (shape, dtype) == (q.shape, q.dtype)
    assert np.abs(back - w).max() < 0.6 * np.abs(w).max()
    np.testing.assert_array_equal(w, before)
    np.testing.assert_array_equal(
        quantize(w.T, code).dequantize(), quantize(np.ascontiguousarray(w.T), code).dequantize()
    )


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
    affine = quantize(w, "int4_affine", block_size=32)
    assert affine.nbytes == storage_bytes(w.size, block_size=32, statistics=2)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint8, np.int64])
def test_a_block_size_from_numpy_does_not_overflow(rng, kind):
    w = rng.standard_normal(1000).astype(np.float32)
    q, same = quantize(w, block_size=kind(100)), quantize(w, block_size=100)
    assert type(q.block_size) is int
    np.testing.assert_array_equal(q.packed, same.packed)
    np.testing.assert_array_equal(q.dequantize(), same.dequantize())
    assert storage_bytes(kind(100), block_size=kind(7), bits=kind(4)) == storage_bytes(100, block_size=7)


@pytest.mark.parametrize("code", ["nf4", "nf8", "fp4", "int4_affine"])
def test_codes_and_values_given_out_are_the_callers_to_write_into(rng, code):
    q = quantize(rng.standard_normal(64).astype(np.float32), code)
    before = q.dequantize()
    q.codes()[:] = 0
    q.dequantize()[:] = 0
    np.testing.assert_array_equal(q.dequantize(), before)


def test_int4_affine_has_a_book_of_its_own_that_is_not_listed():
    assert quantize(np.ones(4, np.float32), "int4_affine").book.levels[0] == 0
    with pytest.raises(ValueError, match="code must be one of"):
        codebook("int4_affine")


@pytest.mark.parametrize("weights", [np.full(70, 3.4e38), np.full(70, 1e-45), np.r_[3.4e38, -3.4e38, np.zeros(68)]])
@pytest.mark.parametrize("code", [*CODES])
@pytest.mark.parametrize("double", [False, True])
def test_no_size_of_number_gives_nan(weights, code, double):
    w = weights.astype(np.float32)
    assert np.isfinite(quantize(w, code, double_quant=double).dequantize()).all()


W = np.random.default_rng(0).standard_normal((10, 13)).astype(np.float32)
Q, D, A = quantize(W, block_size=32), quantize(W, block_size=32, double_quant=True), quantize(W, "int4_affine")


def test_built_by_hand_it_is_the_same():
    by_hand = QuantizedTensor(Q.packed, Q.absmax, [10, np.int64(13)], "float32", np.str_("nf4"), np.int8(32))
    np.testing.assert_array_equal(by_hand.dequantize(), Q.dequantize())
    assert (by_hand.shape, type(by_hand.block_size), type(by_hand.code)) == ((10, 13), int, str)


REFUSED = [
    (
        lambda: replace(Q, packed=Q.packed[:-1]),
        ValueError,
        r"packed must hold 65 bytes for 'nf4' and shape \(10, 13\), got",
    ),
    (lambda: replace(Q, packed=Q.packed.astype(int)), TypeError, "packed must be uint8"),
    (lambda: replace(Q, packed=Q.packed[None]), ValueError, "packed must have 1 axis"),
    (lambda: replace(Q, packed=None), TypeError, "packed must be a numpy array"),
    (lambda: replace(Q, absmax=Q.absmax[:-1]), ValueError, "absmax must have 5 entries, one per block"),
    (lambda: replace(Q, absmax=Q.absmax * np.float32("nan")), ValueError, "absmax must be finite"),
    (lambda: replace(Q, absmax=Q.absmax.astype(float)), TypeError, "absmax must be float32"),
    (lambda: replace(Q, absmax=quantize(W).absmax), ValueError, "absmax must have 5 entries"),
    (
        lambda: replace(Q, absmax=quantize(W, double_quant=True).absmax),
        ValueError,
        "absmax must have 5 codes, .* got 3",
    ),
    (lambda: replace(Q, shape=(10, 14)), ValueError, "packed must hold 70 bytes"),
    (lambda: replace(Q, shape=130), TypeError, "shape must be a tuple"),
    (lambda: replace(Q, shape=(130, 0)), ValueError, r"shape\[1\] must be at least 1, got 0"),
    (lambda: replace(Q, shape=(130.0,)), TypeError, r"shape\[0\] must be an int"),
    (lambda: replace(Q, dtype=np.float16), TypeError, "dtype must be float32 or float64"),
    (lambda: replace(Q, dtype=None), TypeError, "dtype must be float32 or float64"),
    (lambda: replace(Q, code="nf9"), ValueError, "code must be one of.*'int4_affine', 'int4_full'.*got 'nf9'"),
    (lambda: quantize(W, "nf9"), ValueError, "code must be one of.*'int4_affine', 'int4_full'.*got 'nf9'"),
    (lambda: replace(Q, code="nf3"), ValueError, "packed must hold 49 bytes for 'nf3'"),
    (lambda: replace(Q, block_size=0), ValueError, "block_size must be"),
    (lambda: replace(Q, block_size=2**31), ValueError, "block_size must be"),
    (lambda: replace(Q, minima=Q.absmax), ValueError, "minima must be given for 'int4_affine' and for no other"),
    (lambda: replace(A, minima=None), ValueError, "minima must be given for 'int4_affine'"),
    (lambda: replace(A, minima=A.minima[:1]), ValueError, "minima must have 3 entries"),
    (lambda: replace(D, code="int4_affine", minima=Q.absmax), ValueError, "absmax must be float32 for 'int4_affine'"),
    (lambda: quantize(np.ma.array(W, mask=W > 1)), TypeError, "w must be an array without a mask"),
    (lambda: quantize(W, block_size=2**31), ValueError, "block_size must be between 1 and 2147483647"),
    (lambda: quantize(W, scale_code="fp8"), ValueError, "scale_code must be one of"),  # even where it is not used
    (lambda: quantize(np.array([1, -1e39])), ValueError, r"w must fit float32.*got 1e\+39"),
    (lambda: storage_bytes(0), ValueError, "size must be at least 1"),
    (lambda: storage_bytes(4.0), TypeError, "size must be an int"),
    (lambda: storage_bytes(4, bits=-1), ValueError, "bits must be between 1 and 8, got -1"),
    (lambda: storage_bytes(4, block_size=0), ValueError, "block_size must be"),
    (lambda: storage_bytes(4, double_quant=1), TypeError, "double_quant must be True or False"),
    (lambda: storage_bytes(4, statistics=3), ValueError, "statistics must be between 1 and 2"),
    (lambda: storage_bytes(4, statistics=2, double_quant=True), ValueError, "statistics must be 1 with double_quant"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(call, error, message):
    with pytest.raises(error, match=f"^({message})"):
        call()
