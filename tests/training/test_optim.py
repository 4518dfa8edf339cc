import numpy as np
import pytest

from minilora import AdamW
from minilora.nn import Parameter
from minilora.training import clip_grad_norm


def test_first_adamw_step_is_the_sign_and_decay_is_decoupled():
    p = Parameter(np.array([2.0, -2.0, 2.0]))
    p.grad = np.array([0.5, -3.0, 0.0])
    AdamW([p], lr=0.1, weight_decay=0.2).step()
    np.testing.assert_allclose(
        p.value, np.array([2.0, -2.0, 2.0]) * (1 - 0.1 * 0.2) - 0.1 * np.array([1, -1, 0]), rtol=1e-7
    )


def test_adamw_finds_a_minimum():
    p = Parameter(np.array([5.0, -4.0]))
    optimizer = AdamW([p], lr=0.1, weight_decay=0.0)
    for _ in range(500):
        p.grad = 2 * (p.value - np.array([1.0, 2.0]))
        optimizer.step()
    np.testing.assert_allclose(p.value, [1, 2], atol=1e-3)


def test_groups_have_rates_of_their_own():
    a, b = Parameter(np.ones(2)), Parameter(np.ones(2))
    a.grad = b.grad = np.ones(2)
    AdamW([{"params": [a]}, {"params": [b], "lr": 0.16}], lr=0.01, weight_decay=0.0).step()
    np.testing.assert_allclose((1 - b.value) / (1 - a.value), 16)


def test_clipping_scales_all_together():
    a, b = Parameter(np.zeros(2)), Parameter(np.zeros(2))
    a.grad, b.grad = np.array([3.0, 0.0]), np.array([0.0, 4.0])
    assert clip_grad_norm([a, b], 1.0) == 5.0
    np.testing.assert_allclose([a.grad[0], b.grad[1]], [0.6, 0.8])
    assert clip_grad_norm([a, b], 10.0) == pytest.approx(1.0)
    np.testing.assert_allclose(a.grad[0], 0.6)
