import numpy as np
import pytest

from minilora.adapters import inits
from minilora.quant import quantize


def rounded(w):
    return quantize(w).dequantize()


def distance(a, b):
    return np.linalg.norm(a - b)


def test_drawn_starts(rng):
    a = inits.uniform(40, 100, rng)
    assert np.abs(a).max() < 0.1 and abs(a.std() - 0.1 / np.sqrt(3)) < 0.002
    assert abs(inits.gaussian(40, 100, rng).std() - 1 / 40) < 0.001


@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
def test_pissa_is_the_best_approximation(rng, shape):
    weight = rng.standard_normal(shape)
    A, B = inits.pissa(weight, 5, scaling=0.5)
    singular = np.linalg.svd(weight, compute_uv=False)
    assert (A.shape, B.shape) == ((5, shape[1]), (shape[0], 5))
    assert distance(weight, 0.5 * B @ A) == pytest.approx(np.sqrt(np.sum(singular[5:] ** 2)))
    np.testing.assert_allclose(np.linalg.norm(A, axis=1), np.linalg.norm(B, axis=0))  # each takes half
    A, B = inits.pissa(weight, 12, scaling=2.0)
    np.testing.assert_allclose(2.0 * B @ A, weight, atol=1e-12)


@pytest.mark.parametrize("scaling", [1.0, 2.0])
def test_loftq_comes_nearer_than_quantizing(rng, scaling):
    weight = rng.standard_normal((64, 96))
    plain = distance(weight, rounded(weight))
    errors = []
    for iterations in (1, 5):
        (A, B), (start_A, start_B) = inits.loftq(weight, 8, scaling, rounded, iterations)
        errors.append(distance(weight, rounded(weight - scaling * start_B @ start_A) + scaling * B @ A))
        if iterations == 1:
            assert not start_A.any() and not start_B.any()  # W itself is quantized first
            left = np.linalg.svd(weight - rounded(weight), compute_uv=False)
            assert errors[0] == pytest.approx(np.sqrt(np.sum(left[8:] ** 2)))  # the best of rank 8
    assert errors[1] < errors[0] < plain


def test_quantized_pissa_starts_principal_and_comes_nearer(rng):
    weight = (rng.standard_normal((64, 4)) * 4) @ rng.standard_normal((4, 96)) + rng.standard_normal((64, 96))
    A, B = inits.pissa_quantized(weight, 8, 2.0, rounded)
    np.testing.assert_array_equal(A, inits.pissa(weight, 8, 2.0)[0])

    def error(A, B):
        return distance(weight, rounded(weight - 2.0 * B @ A) + 2.0 * B @ A)

    again = inits.pissa_quantized(weight, 8, 2.0, rounded, iterations=3)
    assert error(*again) < error(A, B) < distance(weight, rounded(weight)) / 2
