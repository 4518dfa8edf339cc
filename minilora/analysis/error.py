"""How far a quantized array is from the original: one definition for figures, lessons and tests."""

import numpy as np


def rms_error(approximation: np.ndarray, w: np.ndarray) -> float:
    """RMS of (approximation - w) over the RMS of w, computed in float64.    both: any one shape"""
    difference = np.subtract(approximation, w, dtype=np.float64)
    return float(np.sqrt(np.mean(difference**2) / np.mean(np.square(w, dtype=np.float64))))


def mean_absolute_error(approximation: np.ndarray, w: np.ndarray) -> float:
    """Mean of |approximation - w| over the RMS of w, computed in float64.    both: any one shape"""
    difference = np.abs(np.subtract(approximation, w, dtype=np.float64))
    return float(np.mean(difference) / np.sqrt(np.mean(np.square(w, dtype=np.float64))))
