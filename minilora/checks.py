"""Argument checks with one voice: "X must be ..., got ...; do ...": the argument, the value seen, and what to do.

The foundation under every folder: it imports numpy alone, and everything else may import it. Each check returns the
value as a plain Python number, str or array, and callers keep what is returned: a `np.int8` that passes is an `int`
from there on, so nothing overflows later and everything can be written as JSON.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
SHOWN = 80  # characters of a value that an error shows


def shown(value: Any) -> str:
    """A short description of a value for an error message: arrays by shape and dtype, the rest by repr and type."""
    if isinstance(value, np.ndarray):
        kind = "a masked array" if isinstance(value, np.ma.MaskedArray) else "an array"
        return f"{kind} of shape {value.shape} and dtype {value.dtype}"
    return f"{_text(value)} ({type(value).__name__})"


def integer(name: str, value: Any, *, low: int | None = None, high: int | None = None, hint: str = "") -> int:
    """`value` as an int within [low, high]. TypeError if it is not an integer (a bool is not), ValueError if out of range."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {shown(value)}{_tail(hint)}")
    number = int(value)
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(f"{name} must be {_range(low, high)}, got {_text(number)}{_tail(hint)}")
    return number


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
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {shown(value)}{_tail(hint)}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond 1.8e308
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {_text(value)}{_tail(hint)}")
    for holds, words in (
        (low is None or number >= low, f"at least {low}"),
        (high is None or number <= high, f"at most {high}"),
        (above is None or number > above, f"greater than {above}"),
        (below is None or number < below, f"less than {below}"),
    ):
        if not holds:
            raise ValueError(f"{name} must be {words}, got {number!r}{_tail(hint)}")
    return number


def boolean(name: str, value: Any) -> bool:
    """`value` as a bool; TypeError for anything else (1 and "yes" are refused)."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def string(name: str, value: Any, *, hint: str = "") -> str:
    """`value` as a plain str; TypeError for anything else, ValueError for lone surrogates, which UTF-8 cannot hold."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {shown(value)}{_tail(hint)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} must be text that UTF-8 can hold, got the lone surrogate {value[error.start]!r} at index {error.start}; "
            "decode the text with the right encoding first"
        ) from None
    return str(value)


def strings(name: str, value: Any, *, hint: str = "") -> tuple[str, ...]:
    """A list or tuple of str as a tuple. TypeError for one str, and for a set: its order differs from run to run."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{name} must be a list or tuple of str, got {shown(value)}{_tail(hint)}")
    return tuple(string(f"{name}[{i}]", item) for i, item in enumerate(value))


def sequence(name: str, value: Any, *, hint: str = "") -> list:
    """The items of a list, tuple or other sequence that is not empty. TypeError for a str, a set or a generator."""
    if isinstance(value, (str, bytes, bytearray, np.ndarray)) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list or tuple, got {shown(value)}{_tail(hint)}")
    if not len(value):
        raise ValueError(f"{name} must not be empty, got {shown(value)}{_tail(hint)}")
    return list(value)


def mapping(name: str, value: Any) -> dict[str, Any]:
    """`value` as a dict; TypeError unless a mapping with str keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a dict with str keys, got {shown(value)}")
    return dict(value)


def path(name: str, value: Any) -> str:
    """`value` as a str path; TypeError unless a str or os.PathLike of one, ValueError if empty or with a null in it."""
    text = value.__fspath__() if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str or a pathlib.Path, got {shown(value)}")
    if not text or "\0" in text:
        raise ValueError(f"{name} must name a file, got {_text(text)}")
    return string(name, text)


def one_of(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """The one of `choices` that `value` is, else ValueError that lists them. 1 is not True here."""
    choices = list(choices)
    plain = str(value) if isinstance(value, str) else bool(value) if isinstance(value, np.bool_) else value
    for choice in choices:
        if plain is choice or (type(plain) is type(choice) and plain == choice):
            return choice
    raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {shown(value)}")


def instance(name: str, value: Any, kind: type[T], *, hint: str = "") -> T:
    """`value` if it is a `kind`; else TypeError with a hint on how to make one."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {_article(kind.__name__)}, got {shown(value)}{_tail(hint)}")
    return value


def function(name: str, value: Any, *, hint: str = "") -> Callable:
    """`value` if it can be called; else TypeError."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {shown(value)}{_tail(hint)}")
    return value


