"""Batches as functions of the step: `token_ids, labels = batches(step)`.

No state, so a run that is resumed at step 500 sees what the first run would have seen there. Labels are shifted by one:
labels[t] is the token after token_ids[t]; -100 does not count. `fingerprint()` names the data and their order, so that a
checkpoint can be bound to both.
"""

import hashlib

import numpy as np

from minilora import checks
from minilora.data.records import IGNORED


class RandomCrops:
    """Crops of `length` tokens at random places of a long row of tokens.    token_ids, labels: (B, T) int64

    Raises ValueError or TypeError for sizes out of range, or tokens that are not a row longer than `length`.
    """

    def __init__(self, tokens: np.ndarray, batch_size: int, length: int, *, seed: int):
        _integers("tokens", tokens, 1)
        self.batch_size = checks.integer("batch_size", batch_size, low=1)
        self.length = checks.integer("length", length, low=1, high=len(tokens) - 1)
        self.tokens, self.seed = tokens, checks.integer("seed", seed, low=0)

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, checks.integer("step", step, low=0)])
        starts = rng.integers(0, len(self.tokens) - self.length, self.batch_size)
        crops = self.tokens[starts[:, None] + np.arange(self.length + 1)].astype(np.int64)  # (B, T + 1)
        return crops[:, :-1], crops[:, 1:]

    def fingerprint(self) -> dict[str, str | int]:
        """What decides the batches: the tokens' SHA-256, batch size, length and seed."""
        return {
            "tokens": sha256(self.tokens),
            "batch_size": self.batch_size,
            "length": self.length,
            "seed": self.seed,
        }


class EpochBatches:
    """Rows of (token_ids, labels), shuffled again in each epoch, each once per epoch; a last, smaller batch is dropped.

    token_ids, labels: (N, T). Columns that are padding in the whole batch are cut off. ValueError for a row without a
    label that counts: nothing can be learned from it.
    """

    def __init__(self, token_ids: np.ndarray, labels: np.ndarray, batch_size: int, *, seed: int):
        _integers("token_ids", token_ids, 2)
        _integers("labels", labels, 2)
        if token_ids.shape != labels.shape:
            raise ValueError(
                f"token_ids and labels must have one shape (N, T), got {token_ids.shape} and {labels.shape}"
            )
        empty = np.flatnonzero(~(labels != IGNORED).any(axis=1))
        if empty.size:
            raise ValueError(
                f"labels must count at least one token in each row, got only {IGNORED} in {empty.size} of {len(labels)} "
                f"rows, first in row {empty[0]}; leave these rows out"
            )
        self.batch_size = checks.integer("batch_size", batch_size, low=1, high=len(token_ids))
        self.token_ids, self.labels, self.seed = token_ids, labels, checks.integer("seed", seed, low=0)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.token_ids) // self.batch_size

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(checks.integer("step", step, low=0), self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.token_ids))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        labels = self.labels[rows]
        width = int(np.flatnonzero((labels != IGNORED).any(axis=0))[-1]) + 1
        return self.token_ids[rows, :width], labels[:, :width]

    def fingerprint(self) -> dict[str, str | int]:
        """What decides the batches: the rows' SHA-256 in their order, batch size and seed."""
        return {"rows": sha256(self.token_ids, self.labels), "batch_size": self.batch_size, "seed": self.seed}


def _integers(name, value, ndim):
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray) or value.dtype.kind not in "iu":
        raise TypeError(f"{name} must be a plain numpy array of integers, got {checks.shown(value)}")
    if value.ndim != ndim or value.size == 0:
        raise ValueError(
            f"{name} must have {ndim} {'axis' if ndim == 1 else 'axes'} and not be empty, got {checks.shown(value)}"
        )


def sha256(*arrays: np.ndarray) -> str:
    """The SHA-256 of integer arrays, their shapes and order included, as hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, np.int64).tobytes())
    return digest.hexdigest()
