"""What attention finds before its own tokens: keys and values of the tokens so far, or learned ones."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from minilora import checks
from minilora.nn.config import LARGEST
from minilora.nn.module import Parameter

KeysValues = tuple[np.ndarray, np.ndarray]


class Past(Protocol):
    """What came before, for one layer. `length`: how many positions it takes; the new tokens stand behind them."""

    length: int

    def extend(self, k: np.ndarray, v: np.ndarray) -> tuple[KeysValues, Callable]:
        """Put new keys and values (B, K, T, d) behind what came before: (k, v) of all of it (B, K, S, d), and
        backward(dk, dv of all) -> (dk, dv of the new)."""


class KVCache:
    """The keys and values of one layer so far, in arrays allocated once.    (B, K, capacity, d)

    It has no backward: what it holds came from other forwards, whose activations are gone. Raises ValueError or
    TypeError for a capacity below 1.
    """

    def __init__(self, capacity: int):
        self.capacity = checks.integer("capacity", capacity, low=1, high=LARGEST)
        self.length = 0
        self._k = self._v = None

    @property
    def batch(self) -> int | None:
        """How many rows it holds; None while it is empty."""
        return None if self._k is None else len(self._k)

    def reserve(self, positions: int) -> None:
        """Make room for so many more positions. ValueError unless it is still empty."""
        if self._k is not None:
            raise ValueError(
                f"an empty cache can reserve room, got one with {self.length} positions; start with a new one"
            )
        self.capacity += checks.integer("positions", positions, low=0)

    def extend(self, k: np.ndarray, v: np.ndarray) -> tuple[KeysValues, Callable]:
        """Store k, v (B, K, T, d) behind what is there; give back views of all of it (B, K, S, d), and a backward that
        raises ValueError."""
        for name, part in (("k", k), ("v", v)):
            if type(part) is not np.ndarray or part.ndim != 4 or part.dtype.kind != "f":  # T may be 0
                raise TypeError(f"{name} must be a float array (B, K, T, d), got {checks.shown(part)}")
        B, K, T, d = k.shape
        if v.shape != k.shape or v.dtype != k.dtype:
            raise ValueError(f"v must be like k, {checks.shown(k)}, got {checks.shown(v)}")
        if self._k is not None and ((B, K, d), k.dtype) != (self._k.shape[:2] + self._k.shape[3:], self._k.dtype):
            raise ValueError(f"k must fit what is stored, {checks.shown(self._k)}, got {checks.shown(k)}")
        end = self.length + T
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} positions, got {end}; make it with a larger capacity")
        if self._k is None:
            self._k = np.empty((B, K, self.capacity, d), k.dtype)
            self._v = np.empty_like(self._k)
        self._k[:, :, self.length : end] = k
        self._v[:, :, self.length : end] = v
        self.length = end
        return (self._k[:, :, :end], self._v[:, :, :end]), _no_backward

    def put(self, k: np.ndarray, v: np.ndarray) -> KeysValues:
        """`extend` by one position, without checks: for a caller that has made them.    k, v: (B, K, d)"""
        end = self.length + 1
        self._k[:, :, self.length] = k
        self._v[:, :, self.length] = v
        self.length = end
        return self._k[:, :, :end], self._v[:, :, :end]


class Prefix:
    """Learned keys and values that stand before every row of the batch.    keys, values: (K, P, d)

    They are taken as they are: not rotated, for what is learned can have any angle. (Li & Liang 2021, arXiv 2101.00190)
    """

    def __init__(self, keys: Parameter, values: Parameter):
        self.keys, self.values = keys, values
        self.length = keys.shape[1]

    def extend(self, k: np.ndarray, v: np.ndarray) -> tuple[KeysValues, Callable]:
        """[keys; k] and [values; v], each (B, K, P + T, d). The backward gives keys and values their gradient."""
        P = self.length

        def backward(dk_all, dv_all):
            # k_all = [keys; k], the same keys in every row   =>  dkeys is the sum over rows, dk the rest
            self.keys.accumulate(dk_all[:, :, :P].sum(axis=0))
            self.values.accumulate(dv_all[:, :, :P].sum(axis=0))
            return dk_all[:, :, P:], dv_all[:, :, P:]

        return (_behind(self.keys.value, k), _behind(self.values.value, v)), backward


def _behind(first, new):
    """(K, P, d) before each row of (B, K, T, d)."""
    return np.concatenate([np.broadcast_to(first, (len(new), *first.shape)), new], axis=2)


def _no_backward(*_):
    raise ValueError("a forward with a cache has no backward; call the model without cache to train it")
