"""Blocks to codes to bytes and back: nearest levels, ties, nibbles, chunks and threads."""

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.quant import Codebook, blockwise, codebook, get_codebook, quantize
from minilora.quant.blockwise import (
    TINY,
    chunks,
    dequantize_blocks,
    encode,
    for_each_chunk,
    largest,
    pack,
    packed_size,
    quantize_blocks,
    unpack,
)

CODES = ["int4", "int4_full", "fp4", "fp4_e2m1", "af4", *(f"nf{b}" for b in range(2, 9))]


@pytest.mark.parametrize("code", CODES)
def test_the_nearest_level_is_taken(code):
    x = np.linspace(-1, 1, 4001).astype(np.float32)
    back = quantize(x, code, block_size=x.size).dequantize()
    nearest = np.abs(x[:, None] - codebook(code)[None]).min(axis=1)
    np.testing.assert_allclose(np.abs(back - x), nearest, atol=1e-7)


@pytest.mark.parametrize("code", CODES)
def test_a_tie_takes_the_lower_level_and_the_next_float_the_upper(code):
    book = get_codebook(code)
    ties = book.thresholds
    lower = np.searchsorted(ties, ties, "left")  # several levels may share a value
    np.testing.assert_array_equal(encode(ties, book), book.codes[lower])
    after = np.nextafter(ties, np.float32(2))
    np.testing.assert_array_equal(encode(after, book), book.codes[np.searchsorted(ties, after, "left")])
    np.testing.assert_array_equal(encode(book.levels, book)[[0, -1]], book.codes[[0, -1]])


def test_fp4_gives_zero_code_0_and_tiny_positives_code_8():
    book = get_codebook("fp4")
    smallest = np.float32(0.0625) / np.float32(12)
    x = np.array([-smallest, -1e-9, -0.0, 0.0, 1e-9, smallest / 2, np.nextafter(smallest / 2, 1), smallest], np.float32)
    np.testing.assert_array_equal(encode(x, book), [9, 0, 0, 0, 8, 8, 1, 1])


def test_a_full_block_is_multiplied_by_a_reciprocal_and_a_partial_one_divided():
    # v * (1 / a) and v / a may differ in the last bit; a book whose only threshold lies between them tells them apart.
    rng = np.random.default_rng(0)
    a = rng.uniform(1, 2, 100).astype(np.float32)
    v = (rng.uniform(0, 1, 100) * a).astype(np.float32)
    multiplied, divided = v * (np.float32(1) / a), v / a
    seen = 0
    for i in np.flatnonzero(multiplied != divided):
        threshold = min(multiplied[i], divided[i])
        book = Codebook("edge", np.array([2 * threshold - 1, 1], np.float32), np.arange(2), 1)
        if book.thresholds[0] != threshold:
            continue
        for block_size, value in ((2, multiplied[i]), (3, divided[i])):
            packed, _ = quantize_blocks(np.array([a[i], v[i]]), book, block_size)
            assert unpack(packed, 2, 1)[1] == (value > threshold)
        seen += 1
    assert seen > 5


def test_scales_are_the_absmax_of_each_block_from_either_side():
    flat = np.array([1, -3, 2, 0, 0, 0, 5, 4, -1], np.float32)
    packed, scales = quantize_blocks(flat, get_codebook("nf4"), 3)
    np.testing.assert_array_equal(scales, [3, 0, 5])
    assert packed.size == 5 and packed[-1] & 15 == 7  # nine codes and the code of zero
    _, scales = quantize_blocks(np.zeros(4, np.float32), get_codebook("nf4"), 3)
    np.testing.assert_array_equal(scales, [0, TINY])  # as bitsandbytes: clamped in a partial block alone
    _, scales = quantize_blocks(np.array([1.0, -7.0]), get_codebook("nf4"), 64)
    np.testing.assert_array_equal(scales, [7])


def test_the_largest_by_its_bits_is_the_largest_absolute_value():
    x = np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    x *= np.float32(10) ** np.random.default_rng(1).integers(-44, 38, (200, 1)).astype(np.float32)  # subnormal to large
    x[0], x[1], x[2, 5], x[3, 7] = 0.0, -0.0, -3.4e38, 1e-45
    np.testing.assert_array_equal(largest(x), np.maximum(x.max(axis=1), -x.min(axis=1)))
    assert not np.signbit(largest(x)).any()


def test_every_other_code_of_an_array_packs_as_its_copy_does():
    codes = np.arange(64, dtype=np.uint8) % 16
    np.testing.assert_array_equal(pack(codes[::2], 4), pack(codes[::2].copy(), 4))


def test_zero_blocks_stay_zero():
    q = quantize(np.zeros(128, np.float32))
    assert set(q.packed) == {0x77}
    assert not q.dequantize().any() and not q.scales.any()
    assert set(quantize(np.zeros(128, np.float32), "fp4").packed) == {0}


