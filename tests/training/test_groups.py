import numpy as np
import pytest

from minilora import AdamW
from minilora.nn import Parameter
from minilora.training.groups import add_l2_gradient, decay_groups


def test_matrices_decay_and_gains_do_not():
    matrix, gain = Parameter(np.ones((2, 2))), Parameter(np.ones(2))
    groups = decay_groups([gain, matrix], 0.1)
    assert groups == [{"params": [matrix], "weight_decay": 0.1}, {"params": [gain], "weight_decay": 0.0}]
    assert decay_groups([gain], 0.1) == [{"params": [gain], "weight_decay": 0.0}]


def test_l2_is_the_gradient_of_half_the_squared_norm():
    matrix, gain, idle = Parameter(np.full((2, 2), 3.0)), Parameter(np.ones(2)), Parameter(np.ones((1, 1)))
    matrix.grad, gain.grad = np.full((2, 2), 0.5), np.zeros(2)
    add_l2_gradient([matrix, gain, idle], 0.1)
    np.testing.assert_allclose(matrix.grad, 0.5 + 0.1 * 3.0)
    np.testing.assert_array_equal(gain.grad, 0)
    assert idle.grad is None


def test_adam_all_but_undoes_l2_where_gradients_are_large():
    """What decoupling is for: with L2 the decay is divided by the gradient's size, decoupled it is not."""
    moved = {}
    for kind in ("decoupled", "l2"):
        p = Parameter(np.full((1, 1), 10.0))
        optimizer = AdamW(decay_groups([p], 0.1 if kind == "decoupled" else 0.0), lr=0.01, weight_decay=0.0)
        for step in range(100):
            p.grad = np.full((1, 1), 100.0 * (-1) ** step)  # large, and zero on average
            if kind == "l2":
                add_l2_gradient([p], 0.1)
            optimizer.step()
        moved[kind] = 10.0 - p.value[0, 0]
    assert 0.9 < moved["decoupled"] < 1.1  # 10 (1 - (1 - .01 * .1)^100) = .95
    assert moved["l2"] < 0.2


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="weight_decay must be at least 0, got -1"):
        decay_groups([], -1)
