"""What a code does to an array: its error by block size, and what an outlier does to its neighbors."""

import numpy as np

from minilora import checks
from minilora.analysis.error import mean_absolute_error, rms_error
from minilora.quant import quantize


def code_errors(w: np.ndarray, code: str, block_size: int) -> dict[str, float]:
    """{"rms", "mae"} of `w` quantized with a code, both over the RMS of `w` (see `rms_error`, `mean_absolute_error`)."""
    again = quantize(w, code, block_size=block_size).dequantize()
    return {"rms": rms_error(again, w), "mae": mean_absolute_error(again, w)}


def plant_outlier(w: np.ndarray, size: float) -> np.ndarray:
    """A copy of `w` whose first value is `size`."""
    planted = checks.float_array("w", w).copy()
    planted.flat[0] = size
    return planted


def outlier_errors(w: np.ndarray, code: str, block_size: int, neighbors: int) -> dict[str, dict[str, float]]:
    """{"rms" | "mae": {"inside", "outside"}}: errors of the weights around an outlier w[0], over the RMS of all but it.

    w: (n,)    inside: w[1:neighbors], the outlier's own block; outside: w[neighbors:], in which there must be one.
    """
    neighbors = checks.integer("neighbors", neighbors, low=2, high=len(w) - 1)
    difference = (quantize(w, code, block_size=block_size).dequantize() - w).astype(np.float64)
    rms = np.sqrt(np.mean(w[1:].astype(np.float64) ** 2))
    places = {"inside": difference[1:neighbors], "outside": difference[neighbors:]}
    return {
        "rms": {place: float(np.sqrt(np.mean(values**2)) / rms) for place, values in places.items()},
        "mae": {place: float(np.mean(np.abs(values)) / rms) for place, values in places.items()},
    }
