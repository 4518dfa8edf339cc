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


def test_the_report_names_every_input_and_trainable_parameter(rng):
    layer = Linear(4, 3, rng=rng, dtype=np.float64)
    report = gradcheck(layer, rng.standard_normal((2, 4)), rng=rng)
    assert set(report.errors) == {"input 0", "weight"}
    assert report.worst == max(report.errors.values())
    layer.weight.trainable = False
    assert set(gradcheck(layer, rng.standard_normal((2, 4)), rng=rng).errors) == {"input 0"}


def test_a_frozen_parameter_that_receives_a_gradient_is_named(rng):
    layer = Linear(4, 3, rng=rng, dtype=np.float64)

    def careless(x):
        y, backward = layer(x)
        layer.weight.grad = np.ones((3, 4))
        return y, backward

    layer.weight.trainable = False
    with pytest.raises(GradcheckError, match="weight: frozen, yet it received a gradient"):
        gradcheck(careless, rng.standard_normal((2, 4)), rng=rng, module=layer)
    assert layer.weight.grad is None  # a failed check leaves none behind


def test_integers_are_not_shifted_and_inputs_keep_their_order(rng):
    def op(a, ids, b):
        return a[ids] * b, lambda dy: (np.bincount(ids, dy * b, minlength=a.size), dy * a[ids])

    a, b = rng.standard_normal(4), rng.standard_normal(6)
    report = gradcheck(op, a, np.array([0, 1, 1, 3, 0, 2]), b, rng=rng)
    assert set(report.errors) == {"input 0", "input 2"}

    def swapped(a, b):
        return a * b, lambda dy: (dy * a, dy * b)

    with pytest.raises(GradcheckError, match="input 0 of shape"):
        gradcheck(swapped, rng.standard_normal(5), rng.standard_normal(5), rng=rng)


REFUSED = [
    (lambda x, rng: gradcheck(3, x, rng=rng), TypeError, "function must be callable"),
    (lambda x, rng: gradcheck(lambda x: x, x, rng=rng), TypeError, r"function must return \(y, backward\)"),
    (lambda x, rng: gradcheck(lambda x: (x, x), x, rng=rng), TypeError, r"function must return \(y, backward\)"),
    (lambda x, rng: gradcheck(softmax(1.0), [1.0], rng=rng), TypeError, "input 0 must be a numpy array"),
    (lambda x, rng: gradcheck(softmax(1.0), x, rng=rng, module=3), TypeError, "module must be a Module"),
    (lambda x, rng: gradcheck(softmax(1.0), x, rng=rng, tolerance=0), ValueError, "tolerance must be greater than 0"),
    (lambda x, rng: gradcheck(softmax(1.0), x, rng=rng, directions=1.5), TypeError, "directions must be an int"),
    (
        lambda x, rng: gradcheck(lambda: (1.0, lambda dy: None), rng=rng),
        ValueError,
        "inputs must include.*nothing to check",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(rng, call, error, message):
    with pytest.raises(error, match=f"^({message})"):
        call(rng.standard_normal((3, 4)), rng)
