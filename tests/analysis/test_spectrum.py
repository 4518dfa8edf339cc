"""Spectra with a known answer: planted subspaces, planted directions, planted intruders."""

import numpy as np
import pytest

from minilora.analysis.spectrum import amplification, intruder_dimensions, norm_matched, subspace_similarity, svd


def basis(rng, size, n):
    return np.linalg.qr(rng.standard_normal((size, n)))[0]


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_svd_gives_the_matrix_again(rng, shape, dtype):
    w = rng.standard_normal(shape).astype(dtype)
    u, s, v = svd(w)
    assert (u.shape, s.shape, v.shape) == ((shape[0], min(shape)), (min(shape),), (shape[1], min(shape)))
    assert u.dtype == s.dtype == v.dtype == np.float64
    assert (np.diff(s) <= 0).all()
    np.testing.assert_allclose(u * s @ v.T, w, atol=1e-12)


def test_a_subspace_is_all_of_itself_and_nothing_of_its_complement(rng):
    directions = basis(rng, 20, 6)
    a = np.diag([5.0, 4, 3]) @ directions[:, :3].T  # (3, 20): known order
    b = np.diag([5.0, 4, 3]) @ directions[:, 3:].T
    np.testing.assert_allclose(np.diag(subspace_similarity(a, a)), 1)
    np.testing.assert_allclose(subspace_similarity(a, b), 0, atol=1e-12)
    # The same three directions in another order: phi(i, j) counts those that the two have in common.
    c = np.diag([5.0, 4, 3]) @ directions[:, [2, 0, 1]].T
    np.testing.assert_allclose(subspace_similarity(a, c), [[0, 1, 1], [0, 0.5, 1], [1, 1, 1]], atol=1e-12)


def test_similarity_is_equation_4_for_each_entry(rng):
    a, b = rng.standard_normal((4, 12)), rng.standard_normal((7, 12)).astype(np.float32)
    phi, v1, v2 = subspace_similarity(a, b), svd(a)[2], svd(b)[2]
    assert phi.shape == (4, 7)
    for i in range(1, 5):
        for j in range(1, 8):
            expected = np.linalg.norm(v1[:, :i].T @ v2[:, :j]) ** 2 / min(i, j)
            assert phi[i - 1, j - 1] == pytest.approx(expected)
    np.testing.assert_allclose(subspace_similarity(b, a), phi.T)


def test_random_subspaces_share_what_chance_gives(rng):
    draws = [subspace_similarity(rng.standard_normal((4, 64)), rng.standard_normal((8, 64)))[3, 7] for _ in range(60)]
    assert np.mean(draws) == pytest.approx(8 / 64, abs=4 * np.std(draws) / np.sqrt(60))


def test_amplification_of_a_planted_direction(rng):
    u, v = basis(rng, 10, 2), basis(rng, 12, 2)
    w = 3.0 * np.outer(u[:, 0], v[:, 0]) + 0.5 * np.outer(u[:, 1], v[:, 1])
    assert amplification(6.0 * np.outer(u[:, 1], v[:, 1]), w, 1) == pytest.approx(12)  # 6 / 0.5
    assert amplification(6.0 * np.outer(u[:, 0], v[:, 0]), w, 1) == pytest.approx(2)
    both = 4.0 * np.outer(u[:, 1], v[:, 1]) + 3.0 * np.outer(u[:, 0], v[:, 0])
    assert amplification(both, w, 2) == pytest.approx(5 / np.hypot(3, 0.5))
    assert amplification(both, w, 1) == pytest.approx(5 / 0.5)


def test_intruders_are_counted(rng):
    w = rng.standard_normal((30, 30))
    u, s, v = svd(w)
    assert intruder_dimensions(w, w) == 0
    assert intruder_dimensions(w, -w, k=30) == 0  # signs mean nothing
    assert intruder_dimensions(w, u[:, ::-1] * s @ v.T, k=30) == 0  # other values for the same vectors
    # Two strong new directions, each spread evenly over all the old ones: cosines 1 / sqrt(30) = .18.
    mixed = u @ np.linalg.qr(rng.standard_normal((30, 30)))[0][:, :2]
    after = w + 100 * mixed @ basis(rng, 30, 2).T
    assert intruder_dimensions(w, after, k=2, epsilon=0.9) == 2
    assert intruder_dimensions(w, after, k=2, epsilon=1e-3) == 0
    assert intruder_dimensions(w, after, epsilon=0.6) >= 2


def test_the_bound_is_strict_and_k_counts_from_the_strongest(rng):
    w = np.diag([3.0, 2.0, 1.0])
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    after = turn @ w  # cosines of the first two vectors: .6 and .8
    assert [intruder_dimensions(w, after, k=k, epsilon=0.81) for k in (1, 2, 3)] == [1, 2, 2]
    assert intruder_dimensions(w, after, k=3, epsilon=0.79) == 0


@pytest.mark.parametrize("r", [None, 1, 3])
def test_the_control_is_as_large_and_of_the_rank_asked_for(rng, r):
    w = rng.standard_normal((8, 6))
    after = w + 0.3 * rng.standard_normal((8, 6))
    control = norm_matched(w, after, r=r, rng=rng)
    assert np.linalg.norm(control - w) == pytest.approx(np.linalg.norm(after - w))
    assert np.linalg.matrix_rank(control - w) == (r or 6)
    assert not np.allclose(control, after)


W = np.eye(4)
REFUSED = [
    (lambda: svd(None), TypeError, "weight must be a numpy array"),
    (lambda: svd(np.ones(3)), ValueError, "weight must have 2 axes"),
    (lambda: svd(W * np.nan), ValueError, "weight must be finite"),
    (lambda: subspace_similarity(W, np.ones((2, 5))), ValueError, "second must have 4 columns"),
    (lambda: subspace_similarity([1], W), TypeError, "first must be a numpy array"),
    (lambda: amplification(W, np.ones((2, 5)), 1), ValueError, "weight must have the shape of update"),
    (lambda: amplification(W, W, 5), ValueError, "r must be between 1 and 4, got 5"),
    (lambda: amplification(W, 0 * W, 1), ValueError, "weight must act on the update's directions"),
    (lambda: intruder_dimensions(W, W[:2]), ValueError, "after must have the shape of before"),
    (lambda: intruder_dimensions(W, W), ValueError, "k must be between 1 and 4, got 10"),
    (lambda: intruder_dimensions(W, W, k=1, epsilon=0), ValueError, "epsilon must be greater than 0"),
    (lambda: norm_matched(W, W, rng=1), TypeError, "rng must be a Generator"),
    (lambda: norm_matched(W, W, r=0, rng=np.random.default_rng(0)), ValueError, "r must be between 1 and 4"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(call, error, message):
    with pytest.raises(error, match=f"^({message})"):
        call()
