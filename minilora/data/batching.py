"""Batches as functions of the step: `token_ids, labels = batches(step)`.

No state, so a run that is resumed at step 500 sees what the first run would have seen there. Labels are shifted by one:
labels[t] is the token after token_ids[t]; -100 does not count.
"""

import numpy as np

from minilora import checks


class RandomCrops:
    """Crops of `length` tokens at random places of a long row of tokens.    token_ids, labels: (B, T) int64"""

    def __init__(self, tokens: np.ndarray, batch_size: int, length: int, *, seed: int):
        self.batch_size = checks.integer("batch_size", batch_size, low=1)
        self.length = checks.integer("length", length, low=1, high=len(tokens) - 1)
        self.tokens, self.seed = tokens, checks.integer("seed", seed, low=0)

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, step])
        starts = rng.integers(0, len(self.tokens) - self.length, self.batch_size)
        crops = self.tokens[starts[:, None] + np.arange(self.length + 1)].astype(np.int64)  # (B, T + 1)
        return crops[:, :-1], crops[:, 1:]


class EpochBatches:
    """Rows of (token_ids, labels), shuffled anew each epoch, each once an epoch; a last, smaller batch is dropped.

    token_ids, labels: (N, T). Columns that are padding in the whole batch are cut off.
    """

    def __init__(self, token_ids: np.ndarray, labels: np.ndarray, batch_size: int, *, seed: int):
        if token_ids.shape != labels.shape or token_ids.ndim != 2:
            raise ValueError(
                f"token_ids and labels must have one shape (N, T), got {token_ids.shape} and {labels.shape}"
            )
        self.batch_size = checks.integer("batch_size", batch_size, low=1, high=len(token_ids))
        self.token_ids, self.labels, self.seed = token_ids, labels, checks.integer("seed", seed, low=0)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.token_ids) // self.batch_size

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.token_ids))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        labels = self.labels[rows]
        width = int(np.flatnonzero((labels != -100).any(axis=0))[-1]) + 1
        return self.token_ids[rows, :width], labels[:, :width]
