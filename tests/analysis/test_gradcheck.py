"""The checker is checked: each wrong backward must be rejected."""

import numpy as np
import pytest

from minilora import gradcheck
from minilora.analysis.gradcheck import GradcheckError
from minilora.nn import Linear


def softmax(factor):
    def op(x):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        y = e / e.sum(axis=-1, keepdims=True)

        def backward(dy):
            return factor * y * (dy - np.sum(dy * y, axis=-1, keepdims=True))

        return y, backward

    return op


def square_that(wrong):
    def op(x):
        return x * x, lambda dy: wrong(dy, x)

    return op


def test_a_right_backward_passes(rng):
    assert gradcheck(softmax(1.0), rng.standard_normal((3, 5)), rng=rng).worst < 1e-8


def test_a_factor_that_ones_would_hide_is_found(rng):
    x = rng.standard_normal((3, 5))
    _, backward = softmax(3.0)(x)
    assert np.abs(backward(np.ones((3, 5)))).max() < 1e-12  # along ones the wrong gradient looks right
    with pytest.raises(GradcheckError, match=r"backward says .*, central differences say .*; relative error"):
        gradcheck(softmax(3.0), x, rng=rng)


WRONG = {
    "sign": lambda dy, x: -2 * x * dy,
    "missing term": lambda dy, x: x * dy,
    "forgets dy": lambda dy, x: 2 * x,
    "slightly off": lambda dy, x: 2.00001 * x * dy,
    "shape": lambda dy, x: (2 * x * dy)[:1],
    "no gradient": lambda dy, x: None,
    "nan": lambda dy, x: x * np.nan,
    "zero": lambda dy, x: 0 * x,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_wrong_backwards_are_rejected(rng, wrong):
    with pytest.raises(GradcheckError):
        gradcheck(square_that(wrong), rng.standard_normal((3, 4)), rng=rng)


def test_writing_into_dy_is_refused(rng):
    def wrong(dy, x):
        dy *= 2 * x
        return dy

    with pytest.raises(ValueError, match="read-only"):
        gradcheck(square_that(wrong), rng.standard_normal((3, 4)), rng=rng)


def test_a_wrong_parameter_gradient_is_named(rng):
    class Wrong(Linear):
        def __call__(self, x, rng=None):
            y, _ = super().__call__(x)

            def backward(dy):
                self.weight.accumulate(2 * dy.T @ x)
                return dy @ self.weight.value

            return y, backward

    with pytest.raises(GradcheckError, match="weight of shape"):
        gradcheck(Wrong(4, 3, rng=rng, dtype=np.float64), rng.standard_normal((2, 4)), rng=rng)


def test_parameters_are_left_as_they_were(rng):
    layer = Linear(4, 3, rng=rng, dtype=np.float64)
    before = layer.weight.value.copy()
    gradcheck(layer, rng.standard_normal((2, 4)), rng=rng)
    np.testing.assert_array_equal(before, layer.weight.value)
    assert layer.weight.grad is None