@given(st.integers(0, 200), st.integers(1, 8), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_unpack_inverts_pack(n, bits, seed):
    codes = np.random.default_rng(seed).integers(0, 2**bits, n).astype(np.uint8)
    packed = pack(codes, bits)
    assert packed.size == packed_size(n, bits)
    back = unpack(packed, n, bits)
    np.testing.assert_array_equal(back, codes)
    assert back.dtype == packed.dtype == np.uint8
    assert not np.shares_memory(packed, codes) and not np.shares_memory(back, packed)


def test_the_first_code_is_in_the_highest_bits():
    np.testing.assert_array_equal(pack(np.array([1, 2, 3], np.uint8), 4, filler=7), [0x12, 0x37])
    np.testing.assert_array_equal(pack(np.array([1, 2, 3], np.uint8), 4), [0x12, 0x30])
    np.testing.assert_array_equal(pack(np.array([1, 2, 3], np.uint8), 3), [0b00101001, 0b10000000])
    np.testing.assert_array_equal(pack(np.array([1, 2, 3, 0, 1], np.uint8), 2), [0b01101100, 0b01000000])


@given(st.integers(0, 5000), st.integers(1, 70), st.integers(1, 900), st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_chunks_cover_everything_once_on_whole_blocks_and_whole_bytes(n, block_size, size, bits):
    pieces = list(chunks(n, block_size, size))
    assert [0, *(end for _, end in pieces)] == [*(start for start, _ in pieces), n]
    for start, end in pieces:
        assert start % block_size == 0 and start * bits % 8 == 0
        assert end - start <= max(size, 8 * block_size)


@pytest.mark.parametrize("code", ["nf4", "nf3", "nf5", "nf8", "fp4", "int4_affine"])
@pytest.mark.parametrize("block_size", [1, 3, 7, 64, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_chunks_give_what_one_gives(code, block_size, dtype, monkeypatch):
    w = np.random.default_rng(0).standard_normal(5001).astype(dtype)
    whole = quantize(w, code, block_size=block_size)
    back = whole.dequantize()
    monkeypatch.setattr(blockwise, "CHUNK", 8)  # chunks of eight blocks, the last not on a whole byte
    pieces = quantize(w, code, block_size=block_size)
    np.testing.assert_array_equal(pieces.packed, whole.packed)
    np.testing.assert_array_equal(pieces.scales, whole.scales)
    np.testing.assert_array_equal(whole.dequantize(), back)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("quads_pay", [1, 10**9], ids=["two bytes at once", "byte by byte"])
def test_decoding_is_level_times_scale(monkeypatch, quads_pay, code, dtype, n):
    monkeypatch.setattr(blockwise, "QUADS_PAY", quads_pay)
    w = np.random.default_rng(n).standard_normal(n).astype(dtype)
    q = quantize(w, code, block_size=16)
    levels = get_codebook(code).decoding[q.codes()].astype(dtype)
    expected = levels * np.repeat(q.scales, 16)[:n]
    np.testing.assert_array_equal(q.dequantize(), expected)
    out = np.full(n, np.nan, dtype)
    dequantize_blocks(q.packed, q.scales, get_codebook(code), 16, out)
    np.testing.assert_array_equal(out, expected)
    apart = np.repeat(q.packed, 2)[::2]  # bytes that do not lie side by side
    dequantize_blocks(apart, q.scales, get_codebook(code), 16, out)
    np.testing.assert_array_equal(out, expected)


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
    seen = {}
    for variable, below in (("1", 0), ("3", 0), ("3", 10**9)):
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
        monkeypatch.setattr(blockwise, "SERIAL_BELOW", below)
        q = quantize(w, code, block_size=64)
        seen[variable, below] = (q.packed.tobytes(), q.scales.tobytes(), q.dequantize().tobytes())
    assert len(set(seen.values())) == 1


def test_small_arrays_stay_in_this_thread_and_large_ones_do_not(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for n, here in ((blockwise.SERIAL_BELOW - 1, {True}), (blockwise.SERIAL_BELOW, {True, False})):
        names = set()
        for_each_chunk(lambda start, end: names.add(threading.current_thread() is threading.main_thread()), n, 64)  # noqa: B023
        assert names == here


def test_an_error_in_a_thread_is_raised(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(blockwise, "SERIAL_BELOW", 0)
    with pytest.raises(ZeroDivisionError):
        for_each_chunk(lambda start, end: 1 / start, 3 * blockwise.CHUNK, 64)


@pytest.mark.parametrize(("variable", "threads"), [("3", 3), ("0", 1), ("1", 1)])
def test_the_environment_sets_the_threads(variable, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert blockwise.threads() == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert blockwise.threads() >= 1
