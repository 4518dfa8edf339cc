"""What attention finds before its own tokens: the keys and values of the tokens so far."""

import numpy as np

from minilora import checks


class KVCache:
    """The keys and values of one layer so far, in arrays allocated once.    (B, K, capacity, d)"""

    def __init__(self, capacity: int):
        self.capacity = checks.integer("capacity", capacity, low=1)
        self.length = 0
        self._k = self._v = None

    @property
    def batch(self) -> int | None:
        """How many rows it holds; None while it is empty."""
        return None if self._k is None else len(self._k)

    def append(self, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Store k, v (B, K, T, d) behind what is there; give back views of all of it (B, K, S, d)."""
        B, K, T, d = k.shape
        end = self.length + T
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} positions, got {end}; make it with a larger capacity")
        if self._k is None:
            self._k = np.empty((B, K, self.capacity, d), k.dtype)
            self._v = np.empty_like(self._k)
        self._k[:, :, self.length : end] = k
        self._v[:, :, self.length : end] = v
        self.length = end
        return self._k[:, :, :end], self._v[:, :, :end]
