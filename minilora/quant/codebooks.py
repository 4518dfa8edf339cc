"""Codebooks: the values that a few bits can stand for, each derived where it is defined.

A codebook is a sorted float32 array on [-1, 1]. A weight, divided by the largest absolute value of its block, is stored
as the code of the nearest entry; the thresholds are the float32 midpoints, and a tie takes the lower entry.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from minilora import checks
from minilora.quant.abnormal import abnormal_float


@dataclass(frozen=True, eq=False)
class Codebook:
    """`levels`: sorted values, (n,) float32. `codes`: the stored code of each level, (n,) uint8. `bits` of a code.

    Its arrays are read-only copies, for a book is shared by all that use it. ValueError or TypeError where they do not
    fit together.
    """

    name: str
    levels: np.ndarray
    codes: np.ndarray
    bits: int

    def __post_init__(self):
        object.__setattr__(self, "name", checks.string("name", self.name))
        object.__setattr__(self, "bits", checks.integer("bits", self.bits, low=1, high=8))
        checks.finite("levels", checks.float_array("levels", self.levels, ndim=(1,)))
        checks.integer_array("codes", self.codes, ndim=(1,), low=0, high=2**self.bits - 1)
        if self.levels.dtype != np.float32 or np.any(np.diff(self.levels) < 0):
            raise ValueError("levels must be sorted float32 values, got others; try np.sort(levels).astype(np.float32)")
        if self.codes.shape != self.levels.shape or np.unique(self.codes).size != self.codes.size:
            raise ValueError(
                f"codes must hold a different code for each of {self.levels.size} levels, got {self.codes.tolist()}"
            )
        object.__setattr__(self, "levels", _read_only(self.levels.copy()))
        object.__setattr__(self, "codes", _read_only(self.codes.astype(np.uint8)))

    @cached_property
    def thresholds(self) -> np.ndarray:
        """Midpoints between neighbors: x goes to level i where i thresholds lie below x.    (n - 1,) float32"""
        return _read_only((self.levels[:-1] + self.levels[1:]) * np.float32(0.5))

    @cached_property
    def codes_are_indices(self) -> bool:
        """Is the code of each level its place among the sorted levels? (Not so for "fp4".)"""
        return np.array_equal(self.codes, np.arange(self.codes.size))

    @cached_property
    def decoding(self) -> np.ndarray:
        """The value of each code 0 .. 2^bits - 1 (0 for a code that is never stored).    (2^bits,) float32"""
        table = np.zeros(2**self.bits, np.float32)
        table[self.codes] = self.levels
        return _read_only(table)

    @cached_property
    def pairs(self) -> np.ndarray:
        """Four bits only: the two float32 values of each byte, side by side as one 8-byte entry.    (256,) uint64"""
        pairs = np.stack([np.repeat(self.decoding, 16), np.tile(self.decoding, 16)], axis=1)  # (256, 2)
        return _read_only(pairs.view(np.uint64)[:, 0].copy())

    @cached_property
    def quads(self) -> np.ndarray:
        """Four bits only: the four float32 values of two bytes, side by side as one 16-byte entry.    (65536,) complex128

        1 MB, which still fits the L2 cache of most processors: a lookup each four values instead of each two.
        """
        both = (
            np.arange(2**16, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
        )  # the two bytes of each index, as they lie
        return _read_only(self.pairs[both].view(np.complex128)[:, 0].copy())


def _read_only(array):
    array.setflags(write=False)
    return array


def codebook(code: str) -> np.ndarray:
    """The sorted values of a code: "int4", "int4_full", "nf4", "fp4", "fp4_e2m1", "af4", and "nf2" to "nf8".

    (n,) float32, read-only; n = 16 for four bits (15 for "int4", which leaves one code unused).
    ValueError for an unknown name.
    """
    return get_codebook(code).levels


@lru_cache(maxsize=32)
def _build(name):
    if match := re.fullmatch(r"nf([2-8])", name):
        levels = normal_float(int(match[1]))
        codes, bits = np.arange(len(levels)), int(match[1])
    else:
        make, codes = _FIXED[name]
        levels, bits = make(), 4
        codes = np.arange(len(levels)) if codes is None else np.array(codes)
    return Codebook(name, levels, codes, bits)


def get_codebook(code: str) -> Codebook:
    """The Codebook of that name. ValueError, with the names there are, if there is none."""
    return find_codebook(code)


def find_codebook(code: str, besides: tuple[str, ...] = ()) -> Codebook:
    """`get_codebook` for a caller that takes other codes as well, `besides`, which its error is to name."""
    if not isinstance(code, str) or (code not in _FIXED and not re.fullmatch(r"nf[2-8]", code)):
        names = [*_FIXED, *besides, *(f"nf{b}" for b in range(2, 9))]
        raise ValueError(f"code must be one of {', '.join(map(repr, sorted(names)))}, got {checks.shown(code)}")
    return _build(str(code))


def normal_float(bits: int) -> np.ndarray:
    """Quantiles of the normal distribution as a code of `bits` bits (Dettmers et al. 2023, arXiv 2305.14314, sec. 3).

    A code whose values are quantiles is used evenly by normal data. Exactly zero must be a value (padding, pruned
    weights), so the two halves are built apart, each from its end down to zero, and one of the two zeros is dropped:
    2^(bits-1) positive values, 2^(bits-1) - 1 negative ones, one 0: for four bits 8 + 7 + 1.

        positive:  ppf(linspace(o, 1/2, 2^(bits-1) + 1)) without the last, which is ppf(1/2) = 0
        negative: -ppf(linspace(o, 1/2, 2^(bits-1)    )) without the last
        o = 1/2 [(1 - 1/(2 n)) + (1 - 1/(2 (n - 1)))],  n = 2^bits: 0.9677083 for four bits

    o cuts the tails, for ppf(1) is infinite; it is the mean of what n and n - 1 evenly filled bins would cut. At the
    end all is divided by the largest value. With bits = 4 this is bit for bit the table of bitsandbytes; the paper's
    equation (4) is not the recipe, as it gives minus infinity at i = 0. ValueError or TypeError for bits outside 2 to
    8.
    """
    from scipy.stats import norm  # here, so that importing minilora loads numpy only

    bits = checks.integer("bits", bits, low=2, high=8)
    n, half = 2**bits, 2 ** (bits - 1)
    offset = round(0.5 * ((1 - 1 / (2 * n)) + (1 - 1 / (2 * (n - 1)))), 7)  # the published table has seven places
    positive = norm.ppf(linspace32(offset, 0.5, half + 1)[:-1])
    negative = -norm.ppf(linspace32(offset, 0.5, half)[:-1])
    values = np.sort(np.concatenate([positive, negative, [0.0]])).astype(np.float32)
    return values / values.max()


def linspace32(start: float, end: float, n: int) -> np.ndarray:
    """`n` even steps in float32, counted from both ends: the first half up from `start`, the rest down from `end`.

    The product and the sum are rounded once together, as torch's fused multiply-add does (float64 holds the product of
    two float32 exactly). np.linspace counts from one end and lands up to 12 units in the last place beside the
    published tables.    (n,) float32
    """
    start, end = np.float32(start), np.float32(end)
    step = np.float64((end - start) / np.float32(n - 1))
    i = np.arange(n)
    return np.where(i < n // 2, start + step * i, end - step * (n - 1 - i)).astype(np.float32)


def _int4():
    """Symmetric integers: -7 .. 7 over 7, so that the largest weight of a block is exact at either end.

    15 values; the sixteenth code (-8 in two's complement) stays unused, the price of symmetry.
    """
    return (np.arange(-7, 8) / 7).astype(np.float32)


def _int4_full():
    """All sixteen integers: -8 .. 7 over 8. A block's largest weight is exact if negative, 1/8 short if positive."""
    return (np.arange(-8, 8) / 8).astype(np.float32)


def _fp4():
    """bitsandbytes' 4-bit float: sign, two exponent bits, one mantissa bit, with values of its own choice.

    Codes 0 .. 7 are (0, 1/16, 8, 12, 4, 6, 2, 3) / 12 and codes 8 .. 15 their negatives, so zero is there twice.
    This is not the E2M1 grid of the Open Compute Project; see "fp4_e2m1".
    """
    magnitudes = np.array([0, 0.0625, 8, 12, 4, 6, 2, 3], np.float32) / np.float32(12)
    return np.concatenate([magnitudes, -magnitudes])[_FP4_ORDER]


# bitsandbytes' CPU code for each level from -1 up to 1; code 8 ("-0") stands above 0, and takes the tiny positives.
_FP4_ORDER = [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3]


def _fp4_e2m1():
    """OCP E2M1: sign, two exponent bits (bias 1), one mantissa bit: 0 .5 1 1.5 2 3 4 6, over 6.

    Subnormal: m/2; normal: 2^(e-1) (1 + m/2). Zero is there twice, so 15 values. (OCP Microscaling Formats v1.0, 5.3.3)
    """
    magnitudes = [m / 2 if e == 0 else 2.0 ** (e - 1) * (1 + m / 2) for e in range(4) for m in range(2)]
    return (np.unique([*magnitudes, *(-m for m in magnitudes)]) / 6).astype(np.float32)


_FIXED = {
    "int4": (_int4, None),
    "int4_full": (_int4_full, None),
    "fp4": (_fp4, _FP4_ORDER),
    "fp4_e2m1": (_fp4_e2m1, None),
    "af4": (abnormal_float, None),
}
