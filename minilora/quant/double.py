"""Double quantization: the scales of the blocks are themselves stored in eight bits.

Dettmers et al. 2023 (arXiv 2305.14314), section 3. The paper says FP8; bitsandbytes, its authors' code, subtracts
the mean and uses the dynamic map below. Both, and linear int8, can be chosen here.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from minilora import checks
from minilora.quant.blockwise import TINY
from minilora.quant.codebooks import linspace32

SCALE_BLOCK_SIZE = 256


@dataclass(frozen=True, eq=False)
class QuantizedScales:
    """Eight bits per scale. `codes`: (blocks,) uint8. `absmax`: (ceil(blocks / 256),) float32. `offset`: float32.

    ValueError or TypeError where they do not fit together.
    """

    codes: np.ndarray
    absmax: np.ndarray
    offset: np.float32 | float
    scale_code: str

    def __post_init__(self):
        object.__setattr__(self, "scale_code", checks.one_of("scale_code", self.scale_code, SCALE_MAPS))
        object.__setattr__(self, "offset", _float32("offset", self.offset))
        if checks.array("codes", self.codes, ndim=(1,)).dtype != np.uint8:
            raise TypeError(f"codes must be uint8, got {checks.shown(self.codes)}")
        checks.integer_array("codes", self.codes, high=scale_map(self.scale_code).size - 1, low=0)
        check_float32("absmax", self.absmax, -(-self.codes.size // SCALE_BLOCK_SIZE))

    def dequantize(self) -> np.ndarray:
        """map[code] * absmax + offset.    (blocks,) float32"""
        decoded = scale_map(self.scale_code)[self.codes]
        decoded *= np.repeat(self.absmax, SCALE_BLOCK_SIZE)[: self.codes.size]
        decoded += self.offset
        return decoded

    @property
    def nbytes(self) -> int:
        """Bytes stored: the codes, an absmax for each 256 of them, and the offset."""
        return self.codes.nbytes + self.absmax.nbytes + self.offset.nbytes


def quantize_scales(
    scales: np.ndarray, *, scale_code: str = "dynamic", offset: float | None = None, lookup: str = "nearest"
) -> QuantizedScales:
    """Subtract the mean, then absmax-quantize in blocks of 256 to eight bits.    scales: (blocks,) float32

    `scale_code`: "dynamic" (bitsandbytes), "int8" (linear) or "e4m3". `offset`: the float32 mean unless given (torch's
    mean depends on its thread count in the last bit). `lookup`: "nearest", or "table": bitsandbytes' CPU shortcut
    through 65,536 bins, which misses the nearest code now and then. Raises ValueError or TypeError for scales that are
    not a finite float32 row and for unknown choices.
    """
    check_float32("scales", scales)
    scale_code = checks.one_of("scale_code", scale_code, SCALE_MAPS)
    checks.one_of("lookup", lookup, ("nearest", "table"))
    offset = _mean(scales) if offset is None else _float32("offset", offset)
    with np.errstate(over="ignore"):
        centered = scales - offset
    checks.finite("scales - offset", centered)
    blocks = -(-centered.size // SCALE_BLOCK_SIZE)
    padded = np.zeros(blocks * SCALE_BLOCK_SIZE, np.float32)
    padded[: centered.size] = centered
    absmax = np.abs(padded.reshape(blocks, -1)).max(axis=1)
    reciprocal = np.float32(1.0) / np.maximum(absmax, TINY)
    normalized = (padded.reshape(blocks, -1) * reciprocal[:, None]).reshape(-1)[: centered.size]
    levels = scale_map(scale_code)
    middles = (levels[:-1] + levels[1:]) * np.float32(0.5)
    if lookup == "nearest":
        codes = np.searchsorted(middles, normalized, side="left")
    else:
        bins = np.searchsorted(middles, (-1.0 + 2.0 * np.arange(65536) / 65535).astype(np.float32), side="left")
        place = ((normalized + np.float32(1.0)) * np.float32(0.5)) * np.float32(65535.0) + np.float32(0.5)
        codes = bins[np.clip(place.astype(np.int64), 0, 65535)]
    return QuantizedScales(codes.astype(np.uint8), absmax, offset, scale_code)


def check_float32(name: str, value: np.ndarray, size: int | None = None) -> None:
    """`value` must be a finite row of float32, of `size` entries where given."""
    checks.float_array(name, value, ndim=(1,))
    if value.dtype != np.float32:
        raise TypeError(f"{name} must be float32, got {checks.shown(value)}; try {name}.astype(np.float32)")
    if size is not None and value.size != size:
        raise ValueError(f"{name} must have {size} entries, one per block, got {checks.shown(value)}")
    checks.finite(name, value)


def _float32(name, value):
    limit = float(np.finfo(np.float32).max)
    return np.float32(checks.real(name, value, low=-limit, high=limit))


def _mean(scales):
    """Their mean in float32, as bitsandbytes takes it; in float64 where a float32 sum would overflow."""
    with np.errstate(over="ignore"):
        mean = scales.mean()
    return mean if np.isfinite(mean) else np.float32(scales.mean(dtype=np.float64))


def dynamic_map() -> np.ndarray:
    """bitsandbytes' 8-bit dynamic map (Dettmers 2016, arXiv 1511.04561): decades, each split finer than the one below.

    For i = 0 .. 6, the midpoints of linspace(0.1, 1, 2^i + 1) times 10^(i - 6), with both signs: 254 values; then 0 and
    +1. There is no -1.    (256,) float32, sorted
    """
    positive = []
    for i in range(7):
        edges = linspace32(0.1, 1.0, 2**i + 1)
        positive.append((edges[:-1] + edges[1:]) / 2 * np.float32(10.0 ** (i - 6)))
    positive = np.concatenate(positive)
    return np.sort(np.concatenate([-positive, [0.0], positive, [1.0]])).astype(np.float32)


def linear_int8_map() -> np.ndarray:
    """-127 .. 127 over 127, evenly spaced: the plain symmetric int8.    (255,) float32"""
    return (np.arange(-127, 128) / 127).astype(np.float32)


def e4m3_map() -> np.ndarray:
    """FP8 E4M3 over its largest value 448: sign, four exponent bits (bias 7), three mantissa bits.    (253,) float32

    Subnormal: m/8 * 2^-6; normal: 2^(e-7) (1 + m/8); e = 15, m = 7 is NaN, and zero is there twice.
    (Micikevicius et al. 2022, arXiv 2209.05433, table 1)
    """
    magnitudes = [
        m / 8 * 2.0**-6 if e == 0 else 2.0 ** (e - 7) * (1 + m / 8)
        for e in range(16)
        for m in range(8)
        if not (e == 15 and m == 7)
    ]
    return (np.unique([*magnitudes, *(-x for x in magnitudes)]) / 448).astype(np.float32)


SCALE_MAPS = {"dynamic": dynamic_map, "int8": linear_int8_map, "e4m3": e4m3_map}


def scale_map(scale_code: str) -> np.ndarray:
    """The sorted float32 values that the eight bits of a scale stand for, read-only. ValueError for an unknown code."""
    return _build_map(checks.one_of("scale_code", scale_code, SCALE_MAPS))


@lru_cache(maxsize=8)
def _build_map(scale_code):
    levels = SCALE_MAPS[scale_code]()
    levels.setflags(write=False)
    return levels
