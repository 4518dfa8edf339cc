"""Codebooks: the published tables, derived; and a Codebook whose parts fit together."""

import re

import numpy as np
import pytest

from minilora.quant import Codebook, codebook, get_codebook, normal_float
from minilora.quant.codebooks import linspace32

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
    np.testing.assert_array_equal(codebook(f"nf{bits}"), levels)


def test_normal_float_values_are_quantiles():
    from scipy.stats import norm

    levels = normal_float(3).astype(np.float64)  # o = 1/2 [(1 - 1/16) + (1 - 1/14)], with the table's seven places
    outermost = norm.ppf(round(0.5 * (1 - 1 / 16 + 1 - 1 / 14), 7))
    shares = norm.cdf(levels * outermost)
    np.testing.assert_allclose(np.diff(shares[3:]), np.diff(shares[3:])[0], atol=1e-6)  # even steps above zero
    np.testing.assert_allclose(np.diff(shares[:4]), np.diff(shares[:4])[0], atol=1e-6)  # and below


@pytest.mark.parametrize("code", CODES)
def test_codebooks_are_sorted_and_reach_both_ends(code):
    levels = codebook(code)
    assert levels.dtype == np.float32
    assert (np.diff(levels) >= 0).all()
    assert levels[0] == -1
    assert levels[-1] == (0.875 if code == "int4_full" else 1)
    assert 0 in levels


def test_the_values_of_the_fixed_codes():
    third = np.float32(1) / np.float32(3)
    np.testing.assert_array_equal(codebook("int4") * np.float32(7), np.arange(-7, 8))
    np.testing.assert_array_equal(codebook("int4_full") * 8, np.arange(-8, 8))
    fp4 = get_codebook("fp4")
    np.testing.assert_array_equal(fp4.codes, [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3])
    np.testing.assert_allclose(fp4.decoding[:8] * 12, [0, 0.0625, 8, 12, 4, 6, 2, 3], rtol=1e-6)
    np.testing.assert_array_equal(fp4.decoding[8:], -fp4.decoding[:8])
    assert fp4.decoding[4] == third
    np.testing.assert_allclose(codebook("fp4_e2m1")[7:] * 6, [0, 0.5, 1, 1.5, 2, 3, 4, 6], rtol=1e-6)
    np.testing.assert_array_equal(codebook("fp4_e2m1"), -codebook("fp4_e2m1")[::-1])
    assert codebook("int4").size == codebook("fp4_e2m1").size == 15


@pytest.mark.parametrize("code", CODES)
def test_decoding_and_pairs_stand_for_the_levels(code):
    book = get_codebook(code)
    np.testing.assert_array_equal(book.decoding[book.codes], book.levels)
    assert book.decoding.size == 2**book.bits
    unused = np.setdiff1d(np.arange(2**book.bits), book.codes)
    assert not book.decoding[unused].any()
    assert book.codes_are_indices == (code != "fp4")
    np.testing.assert_array_equal(book.thresholds, (book.levels[1:] + book.levels[:-1]) / np.float32(2))
    if book.bits == 4:
        byte = np.arange(256)
        both = book.pairs.view(np.float32).reshape(256, 2)
        np.testing.assert_array_equal(both[:, 0], book.decoding[byte >> 4])
        np.testing.assert_array_equal(both[:, 1], book.decoding[byte & 15])


@pytest.mark.parametrize("code", CODES)
def test_a_book_is_shared_and_nobody_can_write_into_it(code):
    book = get_codebook(code)
    assert get_codebook(code) is book  # its tables are computed once
    assert book.pairs is book.pairs if book.bits == 4 else True
    for array in (codebook(code), book.levels, book.codes, book.thresholds, book.decoding):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_book_copies_what_it_is_given():
    levels, codes = np.array([-1, 0, 1], np.float32), np.array([2, 0, 1])
    book = Codebook("ternary", levels, codes, np.int8(2))
    assert type(book.bits) is int  # 1 << 8 of a np.int8 would overflow
    levels[0], codes[0] = 9, 3
    assert book.levels[0] == -1 and book.codes.tolist() == [2, 0, 1] and book.codes.dtype == np.uint8
    np.testing.assert_array_equal(book.decoding, [0, 1, -1, 0])


def test_linspace32_counts_from_both_ends():
    for n in (2, 3, 8, 9, 17):
        steps = linspace32(0.1, 1.0, n)
        assert steps.dtype == np.float32 and steps.size == n
        assert (steps[0], steps[-1]) == (np.float32(0.1), np.float32(1.0))
        np.testing.assert_allclose(steps, np.linspace(0.1, 1.0, n), rtol=3e-7)
        np.testing.assert_array_equal(linspace32(-1, 1, n), -linspace32(-1, 1, n)[::-1])


LEVELS, THREE = np.array([-1, 0, 1], np.float32), np.arange(3)
REFUSED = [
    (lambda: Codebook(3, LEVELS, THREE, 2), TypeError, "name must be a str"),
    (lambda: Codebook("x", LEVELS, THREE, 9), ValueError, "bits must be between 1 and 8, got 9"),
    (lambda: Codebook("x", LEVELS[::-1], THREE, 2), ValueError, "levels must be sorted"),
    (lambda: Codebook("x", LEVELS.astype(float), THREE, 2), ValueError, "levels must be sorted float32"),
    (lambda: Codebook("x", LEVELS * np.float32("nan"), THREE, 2), ValueError, "levels must be finite"),
    (lambda: Codebook("x", LEVELS[None], THREE, 2), ValueError, "levels must have 1 axis"),
    (lambda: Codebook("x", LEVELS, THREE[:2], 2), ValueError, "codes must hold a different code for each of 3"),
    (lambda: Codebook("x", LEVELS, np.array([1, 1, 0]), 2), ValueError, r"codes must hold a different.*\[1, 1, 0\]"),
    (lambda: Codebook("x", LEVELS, THREE + 2, 2), ValueError, "codes must lie in 0 .. 3, got values from 2 to 4"),
    (lambda: codebook("nf9"), ValueError, "code must be one of 'af4'.*|code must be one of af4.*nf8, got 'nf9'"),
    (
        lambda: codebook("int4_affine"),
        ValueError,
        "code must be one of .*'int4', 'int4_full', 'nf2'.*got 'int4_affine'",
    ),
    (lambda: codebook("nf44"), ValueError, "code must be one of"),
    (lambda: get_codebook(["nf4"]), ValueError, r"code must be one of.*got \['nf4'\]"),
    (lambda: normal_float(1), ValueError, "bits must be between 2 and 8, got 1"),
    (lambda: normal_float(9), ValueError, "bits must be between 2 and 8, got 9"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(call, error, message):
    with pytest.raises(error, match=f"^({message})"):
        call()


def test_an_unknown_code_is_answered_with_all_there_are():
    with pytest.raises(ValueError) as error:
        codebook("nf9")
    named = re.findall(r"'(\w+)'", str(error.value).partition("got")[0])
    assert named == sorted(["int4", "int4_full", "fp4", "fp4_e2m1", "af4", *(f"nf{bits}" for bits in range(2, 9))])
    assert all(codebook(name).size for name in named)
