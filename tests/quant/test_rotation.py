import numpy as np
import pytest

from minilora.quant.rotation import random_hadamard


@pytest.mark.parametrize(("n", "b"), [(64, 64), (352, 32), (6, 2)])
def test_orthogonal_with_entries_of_one_size(rng, n, b):
    q = random_hadamard(n, rng=rng)
    np.testing.assert_allclose(q @ q.T, np.eye(n), atol=1e-12)
    np.testing.assert_allclose(np.abs(q[q != 0]), 1 / np.sqrt(b))
    assert (q != 0).sum() == n * b


def test_an_odd_size_is_refused(rng):
    with pytest.raises(ValueError, match="n must be even, got 7"):
        random_hadamard(7, rng=rng)
