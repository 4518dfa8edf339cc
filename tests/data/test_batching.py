import numpy as np
import pytest

from minilora.data import EpochBatches, RandomCrops


def test_crops_depend_on_the_step_alone():
    tokens = np.arange(500) % 256
    batches = RandomCrops(tokens, 4, 16, seed=1)
    ids, labels = batches(7)
    np.testing.assert_array_equal(ids, RandomCrops(tokens, 4, 16, seed=1)(7)[0])
    np.testing.assert_array_equal(ids[:, 1:], labels[:, :-1])
    assert not np.array_equal(ids, batches(8)[0])


def test_an_epoch_shows_each_row_once():
    ids = np.arange(30).reshape(10, 3)
    batches = EpochBatches(ids, ids, 5, seed=0)
    seen = np.concatenate([batches(step)[0][:, 0] for step in (4, 5)])
    assert sorted(seen) == list(range(0, 30, 3))
    np.testing.assert_array_equal(batches(4)[0], EpochBatches(ids, ids, 5, seed=0)(4)[0])


def test_small_batches_side_by_side_are_the_large_one():
    ids = np.arange(36).reshape(12, 3)
    small, large = EpochBatches(ids, ids, 2, seed=3), EpochBatches(ids, ids, 6, seed=3)
    for step in range(5):
        rows = np.concatenate([small(3 * step + i)[0] for i in range(3)])
        np.testing.assert_array_equal(rows, large(step)[0])


def test_a_row_that_counts_nothing_is_refused():
    ids = np.ones((3, 2), int)
    labels = np.array([[1, 2], [-100, -100], [-100, 1]])
    with pytest.raises(ValueError, match="got only -100 in 1 of 3 rows, first in row 1"):
        EpochBatches(ids, labels, 1, seed=0)


def test_masked_and_other_arrays_are_refused():
    ids = np.ones((3, 2), int)
    for bad in (np.ma.masked_array(ids, mask=ids > 0), ids.astype(float), ids.tolist()):
        with pytest.raises(TypeError, match="must be a plain numpy array of integers"):
            EpochBatches(ids, bad, 1, seed=0)
        with pytest.raises(TypeError, match="must be a plain numpy array of integers"):
            RandomCrops(bad, 1, 1, seed=0)


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 3}, {"token_ids": 1}, {"labels": 1}])
def test_a_fingerprint_names_rows_size_and_seed(change):
    arrays = {"token_ids": np.arange(12).reshape(6, 2), "labels": np.arange(12).reshape(6, 2)}
    settings = {"batch_size": 2, "seed": 0} | arrays
    changed = dict(settings)
    for name, value in change.items():
        changed[name] = arrays[name][::-1].copy() if name in arrays else value
    assert EpochBatches(**settings).fingerprint() == EpochBatches(**settings).fingerprint()
    assert EpochBatches(**changed).fingerprint() != EpochBatches(**settings).fingerprint()
