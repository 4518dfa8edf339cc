"""How far a quantized array is from the original: one definition for figures, lessons and tests."""

import numpy as np

from minilora import checks


def rms_error(approximation: np.ndarray, w: np.ndarray) -> float:
    """RMS of (approximation - w) over the RMS of w, computed in float64.    both: float arrays of one shape

    ValueError or TypeError for arrays that are not finite floats of one shape, or where w is all zero.
    """
    return float(np.sqrt(np.mean(_difference(approximation, w) ** 2))) / _rms(w)


def mean_absolute_error(approximation: np.ndarray, w: np.ndarray) -> float:
    """Mean of |approximation - w| over the RMS of w, computed in float64.    both: float arrays of one shape

    ValueError or TypeError for arrays that are not finite floats of one shape, or where w is all zero.
    """
    return float(np.mean(np.abs(_difference(approximation, w)))) / _rms(w)


def _difference(approximation, w):
    for name, array in (("approximation", approximation), ("w", w)):
        checks.finite(name, checks.float_array(name, array))
    if approximation.shape != w.shape:
        raise ValueError(f"approximation must have w's shape {w.shape}, got {checks.shown(approximation)}")
    return np.subtract(approximation, w, dtype=np.float64)


def _rms(w):
    rms = float(np.sqrt(np.mean(np.square(w, dtype=np.float64))))
    if rms == 0:
        raise ValueError("w must not be all zero, for errors are relative to its RMS; compare with an absolute error")
    return rms