def generator(name: str, value: Any) -> np.random.Generator:
    """`value` if it is a numpy Generator; else TypeError that says how to make one."""
    return instance(name, value, np.random.Generator, hint="pass np.random.default_rng(0), or another seed")


def optional_generator(name: str, value: Any) -> np.random.Generator | None:
    """`value` if it is None or a numpy Generator; else TypeError."""
    return None if value is None else generator(name, value)


def float_dtype(name: str, value: Any) -> np.dtype:
    """float32 or float64 as a numpy dtype. TypeError for anything else: None too, which numpy would read as float64."""
    try:  # numpy would also take None, and anything that has a dtype of its own, such as an array
        known = np.dtype(value) if isinstance(value, (str, type, np.dtype)) else None
    except (TypeError, ValueError):
        known = None
    if known not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64, got {shown(value)}; try {name}=np.float32")
    return known


def array(name: str, value: Any, *, ndim: tuple[int, ...] | None = None) -> np.ndarray:
    """`value` if it is a non-empty numpy array; `ndim` lists the numbers of axes that are allowed.

    Masked arrays are refused, for numpy's functions would silently compute with what is masked; np.matrix as well,
    where * means something else. A memory map is welcome.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {shown(value)}; try np.asarray({name})")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask, got {shown(value)}; fill it first: {name}.filled(0)")
    if isinstance(value, np.matrix):
        raise TypeError(f"{name} must be a plain array, got an np.matrix; try np.asarray({name})")
    if ndim is not None and value.ndim not in ndim:
        counts = " or ".join(map(str, ndim))
        raise ValueError(f"{name} must have {counts} {'axis' if counts == '1' else 'axes'}, got {shown(value)}")
    if value.size == 0:
        raise ValueError(f"{name} must not be empty, got {shown(value)}")
    return value


def float_array(name: str, value: Any, *, ndim: tuple[int, ...] | None = None) -> np.ndarray:
    """`value` as a non-empty float32 or float64 array, uncopied; `ndim` lists the numbers of axes that are allowed."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a numpy array of float32 or float64, got {shown(value)}")
    if value.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64, got {shown(value)}; try {name}.astype(np.float32)")
    return array(name, value, ndim=ndim)


def integer_array(
    name: str,
    value: Any,
    *,
    ndim: tuple[int, ...] | None = None,
    low: int | None = None,
    high: int | None = None,
    ignored: int | None = None,
) -> np.ndarray:
    """`value` as a non-empty array of integers within [low, high], uncopied; entries equal to `ignored` may be anything."""
    if not isinstance(value, np.ndarray) or not np.issubdtype(value.dtype, np.integer):
        raise TypeError(f"{name} must be a numpy array of integers, got {shown(value)}")
    array(name, value, ndim=ndim)
    counted = value if ignored is None else value[value != ignored]
    if counted.size and (low is not None or high is not None):
        least, most = int(counted.min()), int(counted.max())
        if (low is not None and least < low) or (high is not None and most > high):
            others = "" if ignored is None else f"be {ignored} or "
            raise ValueError(f"{name} must {others}lie in {low} .. {high}, got values from {least} to {most}")
    return value


def batch(value: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a function called `batches` returned: (token_ids, labels), two integer arrays of one shape (B, T)."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"batches must return (token_ids, labels), got {shown(value)}")
    token_ids, labels = (integer_array("what batches return", part, ndim=(2,)) for part in value)
    if token_ids.shape != labels.shape:
        raise ValueError(f"batches must return arrays of one shape, got {token_ids.shape} and {labels.shape}")
    return token_ids, labels


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


def _text(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # an int with more digits than Python prints, or a class whose repr fails
        text = f"a value of {value.bit_length()} bits" if isinstance(value, int) else "a value without a repr"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _tail(hint: str) -> str:
    return f"; {hint}" if hint else ""


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOU' else 'a'} {noun}"


def _range(low: int | None, high: int | None) -> str:
    if high is None:
        return f"at least {low}"
    if low is None:
        return f"at most {high}"
    return f"between {low} and {high}"
