"""Argument checks with one voice: name the argument, show the value seen, say what would do.

The foundation stone under every folder: it imports numpy alone, and everything else may import it.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np


def shown(value: Any) -> str:
    """A short description of a value for an error message: arrays by shape and dtype, the rest by repr and type."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"


def integer(name: str, value: Any, *, low: int | None = None, high: int | None = None, hint: str = "") -> int:
    """`value` as an int within [low, high]. TypeError if it is no integer (a bool is not), ValueError out of range."""
    tail = f"; {hint}" if hint else ""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {shown(value)}{tail}")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{name} must be {_range(low, high)}, got {value}{tail}")
    return int(value)


def real(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    hint: str = "",
) -> float:
    """`value` as a finite float with low <= value <= high and above < value < below, where given."""
    tail = f"; {hint}" if hint else ""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {shown(value)}{tail}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}{tail}")
    for holds, words in (
        (low is None or value >= low, f"at least {low}"),
        (high is None or value <= high, f"at most {high}"),
        (above is None or value > above, f"greater than {above}"),
        (below is None or value < below, f"less than {below}"),
    ):
        if not holds:
            raise ValueError(f"{name} must be {words}, got {value}{tail}")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """`value` as a bool; TypeError for anything else (1 and "yes" are refused)."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def one_of(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """`value` if it is one of `choices`, else ValueError that lists them."""
    choices = list(choices)
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {shown(value)}")
    return value


def generator(name: str, value: Any) -> np.random.Generator:
    """`value` if it is a numpy Generator; else TypeError that says how to make one."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"{name} must be a numpy Generator such as np.random.default_rng(0), got {shown(value)}")
    return value


def float_array(name: str, value: Any, *, ndim: tuple[int, ...] | None = None) -> np.ndarray:
    """`value` as a non-empty float32 or float64 array, uncopied; `ndim` lists the numbers of axes that will do."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a numpy array of float32 or float64, got {shown(value)}")
    if value.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64, got {shown(value)}; try {name}.astype(np.float32)")
    if ndim is not None and value.ndim not in ndim:
        raise ValueError(f"{name} must have {' or '.join(map(str, ndim))} axes, got {shown(value)}")
    if value.size == 0:
        raise ValueError(f"{name} must not be empty, got {shown(value)}")
    return value


def finite(name: str, value: np.ndarray) -> np.ndarray:
    """`value` if it holds neither NaN nor infinity; else ValueError with the first bad index."""
    # A sum is finite only if all are (or it overflowed, and then the slow look decides): no temporary array.
    with np.errstate(all="ignore"):
        if np.isfinite(np.sum(value)):
            return value
    for start in range(0, value.size, 65536):
        bad = np.flatnonzero(~np.isfinite(value.reshape(-1)[start : start + 65536]))
        if bad.size:
            index = tuple(int(i) for i in np.unravel_index(start + int(bad[0]), value.shape))
            raise ValueError(
                f"{name} must be finite, got {value[index]} at index {index} of {shown(value)}; "
                "look for a division by zero or an overflow where it was made"
            )
    return value


def _range(low: int | None, high: int | None) -> str:
    if high is None:
        return f"at least {low}"
    if low is None:
        return f"at most {high}"
    return f"between {low} and {high}"
